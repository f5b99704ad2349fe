"""Dynamic programming: the best that any policy can do when trades must lie between zero and the cap.

``lq.solve`` drops these constraints. Here it is the yardstick: its rule v* is optimal without them, and a trade v that
differs from it costs q (v − v*)² more, q being the curvature of the cost. So, exactly and for any policy,

    J = bound + E Σ_t q_t(ℓ_t) (v_t − v*_t)²,

and the constrained problem is to keep that sum small. Its optimum C_t(x, I, ℓ), the price of the constraints, is convex
and smooth, and where they seldom bind it is small, so that a coarse grid represents it well. With C̄ the mean of C_{t+1}
over the next liquidity and the decay,

    C_t = E min { q (v − v*)² + C̄(x − v, I + κ v) : 0 ≤ v ≤ min(x, cap) },

the mean being over the spread, in v*, and the volume, in the cap. Both are done in closed form. The braces are convex
in v, and their slope is h − k(v), with k falling and h the half spread. One trades as long as that is negative, so that

    min = value at 0 − ∫_0^x (k(v) − h)⁺ 1{v < cap} dv,    mean over h and cap: ∫_0^x put(k(v)) P(cap > v) dv,

with the put of Black & Scholes on a lognormal spread and the tail of a lognormal volume: one smooth integral is left.

Where impact is a power law, the yardstick is ``Market.linearised``. What it leaves out is known exactly: the mean g(v)
of power-law less linear temporary cost comes to the braces, so that k(v) gets − g'(v). The bound of the yardstick is
then none of the problem. Fast trading in the best liquidity may cost so little that the braces are not convex, because
permanent impact is charged on less; with the default market this is beyond three standard deviations of ℓ, and too rare
and too cheap to show in the value.

In the last slice v* is all that is left, x, and a block b = x − v > 0 costs (p − 1) c(b) + (γ + κ) v b more, where p
is ``terminal_penalty`` and c temporary impact (Order, ``market.execution``): only volume matters, see ``Close``.

A trade adds to I what it takes off κ x. The load y = x + I/κ, the shares held or still pressing on the price, changes
only as the push decays: on a grid of x and y trades move along one axis, and decay along the other.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any, ClassVar, Literal

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.ndimage import map_coordinates

from exec_env.base.errors import InputError, NoBound
from exec_env.base.validation import require_count, require_type
from exec_env.market.clock import of_each
from exec_env.market.execution import Slice, bps
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.market.stress import Factors
from exec_env.optimum import liquidity_grid, lq, regimes
from exec_env.optimum.closing import Close, Rest
from exec_env.optimum.lognormal import Lognormal
from exec_env.optimum.seen import Seen

_RESOLUTION = 32
_DECAY_NODES, _LIQUIDITY_NODES = 9, 9
_TAIL = 4.0  # standard deviations of log volume beyond which the cap binds surely, or surely not
_HALVINGS = 24  # of the interval that a trade is sought in
_TINY = 1e-300


@dataclass(frozen=True)
class Solution:
    """The best achievable value under the constraints, and the rule that achieves it."""

    method: ClassVar[str] = "dynamic programming"
    """How it was computed, for tables."""

    market: Market
    order: Order
    linear: lq.Solution
    """The problem without constraints, and with linear impact: where that is the market's, its value is the bound."""
    value_bps: float
    """The least J of any policy that sees regimes only as they come, in basis points of the arrival notional."""
    error_bps: float
    """Estimated numerical error of the value: its largest change from half, or three quarters, of the resolution. What
    does not follow the resolution is not in it: the width of the grid of liquidity, and nine nodes each of the means
    over decay and liquidity."""
    prices: np.ndarray
    """C_t, before spread and volume of slice t are seen. Shape: (n_steps, regime, liquidity, load, held). [$]"""
    sooner: np.ndarray
    """What is traded beyond v* as the constraints may bind later, given what is held after the trade; 0 in the last
    slice. Shape: (n_steps, regime, liquidity, load, held). [shares]"""
    after: np.ndarray
    """Mean of C_{t+1} given slice t, in load and shares held after its trade; 0 after the last.
    Shape: (n_steps, regime, liquidity, load, held). [$]"""

    def policy(self, seen: Seen) -> Any:
        """Optimal trade of a slice, between 0 and ``remaining``; where it exceeds the cap, the cap is. [shares]

        The cost is convex in the trade, so that the volume of the slice does not matter beyond that; but in the last
        slice, where a block may cost so little beside the push of a trade that one trades all or nothing.

        Shape:
            Whatever the fields of ``seen`` broadcast to, as arrays.
        """
        if seen.step == self.order.n_steps - 1:
            push = self.linear.last_push_at(seen.liquidity, seen.regime)
            x = np.maximum(seen.remaining, 0.0) + 0.0 * seen.half_spread
            return Close(self.rest(seen), self.order.terminal_penalty, push).trade(x, seen.most)
        step, regime = seen.step, seen.regime
        target, x, transient, liquidity = np.broadcast_arrays(
            self.linear.policy(seen), seen.remaining, seen.transient, seen.liquidity
        )
        x = np.maximum(x, 0.0)
        load = x + transient / self.market.transient_impact if self.market.transient_impact > 0 else x
        low, high = np.zeros_like(x), x
        rest = self.rest(seen._replace(liquidity=liquidity))
        double = 2 * self.linear.curvature_at(step, liquidity, regime)
        for _ in range(_HALVINGS):  # towards the root of v − v* − sooner(x − v) + g'(v) / 2q, which grows with v
            v = (low + high) / 2
            sooner = self._interpolate(self.sooner, (step, regime), liquidity, load, x - v, order=1)
            beyond = v > target + sooner - rest.marginal(v) / double
            low, high = np.where(beyond, low, v), np.where(beyond, v, high)
        return high

    def rest(self, seen: Seen) -> Rest:
        """What temporary impact costs in a slice beyond that of ``linear``."""
        impact = self.linear.regimes.factors.impact[seen.step, seen.regime]
        return Rest.of(self.market, self.order, seen.liquidity, impact)

    def price(self, step: int, remaining: Any, transient: Any, liquidity: Any, regime: int = 0) -> Any:
        """C_t: what the constraints will still cost, before spread and volume of slice ``step`` are seen. [$]

        Args:
            step: slice, from 0.
            remaining: inventory x. [shares]
            transient: transient push I. [$]
            liquidity: log liquidity ℓ of the slice, multipliers included.
            regime: which of ``linear.regimes`` the slice is in.
        """
        load = remaining + transient / self.market.transient_impact if self.market.transient_impact > 0 else remaining
        liquidity, load, held = np.broadcast_arrays(liquidity, load, np.maximum(remaining, 0.0))
        return self._interpolate(self.prices, (step, regime), liquidity, load, held, order=3)

    def _interpolate(
        self, tables: np.ndarray, which: tuple[int, int], liquidity: Any, load: Any, held: Any, order: Literal[1, 3]
    ) -> Any:
        """The table of a slice and regime, between its points."""
        table, (step, regime) = tables[which], which
        last, u = np.array(table.shape) - 1, self.linear.coordinate(step, liquidity, regime) + 0.0 * held
        across = (u - self.linear.grid[0]) / max(np.ptp(self.linear.grid), _TINY)
        at = np.array([across, load / self.order.shares, np.sqrt(held / self.order.shares)])
        return map_coordinates(table, (at.T * last).T, order=order, mode="nearest")


