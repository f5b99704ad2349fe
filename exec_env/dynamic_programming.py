"""Dynamic programming: the best that any policy can do when trades must lie between zero and the cap.

``lq.solve`` drops these constraints. What it gives serves as the yardstick here: its rule v* is optimal without them,
and a trade v that differs costs q (v − v*)² more, q being the curvature of the cost. So, exactly and for any policy,

    J = bound + E Σ_t q_t(ℓ_t) (v_t − v*_t)²,

and the constrained problem is to keep that sum small. Its optimum C_t(x, I, ℓ), the price of the constraints, is
convex, smooth, and small where they seldom bind, so that a coarse grid represents it well. With C̄ the mean of C_{t+1}
over the next liquidity and the decay,

    C_t = E min { q (v − v*)² + C̄(x − v, I + κ v) : 0 ≤ v ≤ min(x, cap) },

the mean being over the spread (in v*) and the volume (in the cap). Both are done in closed form. The cost is convex in
v, and d/dv of it is h − k(v) with k falling: up to the point where it turns positive one gains by trading more, so

    min = cost(0) − ∫_0^x (k(v) − h)⁺ 1{cap > v} dv,   and in the mean   E cost(0) − ∫_0^x put(k(v)) P(cap > v) dv,

the put of Black & Scholes on a lognormal spread, and the tail of a lognormal volume.

A trade pushes up I by what it takes off κ x: the load x + I/κ, the shares held or still pressing on the price, stays as
it is until the push decays. On a grid of load and of the part of it that is held, trades move along one axis.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.ndimage import map_coordinates
from scipy.special import ndtr

from exec_env import lq
from exec_env.execution import bps
from exec_env.market import Market
from exec_env.order import Order

_RESOLUTION = 24
_DECAY_NODES, _LIQUIDITY_NODES = 7, 9
_TAIL = 4.0  # standard deviations of log volume beyond which nothing happens
_LEAST = 0.03  # root of the smallest load of the grid, as a part of the order
_TINY = 1e-300


@dataclass(frozen=True)
class Solution:
    """The best achievable value under the constraints, and the rule that achieves it."""

    market: Market
    order: Order
    linear: lq.Solution
    """The problem without constraints: its value is the bound."""
    value_bps: float
    """The least J of any policy, in basis points of the arrival notional."""
    error_bps: float
    """Estimated numerical error of the value: its change from half of the resolution to the full one."""
    sooner: np.ndarray
    """What is sold beyond v*, because the constraints may bind later. Shape: (n_steps, liquidity, load, held). [shares]
    """

    @property
    def price_of_constraints_bps(self) -> float:
        """How far the best achievable value is above the linear-quadratic bound."""
        return self.value_bps - self.linear.bound_bps

    def policy(self, step: int, remaining: Any, transient: Any, signal: Any, half_spread: Any, liquidity: Any) -> Any:
        """Optimal trade of slice ``step``, between 0 and ``remaining``; where it exceeds the cap, the cap is. [shares]

        The cost being convex in the trade, the volume of the slice does not matter beyond that.

        Args:
            step: slice, from 0.
            remaining: x. [shares]
            transient: I. [$]
            signal: α. [1/day]
            half_spread: of this slice. [$]
            liquidity: ℓ of this slice, a stress included.

        Shape:
            Whatever the arguments broadcast to, as arrays.
        """
        unconstrained = self.linear.policy(step, remaining, transient, signal, half_spread, liquidity)
        target, remaining, transient, liquidity = np.broadcast_arrays(unconstrained, remaining, transient, liquidity)
        x, kappa, s = np.maximum(remaining, 0.0), self.market.transient_impact, self.market.liquidity_volatility
        shift = np.log(self.market.stress_factors(self.order.n_steps).liquidity[step])
        load = x + transient / kappa if kappa > 0 else np.full_like(x, self.order.shares)
        load = np.maximum(load, _LEAST**2 * self.order.shares)
        table = self.sooner[step]
        n_liquidity, n_load, n_held = (n - 1 for n in table.shape)
        across = ((liquidity - shift) / s - self.linear.grid[0]) / np.ptp(self.linear.grid) if s > 0 else 0.0 * x
        along = (np.sqrt(load / self.order.shares) - _LEAST) / (1 - _LEAST)
        low, high = np.zeros_like(x), np.array(x)
        for _ in range(24):  # the root of v − v* − sooner(x − v), which grows with v
            v = (low + high) / 2
            at = [across * n_liquidity, along * n_load, np.sqrt((x - v) / load) * n_held]
            beyond = v > target + map_coordinates(table, at, order=1, mode="nearest")
            low, high = np.where(beyond, low, v), np.where(beyond, v, high)
        return (low + high) / 2


@lru_cache(maxsize=16)
def solve(market: Market, order: Order, resolution: int = _RESOLUTION) -> Solution:
    """Solve the problem with the constraints 0 ≤ v ≤ min(x, cap) by backward recursion.

    Args:
        market: as of ``lq.solve``; a signal must decay without noise.
        order: the order, its cap included.
        resolution: steps of the grid in the shares held; the other axes follow. A multiple of 6, 12 at least.

    Raises:
        ValueError: for problems that are not solved here, and those that ``lq.solve`` refuses.

    >>> solution = solve(Market(), Order())
    >>> round(solution.linear.bound_bps, 2), round(solution.value_bps, 2)
    (17.98, 18.13)
    """
    if market.signal_volatility > 0:
        raise ValueError(
            f"Market.signal_volatility = {market.signal_volatility!r}: must be 0 for the constrained optimum, whose "
            "grid has no axis for a random signal"
        )
    if market.liquidity_volatility == 0 and market.shock_rate > 0 and market.shock_size > 0:
        raise ValueError(
            f"Market.shock_rate = {market.shock_rate!r}: must be 0 for the constrained optimum where "
            "liquidity_volatility is 0"
        )
    if resolution < 12 or resolution % 6:
        raise ValueError(f"resolution = {resolution!r}: must be a multiple of 6, 12 at least")
    linear, value, sooner = _recursion(market, order, resolution)
    _, coarse, _ = _recursion(market, order, resolution // 2)
    return Solution(market, order, linear, value, abs(value - coarse), sooner)


def _recursion(market: Market, order: Order, n: int) -> tuple[lq.Solution, float, np.ndarray]:
    """Unconstrained solution, value [bps] and table of the rule, at one resolution."""
    linear = lq.solve(market, order, n_grid=2 * n + 1)
    every = slice(None, None, 2 if len(linear.grid) > 1 else 1)
    u, dt, kappa = linear.grid[every], order.slice_length, market.transient_impact
    held = np.linspace(0.0, 1.0, n + 1) ** 2
    load = order.shares * (np.linspace(_LEAST, 1.0, 2 * n // 3) ** 2 if kappa > 0 else np.ones(1))
    x = load[:, None] * held
    pushed = kappa * (load[:, None] - x)
    onward = lq.transition(market, order, u, _LIQUIDITY_NODES)
    decayed = _decay(market, order, load, held)
    stress, profile = market.stress_factors(order.n_steps), market.profile(order.n_steps)
    gauss = np.polynomial.legendre.leggauss(n // 2)

    price = np.zeros((len(u), *x.shape))
    tables = []
    for t in reversed(range(order.n_steps)):
        liquidity = (u * market.liquidity_volatility + np.log(stress.liquidity[t]))[:, None, None]
        if t < order.n_steps - 1:
            # Not by BLAS: matrices this small it would share out among threads that wait for each other.
            price = np.einsum("lm,mjk,jkih->lih", onward, price, decayed, optimize=["einsum_path", (0, 1), (0, 1)])
        q = linear.curvature[t, every][:, None, None]
        gain = np.moveaxis(linear.gain[t, every], -1, 0)[..., None, None]
        signal = market.signal * np.exp(-market.signal_reversion * dt * t)
        wanted = gain[0] * x + gain[1] * pushed + gain[2] * signal + gain[4]  # if the spread were zero
        # The spread counts for each share traded now rather than later: not at all in the last slice.
        spread = _Lognormal(-2 * q * gain[3] * market.half_spread_at(liquidity, 0.0), market.spread_noise)

        def cap(z: float, liquidity: Any = liquidity, t: int = t) -> Any:
            if order.max_participation is None:
                return np.full_like(liquidity, np.inf)
            return order.max_participation * market.volume_at(liquidity, z, dt, profile[t])

        price, sooner = _trade(price, x, load, held, q, wanted, spread, cap, market.volume_noise, gauss)
        tables.append(sooner)
    value = linear.bound_bps + float(lq.stationary(u) @ price[:, -1, -1]) * bps(order.shares * market.arrival_price)
    return linear, value, np.array(tables[::-1])


def _trade(
    after: np.ndarray,
    x: np.ndarray,
    load: np.ndarray,
    held: np.ndarray,
    q: np.ndarray,
    wanted: np.ndarray,
    spread: "_Lognormal",
    cap: Callable[[float], Any],
    volume_noise: float,
    gauss: tuple[np.ndarray, np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """One step: from the price of the constraints after the trade to that before spread and volume are seen.

    Shape: arrays (liquidity, load, held), or what broadcasts to that.
    """
    spline = CubicSpline(held, after, axis=-1)
    to_shares = 2 * q * load[:, None]
    sooner = spline(held, 1) / to_shares
    # Nothing is gained by trading more than the first two, and the third is never allowed.
    most = np.maximum(wanted, 0.0) + np.maximum(sooner, 0.0)
    most = np.minimum(np.minimum(x, most), cap(_TAIL))
    ends = np.minimum(most, cap(-_TAIL))  # up to here the cap never binds
    nodes, weights = (gauss[0] + 1) / 2, gauss[1] / 2
    v = np.concatenate([ends[..., None] * nodes, ends[..., None] + (most - ends)[..., None] * nodes], -1)
    dv = np.concatenate([ends[..., None] * weights, (most - ends)[..., None] * weights], -1)
    tail = ndtr(np.log(cap(0.0)[..., None] / np.maximum(v, _TINY)) / volume_noise) if volume_noise > 0 else 1.0

    part = np.clip((x[..., None] - v) / load[:, None, None], 0.0, 1.0)
    cell = np.minimum((np.sqrt(part) * (len(held) - 1)).astype(int), len(held) - 2)
    n_liquidity, n_load = after.shape[:2]
    at = (cell * n_liquidity + np.arange(n_liquidity)[:, None, None, None]) * n_load + np.arange(n_load)[:, None, None]
    c3, c2, c1 = (c.reshape(-1)[at] for c in spline.c[:3])
    d = part - held[cell]
    slope = (3 * c3 * d + 2 * c2) * d + c1
    gain = 2 * q[..., None] * (wanted[..., None] - v)
    wide = spread[..., None]
    integral = (dv * (wide.put(gain) - wide.put(gain + slope / load[:, None, None]) * tail)).sum(-1)

    # q E (v − v*)² at v = 0, less what the unconstrained trade up to ``most`` gains, which the integral gives back.
    k = 2 * q * wanted
    missed = spread.square(k) - spread.square_put(k) + spread.square_put(k - 2 * q * most)
    return missed / (4 * q) + after + integral, sooner


def _decay(market: Market, order: Order, load: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Weights of prices after the decay in their mean before it. Shape: (load, held, load, held), before last."""
    if len(load) == 1:
        return np.eye(len(held))[None, :, None]
    z, weights = lq.gauss_hermite(_DECAY_NODES)
    x = load[:, None] * held
    in_held, in_load = CubicSpline(held, np.eye(len(held))), CubicSpline(load, np.eye(len(load)))
    total = np.zeros((*x.shape, *x.shape))
    for decay, weight in zip(market.decay_at(z, order.slice_length), weights, strict=True):
        then = np.maximum(x + decay * (load[:, None] - x), load[0])
        total += weight * in_load(then)[..., :, None] * in_held(np.minimum(x / then, 1.0))[..., None, :]
    return total.transpose(2, 3, 0, 1)


