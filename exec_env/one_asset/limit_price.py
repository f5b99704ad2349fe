"""Limit prices of live child orders: how far from the touch, rounded to the tick."""

from dataclasses import dataclass

from exec_env.base.errors import InputError
from exec_env.base.validation import is_finite, shown
from exec_env.market.market import BPS
from exec_env.market.multiples import Multiples
from exec_env.one_asset.snapshot import Snapshot

RULES = {"touch": 0.0, "mid": 0.5, "join": 1.0}
"""By name, how much of the spread a limit is on our side of the price that a market order gets: none of it, half, or
all, which joins who is quoted there."""


@dataclass(frozen=True)
class LimitPrice:
    """A rule for limit prices.

    A sell is rounded down to the tick and a buy up: towards the side that trades, by less than a tick, so that rounding
    alone never makes an order rest.

    >>> from datetime import datetime
    >>> now = Snapshot(datetime(2026, 1, 5), mid=100.0, spread=0.05, volume=1e5)
    >>> LimitPrice.parse("2").of(now, sign=1.0, tick=0.01), LimitPrice.parse("mid").of(now, sign=-1.0, tick=0.01)
    (99.95, 100.0)
    """

    part: float
    """Of the spread, towards our side."""
    beyond: float = 0.0
    """Beyond that, against us. [bps of the mid]"""

    @classmethod
    def parse(cls, text: str) -> "LimitPrice":
        """From the name of a rule, or from bps beyond the touch; below zero they are on our side of it.

        Raises:
            InputError: for anything else.
        """
        if text in RULES:
            return cls(RULES[text])
        try:
            beyond = float(text)
        except (TypeError, ValueError):
            beyond = float("nan")
        if not is_finite(beyond) or abs(beyond) >= 1 / BPS:
            raise InputError(
                f"limit_price = {shown(text)}: must be one of {', '.join(RULES)}, or bps beyond the touch, in "
                f"(-{1 / BPS:g}, {1 / BPS:g})"
            )
        return cls(0.0, beyond)

    @property
    def trades(self) -> bool:
        """Whether such an order meets the touch, so that it is filled at once."""
        return self.part == 0 and self.beyond >= 0

    def of(self, now: Snapshot, sign: float, tick: float) -> float:
        """The limit of a child order. [$]

        Args:
            now: the market.
            sign: +1 for a sell, −1 for a buy.
            tick: 0 for any price.

        Raises:
            InputError: where that is no price.
        """
        price = now.mid - sign * (now.spread * (0.5 - self.part) + self.beyond * BPS * now.mid)
        if tick > 0:
            ticks = Multiples.of(tick)
            price = ticks.down(price) if sign > 0 else ticks.up(price)
        if not price > 0:
            raise InputError(f"snapshot: the limit price would be {price:g}: must be > 0")
        return price
