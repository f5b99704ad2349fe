"""Quantities as people write them, ``5min``, ``250k``, ``4%adv``, ``1.8%``, ``3bps``, and how they are shown to people.

Whatever is read is a number after that: days, shares, fractions, basis points. Files keep numbers.
"""

import math
import re
from decimal import Decimal
from typing import Literal

from exec_env.base.errors import InputError
from exec_env.base.validation import shown

Kind = Literal["time", "size", "part", "bps"]

HOURS_PER_DAY = 6.5
"""Length of a trading day where nothing says another. [hour]"""
_PER_HOUR = {"s": 3600, "min": 60, "h": 1}
_FACTORS: dict[Kind, dict[str, str]] = {
    "time": {},
    "size": {"k": "1e3", "m": "1e6", "bn": "1e9"},
    "part": {"%": "1e-2", "bps": "1e-4", "bp": "1e-4"},
    "bps": {"%": "1e2", "bps": "1", "bp": "1"},
}
ALLOWED: dict[Kind, str] = {
    "time": "5min, 2h or 1d (a session)",
    "size": "250k, 1.2m (million) or 4%adv (of the daily volume)",
    "part": "1.8% or 30bps",
    "bps": "3bps or 0.03%",
}
"""What a text may look like, for messages and help texts."""
_QUANTITY = re.compile(r"\s*([+-]?(?:\d[\d_]*\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*([a-z%][a-z%\s]*)?", re.IGNORECASE)
_CLOCK = re.compile(r"(\d{1,2}):(\d\d)")


def quantity(text: str, kind: Kind, hours_per_day: float = HOURS_PER_DAY, daily_volume: float | None = None) -> float:
    """The number that a text stands for: days, shares, a fraction or basis points; one without a unit is that already.

    Args:
        text: a number, and perhaps a unit of this kind; case and spaces do not count.
        kind: what it is.
        hours_per_day: length of the trading day: a ``d`` is one of them, whatever its length, and no other time may be
            longer. [hour]
        daily_volume: what ``4%adv`` is a part of. [shares/day]

    Raises:
        InputError: for anything else, in words that follow the text.

    >>> quantity("5min", "time") == 1 / 78, quantity("24h", "time", 24.0), quantity("1d", "time")
    (True, 1.0, 1.0)
    >>> quantity("250k", "size"), quantity("4%adv", "size", daily_volume=5e6), quantity("1.8%", "part")
    (250000.0, 200000.0, 0.018)
    """
    match = _QUANTITY.fullmatch(text)
    if not match:
        raise InputError(f"must be a number with a unit, such as {ALLOWED[kind]}")
    number, unit = Decimal(match[1]), "".join((match[2] or "").lower().split())
    if not math.isfinite(float(number)):
        raise InputError(f"must be a finite number with a unit, such as {ALLOWED[kind]}")
    if not unit:
        return float(number)
    if kind == "time":
        return _time(float(number), unit, hours_per_day)
    if kind == "size" and unit == "%adv":
        if daily_volume is None:
            raise InputError("has no daily volume to be a part of")
        return float(number / 100) * daily_volume
    if unit not in _FACTORS[kind]:
        raise InputError(f"unknown unit {unit!r}; must be such as {ALLOWED[kind]}")
    return float(number * Decimal(_FACTORS[kind][unit]))  # in decimals, so that 1.8% is 0.018


def _time(number: float, unit: str, hours_per_day: float) -> float:
    if unit == "d":
        return number
    if unit not in _PER_HOUR:
        hint = ": m is a million, minutes are min" if unit == "m" else ""
        raise InputError(f"unknown unit {unit!r}{hint}; must be such as {ALLOWED['time']}")
    if number / _PER_HOUR[unit] > hours_per_day * (1 + 1e-9):
        raise InputError(
            f"is longer than the trading day of {hours_per_day:g} hours; sessions are 1d, 2d, and hours_per_day = 24 "
            "is for markets that never stop"
        )
    return number / (hours_per_day * _PER_HOUR[unit])


def clock(text: str) -> float:
    """The hour of the day that a clock shows.

    Raises:
        InputError: for anything but HH:MM.

    >>> clock("09:30"), clock("24:00")
    (9.5, 24.0)
    """
    match = _CLOCK.fullmatch(text.strip()) if isinstance(text, str) else None
    hour = int(match[1]) + int(match[2]) / 60 if match and int(match[2]) < 60 else math.inf
    if hour > 24:
        raise InputError(f"{shown(text)}: must be a time of day such as 09:30")
    return hour


def clock_text(hour: float, seconds: bool = False) -> str:
    """A time of day, or one that has passed, to the minute or the second.

    >>> clock_text(9.5), clock_text(25.0), clock_text(0.125, seconds=True)
    ('09:30', '01:00', '00:07:30')
    """
    whole = round(hour * 3600)
    parts = (whole // 3600 % 24, whole // 60 % 60, whole % 60)
    return ":".join(f"{part:02d}" for part in parts[: 3 if seconds else 2])


def span(days: float, hours_per_day: float = HOURS_PER_DAY) -> str:
    """A length of time as people say it.

    >>> span(1 / 78), span(0.5, 24.0), span(0.5), span(1.0), span(1.5), span(0.75), span(1e-4)
    ('5 min', '12 h', '3 h 15 min', '1 day', '1 day 3 h 15 min', '4.875 h', '2.34 s')
    """
    minutes = days * hours_per_day * 60
    if days >= 1 - 1e-9:
        whole, part = divmod(round(days, 9), 1.0)
        plural = "s" * (whole > 1)
        odd = abs(part * hours_per_day * 60 - round(part * hours_per_day * 60)) > 1e-4
        if odd:
            return f"{days:.4g} days"
        return f"{whole:.0f} day{plural}" + (f" {span(part, hours_per_day)}" if part > 1e-6 else "")
    if minutes >= 60 - 1e-9:
        hours, rest = divmod(round(minutes, 6), 60)
        if rest and rest == round(rest):
            return f"{hours:.0f} h {rest:.0f} min"
        return f"{minutes / 60:.4g} h"
    return f"{minutes:.4g} min" if minutes >= 1 - 1e-9 else f"{60 * minutes:.4g} s"


def amount(shares: float) -> str:
    """A number of shares for a reader, whole ones from ten thousand on.

    >>> amount(1_200_000.0), amount(12.5), amount(250_000.4)
    ('1,200,000', '12.5', '250,000')
    """
    return f"{shares:,.0f}" if abs(shares) >= 1e4 else f"{shares:,.6g}"


def money(value: float, sign: str = "") -> str:
    """An amount of dollars for a reader: whole ones from a hundred on, with a sign where one is asked for.

    >>> money(30114.2), money(-3.456), money(float("nan"))
    ('30,114', '-3.46', '-')
    """
    return "-" if math.isnan(value) else f"{value:{sign},.{0 if abs(value) >= 100 else 2}f}"


def dollars(value: float, sign: str = "") -> str:
    """The same with its unit.

    >>> dollars(2.5e8), dollars(12.0, "+"), dollars(float("nan"))
    ('250,000,000 $', '+12.00 $', '-')
    """
    return "-" if math.isnan(value) else f"{money(value, sign)} $"
