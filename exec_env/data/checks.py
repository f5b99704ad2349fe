"""Bad rows of market data: what makes a row impossible, for each kind of file, and what becomes of such rows."""

import itertools
import math
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from exec_env.base.errors import InputError
from exec_env.data.features import FEATURE
from exec_env.data.reading import Reading
from exec_env.data.stamps import NO_TIME

_POSITIVE = ("mid", "price", "size", "bid", "ask", "depth", "slope", "open", "high", "low", "close")
_NON_NEGATIVE = ("spread", "volume")
_SENTINELS = np.unique(
    [2.0**63, 2.0**64, 2.0**32 - 1, 2.0**31 - 1, 2.0**63 * 1e-9, 2.0**64 * 1e-9, 1.7976931348623157e308]
)
"""Numbers that stand for none: the largest of integers, of fixed-point prices, of doubles."""
_NEIGHBOURS = 512  # ticks whose median says what is usual
_FAR = math.log(1.5)
_ROUNDING = 1e-6  # part of a price that an open or close may be beyond high and low
_WIDE, _USUAL = 0.1, 0.01  # parts of the mid: a spread that nobody trades at, where others are below the second


@dataclass
class Cleaner:
    """What becomes of bad rows: the first is refused by file, row and reason, or all are dropped and counted."""

    clean: bool = False
    limit: float = 0.02
    """Part of a file's rows, at most, that may be dropped."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Reason -> rows dropped."""
    taken: list[str] = field(default_factory=list)
    """What the data were taken for, a sentence each."""
    remarks: list[str] = field(default_factory=list)
    """What is no mistake but should be known: gaps, by file and row."""

    def keep(self, frame: pd.DataFrame, bad: Any, file: Path, column: str, why: str) -> pd.DataFrame:
        """``frame`` without its bad rows; its index counts the file's rows from 0.

        Raises:
            InputError: naming file, row and column, unless rows may be dropped.
        """
        bad = np.asarray(bad, dtype=bool)
        if not bad.any():
            return frame
        if not self.clean:
            first = int(bad.argmax())
            more = f" (and {bad.sum() - 1} more rows here)" if bad.sum() > 1 else ""
            value = frame[column].iloc[first] if column in frame else ""
            value = pd.Timestamp(value) if column == "time" and isinstance(value, np.integer) else value
            raise InputError(f"{file}: row {frame.index[first] + 1}, {column!r}: {value} {why}{more}")
        self.dropped[f"{file.name}: {column!r} {why}"] += int(bad.sum())
        return frame[~bad]

    def said(self) -> list[str]:
        """What the data were taken for, what was dropped, and what else should be known, a sentence each."""
        return [*self.taken, *(f"dropped {count}: {why}" for why, count in self.dropped.items()), *self.remarks]

    def settle(self, file: Path, rows: int) -> None:
        """Refuse a file of which too many rows were dropped: it is not understood.

        Raises:
            InputError: with the commonest reason.
        """
        reasons = {why: count for why, count in self.dropped.items() if why.startswith(f"{file.name}: ")}
        if sum(reasons.values()) > max(1.0, self.limit * rows):
            most = max(reasons, key=lambda why: reasons[why]).partition(": ")[2]
            raise InputError(
                f"{file}: {sum(reasons.values())} of {rows} rows are bad, more than clean_limit = {self.limit:g} of "
                f"them: {most}"
            )

    def left_out(self, count: int, of: int, what: str, why: str) -> None:
        """Say that something was left out, or refuse that if it is too much.

        Raises:
            InputError: above the limit.
        """
        if count > self.limit * of:
            raise InputError(
                f"{count} of {of} {what} {why}: more than clean_limit = {self.limit:g} of them may not be left out"
            )
        if count:
            self.remarks.append(f"{count} of {of} {what} {why}: left out")


@dataclass
class Counted:
    """Rows of a file, and why some were left out."""

    rows: int = 0
    of_others: int = 0
    outside: int = 0
    without_price: int = 0
    without_side: int = 0
    before: pd.Series | None = None
    """Prices of the last row, where a format leaves out those that did not change."""
    symbols: dict[str, None] = field(default_factory=dict)

    def tell(self, path: Path, reading: Reading, format_name: str | None, cleaner: Cleaner) -> None:
        """Say in the remarks what was left out, and refuse what was dropped beyond the limit.

        Raises:
            InputError: where no row is left, or too many are bad.
        """
        if reading.symbol is not None and self.symbols and self.of_others == self.rows:
            some = ", ".join(list(self.symbols)[:5])
            raise InputError(f"{path}: symbol = {reading.symbol!r}: no such instrument; there are {some}")
        left_out = (
            (self.of_others, f"are of instruments other than {reading.symbol}"),
            (self.outside, f"are outside the session {reading.session}"),
            (self.without_price, f"have no price, as {format_name} marks it"),
        )
        for count, why in left_out:
            if count:
                cleaner.remarks.append(f"{path.name}: {count} of {self.rows} rows {why}: left out")
        if self.without_side:
            cleaner.remarks.append(
                f"{path.name}: {self.without_side} of {self.rows} trades say no side: signed by the quote"
            )
        if reading.session is not None and self.outside == self.rows - self.of_others:
            raise InputError(f"{path}: session = {reading.session!r}: no row is inside it")
        cleaner.settle(path, self.rows)


