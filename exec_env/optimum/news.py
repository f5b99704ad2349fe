"""News: what C, the price of the constraints, turns out to be beyond what was expected of it.

C (``dynamic_programming``) moves twice in a slice: before its trade, when spread and volume are seen, and after it,
when the decay and the next liquidity and regime are. Each move, less its mean given what was known before, has mean
zero along the path of any policy that does not look ahead: their sum is a martingale.

The means are exact, however coarse the tables of C are. In the normals behind liquidity, decay and spread, C is the
polynomial through the values at Gauss-Hermite nodes, and the sum of these values with the weights of these nodes is the
mean of that polynomial; in the normal behind the volume it is lines between knots, with their mean in closed form.
"""

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.special import ndtr

from exec_env.market.clock import of_each
from exec_env.market.execution import Slice
from exec_env.market.paths import Normals
from exec_env.optimum import dynamic_programming, liquidity_grid, lq
from exec_env.optimum.seen import Seen

_LIQUIDITY_NODES, _DECAY_NODES, _SPREAD_NODES = 5, 3, 3
_KNOTS, _KNOTS_TO = 13, 4.0  # standard deviations of log volume
_FINER = 2  # times that the grid of the tables is finer than that of dynamic programming: they are read linearly
_MOST = 2**26  # numbers in such a table; larger ones are left as they are


class Outcome(NamedTuple):
    """One regime that the next slice may be in, with a liquidity shock or without one."""

    regime: int
    jump: float
    """Of the log liquidity."""
    at: np.ndarray
    """The paths on which it is possible. Shape: (n_there,)."""
    weights: np.ndarray
    """Of the values at nodes of liquidity and decay: those of what came less those of the mean; the first are zero
    where another outcome came. Shape: (n_liquidity, n_decay, n_there)."""