@lru_cache(maxsize=16)
def solve(market: Market, order: Order, resolution: int = _RESOLUTION) -> Solution:
    """Solve the problem with the constraints 0 ≤ v ≤ min(x, cap) by backward recursion.

    Args:
        market: as of ``lq.solve``; a signal must decay without noise.
        order: the order, its cap included.
        resolution: steps of the grid in the shares held; the other axes follow. A multiple of 16.

    Raises:
        NoBound: for problems that are not solved here, and those that ``lq.solve`` does not solve.
        InputError: for a ``resolution`` that cannot be.

    >>> solution = solve(Market(), Order())
    >>> round(solution.linear.bound_bps, 2), round(solution.value_bps, 2)
    (20.15, 20.25)
    """
    require_type(Market, market=market)
    require_type(Order, order=order)
    require_count(16, resolution=resolution)
    if resolution % 16:
        raise InputError(f"resolution = {resolution!r}: must be a multiple of 16")
    solution = without_error(market, order, resolution)
    coarser = [without_error(market, order, n).value_bps for n in (resolution // 2, 3 * resolution // 4)]
    return replace(solution, error_bps=max(abs(solution.value_bps - value) for value in coarser))


@lru_cache(maxsize=16)
def without_error(market: Market, order: Order, resolution: int) -> Solution:
    """``solve`` without an estimate of its error, for which it is solved twice more; the error is NaN."""
    _refuse(market, order)
    linear, value, *tables = _recursion(market, order, resolution)
    return Solution(market, order, linear, value, float("nan"), *tables)


def _refuse(market: Market, order: Order) -> None:
    """Refuse what is not solved here."""
    tensors = [name for part in (market, order) for name, value in vars(part).items() if hasattr(value, "detach")]
    if tensors:
        raise NoBound(f"{tensors[0]} is a tensor: the constrained optimum takes numbers, and has no gradients")
    if market.signal_volatility > 0:
        raise NoBound(
            f"Market.signal_volatility = {market.signal_volatility!r}: must be 0 for the constrained optimum, whose "
            "grid has no axis for a random signal"
        )


@dataclass(frozen=True)
class _Slice:
    """What is to be decided in a slice. Shape of arrays: (liquidity, load, held), or what broadcasts to that."""

    q: np.ndarray
    """Curvature of the cost. [$/share²]"""
    wanted: np.ndarray
    """v* if the spread were zero. [shares]"""
    spread: Lognormal
    """Half spread, as far as it bears on when to trade. [$]"""
    cap: Lognormal
    """Most that may be traded. [shares]"""
    rest: Rest
    """Temporary impact that is not in the curvature."""


def _recursion(market: Market, order: Order, n: int) -> tuple[lq.Solution, float, np.ndarray, np.ndarray, np.ndarray]:
    """Unconstrained solution, value [bps], and tables of prices, of the rule and of prices after a trade."""
    linear = lq.solve_linearised(market, order, n_grid=2 * n + 1)
    every = slice(None, None, 2 if len(linear.grid) > 1 else 1)
    u, dt, kappa = linear.grid[every], order.slice_length, market.transient_impact
    x = order.shares * np.linspace(0.0, 1.0, n + 1) ** 2
    load = order.shares * (np.linspace(0.0, 1.0, n // 4) if kappa > 0 else np.ones(1))[:, None]
    chain, lengths = linear.regimes, of_each(market.spans(order)[1], order.n_steps)
    decay = {length: _decay(market, length, load, x) for length in set(lengths)}
    onward = regimes.onward(market, order, u, linear.unit, _LIQUIDITY_NODES, chain)
    part = np.inf if order.max_participation is None else order.max_participation
    seen = ("half_spread", "volume", "log_liquidity")
    profile, grid = market.profile(order), u[:, None, None] * linear.unit
    median = Slice(grid, market.half_spread_at(grid, 0.0), market.volume_at(grid, 0.0, dt), *[0.0] * 7)

    # The axis of liquidity holds all of its points in the first regime, then all in the next.
    price, tables = np.zeros((chain.n_regimes * len(u), len(load), len(x))), []
    for t in reversed(range(order.n_steps)):
        each = [
            market.stressed(median, Factors(*(float(f[t, k]) for f in chain.factors))) for k in range(chain.n_regimes)
        ]
        spread, volume, ell = (np.concatenate([getattr(now, name) for now in each]) for name in seen)
        rest = Rest.of(market, order, ell, np.repeat(chain.factors.impact[t], len(u))[:, None, None])
        cap = Lognormal(part * profile[t] * volume, market.volume_noise)
        if t == order.n_steps - 1:
            push = linear.last_push[:, every].reshape(-1, 1, 1)
            price = price + rest.cost(x) + Close(rest, order.terminal_penalty, push).price(x, cap, n)
            tables.append((price, 0.0 * price, 0.0 * price))
            continue
        price = np.einsum("lm,mjx->ljx", onward(t + 1), np.einsum("xjk,lkx->ljx", decay[lengths[t]], price))
        q = linear.curvature[t][:, every].reshape(-1, 1, 1)
        gain = np.moveaxis(linear.gain[t][:, every].reshape(-1, 5), -1, 0)[..., None, None]
        signal = market.signal * np.exp(-market.signal_reversion * dt * t)
        now = _Slice(
            q,
            gain[0] * x + gain[1] * kappa * (load - x) + gain[2] * signal + gain[4],
            Lognormal(-2 * q * gain[3] * spread, market.spread_noise),
            cap,
            rest,
        )
        after = price
        price, sooner = _trade(after, x, now, n // 2)
        tables.append((price, sooner, after))
    at_arrival = np.kron(chain.law[0], liquidity_grid.stationary(u, linear.std))
    value = linear.cost_bps + float(at_arrival @ price[:, -1, -1]) * bps(order.shares * market.arrival_price)
    shape = (order.n_steps, chain.n_regimes, len(u), len(load), len(x))
    prices, rule, after_trade = (np.array(table[::-1]).reshape(shape) for table in zip(*tables, strict=True))
    return linear, value, prices, rule, after_trade


def _trade(after: np.ndarray, x: np.ndarray, now: _Slice, n_nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """From the price of the constraints after a trade to that before spread and volume are seen, and the rule."""
    q, wanted, spread = now.q, now.wanted, now.spread
    spline = CubicSpline(x, after, axis=-1).derivative()

    def slope(left: np.ndarray, u: np.ndarray, j: np.ndarray) -> np.ndarray:
        """Derivative of ``after`` in the shares held, at points of the other two axes."""
        cell = np.minimum((np.sqrt(left / x[-1]) * (len(x) - 1)).astype(int), len(x) - 2)
        c2, c1, c0 = spline.c[:, cell, u, j]
        d = left - x[cell]
        return (c2 * d + c1) * d + c0

    # Most that pays where the spread is zero, if not impossible: the root of v − wanted − (slope − g') / 2q.
    u, j, _ = np.ogrid[tuple(map(slice, after.shape))]
    low, most = np.zeros_like(after), np.minimum(x, now.cap.quantile(_TAIL)) + np.zeros_like(after)
    for _ in range(_HALVINGS):
        v = (low + most) / 2
        beyond = v > wanted + (slope(x - v, u, j) - now.rest.marginal(v)) / (2 * q)
        low, most = np.where(beyond, low, v), np.where(beyond, v, most)

    # q E (v − v*)² at v = 0, less what the unconstrained trade up to ``most`` gains, which the integral gives back.
    k = 2 * q * wanted
    missed = (spread.square(k) - spread.square_put(k) + spread.square_put(k - 2 * q * most)) / (4 * q)

    # Gauss-Legendre between the kinks: the cap begins to bind, the unconstrained trade ends, the trade ends.
    nodes, weights = np.polynomial.legendre.leggauss(n_nodes)
    kinks = np.sort(np.minimum([0 * most, now.cap.quantile(-_TAIL) + 0 * most, np.maximum(wanted, 0.0), most], most), 0)
    for start, end in pairwise(kinks):
        u, j, i = np.nonzero(end > start)
        width = (end - start)[u, j, i][:, None] / 2
        v = start[u, j, i][:, None] + width * (nodes + 1)
        left = np.clip(x[i][:, None] - v, 0.0, x[-1])
        k = 2 * q[u, 0] * (wanted[u, j, i][:, None] - v)
        h, more = spread[u, 0], slope(left, u[:, None], j[:, None]) - now.rest[u, 0].marginal(v)
        gained = h.put(k) - h.put(k + more) * now.cap[u, 0].tail(v)
        missed[u, j, i] += (width * weights * gained).sum(-1)
    return missed + after, spline(x) / (2 * q)


def _decay(market: Market, length: float, load: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Weights of the loads after the decay over a time in a mean before it. Shape: (x, load before, load after)."""
    if len(load) == 1:
        return np.ones((len(x), 1, 1))
    z, weights = liquidity_grid.gauss_hermite(_DECAY_NODES)
    then = x + market.decay_at(z[:, None, None], length) * (load - x)
    return np.einsum("z,zjxk->xjk", weights, CubicSpline(load[:, 0], np.eye(len(load)))(then))
