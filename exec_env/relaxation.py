"""Costs charged in part: a relaxation of the linear-quadratic problem that is still a lower bound.

Without the constraint v ≥ 0, trades may be negative. Where temporary impact is small beside the push that a trade
leaves behind, selling and buying back then pays, ever more, and there is no optimum. Where the spread is a cent now and
dollars later, to buy at dollars earns them, and the bound is far below what anybody can do.

A policy that only sells gains by neither. With v ≥ 0 its push is I ≥ 0 too, so that spread h v, transient cost I v and
permanent cost γ v x' are never negative. To charge but a part of them, whichever, lowers the J of every such policy,
and with it the optimum: that is a lower bound as before, and a higher one where the rest only paid round trips.
"""

import math
from dataclasses import replace
from functools import lru_cache

from scipy.optimize import minimize_scalar

from exec_env import lq
from exec_env.market import Market
from exec_env.order import Order

_NOISY = 1.0  # log standard deviation of the spread up to which charging a part of it never raised a bound
_LEAST, _MOST = 0.02, 20.0  # multiples of the slope that pushes are charged up to
_HALVINGS = 8
_SPREADS = (0.2, 100.0)  # multiples of their mean that half spreads are charged up to
_SEARCH = 12  # of these, at most


def solve(market: Market, order: Order) -> lq.Solution:
    """The linear-quadratic problem, costs charged in part where its bound is else none, or far too low.

    Args:
        market: as of ``lq.solve``.
        order: the order.

    Raises:
        ValueError: as ``lq.solve``, but not where there is no optimum.
    """
    if market.spread_noise <= _NOISY:
        try:
            return lq.solve(market, order)
        except lq.NoOptimum:
            pass
    return lq.solve(market, order, charged=search(market, order))


@lru_cache(maxsize=64)
def search(market: Market, order: Order) -> lq.Charged:
    """What to charge for the highest bound: as much of pushes as gives an optimum; and of a noisy spread what is best.

    Raises:
        ValueError: as ``lq.solve``, but not where there is no optimum.
    """
    charged = lq.Charged()
    try:
        lq.solve(market, order, charged=charged)
    except lq.NoOptimum:
        charged = lq.Charged(push=_largest_push(market, order))
    if market.spread_noise <= _NOISY:
        return charged

    def loss(log_spread: float) -> float:
        return -float(lq.solve(market, order, charged=replace(charged, spread=math.exp(log_spread))).bound)

    bounds = math.log(_SPREADS[0]), math.log(_SPREADS[1])
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"maxiter": _SEARCH, "xatol": 0.05})
    return replace(charged, spread=math.exp(found.x)) if found.fun < loss(math.inf) else charged


def _largest_push(market: Market, order: Order) -> float:
    """Largest multiple of the slope for which there is an optimum, by bisection of its logarithm."""
    low, high = math.log(_LEAST), math.log(_MOST)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        try:
            lq.solve(market, order, charged=lq.Charged(push=math.exp(middle)))
            low = middle
        except lq.NoOptimum:
            high = middle
    return math.exp(low)
