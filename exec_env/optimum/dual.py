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

The bound is strict but for the sampling of paths. The value that the program is known not to be below is taken, not the
value that it attains. And the penalty has mean zero exactly, however coarse the tables of C are; see ``news``. What is
left of error is that of ``lq`` on its grid, about 1e-7 of the bound.

Along the path of the rule the linear penalty is the true one, so that it is the control variate of the rule's J too.
Where constraints bind in few paths in ten thousand, a standard error from fewer paths than that is too small.
"""

from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from exec_env.base.seeds import block_rng
from exec_env.base.validation import require_count, require_type
from exec_env.market.execution import bps
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.market.paths import Normals, Simulator, regime_of, shape
from exec_env.optimum import clairvoyant, dynamic_programming
from exec_env.optimum.closing import Rest
from exec_env.optimum.news import News, quadratic
from exec_env.optimum.seen import Seen

_BLOCK = 512  # paths at a time: what is worked on stays in the cache


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
            program, trades, split = penalty.program(Simulator(market, order).normals([block_rng(seed, k)], n))
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
        self.solution, self.news = solution, News(solution)

    def program(self, normals: Normals) -> tuple[clairvoyant.Program, np.ndarray, np.ndarray]:
        """Programs of the paths that normals make.

        Returns:
            The programs; the trades of the rule, shape (n_steps, n_paths), as parts of the order; and what these cost
            beyond the program because the last trade pushes the price of the block, shape (n_paths,). [bps]
        """
        market, order, linear = self.solution.market, self.solution.order, self.solution.linear
        kappa, shares, size = self.news.kappa, order.shares, normals.liquidity.shape
        paths = shape(market, order, normals).map(lambda column: np.broadcast_to(column, size).T.copy())
        regime = regime_of(market, order, normals).T
        cap = np.full(paths.volume.shape, np.inf)
        if order.max_participation is not None:
            cap = order.max_participation * paths.volume
        q, a, b, c, trades, held_price, push_price = np.zeros((7, *cap.shape))
        last, split = order.n_steps - 1, np.zeros(size[0])
        x, push, news = np.full(size[0], shares), np.zeros(size[0]), np.zeros((3, size[0]))
        constant = -self.news.at_arrival(paths.log_liquidity[0], regime[0])
        for t in range(order.n_steps):
            now = paths.of(column[t] for column in paths.columns)
            for k in np.unique(regime[t]):
                at = np.flatnonzero(regime[t] == k)
                signal = now.drift[at] / (market.arrival_price * order.slice_length)
                seen = Seen(t, x[at], push[at], signal, now.half_spread[at], now.log_liquidity[at], int(k))
                q[t, at], a[t, at], b[t, at], c[t, at] = quadratic(linear, seen)
                z = normals.spread[at, t], normals.volume[at, t]
                trades[t, at], news[:, at] = self.news.seen_now(seen, cap[t, at], *z)
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
                price, held_price[t], push_price[t] = self.news.seen_next(t, now, regime, normals, x, pushed)
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
