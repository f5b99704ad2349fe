"""Bad rows of market data: what makes a row impossible, for each kind of file, and what becomes of such rows."""

import itertools
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from exec_env.base.errors import InputError

NO_TIME = np.iinfo(np.int64).min
"""What a stamp that cannot be read becomes."""
_POSITIVE = ("mid", "price", "size", "bid", "ask", "depth", "slope")
_NON_NEGATIVE = ("spread", "volume")


@dataclass
class Cleaner:
    """What becomes of bad rows: the first is refused by file, row and reason, or all are dropped and counted."""

    clean: bool = False
    dropped: Counter[str] = field(default_factory=Counter)
    """Reason -> rows dropped."""
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

    def most(self, file: Path) -> str:
        """The commonest reason to drop rows of ``file``."""
        return max((count, why) for why, count in self.dropped.items() if why.startswith(file.name))[1]


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
        column = frame[name]
        drop(~np.isfinite(column), name, "is not a finite number")
        if name in _POSITIVE or "_price_" in name:
            drop(frame[name] <= 0, name, "must be > 0")
        elif name in _NON_NEGATIVE or "_size_" in name:
            drop(frame[name] < 0, name, "must be >= 0")
    if "side" in frame:
        drop(~np.isin(frame["side"], (-1.0, 1.0)), "side", "must be buy or sell, or 1 or -1")
    if "bid" in frame:
        drop(frame["bid"] > frame["ask"], "bid", "is above the ask: a crossed quote")
    for side, away in (("bid", -1), ("ask", 1)):
        prices = [side, *(str(name) for name in frame if str(name).startswith(f"{side}_price_"))]
        for nearer, name in itertools.pairwise(prices):
            drop(away * (frame[name] - frame[nearer]) < 0, name, "is nearer to the mid than the level before")
    # A stamp is unsorted where it is earlier than any before it.
    time = frame["time"].to_numpy()
    before = np.maximum.accumulate(np.r_[last, time[:-1]]) if len(time) else time
    drop(time < before, "time", "is earlier than a row before it; sort the file by time")
    if kind in ("slices", "book"):
        time = frame["time"].to_numpy()
        drop(time == np.r_[last, time[:-1]] if len(time) else time > 0, "time", "is the same time as the row before")
    return frame
