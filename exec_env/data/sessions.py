"""Hours of trading: of every day in a zone, or an exchange's calendar with its holidays and half days."""

import datetime
import re
import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from exec_env.base.errors import InputError
from exec_env.base.extras import importing
from exec_env.data.reading import zone_of

_HOURS = re.compile(r"(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})")
_DAY = 24 * 60  # [minute]
_AROUND = pd.Timedelta(days=4)  # sessions that begin so long before a time, or after it, may hold it
_ALLOWED = "must be hours, as 09:30-16:00, 18:00-17:00 or 24h, or an exchange's calendar, as XNYS"


class Opened(NamedTuple):
    """Stretches of trading, in order of time. Each of shape (stretches,)."""

    opens: np.ndarray
    """[ns since 1970 UTC]"""
    closes: np.ndarray
    """The first moment that is no longer inside. [ns since 1970 UTC]"""
    day: np.ndarray
    """Number of the trading day, which a break for lunch does not end; from 0."""


@dataclass(frozen=True)
class Session:
    """When a market trades.

    Raises:
        InputError: naming the text and what is allowed.
    """

    text: str
    """Hours of every day, ``09:30-16:00``; across midnight, ``18:00-17:00``; ``24h``, from midnight to midnight; or the
    name of a calendar of the package exchange_calendars, ``XNYS``: its hours, holidays and half days."""
    zone: str = "UTC"
    """Zone of the hours, as in the IANA database; a calendar has its own."""

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise InputError(f"session = {self.text!r}: {_ALLOWED}")
        object.__setattr__(self, "text", self.text.strip())
        zone_of(self.zone)
        if self._minutes is None:
            _known_calendar(self.text)

    @property
    def _minutes(self) -> tuple[int, int] | None:
        """Opening and closing after midnight of the day that it opens; None of a calendar. [minute]"""
        if self.text.lower() == "24h":
            return 0, _DAY
        if not any(character.isdigit() for character in self.text) or self.text.startswith("24/"):
            return None
        match = _HOURS.fullmatch(self.text)
        if match is None:
            raise InputError(f"session = {self.text!r}: {_ALLOWED}")
        hour, minute, until_hour, until_minute = (int(part) for part in match.groups())
        opens, closes = 60 * hour + minute, 60 * until_hour + until_minute
        if max(minute, until_minute) > 59 or opens >= _DAY or closes > _DAY:
            raise InputError(f"session = {self.text!r}: must be clocks from 00:00 to 24:00")
        if opens == closes:
            raise InputError(f"session = {self.text!r}: opens when it closes; all day is 24h")
        return opens, closes if closes > opens else closes + _DAY

    def opened(self, first: int, last: int) -> Opened:
        """Every stretch of trading that holds a moment from ``first`` to ``last``, and some around them. [ns]

        Raises:
            InputError: for times that the calendar does not reach.
        """
        days = [pd.Timestamp(time, tz="UTC") for time in (first, last)]
        if self._minutes is None:
            return _by_calendar(self.text, days[0].year, days[1].year)
        zone = ZoneInfo(self.zone)
        low, high = (day.tz_convert(zone).tz_localize(None).normalize() for day in days)
        dates = pd.date_range(low - _AROUND, high + _AROUND)
        opens, closes = (_clock(dates, minutes, zone) for minutes in self._minutes)
        # A clock that is put forward can leave a session without a minute.
        some = closes > opens
        return Opened(opens[some], closes[some], np.arange(int(some.sum())))

    def stretch(self, time: np.ndarray) -> tuple[np.ndarray, Opened]:
        """Number of the stretch of trading that each moment is in, −1 outside; and the stretches. [ns]

        >>> at, opened = Session("18:00-17:00").stretch(np.array([0, 16 * 3600 * 10**9, 17 * 3600 * 10**9]))
        >>> (at >= 0).tolist()
        [True, True, False]
        """
        opened = self.opened(int(time.min()), int(time.max())) if len(time) else Opened(*3 * [np.zeros(0, np.int64)])
        at = np.searchsorted(opened.opens, time, side="right") - 1
        inside = (at >= 0) & (time < opened.closes[np.maximum(at, 0)]) if len(opened.opens) else at >= 0
        return np.where(inside, at, -1), opened

    def inside(self, time: np.ndarray) -> np.ndarray:
        """Whether the market trades; the close itself is outside. Shape: (rows,). [ns since 1970 UTC]"""
        return self.stretch(time)[0] >= 0

    def hours(self, first: int, last: int) -> float:
        """Length of a trading day without breaks, the commonest from ``first`` to ``last``. [hour]

        >>> Session("09:30-16:00", "America/New_York").hours(0, 0)
        6.5
        """
        if self._minutes is not None:
            return (self._minutes[1] - self._minutes[0]) / 60
        opens, closes, day = self.opened(first, last)
        wanted = (closes > first) & (opens <= last)
        if not wanted.any():
            wanted = closes > first
        lengths = np.bincount(day[wanted] - day[wanted][0], (closes - opens)[wanted] / 3600e9)
        values, counts = np.unique(lengths.round(6), return_counts=True)
        return float(values[counts.argmax()])