@dataclass(frozen=True)
class _Lognormal:
    """A random spread h, and how far it stays below a strike k."""

    median: np.ndarray
    noise: float

    def __getitem__(self, index: Any) -> "_Lognormal":
        return _Lognormal(self.median[index], self.noise)

    def _moment(self, n: int) -> Any:
        return self.median**n * np.exp((n * self.noise) ** 2 / 2)

    def _d(self, k: Any) -> Any:
        distance = np.log(np.maximum(k, _TINY) / np.maximum(self.median, _TINY))
        return distance / max(self.noise, 1e-9)

    def square(self, k: Any) -> Any:
        """E (k − h)²."""
        return k**2 - 2 * k * self._moment(1) + self._moment(2)

    def put(self, k: Any) -> Any:
        """E (k − h)⁺: Black & Scholes (1973)."""
        d = self._d(k)
        return np.maximum(k, 0.0) * ndtr(d) - self._moment(1) * ndtr(d - self.noise)

    def square_put(self, k: Any) -> Any:
        """E ((k − h)⁺)²."""
        d, positive = self._d(k), np.maximum(k, 0.0)
        first, second = ndtr(d - self.noise), ndtr(d - 2 * self.noise)
        return positive**2 * ndtr(d) - 2 * positive * self._moment(1) * first + self._moment(2) * second
