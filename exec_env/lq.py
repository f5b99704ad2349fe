"""Linear-quadratic control: the best that any policy can do, and the classical schedules as special cases.

Without the constraint 0 ≤ v ≤ cap the problem is linear-quadratic in inventory x, transient push I and signal α,
given log liquidity ℓ: the optimal cost from slice t on is a quadratic form whose coefficients are functions of ℓ,

    V_t(x, I, α; ℓ) = s' P_t(ℓ) s,   s = (x, I, α, 1).

Dropping constraints can only lower the cost, so V_0 is a lower bound for every policy. The recursion lives on a grid
of ℓ: Gauss-Hermite expectation over the next ℓ with cubic interpolation between grid points, and exact moments of
what else is random (spread noise, seen before trading; impact noise and decay, seen after).

One grid point and no noise is Almgren & Chriss (2001); with a signal it is Garleanu & Pedersen (2013).
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from scipy.interpolate import CubicSpline

from exec_env.execution import Book, Slice, bps
from exec_env.market import BPS, Market
from exec_env.order import Order

# Places in the state before a trade: inventory, transient push, signal, half spread, one; then the trade itself.
_X, _I, _A, _H, _1, _V = range(6)
_NEXT = [_X, _I, _A, _1]  # what the next slice starts from; its spread is drawn anew

_WIDTH = 6.0  # the grid reaches this many standard deviations of ℓ
_GRID, _NODES = 41, 9


@dataclass(frozen=True)
class Solution:
    """Optimal cost and feedback rule of the unconstrained problem."""

    market: Market
    order: Order
    grid: np.ndarray
    """Grid of ℓ. Shape: (n_grid,)."""
    value: np.ndarray
    """P_t(ℓ) before the spread of slice t is seen. Shape: (n_steps, n_grid, 4, 4). [$]"""
    gain: np.ndarray
    """Trade per unit of (x, I, α, half spread, 1). Shape: (n_steps, n_grid, 5)."""

    @cached_property
    def bound(self) -> float:
        """Lower bound on J = E[shortfall] + E[risk] of any policy. [$]"""
        u, weights = _gauss_hermite(4 * _NODES)
        at = self.market.liquidity_volatility * u
        start = CubicSpline(self.grid, self.value[0])(at) if len(self.grid) > 1 else self.value[0]
        p = np.tensordot(weights, np.broadcast_to(start, (len(u), 4, 4)), axes=1)
        s = np.array([self.order.shares, 0.0, self.market.signal, 1.0])
        return float(s @ p @ s + self.market.signal_volatility**2 * p[2, 2])

    @property
    def bound_bps(self) -> float:
        """The bound in basis points of the arrival notional."""
        return self.bound * bps(self.order.shares * self.market.arrival_price)

    @cached_property
    def _rules(self) -> list[Any]:
        return [CubicSpline(self.grid, g) if len(self.grid) > 1 else None for g in self.gain]

    def policy(self, step: int, remaining: Any, transient: Any, signal: Any, half_spread: Any, liquidity: Any) -> Any:
        """Optimal trade of slice ``step``, unconstrained. [shares]

        Args:
            step: slice, from 0.
            remaining: x. [shares]
            transient: I. [$]
            signal: α. [1/day]
            half_spread: of this slice. [$]
            liquidity: ℓ of this slice.

        Shape:
            Whatever the arguments broadcast to.
        """
        rule = self._rules[step]
        inside = np.clip(liquidity, self.grid[0], self.grid[-1])
        k = np.moveaxis(rule(inside), -1, 0) if rule else self.gain[step, 0]
        return k[_X] * remaining + k[_I] * transient + k[_A] * signal + k[_H] * half_spread + k[_1]


def solve(market: Market, order: Order, n_grid: int = _GRID, n_nodes: int = _NODES) -> Solution:
    """Solve the unconstrained problem by backward recursion.

    Args:
        market: its means, noises and elasticities; ``shock_rate`` included.
        order: the order; its cap is ignored, which is what makes the result a bound.
        n_grid: points of the grid of log liquidity.
        n_nodes: nodes of the quadrature over the next log liquidity.

    Raises:
        ValueError: when trading ever faster pays, so that there is no optimum (permanent impact beyond twice the
            temporary slope).

    >>> round(solve(Market(), Order()).bound_bps, 2)
    17.98
    """
    s = market.liquidity_volatility
    u = np.linspace(-_WIDTH, _WIDTH, n_grid) if s > 0 else np.zeros(1)
    transition = _transition(market, order, u, n_nodes) if s > 0 else np.ones((1, 1))
    dt, n = order.slice_length, len(u)
    spread = market.half_spread_at(s * u, 0.0) * np.exp(market.spread_noise**2 / 2)
    spread_squared = (spread**2) * np.exp(market.spread_noise**2)
    slope = market.temporary_at(s * u, 0.0, dt) * np.exp(market.impact_noise**2 / 2)
    risk = order.risk_aversion * market.variance_at(s * u, dt)
    decay = _decay_moments(market, dt)
    moments = np.ones((4, 4))
    moments[1, :] = moments[:, 1] = decay[0]
    moments[1, 1] = decay[1]
    b = np.exp(-market.signal_reversion * dt)

    # Next state before decay and noise: (x − v, I + κ v, b α, 1).
    step = np.zeros((4, 6))
    step[0, [_X, _V]] = 1.0, -1.0
    step[1, [_I, _V]] = 1.0, market.transient_impact
    step[2, _A] = b
    step[3, _1] = 1.0

    values, gains = np.empty((order.n_steps, n, 4, 4)), np.empty((order.n_steps, n, 5))
    ahead = np.zeros((n, 4, 4))
    for t in reversed(range(order.n_steps)):
        if t == order.n_steps - 1:
            q = _last_cost(market, order, slope)
        else:
            expected = np.tensordot(transition, ahead, axes=1)
            q = _cost(market, order, slope, risk) + step.T @ (expected * moments) @ step
            q[:, _1, _1] += market.signal_volatility**2 * (1 - b**2) * expected[:, 2, 2]
        curvature = q[:, _V, _V]
        if (curvature <= 0).any():
            raise ValueError(
                f"no optimum: Market.permanent_impact = {market.permanent_impact:g} is too large beside "
                f"temporary_impact / slice_length = {market.temporary_impact / dt:g}"
            )
        gains[t] = -q[:, _V, :_V] / curvature[:, None]
        after = q[:, :_V, :_V] + q[:, :_V, _V, None] * gains[t][:, None, :]
        # The spread is seen before trading, so it is averaged after minimising.
        ahead = after[:, _NEXT][:, :, _NEXT].copy()
        ahead[:, :, 3] += spread[:, None] * after[:, _NEXT, _H]
        ahead[:, 3, :] += spread[:, None] * after[:, _NEXT, _H]
        ahead[:, 3, 3] += spread_squared * after[:, _H, _H]
        values[t] = ahead
    return Solution(market, order, s * u, values, gains)


def static(market: Market, order: Order) -> Market:
    """The market as a trader sees it who does not look: every random factor at its mean.

    Its optimal schedule is the best non-adaptive one of ``market``, because all factors have mean one.
    """
    decay, _ = _decay_moments(market, order.slice_length)
    noises = {f"{name}_noise": 0.0 for name in ("volume", "spread", "impact", "decay", "slippage")}
    quiet: dict[str, Any] = noises | {"liquidity_volatility": 0.0, "shock_rate": 0.0, "signal_volatility": 0.0}
    return replace(market, resilience=-float(np.log(decay)) / order.slice_length, **quiet)


def schedule(market: Market, order: Order) -> np.ndarray:
    """Trades of the best static schedule. Shape: (n_steps,). [shares]

    Almgren & Chriss (2001) where there is no transient impact and no signal.
    """
    mean, remaining, transient, signal = static(market, order), order.shares, 0.0, market.signal
    solution = solve(mean, order)
    decay = mean.decay_at(0.0, order.slice_length)
    spread = mean.half_spread * BPS * mean.arrival_price
    trades = []
    for t in range(order.n_steps):
        v = float(solution.policy(t, remaining, transient, signal, spread, 0.0))
        trades.append(v)
        remaining, transient = remaining - v, decay * (transient + market.transient_impact * v)
        signal *= np.exp(-market.signal_reversion * order.slice_length)
    trades[-1] += remaining
    return np.array(trades)


def feedback(solution: Solution, step: int, book: Book, now: Slice) -> Any:
    """Optimal unconstrained trade in a situation of an execution. [shares]"""
    to_signal = 1.0 / (solution.market.arrival_price * solution.order.slice_length)
    return solution.policy(
        step, book.remaining, book.transient, now.drift * to_signal, now.half_spread, now.log_liquidity
    )


def _cost(market: Market, order: Order, slope: np.ndarray, risk: np.ndarray) -> np.ndarray:
    """Expected cost of a slice as a quadratic form in (x, I, α, h, 1, v). Shape: (n_grid, 6, 6)."""
    q = np.zeros((len(slope), 6, 6))
    drift = market.arrival_price * order.slice_length
    q[:, _V, _V] = slope - market.permanent_impact + risk
    q[:, _X, _X] = risk
    q[:, _X, _V] = q[:, _V, _X] = market.permanent_impact / 2 - risk
    q[:, _I, _V] = q[:, _V, _I] = 0.5
    q[:, _H, _V] = q[:, _V, _H] = 0.5
    q[:, _X, _A] = q[:, _A, _X] = -drift / 2
    q[:, _A, _V] = q[:, _V, _A] = drift / 2
    return q


def _last_cost(market: Market, order: Order, slope: np.ndarray) -> np.ndarray:
    """Expected cost of the last slice and of the block x − v that closes it. Shape: (n_grid, 6, 6)."""
    q = np.zeros((len(slope), 6, 6))
    push = market.permanent_impact + market.transient_impact  # of the last trade, on the block
    block = order.terminal_penalty * slope
    q[:, _V, _V] = slope + block - push
    q[:, _X, _X] = block
    q[:, _X, _V] = q[:, _V, _X] = push / 2 - block
    q[:, _I, _X] = q[:, _X, _I] = 0.5
    q[:, _H, _X] = q[:, _X, _H] = 0.5
    return q


def _gauss_hermite(n: int) -> tuple[np.ndarray, np.ndarray]:
    nodes, weights = hermegauss(n)
    return nodes, weights / weights.sum()


def _decay_moments(market: Market, slice_length: float) -> tuple[float, float]:
    """Mean and mean square of the decay of transient impact over a slice."""
    z, weights = _gauss_hermite(60)
    decay = market.decay_at(z, slice_length)
    return float(weights @ decay), float(weights @ decay**2)


def _transition(market: Market, order: Order, u: np.ndarray, n_nodes: int) -> np.ndarray:
    """Matrix of E[f(ℓ') | ℓ] for f on the grid ``u`` of ℓ / s. Shape: (n_grid, n_grid)."""
    s, dt = market.liquidity_volatility, order.slice_length
    z, weights = _gauss_hermite(n_nodes)
    interpolate = CubicSpline(u, np.eye(len(u)))
    p = market.shock_probability(dt)

    def expectation(jump: float) -> np.ndarray:
        ahead = market.next_liquidity(s * u[:, None], z, jump, dt) / s
        return np.tensordot(interpolate(np.clip(ahead, u[0], u[-1])), weights, axes=(1, 0))

    return (1 - p) * expectation(0.0) + p * expectation(market.shock_size)