def session_lengths(text: str, horizon: float) -> tuple[float, ...]:
    """Lengths of the sessions of an exchange's calendar that an order may take, from a day on; whole ones are one.

    Args:
        text: the calendar and the day of the first session, "XNYS 2026-11-25".
        horizon: trading time that the sessions have to hold beyond the first. [day]

    Raises:
        InputError: for a text that is none, and a day without trading, naming the next one.
    """
    name, _, date = text.strip().partition(" ")
    try:
        first = pd.Timestamp(datetime.date.fromisoformat(date.strip()), tz="UTC")
    except ValueError:
        raise InputError(
            f"Order.sessions = {text!r}: must be lengths of sessions, or a calendar and a day, as 'XNYS 2026-11-25'"
        ) from None
    session = Session(name)
    if session._minutes is not None:
        raise InputError(f"Order.sessions = {text!r}: hours of every day have no half days; name a calendar, as XNYS")
    last = first + pd.Timedelta(days=14 + 2 * horizon)  # weekends and holidays among them
    opened = session.opened(first.value, last.value)
    opens, length = np.full((2, opened.day[-1] + 1), np.nan)
    opens[opened.day[::-1]] = opened.opens[::-1]  # of the first stretch of a day
    length[:] = np.bincount(opened.day, (opened.closes - opened.opens) / 3600e9)
    later = np.flatnonzero(opens >= first.value)
    if not later.size or opens[later[0]] >= (first + pd.Timedelta(days=1)).value:
        near = pd.Timestamp(int(opens[later[0]])).date() if later.size else "none that the calendar reaches"
        raise InputError(f"Order.sessions = {text!r}: no session begins that day; the next one: {near}")
    parts = length[later] / session.hours(first.value, last.value)
    n = int(np.searchsorted(np.cumsum(parts), parts[0] + horizon)) + 1
    return tuple(parts[:n].round(12).tolist())


def _clock(dates: pd.DatetimeIndex, minutes: int, zone: ZoneInfo) -> np.ndarray:
    """When clocks show a time of these days: a time that comes twice is the first, one that is left out the next."""
    days, rest = divmod(minutes, _DAY)
    local = dates + pd.Timedelta(days=days, minutes=rest)
    there = local.tz_localize(zone, ambiguous=np.ones(len(local), dtype=bool), nonexistent="shift_forward")
    return there.as_unit("ns").asi8


def _calendars() -> Any:
    with importing("session"):
        import exchange_calendars
    return exchange_calendars


def _known_calendar(name: str) -> None:
    if name not in _calendars().get_calendar_names():
        raise InputError(f"session = {name!r}: {_ALLOWED}")


@lru_cache(maxsize=8)
def _by_calendar(name: str, first: int, last: int) -> Opened:
    """Stretches of an exchange's calendar from the year ``first`` to ``last``, and the days around."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the package and pandas have to settle between them
        try:
            start, end = pd.Timestamp(first, 1, 1) - _AROUND, pd.Timestamp(last, 12, 31) + _AROUND
            schedule = _calendars().get_calendar(name, start=start, end=end).schedule
        except ValueError as error:
            raise InputError(f"session = {name!r}: {' '.join(str(error).split())}") from None
        times = {
            column: schedule[column].dt.tz_convert("UTC").dt.as_unit("ns").astype("int64").to_numpy()
            for column in ("open", "close", "break_start", "break_end")
        }
        broken = schedule["break_start"].notna().to_numpy()
    number = np.arange(len(schedule))
    opens = np.concatenate([times["open"], times["break_end"][broken]])
    closes = np.concatenate([np.where(broken, times["break_start"], times["close"]), times["close"][broken]])
    order = np.argsort(opens, kind="stable")
    return Opened(opens[order], closes[order], np.concatenate([number, number[broken]])[order])
