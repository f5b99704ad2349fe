"""Costs of a slice as quadratic forms, and what part of them is charged: what ``exec_env.optimum.lq`` minimises."""

import math
from dataclasses import dataclass
from typing import Any

from exec_env.base.namespace import namespace
from exec_env.market.market import Market
from exec_env.market.order import Order

HELD, PUSH, SIGNAL, SPREAD, ONE, TRADE = range(6)
"""Places in the state before a trade: inventory, transient push, signal, half spread, one; then the trade itself."""
Entries = dict[tuple[int, int], Any]
"""Place of each entry that is not zero -> a number, or one for each grid point."""


@dataclass(frozen=True)
class Charged:
    """How much of the spread and of the push of trades is charged: all of it by default; see ``optimum.relaxation``.

    >>> Charged(push=2.0).part(1.0, 4.0), Charged(push=2.0).part(3.0, 4.0)
    (0.5, 1.0)
    """

    spread: float = math.inf
    """Half spreads are charged up to this many times their mean at the same liquidity."""
    push: float = math.inf
    """Transient and permanent impact are charged up to this many times the slope of temporary impact."""

    def part(self, slope: Any, push: Any) -> Any:
        """Part of the push κ + γ [$/share per share] that is charged; the slope's shape, or a number."""
        if self.push == math.inf:
            return 1.0
        # The tiny number, which single precision has too, is for markets without any push.
        return namespace(slope).minimum(self.push * slope / (push + 1e-30), 1.0 + 0.0 * slope)

    def spread_moments(self, noise: Any) -> tuple[Any, Any]:
        """E[min(m, c)] and E[min(m, c)²] for a mean-one m = exp(noise z − noise² / 2), with c = ``spread``."""
        if self.spread == math.inf or noise == 0:
            least = min(self.spread, 1.0)
            return least, least**2 * square_mean(noise)
        xp, c = namespace(noise), self.spread
        z = (math.log(c) + noise**2 / 2) / noise
        beyond = xp.ndtr(-z)
        return xp.ndtr(z - noise) + c * beyond, square_mean(noise) * xp.ndtr(z - 2 * noise) + c**2 * beyond


EVERYTHING = Charged()
"""All is charged."""


def slice_cost(market: Market, order: Order, slope: Any, risk: Any, permanent: Any, part: Any) -> Any:
    """Expected cost of a slice as a quadratic form in (x, I, α, h, 1, v), ``part`` of pushes charged.

    Shape:
        (n_grid, 6, 6).
    """
    permanent = part * permanent
    drift = market.arrival_price * order.slice_length
    entries: Entries = {
        (TRADE, TRADE): slope - permanent + risk,
        (HELD, HELD): risk,
        (HELD, TRADE): permanent / 2 - risk,
        (PUSH, TRADE): part / 2,
        (SPREAD, TRADE): 0.5,
        (HELD, SIGNAL): -drift / 2,
        (SIGNAL, TRADE): drift / 2,
    }
    return symmetric(entries, 6, slope)


def last_cost(slope: Any, part: Any) -> Any:
    """Least expected cost of the last slice, in (x, I, α, h, 1): that of selling all. Shape: (n_grid, 5, 5).

    A block b that is left costs (γ + κ) v b + (terminal_penalty − 1) slope b² more, which is never negative. Were v
    free, there would be no optimum where the penalty is near one.
    """
    entries: Entries = {(HELD, HELD): slope, (PUSH, HELD): part / 2, (SPREAD, HELD): 0.5}
    return symmetric(entries, 5, slope)


def symmetric(entries: Entries, n: int, like: Any, rest: float = 0.0) -> Any:
    """``form`` of entries on both sides of the diagonal. Shape: (len(like), n, n)."""
    return form(entries | {(j, i): value for (i, j), value in entries.items()}, (n, n), like, rest)


def form(entries: Entries, shape: tuple[int, int], like: Any, rest: float = 0.0) -> Any:
    """Matrices from their entries, numbers or one for each grid point. Shape: (len(like), *shape)."""
    zero = 0.0 * like
    columns = [zero + entries.get((i, j), rest) for i in range(shape[0]) for j in range(shape[1])]
    return namespace(like).stack(columns, -1).reshape(len(like), *shape)


def square_mean(noise: Any) -> Any:
    """E[m²] = e^{v²} of a mean-one noise m with log standard deviation v."""
    return namespace(noise).exp(noise**2)
