"""Options of the one-asset problem as people write them: texts with units to numbers, clock times to slices."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from exec_env.base.errors import InputError
from exec_env.base.units import ALLOWED, HOURS_PER_DAY, Kind, clock, clock_text, quantity, span
from exec_env.base.validation import shown
from exec_env.market.market import Market
from exec_env.market.order import Order

KINDS: dict[str, Kind] = {
    **dict.fromkeys(("shares", "daily_volume"), "size"),
    "slice_length": "time",
    **dict.fromkeys(("volatility", "max_participation", "reference_participation"), "part"),
    **dict.fromkeys(("stress_onset", "stress_onset_end"), "part"),
    **dict.fromkeys(("half_spread", "slippage_noise"), "bps"),
}
"""Fields of Market and Order that may be given as a text with a unit, and what that is a unit of."""


@dataclass(frozen=True)
class Clock:
    """What time it is: the length of the trading day, and when in it the order arrives."""

    hours_per_day: float = HOURS_PER_DAY
    """[hour]"""
    start: float | None = None
    """Hour of the day at which the order arrives; None: nobody said. [hour]"""

    @property
    def unit(self) -> str:
        """What ``labels`` are, for the header of a column."""
        return "clock" if self.start is not None else "h:mm since arrival"

    def span(self, days: float) -> str:
        """A length of time as people say it."""
        return span(days, self.hours_per_day)

    def labels(self, order: Order) -> list[str]:
        """When each slice begins, and when the last one ends; of later sessions with their number before it.

        >>> Clock(start=9.5).labels(Order(n_steps=2)), Clock().labels(Order(n_steps=2, slice_length=1.0))
        (['09:30', '09:35', '09:40'], ['00:00', 'day 2 00:00', 'day 3 00:00'])
        """
        minutes = 60 * self.hours_per_day * order.slice_length
        seconds, found = abs(minutes - round(minutes)) > 1e-6, []
        several = order.horizon > 1 + 1e-9
        for k in range(order.n_steps + 1):
            day, passed = divmod(k * order.slice_length + 1e-9, 1.0) if several else (0.0, k * order.slice_length)
            text = clock_text((self.start or 0.0) + passed * self.hours_per_day, seconds)
            found.append(f"day {day + 1:.0f} {text}" if day else text)
        return found


def numbers(options: Mapping[str, Any], market: Market, order: Order, hours_per_day: float) -> dict[str, Any]:
    """Options whose texts with units are numbers.

    Args:
        options: fields of Market and Order; others are left as they are.
        market: has the daily volume where that is not among them.
        order: whose field is named in messages.
        hours_per_day: length of the trading day. [hour]

    Raises:
        InputError: naming the field, the text and what is allowed.
    """
    volume = market.daily_volume
    if "daily_volume" in options:
        # First, and no part of itself.
        given = _number("daily_volume", options["daily_volume"], market, hours_per_day, None)
        volume, options = given, {**options, "daily_volume": given}
    return {
        name: _number(name, value, market if hasattr(market, name) else order, hours_per_day, volume)
        for name, value in options.items()
    }


def _number(name: str, value: Any, of: Any, hours_per_day: float, daily_volume: float | None) -> Any:
    kind = KINDS.get(name)
    if kind is None or not isinstance(value, str):
        return value
    try:
        return quantity(value, kind, hours_per_day, daily_volume)
    except InputError as error:
        said = f"{type(of).__name__}.{name} = {shown(value)}: {error}"
    try:  # what numbers may be, in the words of the field
        replace(of, **{name: value})
    except InputError as error:
        said = f"{error}, or with a unit, as {ALLOWED[kind]}" if not value.strip()[:1].isdigit() else said
    raise InputError(said)


def between(start: str | None, end: str | None, options: dict[str, Any], order: Order, hours_per_day: float) -> Clock:
    """The clock of an order; where an ``end`` is given too, ``options`` get its slices.

    Args:
        start: when the order arrives, HH:MM.
        end: when it has to be done, HH:MM of the same session; with it one of n_steps and slice_length is enough.
        options: fields of Market and Order, as numbers; changed in place.
        order: what slices are like where neither is given.
        hours_per_day: length of the trading day. [hour]

    Raises:
        InputError: naming the option, its value and what is allowed.
    """
    if start is None:
        if end is not None:
            raise InputError(f"end = {shown(end)}: there is no start")
        return Clock(hours_per_day)
    begins = _clock("start", start)
    if end is None:
        return Clock(hours_per_day, begins)
    hours = _clock("end", end) - begins
    if hours <= 0 and hours_per_day == 24:  # trading goes on over midnight
        hours += 24
    if not 0 < hours <= hours_per_day:
        raise InputError(
            f"end = {shown(end)}: must be after start = {shown(start)}, by at most the trading day of "
            f"{hours_per_day:g} hours"
        )
    horizon = hours / hours_per_day
    if "n_steps" in options and "slice_length" not in options:
        steps = options["n_steps"]
        options["slice_length"] = horizon / replace(order, n_steps=steps).n_steps
        return Clock(hours_per_day, begins)
    length = replace(order, slice_length=options.get("slice_length", order.slice_length)).slice_length
    steps = options.get("n_steps", round(horizon / length))
    if abs(steps * length - horizon) > 1e-6 * horizon:
        said = f"{steps:g} slices" if "n_steps" in options else "slices"
        raise InputError(
            f"end = {shown(end)}: {said} of {span(length, hours_per_day)} do not fill the time from {start} on; give "
            "n_steps alone, or a slice_length that does"
        )
    options |= {"slice_length": length, "n_steps": steps}
    return Clock(hours_per_day, begins)


def _clock(name: str, text: Any) -> float:
    try:
        return clock(text)
    except InputError as error:
        raise InputError(f"{name} = {error}") from None


def as_numbers(options: Mapping[str, Any], market: Market, order: Order) -> dict[str, Any]:
    """Options as files keep them: a text with a unit, a clock time, a calendar or a file is its numbers."""
    found = dict(options)
    for part in (market, order):
        for f in fields(part):
            value = getattr(part, f.name)
            if isinstance(found.get(f.name), str | Path) and not isinstance(value, str):
                found[f.name] = value
    if found.pop("end", None) is not None:
        found |= {"n_steps": order.n_steps, "slice_length": order.slice_length}
    return found
