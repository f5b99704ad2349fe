"""Linear-quadratic control: the best that any policy can do, and the classical schedules as special cases.

Without the constraint 0 ≤ v ≤ cap the problem is linear-quadratic in inventory x, transient push I and signal α,
given log liquidity ℓ: the optimal cost from slice t on is a quadratic form whose coefficients are functions of ℓ,

    V_t(x, I, α; ℓ) = s' P_t(ℓ) s,   s = (x, I, α, 1).

Dropping constraints can only lower the cost, so V_0 is a lower bound for every policy (where it is none, or too low,
see ``exec_env.optimum.relaxation``). The recursion lives on a grid
of ℓ: Gauss-Hermite expectation over the next ℓ with cubic interpolation between grid points, and exact moments of
what else is random (spread noise, seen before trading; impact noise and decay, seen after).

The grid ends at six standard deviations of ℓ, and further down where shocks can take it; what lies beyond is treated
as its edge, an event of probability 2e-9, or with shocks about 1e-6.

Where the market has regimes (``optimum.regimes``), the coefficients are functions of the regime too, and the next
one is part of the expectation: a Markov jump linear-quadratic problem (Costa, Fragoso & Marques 2005, "Discrete-time
Markov jump linear systems", chapter 4). The rule then sees the regime, but not what is to come. Of a stress that
begins at random the *bound* is that of an oracle who knows when: the mean over onsets of the bound of each.
One grid point and no noise is Almgren & Chriss (2001); with a signal it is Garleanu & Pedersen (2013). ``minimise``
alone, iterated, is LQR. Fields of Market and Order may be torch tensors: the bound is then a tensor, and gradients
flow to every field but θ, the shocks, stress, regimes, nights and the decay of the signal, which shape the grid's
transitions or multiply them.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy.interpolate import CubicSpline

from exec_env.base.errors import NoBound
from exec_env.base.namespace import as_like, namespace
from exec_env.base.validation import require_count, require_type
from exec_env.market.clock import of_each
from exec_env.market.execution import bps
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.optimum import liquidity_grid, regimes
from exec_env.optimum.cost_forms import (
    EVERYTHING,
    HELD,
    ONE,
    PUSH,
    SIGNAL,
    SPREAD,
    TRADE,
    Charged,
    Entries,
    form,
    last_cost,
    slice_cost,
    symmetric,
)
from exec_env.optimum.seen import Seen
from exec_env.optimum.sight import FullSight, HiddenSight, Sight

_NEXT = [HELD, PUSH, SIGNAL, ONE]  # what the next slice starts from; its spread is drawn anew

_GRID = 41
_PRECISION = 1e8  # a risk charge this many times the slope of impact leaves half of the digits


class NoOptimum(NoBound):
    """There is no optimum, because trading ever faster, there and back, pays."""


@dataclass(frozen=True)
class Solution:
    """Optimal cost and feedback rule of the unconstrained problem; arrays are tensors where a parameter was one."""

    market: Market
    order: Order
    grid: np.ndarray
    """Grid of ℓ, multipliers left out, in units of ``unit``. Shape: (n_grid,)."""
    unit: Any
    """Unit of ℓ on the grid: s, or a part of a shock where such a part is larger than s."""
    regimes: regimes.Chain
    """Regimes that the rule tells apart."""
    at_arrival: Any
    """P_0 before anything is seen, fees left out. Shape: (4, 4). [$]"""
    gain: Any
    """Trade per unit of (x, I, α, half spread, 1). Shape: (n_steps, n_regimes, n_grid, 5)."""
    curvature: Any
    """Extra cost of a trade per square of its difference from the optimal one. J of any policy is ``cost`` plus the
    expected sum of these extra costs, see ``excess``. Shape: (n_steps, n_regimes, n_grid). [$/share²]"""
    last_push: Any
    """γ + κ of the last slice, as far as it is charged: each share of its trade costs each share of the block that
    closes the order so much more. Shape: (n_regimes, n_grid). [$/share per share]"""
    charged: Charged = EVERYTHING
    """Costs that are charged in part only; J above is then the sum of what is charged."""

    @property
    def std(self) -> float:
        """Stationary standard deviation of ℓ, shocks left out, in units of the grid."""
        return liquidity_grid.plain(self.market.liquidity_volatility) / (liquidity_grid.plain(self.unit) or 1.0)

    @cached_property
    def cost(self) -> Any:
        """J of the rule: the least of any policy that sees regimes only as they come. [$]"""
        p, shares, alpha = self.at_arrival, self.order.shares, self.market.signal
        quadratic = shares**2 * p[0, 0] + alpha**2 * p[2, 2] + p[3, 3] + self.market.signal_volatility**2 * p[2, 2]
        # Fees are paid on all shares, whatever the rule: they are in no form.
        linear = 2 * (shares * alpha * p[0, 2] + shares * p[0, 3] + alpha * p[2, 3])
        return quadratic + linear + shares * self.market.fee

    @cached_property
    def bound(self) -> Any:
        """Lower bound on J = E[shortfall] + E[risk] of any policy, even of one that knows when a stress begins. [$]"""
        if not self.market.random_onset:
            return self.cost
        begun = self.market.stress_begun(self.order.n_steps)
        probabilities = np.diff(begun, prepend=0.0, append=1.0)
        total = 0.0
        for first in np.flatnonzero(probabilities):
            # Just before the slice, so that rounding does not put it off; after the last slice it is never.
            onset = max(float(first) - 0.5, 0.0) / self.order.n_steps
            known = replace(self.market, stress_onset=onset, stress_onset_end=None)
            total = total + float(probabilities[first]) * solve(known, self.order, charged=self.charged).cost
        return total

    @property
    def bound_bps(self) -> Any:
        """The bound in basis points of the arrival notional: a float, or a tensor with its gradient."""
        return self._bps(self.bound)

    @property
    def cost_bps(self) -> Any:
        """J of the rule in basis points of the arrival notional: the bound, unless a stress begins at random."""
        return self._bps(self.cost)

    def _bps(self, dollars: Any) -> Any:
        scaled = dollars * bps(self.order.shares * self.market.arrival_price)
        return float(scaled) if isinstance(scaled, np.generic) else scaled

    def policy(self, seen: Seen, gains: Any = None) -> Any:
        """Optimal trade of a slice, unconstrained. Shape: whatever the fields of ``seen`` broadcast to. [shares]

        Args:
            seen: what the rule goes by.
            gains: those of ``gains_at``, where they are known already.
        """
        k = self.gains_at(seen.step, seen.liquidity, seen.regime) if gains is None else gains
        half_spread = seen.half_spread
        if self.charged.spread < math.inf:
            # The mean spread at this liquidity is the spread where its noise is one.
            mean = self.market.half_spread_at(seen.liquidity, self.market.spread_noise / 2)
            half_spread = np.minimum(half_spread, self.charged.spread * mean)
        linear = k[HELD] * seen.remaining + k[PUSH] * seen.transient + k[SIGNAL] * seen.signal
        return linear + k[SPREAD] * half_spread + k[ONE]

    def excess(self, seen: Seen, shares: Any, gains: Any = None, last_push: Any = None) -> Any:
        """What trading ``shares`` in a slice, the closing block left out, adds to the cost. [$]

        In expectation, the sum of it over an episode is what any policy's J has above ``cost``. It varies much less
        than J itself: it is q (v − v*)², and (γ + κ) v b more where a block b is left after the last slice.

        Args:
            seen: what the rule goes by.
            shares: v.
            gains: those of ``gains_at``, where they are known already.
            last_push: that of ``last_push_at``, likewise.
        """
        gains = self.gains_at(seen.step, seen.liquidity, seen.regime) if gains is None else gains
        beyond = gains[-1] * (shares - self.policy(seen, gains)) ** 2
        if seen.step < self.order.n_steps - 1:
            return beyond
        push = self.last_push_at(seen.liquidity, seen.regime) if last_push is None else last_push
        return beyond + push * shares * (seen.remaining - shares)

    def curvature_at(self, step: int, liquidity: Any, regime: int = 0) -> Any:
        """``curvature`` where the log liquidity of slice ``step``, multipliers included, is ``liquidity``."""
        return self.gains_at(step, liquidity, regime)[-1]

    def last_push_at(self, liquidity: Any, regime: int = 0) -> Any:
        """``last_push`` where the log liquidity of the last slice, multipliers included, is ``liquidity``."""
        u = self.coordinate(self.order.n_steps - 1, liquidity, regime)
        return np.interp(u, self.grid, self.last_push[regime])

    def coordinate(self, step: int, liquidity: Any, regime: int = 0) -> Any:
        """Where on ``grid`` the log liquidity of a slice is, multipliers included."""
        shift = np.log(self.regimes.factors.liquidity[step, regime])
        return (liquidity - shift) / self.unit if len(self.grid) > 1 else 0.0 * liquidity

    @cached_property
    def _splines(self) -> list[list[CubicSpline]]:
        """Gains and curvature of each slice and regime, as functions of where on the grid ℓ is."""
        parts = [np.asarray(a.detach() if hasattr(a, "detach") else a) for a in (self.gain, self.curvature[..., None])]
        return [[CubicSpline(self.grid, values) for values in each] for each in np.concatenate(parts, -1)]

    def gains_at(self, step: int, liquidity: Any, regime: int = 0) -> Any:
        """Gains and curvature of a slice where its log liquidity, multipliers included, is ``liquidity``."""
        if len(self.grid) == 1:
            return *self.gain[step, regime, 0], self.curvature[step, regime, 0]
        u = np.clip(self.coordinate(step, liquidity, regime), self.grid[0], self.grid[-1])
        return np.moveaxis(self._splines[step][regime](u), -1, 0)


def minimise(q: Any) -> tuple[Any, Any]:
    """Minimise quadratic forms over their last variable: one step of every recursion of this project.

    Args:
        q: symmetric forms in (state, control); arrays or tensors. Shape: (..., n + 1, n + 1).

    Returns:
        Gains k of the control k's, shape (..., n), and forms of the minimum in the state, shape (..., n, n).
    """
    gain = -q[..., -1, :-1] / q[..., -1, -1][..., None]
    return gain, q[..., :-1, :-1] + q[..., :-1, -1, None] * gain[..., None, :]


def solve(
    market: Market,
    order: Order,
    n_grid: int = _GRID,
    n_nodes: int = liquidity_grid.NODES,
    observed: bool = True,
    charged: Charged = EVERYTHING,
    hidden: bool = False,
) -> Solution:
    """Solve the unconstrained problem by backward recursion.

    Args:
        market: its means, noises and elasticities; shocks, stress and regimes included.
        order: the order; its cap is ignored, which is what makes the result a bound.
        n_grid: points of the grid of log liquidity, and more where there are shocks.
        n_nodes: nodes of the quadrature over the next log liquidity.
        observed: whether regimes are seen. If not, each slice is the mean over its regimes, as it is to a schedule
            that is fixed at arrival.
        charged: what is left out of the costs, which makes the bound looser, or possible; see ``optimum.relaxation``.
        hidden: whether liquidity is hidden; the rule then goes by the filter's mean, and the bound is that of whoever
            sees no more (``exec_env.market.liquidity_filter``).

    Raises:
        NoOptimum: when trading ever faster pays (permanent impact beyond twice the temporary slope).
        NoBound: for impact that is not linear, risk too large beside impact to be solved in double precision, and
            shocks that reach too far for a grid.
        InputError: for ``n_grid`` or ``n_nodes`` that are no counts.

    >>> round(solve(Market(), Order()).bound_bps, 2)
    20.15
    >>> noisy = Market(volume_noise=0.6, spread_noise=0.5)
    >>> round(solve(noisy, Order(), hidden=True).bound_bps, 2)
    20.53
    """
    require_type(Market, market=market)
    require_type(Order, order=order)
    require_type(Charged, charged=charged)
    require_count(2, n_grid=n_grid)
    require_count(n_nodes=n_nodes)
    if not (isinstance(market.impact_exponent, float) and market.impact_exponent == 1.0):
        raise NoBound(
            f"no linear-quadratic bound for Market.impact_exponent = {float(market.impact_exponent):g}: only linear "
            "impact, 1, has one; dynamic programming (--optimum) gives the best achievable value"
        )
    dt = order.slice_length
    like = next((f for f in (*vars(market).values(), *vars(order).values()) if hasattr(f, "detach")), None)
    sight: Sight = (
        HiddenSight(market, order, n_grid, charged)
        if hidden
        else FullSight(market, order, n_grid, n_nodes, like, observed, charged)
    )
    u, unit, n_regimes = sight.grid, sight.unit, sight.chain.n_regimes
    slope = sight.coefficients(0)[1]
    b = float(np.exp(-float(market.signal_reversion) * dt))
    # Next state before decay and noise, from (x, I, α, h, 1, v): (x − v, I + κ v, b α, 1).
    moves: Entries = {(0, HELD): 1.0, (0, TRADE): -1.0, (1, PUSH): 1.0, (1, TRADE): market.transient_impact}
    step = form(moves | {(2, SIGNAL): b, (3, ONE): 1.0}, (4, 6), slope[:1])[0]
    moments = _moments_of_decay(market, order, slope[:1])
    noise = market.signal_volatility**2 * (1 - b**2)

    gains, curvatures, after = [], [], None
    for t in reversed(range(order.n_steps)):
        _, slope, risk, permanent = sight.coefficients(t)
        part = charged.part(slope, permanent + market.transient_impact)
        if after is None:
            convex = slope
            last_push = part * (permanent + market.transient_impact)
        else:
            expected = sight.before(t + 1, after)
            q = slice_cost(market, order, slope, risk, permanent, part) + step.T @ (expected * moments[t]) @ step
            q = q + form({(ONE, ONE): noise * expected[:, 2, 2]}, (6, 6), slope)
            convex = q[:, TRADE, TRADE]
        if not bool((convex > 0).all()):
            gamma, eta, aversion = map(
                liquidity_grid.plain, (market.permanent_impact, market.temporary_impact, order.risk_aversion)
            )
            below = f", or Order.risk_aversion = {aversion:g} too far below zero," if aversion < 0 else ""
            raise NoOptimum(
                f"no optimum: Market.permanent_impact = {gamma:g} or transient_impact is too "
                f"large{below} beside temporary_impact / slice_length = {eta / dt:g} where "
                f"{_movers(market)} takes it"
            )
        if bool((risk > _PRECISION * slope).any()):
            raise NoBound(
                f"Order.risk_aversion = {float(order.risk_aversion):g}: too large beside temporary impact to be solved "
                "in double precision"
            )
        if after is None:
            gain, after = form({(0, HELD): 1.0}, (1, 5), slope)[:, 0], last_cost(slope, part)
            curvature = (order.terminal_penalty - 1.0) * slope
        else:
            (gain, after), curvature = minimise(q), convex
        gains.append(gain)
        curvatures.append(curvature)
    tables = (namespace(slope).stack(a[::-1], 0) for a in (gains, curvatures))
    gain, curvature = (a.reshape(a.shape[0], n_regimes, len(u), *a.shape[2:]) for a in tables)
    push = last_push.reshape(n_regimes, len(u))
    return Solution(market, order, u, unit, sight.chain, sight.before(0, after), gain, curvature, push, charged)


def solve_linearised(market: Market, order: Order, n_grid: int = _GRID) -> Solution:
    """``solve`` of ``Market.linearised``: of the market itself where its impact is linear, else no bound of it.

    Raises:
        NoBound: as ``solve``, like the rest.
    """
    require_type(Market, market=market)
    require_type(Order, order=order)
    try:
        return solve(market.linearised(order), order, n_grid)
    except NoBound as error:
        if market.impact_exponent == 1:
            raise
        raise type(error)(f"with impact linearised at the order's average rate, {error}") from None


def _movers(market: Market) -> str:
    """What takes the slope of temporary impact away from its mean, for a message."""
    plain = liquidity_grid.plain
    named = [f"liquidity_volatility = {plain(market.liquidity_volatility):g}"]
    if market.has_shocks and market.own_stress.shock_rate == 0:
        named.append(f"shock_size = {plain(market.shock_size):g}")
    if float(market.own_stress.factor) != 1:
        named.append(f"stress = {market.stress!r} × {plain(market.own_stress.factor):.3g}")
    if market.regime_rate > 0 and float(market.regime_liquidity) != 1:
        named.append(f"regime_liquidity = {plain(market.regime_liquidity):g}")
    return " with ".join(filter(None, [named[0], " and ".join(named[1:])]))


def _moments_of_decay(market: Market, order: Order, like: Any) -> list[Any]:
    """Of each slice, means of what decay makes of the products of inventory, push, signal and one."""
    known: dict[Any, Any] = {}
    lengths = of_each(market.spans(order)[1], order.n_steps)
    for length in lengths:
        if length not in known:
            decay, squared = decay_moments(market, length)
            entries = {(0, 1): decay, (1, 1): squared, (1, 2): decay, (1, 3): decay}
            known[length] = symmetric(entries, 4, like, 1.0)[0]
    return [known[length] for length in lengths]


def decay_moments(market: Market, slice_length: Any) -> tuple[Any, Any]:
    """Mean and mean square of the decay of transient impact over a slice."""
    z, weights = liquidity_grid.gauss_hermite(60)
    like = next((f for f in (market.resilience, market.decay_noise) if hasattr(f, "detach")), None)
    decay, weights = market.decay_at(as_like(z, like), slice_length), as_like(weights, like)
    return (weights * decay).sum(), (weights * decay**2).sum()
