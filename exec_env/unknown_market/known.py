"""The optimum of who knows the impact: the recursion of ``exec_env.optimum.lq`` for many markets at once.

Where nothing but the noise of fills and the price is random, an order's cost is linear-quadratic in inventory x and own
push I, and the best rule is v = a x + b I. The forms of the costs are those of ``exec_env.optimum.cost_forms``; here
each place of their grid is a market of its own. ``excess`` of any trades over an order, summed, is in expectation what
they cost beyond the optimum of their market: that is the regret, and there is no noise of fills in it.

Where pushes are large beside the slope, there is no optimum, because round trips would pay; nobody who only sells gains
by them. There pushes are charged in part, as in ``exec_env.optimum.relaxation``, up to 1.9 slopes: below two slopes
there always is an optimum. What is left out of them is added to the excess.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from exec_env.market.execution import Fill, bps
from exec_env.market.market import Market, lognormal
from exec_env.market.order import Order
from exec_env.optimum.cost_forms import HELD, PUSH, TRADE, Charged, last_cost, slice_cost
from exec_env.optimum.liquidity_grid import gauss_hermite
from exec_env.unknown_market.paths import UnknownSlice

_CHARGED = Charged(push=1.9)
_NODES, _FEWER = 12, 8  # of the quadrature over each of η, γ and κ, and those that tell its error


class Impact(NamedTuple):
    """Impact of many markets. Shape of each: (n,)."""

    slope: np.ndarray  # η/Δ [$/share per share]
    permanent: np.ndarray  # γ [$/share per share]
    transient: np.ndarray  # κ [$/share per share]

    @classmethod
    def of(cls, market: Market, order: Order) -> "Impact":
        """That of one market."""
        each = market.slope(order.slice_length), market.permanent_impact, market.transient_impact
        return cls(*(np.array([value]) for value in each))

    @classmethod
    def drawn(cls, slices: UnknownSlice) -> "Impact":
        """That of each path."""
        return cls(*(np.ascontiguousarray(c[:, 0]) for c in (slices.slope, slices.permanent, slices.transient)))

    @property
    def part(self) -> Any:
        """Part of the push of trades that is charged; one but where there is no optimum, or nearly none."""
        return _CHARGED.part(self.slope, self.permanent + self.transient)


class Rule(NamedTuple):
    """Best trade of a slice, and what others cost. Shape of each: (n,)."""

    by_inventory: Any  # a
    by_push: Any  # b [shares/$]
    curvature: Any  # cost of a trade per square of its difference from the best one [$/share²]
    value: Any  # cost to the end of the order per square of its inventory, without any push [$/share²]

    def trade(self, remaining: Any, push: Any) -> Any:
        """Shares to trade."""
        return self.by_inventory * remaining + self.by_push * push


def backward(market: Market, order: Order, impact: Impact) -> Iterator[Rule]:
    """The best rule of each slice, from the last one back. Half spreads are no part of it: they are paid in any case.

    Written out by entries, because who learns plans anew in every slice of every path: matrices take a hundred times as
    long. The next state is (x − v, decay (I + κ v)), its cost the form (xx, xi, ii).
    """
    slope, permanent, kappa = impact
    part, decay = impact.part, float(market.decay_at(0.0, order.slice_length))
    risk = order.risk_aversion * market.variance_at(0.0, order.slice_length)
    cost = slice_cost(market, order, slope, risk, permanent, part)
    own_vv, own_xx, own_xv = cost[:, TRADE, TRADE], cost[:, HELD, HELD], cost[:, HELD, TRADE]
    own_iv = cost[:, PUSH, TRADE]
    last = last_cost(slope, part)
    xx, xi, ii = last[:, HELD, HELD], last[:, HELD, PUSH], last[:, PUSH, PUSH]
    yield Rule(1.0 + 0.0 * slope, 0.0 * slope, (order.terminal_penalty - 1.0) * slope, xx)
    while True:
        xi, ii = decay * xi, decay**2 * ii
        xv, iv = kappa * xi - xx, kappa * ii - xi
        vv = own_vv - xv + kappa * iv
        xv, iv = own_xv + xv, own_iv + iv
        a, b = -xv / vv, -iv / vv
        xx, xi, ii = own_xx + xx + xv * a, xi + xv * b, ii + iv * b
        yield Rule(a, b, vv, xx)


@dataclass(frozen=True)
class Known:
    """Rules of a whole order for many markets, the first slice first."""

    order: Order
    impact: Impact
    rules: tuple[Rule, ...]
    cost: Any
    """Of an order that is executed by them: the least possible. Shape: (n,). [$]"""

    @classmethod
    def of(cls, market: Market, order: Order, impact: Impact) -> "Known":
        """Solve all markets."""
        rules = tuple(rule for _, rule in zip(range(order.n_steps), backward(market, order, impact), strict=False))
        spread = market.half_spread_at(0.0, 0.0) * order.shares
        return cls(order, impact, rules[::-1], rules[-1].value * order.shares**2 + spread)

    def excess(self, step: int, before: Any, fill: Fill) -> Any:
        """What a fill adds to the expected cost of its order. Shape: (n,). [$]

        Args:
            step: slice of the order, from 0.
            before: state before it, with what is left of the order and its own push.
            fill: what was done.
        """
        rule, part, trade = self.rules[step], self.impact.part, fill.shares - fill.block
        beyond = rule.curvature * (trade - rule.trade(before.remaining, before.transient)) ** 2
        beyond = beyond + part * (self.impact.permanent + self.impact.transient) * trade * fill.block
        return beyond + (1.0 - part) * (fill.permanent + fill.transient)


@dataclass(frozen=True)
class Mean:
    """The least cost of an order, on average over what the impact may be."""

    value_bps: float
    """[bps of the order's arrival notional]"""
    error_bps: float
    """Of the quadrature: what another, coarser one differs by."""
    in_part: float
    """Probability of a market whose pushes are charged in part."""


@lru_cache(maxsize=16)
def mean_cost(market: Market, order: Order, spread: float) -> Mean:
    """The mean over η, γ and κ, lognormal and apart from each other: Gauss-Hermite quadrature in three dimensions."""
    fine, coarse = (_mean_cost(market, order, spread, n) for n in (_NODES, _FEWER))
    return Mean(fine[0], abs(fine[0] - coarse[0]), fine[1])


def _mean_cost(market: Market, order: Order, spread: float, n_nodes: int) -> tuple[float, float]:
    z, weights = gauss_hermite(n_nodes) if spread > 0 else (np.zeros(1), np.ones(1))
    factors = np.meshgrid(*[lognormal(0.0, 0.0, 0.0, spread, z)] * 3, indexing="ij")
    weight = np.einsum("i,j,k->ijk", weights, weights, weights).ravel()
    means = Impact.of(market, order)
    impact = Impact(*(mean * factor.ravel() for mean, factor in zip(means, factors, strict=True)))
    cost = Known.of(market, order, impact).cost * bps(order.shares * market.arrival_price)
    return float(weight @ cost), float(weight @ (impact.part < 1.0))
