"""An interval for the optimum: from above the rule ``optimal``, from below information relaxation.

For any policy that trades between zero and the cap (see ``dynamic_programming``),

    J = cost + E Σ_t q_t (v_t − v*_t)²,

where cost and v* are those of the linear-quadratic problem. A trader who knows the whole path in advance can only do
better, so that the least of the sum on each path, on average, is a lower bound. He does less better where what he
gains by knowing is charged: any penalty that has mean zero for a policy that does not look ahead may be taken off
(Rogers 2007; Brown, Smith & Sun 2010). The best penalty is what C_{t+1}, the price of the constraints, turns out to be
beyond what was expected. It is not convex in the trades, so here it is made linear about the path of the rule
``optimal``: the gradient penalty of Brown & Smith (2014), "Information relaxations, duality, and convex stochastic
dynamic programs". What is left is a convex quadratic program for each path (``clairvoyant``).

C moves twice in a slice: before its trade, when spread and volume are seen, and after it, when the decay and the next
liquidity and regime are. Both are charged.

The bound is strict but for the sampling of paths. The value that the program is known not to be below is taken, not the
value that it attains. And the penalty has mean zero exactly, however coarse the tables of C are. In the normals behind
liquidity, decay and spread it is the polynomial through the values at Gauss-Hermite nodes, less the sum of these values
with the weights of these nodes, which is the mean of that polynomial; in the normal behind the volume, lines between
knots and their mean in closed form. What is left of error is that of ``lq`` on its grid, about 1e-7 of the bound.

Along the path of the rule the linear penalty is the true one, so that it is the control variate of the rule's J too.
Where constraints bind in few paths in ten thousand, a standard error from fewer paths than that is too small.
"""

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.special import ndtr
from tqdm import tqdm

from exec_env.base.validation import require_count, require_type
from exec_env.market.execution import Slice, bps
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.market.paths import Normals, Simulator, regime_of, shape
from exec_env.optimum import clairvoyant, dynamic_programming, liquidity_grid, lq
from exec_env.optimum.closing import Rest
from exec_env.optimum.seen import Seen

_BLOCK = 512  # paths at a time: what is worked on stays in the cache
_LIQUIDITY_NODES, _DECAY_NODES, _SPREAD_NODES = 5, 3, 3
_KNOTS, _KNOTS_TO = 13, 4.0  # standard deviations of log volume
_FINER = 2  # times that the grid of the tables is finer than that of dynamic programming: they are read linearly
_MOST = 2**26  # numbers in such a table; larger ones are left as they are


@dataclass(frozen=True)
class Interval:
    """A statistical interval for the optimum. All but ``n_paths`` in basis points of the arrival notional."""

    lower_bps: float
    """No policy has a lower J, but for the standard error."""
    lower_se: float
    upper_bps: float
    """J of the rule ``optimal``."""
    upper_se: float
    gap_bps: float
    """Upper less lower end, on the same paths."""
    gap_se: float
    certificate_bps: float
    """Most that the least cost of a path may be above what is taken for it; ``lower_bps`` has it taken off."""
    n_paths: int

    def describe(self) -> str:
        """In one line."""
        return (
            f"optimum in [{self.lower_bps:.4f} ± {self.lower_se:.1g}, {self.upper_bps:.4f} ± {self.upper_se:.1g}] "
            f"(statistical interval from {self.n_paths:,} paths; paired gap {self.gap_bps:.2g} ± {self.gap_se:.1g}; "
            f"largest certificate {self.certificate_bps:.1g})"
        )


def certify(market: Market, order: Order, n_paths: int = 2000, seed: int = 0, progress: bool = False) -> Interval:
    """An interval for the least J of any policy that trades between zero and the cap and does not look ahead.

    A policy may see regimes as they come, as ``dynamic_programming.Solution.value_bps`` has it.

    Args:
        market: as of ``dynamic_programming.solve``.
        order: the order, its cap included.
        n_paths: paths to draw, at least two; a path takes one or two milliseconds.
        seed: of the paths. Block k of 512 is drawn from ``SeedSequence([seed, k])``.
        progress: whether to show a progress bar.

    Raises:
        NoBound: as ``dynamic_programming.solve``.
        InputError: for an ``n_paths`` or ``seed`` that cannot be.

    >>> interval = certify(Market(), Order(n_steps=3, max_participation=0.5), n_paths=100)
    >>> interval.lower_bps <= interval.upper_bps, interval.certificate_bps < 1e-6
    (True, True)
    """
    require_type(Market, market=market)
    require_type(Order, order=order)
    require_count(2, n_paths=n_paths)
    require_count(0, seed=seed)
    penalty = _Penalty(dynamic_programming.solve(market, order))
    ends = []
    with tqdm(total=n_paths, unit=" paths", disable=not progress, desc="certify") as bar:
        for k, first in enumerate(range(0, n_paths, _BLOCK)):
            n = min(_BLOCK, n_paths - first)
            rng = np.random.default_rng(np.random.SeedSequence([seed, k]))
            program, trades, split = penalty.program(Simulator(market, order).normals([rng], n))
            _, least, certificate = program.solve()
            ends.append([least, program.value(trades) + split, certificate])
            bar.update(n)
    lower, upper, certificate = np.concatenate(ends, 1)
    cost = penalty.solution.linear.cost_bps
    (low, low_se), (high, high_se), gap = map(_mean, (lower, upper, upper - lower))
    return Interval(cost + low, low_se, cost + high, high_se, *gap, float(certificate.max()), n_paths)