class News:
    """What is seen on paths, and what C is then beyond what was expected of it. [$]"""

    def __init__(self, solution: dynamic_programming.Solution) -> None:
        self.solution, market, order = solution, solution.market, solution.order
        self.kappa = float(market.transient_impact)
        self.clock = of_each(market.spans(order)[1], order.n_steps)
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
        self.volume = knots, np.array([normal_mean(knots, hat, 1.0) for hat in np.eye(len(knots))])

    def at_arrival(self, liquidity: np.ndarray, regime: np.ndarray) -> np.ndarray:
        """C of the first slice less its mean, exactly that of the interpolated C. Shape: (n_paths,)."""
        linear, tables = self.solution.linear, self.solution.prices[0, :, :, -1, -1]
        grid = np.linspace(linear.grid[0], linear.grid[-1], tables.shape[1])
        each = [np.interp(linear.coordinate(0, liquidity, k), grid, table) for k, table in enumerate(tables)]
        means = [normal_mean(grid, table, linear.std) for table in tables]
        return np.choose(regime, each) - linear.regimes.law[0] @ means

    def weights_now(self, z_spread: np.ndarray, z_volume: np.ndarray) -> np.ndarray:
        """Weights of values at nodes of the spread and knots of the volume: those of what came less those of the mean.

        Args:
            z_spread: the normal behind the spread. Shape: (n,).
            z_volume: the normal behind the volume. Shape: (n,).

        Shape:
            (n_spread, n_volume, n).
        """
        (z, w), (knots, means) = self.spread, self.volume
        hats = np.array([np.interp(z_volume, knots, hat) for hat in np.eye(len(knots))])
        return lagrange(z, z_spread)[:, None] * hats - (w[:, None] * means)[..., None]

    def worth_now(
        self, seen: Seen, cap: np.ndarray, z_spread: np.ndarray, z_volume: np.ndarray
    ) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Trade of the rule, and what C is once spread and volume are seen to be those of each node.

        Args:
            seen: what the rule goes by. Shape of its fields: (n,).
            cap: on the trade. Shape: (n,). [shares]
            z_spread: the normal behind the spread. Shape: (n,).
            z_volume: the normal behind the volume. Shape: (n,).

        Returns:
            Trades, shape (n,); and C, its derivatives in x and in I, but for what does not depend on spread and volume.
            Shape of each: (n_spread, n_volume, n).
        """
        market, order, linear, kappa = self.solution.market, self.solution.order, self.solution.linear, self.kappa
        (z, _), (knots, _), x = self.spread, self.volume, seen.remaining
        # Axes: the spread that came and its nodes, knots of the volume, paths.
        moved = np.concatenate([0.0 * z_spread[None], z[:, None] - z_spread])
        seen = seen._replace(half_spread=seen.half_spread * np.exp(market.spread_noise * moved))
        q, a, b, c = quadratic(linear, seen)
        rule = self.solution.policy(seen)
        wished = np.clip(rule, 0.0, x)
        # Only in the last slice does the rule depend on the cap beyond being cut to it.
        last = seen.step == order.n_steps - 1
        trade = np.minimum((self.solution.policy(seen._replace(most=cap)) if last else rule)[0], cap)
        v = np.minimum(wished[1:, None], cap * np.exp(market.volume_noise * (knots[:, None] - z_volume)))
        beyond = v - (a * x + b * seen.transient + c)[1:, None]
        plain = seen.liquidity - np.log(linear.regimes.factors.liquidity[seen.step, seen.regime])
        load = x + seen.transient / kappa if kappa > 0 else x
        ahead = self._interpolate(self.after[seen.step, seen.regime], plain, load, x - v)
        value, of_x, of_i = np.moveaxis(ahead, -1, 0)
        marginal = 2 * q * beyond
        rest = self.solution.rest(seen)
        value, direct = value + q * beyond**2, (of_x - marginal * a[0], of_i - marginal * b[0])
        if last:
            penalty, left = order.terminal_penalty - 1, x - v
            return trade, (value + penalty * rest.cost(left), direct[0] + penalty * rest.marginal(left), direct[1])
        # Where all is sold, another share is sold too.
        also = np.where(v >= x, np.minimum(marginal + rest.marginal(v) - of_x + kappa * of_i, 0.0), 0.0)
        return trade, (value + rest.cost(v), direct[0] + also, direct[1])

    def seen_now(
        self, seen: Seen, cap: np.ndarray, z_spread: np.ndarray, z_volume: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Trade of the rule, and what spread and volume of the slice are worth; arguments as of ``worth_now``.

        Returns:
            Trades, shape (n,); and C once both are seen, its derivatives in x and in I, less their means before.
            Shape: (3, n).
        """
        trade, values = self.worth_now(seen, cap, z_spread, z_volume)
        weights = self.weights_now(z_spread, z_volume)
        return trade, np.array([(weights * f).sum((0, 1)) for f in values])

    def outcomes(self, t: int, here: np.ndarray, there: np.ndarray, normals: Normals) -> Iterator[Outcome]:
        """What the slice after ``t`` may bring, and did.

        Args:
            t: slice.
            here: its regime. Shape: (n,).
            there: the regime of the next slice. Shape: (n,).
            normals: that the paths are from.
        """
        market, dt, chain = self.solution.market, self.solution.order.slice_length, self.solution.linear.regimes
        (z, w), (z_decay, w_decay) = self.liquidity, self.decay
        mean = (w[:, None] * w_decay)[..., None]
        true = lagrange(z, normals.liquidity[:, t + 1])[:, None] * lagrange(z_decay, normals.decay[:, t])
        shock = np.zeros(len(here), bool)
        if normals.shock is not None:
            shock = (market.jump_at(normals.shock[:, t + 1], dt) != 0) & chain.shocks[t + 1][there]
        for k in range(chain.n_regimes):
            p_shock = market.shock_probability(dt) if chain.shocks[t + 1, k] else 0.0
            for jump, comes, p in ((0.0, ~shock, 1 - p_shock), (market.shocks[1], shock, p_shock)):
                probability = p * chain.moves[t + 1][here, k]
                at = np.flatnonzero(probability > 0)
                if at.size:
                    weights = ((there == k) & comes)[at] * true[..., at] - probability[at] * mean
                    yield Outcome(k, jump, at, weights)

    def worth_next(
        self, t: int, regime: int, jump: float, plain: np.ndarray, x: np.ndarray, pushed: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """C of the next slice where liquidity and decay are those of each node.

        Args:
            t: slice.
            regime: of the next slice.
            jump: of the log liquidity by then.
            plain: log liquidity of the slice, multipliers left out. Shape: (n,).
            x: held after the trade. [shares]
            pushed: I + κ v after the trade. [$]

        Returns:
            C, its derivatives in x and in I, shape (n_liquidity, n_decay, n, 3); and the decay, shape (n_decay, 1).
        """
        market, dt, (z, _), (z_decay, _) = (
            self.solution.market, self.solution.order.slice_length, self.liquidity, self.decay
        )  # fmt: skip
        decay = market.decay_at(z_decay[:, None], self.clock[t])
        load = x + decay * (pushed / self.kappa) if self.kappa > 0 else x + 0.0 * decay
        ahead = market.next_liquidity(plain, z[:, None], jump, dt)[:, None]
        return self._interpolate(self.prices[t + 1, regime], ahead, load, x), decay

    def seen_next(
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
        here, there = regime[t : t + 2]
        plain = now.log_liquidity - np.log(self.solution.linear.regimes.factors.liquidity[t][here])
        out = np.zeros((3, len(x)))
        for k, jump, at, weights in self.outcomes(t, here, there, normals):
            values, decay = self.worth_next(t, k, jump, plain[at], x[at], pushed[at])
            out[:2, at] += np.einsum("ijnc,ijn->cn", values[..., :2], weights)
            out[2, at] += np.einsum("ijn,ijn,jn->n", values[..., 2], weights, decay)
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
        cells = [cell(at, size) for at, size in zip((across, y, np.sqrt(x)), n, strict=True)]
        flat, out = table.reshape(-1, 3), 0.0
        for (i, wi), (j, wj), (m, wm) in itertools.product(*cells):
            out = out + (wi * wj * wm)[..., None] * flat.take((i * n[1] + j) * n[2] + m, axis=0)
        return np.asarray(out)


def quadratic(linear: lq.Solution, seen: Seen) -> tuple[Any, Any, Any, Any]:
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


def cell(at: np.ndarray, n: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """The two points of ``n`` on [0, 1] that are next to ``at``, and their weights; the edge beyond it."""
    u = np.clip(at, 0.0, 1.0) * (n - 1)
    below = np.minimum(u.astype(int), max(n - 2, 0))
    if n == 1:
        return [(below, 1.0 + 0.0 * u)]
    return [(below, 1 - (u - below)), (below + 1, u - below)]


def normal_mean(grid: np.ndarray, values: np.ndarray, std: float) -> float:
    """E f(std z) of the f that is linear between grid points, and constant beyond them: a closed form."""
    if len(grid) == 1 or std == 0:
        return float(np.interp(0.0, grid, values))
    z = grid / std
    # E min(max(u, g_i), g_i+1) − g_i of each cell is how far f goes along it on average.
    density, above = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi), ndtr(-z)
    call = std * (density - z * above)  # E (u − g)⁺
    return float(values[0] + (np.diff(values) / np.diff(grid) * (call[:-1] - call[1:])).sum())
