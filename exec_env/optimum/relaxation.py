"""Costs charged in part: a relaxation of the linear-quadratic problem that is still a lower bound.

Without the constraint v ≥ 0, trades may be negative. Where temporary impact is small beside the push that a trade
leaves behind, selling and buying back then pays, ever more, and there is no optimum. Where the spread is a cent now and
dollars later, to buy at dollars earns them, and the bound is far below what anybody can do.

A policy that only sells gains by neither. With v ≥ 0 its push is I ≥ 0 too, so that spread h v, transient cost I v and
permanent cost γ v x' are never negative. To charge but a part of them, whichever, lowers the J of every such policy,
and with it the optimum: that is a lower bound as before, and a higher one where the rest only paid round trips.
To charge more is not always better: short of where there is no optimum at all, round trips already pay a lot.
"""

import math
from dataclasses import replace
from functools import lru_cache

from exec_env.base.validation import require_type
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.optimum import lq
from exec_env.optimum.cost_forms import Charged
from exec_env.optimum.liquidity_grid import plain

_NOISY = 1.0  # log standard deviation of the spread up to which charging a part of it never raised a bound
_PUSHES = (0.01, 10.0)  # multiples of the slope that pushes are charged up to
_SPREADS = (0.001, 100.0)  # multiples of their mean that half spreads are charged up to
_CUTS = 8  # times that a range is cut, each time to 0.62 of its length
_GOLDEN = (math.sqrt(5) - 1) / 2


def solve(market: Market, order: Order) -> lq.Solution:
    """The linear-quadratic problem, costs charged in part where its bound is else none, or far too low.

    Args:
        market: as of ``lq.solve``.
        order: the order.

    Raises:
        NoOptimum: when trading costs nothing, however fast.
        NoBound: as ``lq.solve``.
    """
    require_type(Market, market=market)
    require_type(Order, order=order)
    if market.spread_noise <= _NOISY:
        try:
            solution = lq.solve(market, order)
        except lq.NoOptimum:
            pass
        else:
            if _has_bound(solution):
                return solution
    return lq.solve(market, order, charged=search(market, order))


def left_out(charged: Charged) -> str:
    """What a table says of a bound beside which not all is charged; nothing where all is.

    >>> left_out(Charged(push=1.5))
    'the bound charges pushes up to 1.5 times the slope of temporary impact: to charge all gives none, or a lower one'
    """
    parts = []
    if charged.spread < math.inf:
        parts.append(f"spreads up to {charged.spread:.3g} times their mean")
    if charged.push < math.inf:
        parts.append(f"pushes up to {charged.push:.3g} times the slope of temporary impact")
    return f"the bound charges {' and '.join(parts)}: to charge all gives none, or a lower one" if parts else ""


@lru_cache(maxsize=64)
def search(market: Market, order: Order) -> Charged:
    """What to charge for a high bound: of pushes what is best beside spreads up to their mean, of spreads, and again.

    Where a stress begins at random, the bound is that of the policy that sees it begin, which is quicker to find.

    Raises:
        NoOptimum: when trading costs nothing, however fast.
        NoBound: as ``lq.solve``.
    """
    charged = _best(market, order, Charged(spread=1.0), "push", _PUSHES, (math.inf, 0.0))
    charged = _best(market, order, charged, "spread", _SPREADS, (math.inf,))
    if 0 < charged.push < math.inf:
        charged = _best(market, order, charged, "push", (charged.push / 2, charged.push * 2), (charged.push,))
    while charged.push > 0 and not _has_bound(lq.solve(market, order, charged=charged)):
        charged = replace(charged, push=charged.push / 2 if _PUSHES[0] < charged.push < math.inf else 0.0)
    return charged


def _has_bound(solution: lq.Solution) -> bool:
    """Whether there is an optimum whenever a stress of random onset begins."""
    try:
        return solution.bound is not None
    except lq.NoOptimum:
        return False


def _best(
    market: Market, order: Order, charged: Charged, name: str, ends: tuple[float, float], others: tuple[float, ...]
) -> Charged:
    """``charged`` with the field ``name`` that gives the highest cost: by golden section of its log, or of ``others``.

    No optimum is the lowest of all; it comes with charging too much, so that of two without the smaller is better.
    """

    def cost(multiple: float) -> float:
        try:
            return plain(lq.solve(market, order, charged=replace(charged, **{name: multiple})).cost)
        except lq.NoOptimum:
            return -math.inf

    low, high = map(math.log, ends)
    inner = [high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)]
    found = {x: cost(math.exp(x)) for x in inner}
    for _ in range(_CUTS):
        left, right = inner
        if found[right] > found[left]:
            low, inner = left, [right, left + _GOLDEN * (high - left)]
        else:
            high, inner = right, [right - _GOLDEN * (right - low), left]
        found |= {x: cost(math.exp(x)) for x in inner if x not in found}
    costs = {x: cost(x) for x in others} | {math.exp(x): value for x, value in found.items()}
    return replace(charged, **{name: max(costs, key=lambda x: costs[x])})