def _mean(values: np.ndarray) -> tuple[float, float]:
    """Mean and its standard error."""
    return float(values.mean()), float(values.std(ddof=1) / len(values) ** 0.5)


class _Penalty:
    """What makes the problems of those who know a path, from the constrained optimum."""

    def __init__(self, solution: dynamic_programming.Solution) -> None:
        self.solution, market, order = solution, solution.market, solution.order
        self.kappa = float(market.transient_impact)
        self.prices, self.after = self._with_slopes(solution.prices), self._with_slopes(solution.after)
        self.liquidity, self.decay, self.spread = (
            liquidity_grid.gauss_hermite(n if is_random else 1)
            for n, is_random in (
                (_LIQUIDITY_NODES, market.liquidity_volatility > 0),
                (_DECAY_NODES, self.kappa > 0 and market.decay_noise > 0),
                (_SPREAD_NODES, market.spread_noise > 0),
            )
        )
        # The cap makes kinks in the volume, which polynomials do not follow, but lines between knots do.
        capped = order.max_participation is not None and market.volume_noise > 0
        knots = np.linspace(-_KNOTS_TO, _KNOTS_TO, _KNOTS) if capped else np.zeros(1)
        self.volume = knots, np.array([_normal_mean(knots, hat, 1.0) for hat in np.eye(len(knots))])

    def program(self, normals: Normals) -> tuple[clairvoyant.Program, np.ndarray, np.ndarray]:
        """Programs of the paths that normals make.

        Returns:
            The programs; the trades of the rule, shape (n_steps, n_paths), as parts of the order; and what these cost
            beyond the program because the last trade pushes the price of the block, shape (n_paths,). [bps]
        """
        market, order, linear = self.solution.market, self.solution.order, self.solution.linear
        kappa, shares, size = self.kappa, order.shares, normals.liquidity.shape
        paths = shape(market, order, normals).map(lambda column: np.broadcast_to(column, size).T.copy())
        regime = regime_of(market, order, normals).T
        cap = np.full(paths.volume.shape, np.inf)
        if order.max_participation is not None:
            cap = order.max_participation * paths.volume
        q, a, b, c, trades, held_price, push_price = np.zeros((7, *cap.shape))
        last, split = order.n_steps - 1, np.zeros(size[0])
        x, push, news = np.full(size[0], shares), np.zeros(size[0]), np.zeros((3, size[0]))
        constant = -self._at_arrival(paths.log_liquidity[0], regime[0])
        for t in range(order.n_steps):
            now = Slice.of(column[t] for column in paths.columns)
            for k in np.unique(regime[t]):
                at = np.flatnonzero(regime[t] == k)
                signal = now.drift[at] / (market.arrival_price * order.slice_length)
                seen = Seen(t, x[at], push[at], signal, now.half_spread[at], now.log_liquidity[at], int(k))
                q[t, at], a[t, at], b[t, at], c[t, at] = _excess(linear, seen)
                z = normals.spread[at, t], normals.volume[at, t]
                trades[t, at], news[:, at] = self._seen_now(seen, cap[t, at], *z)
                if t == last:
                    v = trades[t, at]
                    split[at] = linear.last_push_at(seen.liquidity, int(k)) * v * (x[at] - v)
            constant -= news[0]
            if t > 0:
                # What x and I of this slice are credited, x' and I + κ v of the slice before are.
                constant += news[1] * x + news[2] * push
                held_price[t - 1] += news[1]
                push_price[t - 1] += news[2] * paths.decay[t - 1]
            x, pushed = x - trades[t], push + kappa * trades[t]
            if t < last:
                price, held_price[t], push_price[t] = self._seen_next(t, now, regime, normals, x, pushed)
                constant -= price - held_price[t] * x - push_price[t] * pushed
            push = now.decay * pushed
        to_bps = bps(shares * market.arrival_price)
        program = clairvoyant.Program(
            curvature=q * shares**2 * to_bps,
            of_held=a,
            of_push=b / shares,
            wanted=c / shares,
            held_price=held_price * shares * to_bps,
            push_price=push_price * to_bps,
            constant=constant * to_bps,
            decay=paths.decay,
            push=kappa * shares,
            most=np.minimum(cap / shares, 1.0),
            power=self._power(paths.log_liquidity, regime),
        )
        return program, trades / shares, split * to_bps

    def _power(self, liquidity: np.ndarray, regime: np.ndarray) -> clairvoyant.PowerLaw | None:
        """What impact costs beyond linear impact, as programs take it. Shape of arguments: (n_steps, n_paths)."""
        market, order = self.solution.market, self.solution.order
        if market.impact_exponent == 1:
            return None
        impact = np.take_along_axis(self.solution.linear.regimes.factors.impact, regime, 1)
        rest = Rest.of(market, order, liquidity, impact)
        scale = order.shares ** (1 + rest.exponent) * bps(order.shares * market.arrival_price)
        last = self._next_slope(order.n_steps - 2, liquidity[-2], regime[-2])
        return clairvoyant.PowerLaw(
            rest.slope * scale, rest.exponent, rest.even / order.shares, order.terminal_penalty - 1.0, last * scale
        )

    def _next_slope(self, t: int, liquidity: np.ndarray, regime: np.ndarray) -> np.ndarray:
        """Mean slope of temporary impact in slice t + 1, given what is seen in slice t. Shape: (n_paths,)."""
        market, chain, dt = self.solution.market, self.solution.linear.regimes, self.solution.order.slice_length
        plain = liquidity - np.log(chain.factors.liquidity[t][regime])
        onward = market.next_liquidity(plain, 0.0, 0.0, dt)
        spread_out = market.next_liquidity(0.0, 1.0, 0.0, dt) ** 2 / 2  # of its log, which raises the mean
        shocked = 1.0
        if chain.shocks[t + 1].any():
            shocked = 1 + market.shock_probability(dt) * np.expm1(market.shocks[1]) * chain.shocks[t + 1]
        factors = chain.factors.impact[t + 1] / chain.factors.liquidity[t + 1] * shocked
        slope = market.temporary_at(onward, market.impact_noise / 2, dt) * np.exp(spread_out)
        return slope * (chain.moves[t + 1][regime] @ factors)

    # What is seen, and what C is then beyond what was expected of it before. [$]

    def _at_arrival(self, liquidity: np.ndarray, regime: np.ndarray) -> np.ndarray:
        """C of the first slice less its mean, exactly that of the interpolated C. Shape: (n_paths,)."""
        linear, tables = self.solution.linear, self.solution.prices[0, :, :, -1, -1]
        grid = np.linspace(linear.grid[0], linear.grid[-1], tables.shape[1])
        each = [np.interp(linear.coordinate(0, liquidity, k), grid, table) for k, table in enumerate(tables)]
        means = [_normal_mean(grid, table, linear.std) for table in tables]
        return np.choose(regime, each) - linear.regimes.law[0] @ means

    def _seen_now(
        self, seen: Seen, cap: np.ndarray, z_spread: np.ndarray, z_volume: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Trade of the rule, and what spread and volume of the slice are worth.

        Args:
            seen: what the rule goes by. Shape of its fields: (n,).
            cap: on the trade. Shape: (n,). [shares]
            z_spread: the normal behind the spread. Shape: (n,).
            z_volume: the normal behind the volume. Shape: (n,).

        Returns:
            Trades, shape (n,); and C once both are seen, its derivatives in x and in I, less their means before.
            Shape: (3, n).
        """
        market, linear, kappa = self.solution.market, self.solution.linear, self.kappa
        (z, w), (knots, means), x = self.spread, self.volume, seen.remaining
        # Axes: the spread that came and its nodes, knots of the volume, paths.
        moved = np.concatenate([0.0 * z_spread[None], z[:, None] - z_spread])
        seen = seen._replace(half_spread=seen.half_spread * np.exp(market.spread_noise * moved))
        q, a, b, c = _excess(linear, seen)
        wished = np.clip(self.solution.policy(seen), 0.0, x)
        trade = np.minimum(self.solution.policy(seen._replace(most=cap))[0], cap)
        v = np.minimum(wished[1:, None], cap * np.exp(market.volume_noise * (knots[:, None] - z_volume)))
        beyond = v - (a * x + b * seen.transient + c)[1:, None]
        plain = seen.liquidity - np.log(linear.regimes.factors.liquidity[seen.step, seen.regime])
        load = x + seen.transient / kappa if kappa > 0 else x
        ahead = self._interpolate(self.after[seen.step, seen.regime], plain, load, x - v)
        value, of_x, of_i = np.moveaxis(ahead, -1, 0)
        marginal = 2 * q * beyond
        impact = linear.regimes.factors.impact[seen.step, seen.regime]
        rest, sold = Rest.of(market, self.solution.order, seen.liquidity, impact), v >= x
        # Where all is sold, another share is sold too.
        also = np.where(sold, np.minimum(marginal + rest.marginal(v) - of_x + kappa * of_i, 0.0), 0.0)
        if seen.step < self.solution.order.n_steps - 1:
            more = rest.cost(v)
        else:
            penalty = self.solution.order.terminal_penalty - 1.0
            more = rest.cost(x) + penalty * rest.cost(x - v)
            of_x, also = of_x + rest.marginal(x) + penalty * rest.marginal(x - v), 0.0 * also
        values = value + q * beyond**2 + more, of_x - marginal * a[0] + also, of_i - marginal * b[0]
        hats = np.array([np.interp(z_volume, knots, hat) for hat in np.eye(len(knots))])
        weights = lagrange(z, z_spread)[:, None] * hats - (w[:, None] * means)[..., None]
        return trade, np.array([(weights * f).sum((0, 1)) for f in values])

    def _seen_next(
        self, t: int, now: Slice, regime: np.ndarray, normals: Normals, x: np.ndarray, pushed: np.ndarray
    ) -> np.ndarray:
        """C of the next slice, and its derivatives in x and I + κ v, less their means given all that is seen by now.

        Args:
            t: slice.
            now: its columns.
            regime: of each slice. Shape: (n_steps, n_paths).
            normals: that the paths are from.
            x: held after the trade. [shares]
            pushed: I + κ v after the trade. [$]

        Shape:
            (3, n_paths).
        """
        market, order, linear = self.solution.market, self.solution.order, self.solution.linear
        chain, dt, (here, there) = linear.regimes, order.slice_length, regime[t : t + 2]
        plain = now.log_liquidity - np.log(chain.factors.liquidity[t][here])
        # Axes: nodes of liquidity, nodes of the decay, paths.
        (z, w), (z_decay, w_decay) = self.liquidity, self.decay
        mean = (w[:, None] * w_decay)[..., None]
        true = lagrange(z, normals.liquidity[:, t + 1])[:, None] * lagrange(z_decay, normals.decay[:, t])
        decay = market.decay_at(z_decay[:, None], dt) + 0.0 * x
        load = x + decay * (pushed / self.kappa) if self.kappa > 0 else x + 0.0 * decay
        shock = np.zeros(len(x), bool)
        if normals.shock is not None:
            shock = (market.jump_at(normals.shock[:, t + 1], dt) != 0) & chain.shocks[t + 1][there]
        out = np.zeros((3, len(x)))
        for k in range(chain.n_regimes):
            p_shock = market.shock_probability(dt) if chain.shocks[t + 1, k] else 0.0
            for jump, comes, p in ((0.0, ~shock, 1 - p_shock), (market.shocks[1], shock, p_shock)):
                probability = p * chain.moves[t + 1][here, k]
                at = np.flatnonzero(probability > 0)
                if not at.size:
                    continue
                ahead = market.next_liquidity(plain[at], z[:, None], jump, dt)[:, None]
                values = self._interpolate(self.prices[t + 1, k], ahead, load[:, at], x[at])
                weights = ((there == k) & comes)[at] * true[..., at] - probability[at] * mean
                out[:2, at] += np.einsum("ijnc,ijn->cn", values[..., :2], weights)
                out[2, at] += np.einsum("ijn,ijn,jn->n", values[..., 2], weights, decay[:, at])
        return out

    def _with_slopes(self, prices: np.ndarray) -> np.ndarray:
        """C and its derivatives in x and in I, on a finer grid. Shape: (n_steps, regime, liquidity, load, held, 3)."""
        shares, (n_liquidity, n_load, n_held) = self.solution.order.shares, prices.shape[-3:]
        held = shares * np.linspace(0.0, 1.0, n_held) ** 2
        of_held, of_load = CubicSpline(held, prices, axis=-1)(held, 1), np.zeros_like(prices)
        if n_load > 1:
            load = shares * np.linspace(0.0, 1.0, n_load)
            of_load = CubicSpline(load, prices, axis=-2)(load, 1)
        tables = np.stack([prices, of_held + of_load, of_load / (self.kappa or 1.0)], -1)
        if tables.size * _FINER**2 > _MOST:
            return tables
        liquidity, held = _refinement(n_liquidity), _refinement(n_held)
        return np.array([np.moveaxis(held @ np.tensordot(liquidity, each, (1, 1)), 0, 1) for each in tables])

    def _interpolate(self, table: np.ndarray, liquidity: Any, load: Any, held: Any) -> np.ndarray:
        """C and its derivatives between points of the grid, linear along each of its axes.

        Args:
            table: of a slice and regime. Shape: (liquidity, load, held, 3).
            liquidity: log liquidity, multipliers left out.
            load: shares held or pressing on the price.
            held: shares held.

        Shape:
            (..., 3), the others what the arguments broadcast to.
        """
        grid, unit, n = self.solution.linear.grid, self.solution.linear.unit or 1.0, table.shape[:3]
        across = (liquidity / unit - grid[0]) / (np.ptp(grid) or 1.0)
        x, y = np.maximum(held, 0.0) / self.solution.order.shares, load / self.solution.order.shares
        cells = [_cell(at, size) for at, size in zip((across, y, np.sqrt(x)), n, strict=True)]
        flat, out = table.reshape(-1, 3), 0.0
        for (i, wi), (j, wj), (m, wm) in itertools.product(*cells):
            out = out + (wi * wj * wm)[..., None] * flat.take((i * n[1] + j) * n[2] + m, axis=0)
        return np.asarray(out)


def _excess(linear: lq.Solution, seen: Seen) -> tuple[Any, Any, Any, Any]:
    """What J has above that of the rule without constraints, slice by slice: q (v − v*)² with v* = a x + b I + c.

    In the last slice v* = x and q is (terminal_penalty − 1) times the slope; what the last trade pushes the price of
    the block by, (γ + κ) v b ≥ 0, is left out, because it is not convex: the problem of who knows the path only gets
    easier.

    Returns:
        q [$/share²], a [-], b [shares/$] and c [shares].
    """
    none = 0.0 * seen.half_spread
    ways = ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0))
    c, a, b = (linear.policy(seen._replace(remaining=none + x, transient=none + push)) for x, push in ways)
    return linear.curvature_at(seen.step, seen.liquidity, seen.regime), a - c, b - c, c


def _refinement(n: int) -> np.ndarray:
    """Matrix from ``n`` values on an even grid to those of their cubic spline on a finer one."""
    if n == 1:
        return np.ones((1, 1))
    return np.asarray(CubicSpline(np.arange(n), np.eye(n))(np.linspace(0, n - 1, _FINER * (n - 1) + 1)))


def lagrange(nodes: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Polynomials that are one at a node and zero at the others. Shape: (n_nodes, *z.shape).

    Where the nodes are those of a Gauss rule, its weights are the means of these polynomials.

    >>> lagrange(np.array([-1.0, 1.0]), np.array([-1.0, 0.0, 3.0])).tolist()
    [[1.0, 0.5, -1.0], [0.0, 0.5, 2.0]]
    """
    apart = nodes[:, None] - nodes + np.eye(len(nodes))
    each = [
        np.prod([(z - b) / apart[i, j] for j, b in enumerate(nodes) if j != i] or [1.0 + 0.0 * z], axis=0)
        for i in range(len(nodes))
    ]
    return np.array(each)


def _cell(at: np.ndarray, n: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """The two points of ``n`` on [0, 1] that are next to ``at``, and their weights; the edge beyond it."""
    u = np.clip(at, 0.0, 1.0) * (n - 1)
    below = np.minimum(u.astype(int), max(n - 2, 0))
    if n == 1:
        return [(below, 1.0 + 0.0 * u)]
    return [(below, 1 - (u - below)), (below + 1, u - below)]


def _normal_mean(grid: np.ndarray, values: np.ndarray, std: float) -> float:
    """E f(std z) of the f that is linear between grid points, and constant beyond them: a closed form."""
    if len(grid) == 1 or std == 0:
        return float(np.interp(0.0, grid, values))
    z = grid / std
    # E min(max(u, g_i), g_i+1) − g_i of each cell is how far f goes along it on average.
    density, above = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi), ndtr(-z)
    call = std * (density - z * above)  # E (u − g)⁺
    return float(values[0] + (np.diff(values) / np.diff(grid) * (call[:-1] - call[1:])).sum())