def check(frame: pd.DataFrame, kind: str, file: Path, cleaner: Cleaner, last: int = NO_TIME) -> pd.DataFrame:
    """``frame``, if its rows are possible; what is not is refused or dropped by ``cleaner``.

    Stamps may repeat in trades and quotes, where many things happen at once, but not in slices.

    Args:
        frame: a part of a file, under our names.
        kind: of the file.
        file: what messages name.
        cleaner: what becomes of bad rows.
        last: stamp of the row before the first. [ns]

    Raises:
        InputError: for the first row that is bad, unless rows may be dropped.
    """

    def drop(bad: np.ndarray | pd.Series, column: str, why: str) -> None:
        nonlocal frame
        frame = cleaner.keep(frame, bad, file, column, why)

    drop(frame["time"] == NO_TIME, "time", "is not a time")
    if kind == "book":
        frame = frame.rename(columns={"bid_price_1": "bid", "ask_price_1": "ask"})
    for name in [str(name) for name in frame if name not in ("time", "side")]:
        drop(~np.isfinite(frame[name]), name, "is not a finite number")
        drop(_is_sentinel(frame[name].to_numpy()), name, "stands for no number in many files")
        if name.startswith(FEATURE):
            continue
        if name in _POSITIVE or "_price_" in name:
            drop(frame[name] <= 0, name, "must be > 0")
        elif name in _NON_NEGATIVE or "_size_" in name:
            drop(frame[name] < 0, name, "must be >= 0")
    if "side" in frame:
        drop(~np.isin(frame["side"], (-1.0, 1.0)) & frame["side"].notna(), "side", "must be buy or sell, or 1 or -1")
    if "bid" in frame:
        drop(frame["bid"] > frame["ask"], "bid", "is above the ask: a crossed quote")
    for side, away in (("bid", -1), ("ask", 1)):
        prices = [side, *(str(name) for name in frame if str(name).startswith(f"{side}_price_"))]
        for nearer, name in itertools.pairwise(prices):
            drop(away * (frame[name] - frame[nearer]) < 0, name, "is nearer to the mid than the level before")
    price = next((name for name in ("mid", "price", "open") if name in frame), None)
    mid = frame[price].to_numpy() if price else ((frame["bid"] + frame["ask"]) / 2).to_numpy()
    if kind in ("slices", "bars"):  # which may have a night, or a month, between them
        drop(_is_spike(mid), price or "bid", "is far from the rows before and after it, which agree")
    else:
        drop(np.abs(np.log(mid / _usual(mid))) > _FAR, price or "bid", "is far from the median of the rows around it")
    if "bid" in frame:
        part = ((frame["ask"] - frame["bid"]) / (frame["ask"] + frame["bid"]) * 2).to_numpy()
        drop(
            (part > _WIDE) & (_usual(part) < _USUAL),
            "ask",
            "makes a spread of over 10 %, where others are below 1 %",
        )
    # A stamp is unsorted where it is earlier than any before it.
    time = frame["time"].to_numpy()
    before = np.maximum.accumulate(np.r_[last, time[:-1]]) if len(time) else time
    drop(time < before, "time", "is earlier than a row before it; sort the file by time")
    time = frame["time"].to_numpy()
    if kind == "book" and len(time):  # of books at one time the last stands
        again = np.r_[time[1:] == time[:-1], False]
        if again.any():
            cleaner.remarks.append(f"{file.name}: {int(again.sum())} books have the time of the next, which stands")
            frame = frame[~again]
    elif kind in ("slices", "bars") and len(time):
        drop(time == np.r_[last, time[:-1]], "time", "is the same time as the row before")
    if kind == "bars" and "high" in frame and "low" in frame:
        drop(frame["high"] < frame["low"], "high", "is below the low")
        for name in [name for name in ("open", "close") if name in frame]:
            above = frame[name] > frame["high"] * (1 + _ROUNDING)
            drop(above | (frame[name] < frame["low"] * (1 - _ROUNDING)), name, "is not from low to high")
            frame = frame.assign(**{name: frame[name].clip(frame["low"], frame["high"])})
    return frame


def _is_sentinel(numbers: np.ndarray) -> np.ndarray:
    """Whether each number is one that stands for none."""
    size = np.abs(numbers)
    if not (size >= _SENTINELS[0] * (1 - 1e-12)).any():
        return np.zeros(len(numbers), dtype=bool)
    near = _SENTINELS[np.clip(np.searchsorted(_SENTINELS, size * (1 - 1e-12)), 0, len(_SENTINELS) - 1)]
    found: np.ndarray = np.abs(size - near) <= 1e-12 * near
    return found


def _usual(numbers: np.ndarray) -> np.ndarray:
    """Median of the rows around each, in blocks."""
    n = len(numbers)
    if n == 0:
        return numbers
    blocks = max(n // _NEIGHBOURS, 1)
    whole = numbers[: blocks * (n // blocks)].reshape(blocks, -1)
    medians = np.median(whole, axis=1)
    return np.repeat(medians, np.r_[np.full(blocks - 1, n // blocks), n - (blocks - 1) * (n // blocks)])


def _is_spike(numbers: np.ndarray) -> np.ndarray:
    """Whether each is far from both its neighbours, which are near each other."""
    logs = np.log(numbers)
    found = np.zeros(len(logs), dtype=bool)
    away = np.abs(np.diff(logs)) > _FAR
    if len(logs) > 2:
        found[1:-1] = away[:-1] & away[1:] & (np.abs(logs[2:] - logs[:-2]) < _FAR)
    return found
