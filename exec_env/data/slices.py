"""A market slice by slice: from files that hold slices, or made of ticks or bars."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from exec_env.base.errors import InputError
from exec_env.base.jackknife import Estimate
from exec_env.data.checks import Cleaner
from exec_env.data.split import Split
from exec_env.data.tables import DataFile

Stamp = Literal["start", "end"]
"""Whether a row's volume and flow are those of the time that its stamp begins, or that it ends."""
NIGHT = 2 * 3600.0
"""A longer gap is the end of a trading day, which need not be named. [s]"""
_DAY = 24 * 3600.0
_WHOLE_DAY = 4 * 3600.0  # [s] markets that close are open for longer
_LONGEST_DAY = 12 * 3600.0  # [s] longer, it may be a part of a market that never closes
_USUAL_HOURS = 6.5
_WEEKENDS = 0.1  # part of the steps from day to day that are longer, at least, where weekends are free
_PROFILE_DAYS = 5  # at least, before a time of day is told apart from luck


@dataclass
class UsedRows:
    """Rows that were read of a file, and what they hold."""

    rows: int = 0
    first: int | None = None
    """First stamp of what says where the price is. [ns]"""

    def add(self, frame: pd.DataFrame) -> None:
        """Rows that say where the price is."""
        self.rows += len(frame)
        if self.first is None and len(frame):
            self.first = int(frame["time"].iloc[0])


Used = dict[Path, UsedRows]


def cleaner_of(files: Sequence[DataFile]) -> Cleaner:
    """A cleaner as the files are to be read, which says what they were taken for."""
    reading = files[0].reading
    return Cleaner(reading.clean, reading.clean_limit, taken=[said for file in files for said in file.said()])


@dataclass(frozen=True)
class Slices:
    """A market slice by slice."""

    frame: pd.DataFrame
    """One row a slice, in order of time. ``time`` start [UTC]; ``mid`` at the start [$]; ``spread`` mean over the slice
    [$]; ``volume`` traded [shares]; where the data have them ``depth`` near the touch [shares], ``slope`` of the price
    concession in the shares taken from the book [$/share per share], ``flow`` bought less sold by those who take
    liquidity [shares], ``cost``, what takers paid beyond the touch, against the mid at the slice's start [$], and
    ``walk_xx``, ``walk_xy``: squares and products of log shares and log concession over the levels of its books, and
    ``walk_size``: log of the shares that ``slope`` is felt at; of ticks also ``opening_spread`` and ``opening_depth``,
    those at the start."""
    slice_length: float
    """Δ. [day]"""
    hours_per_day: float
    """Length of a trading day. [hour]"""
    sources: list[dict[str, Any]] = field(default_factory=list)
    """Files, what they hold and how many rows of them were used."""
    cleaner: Cleaner = field(default_factory=Cleaner)
    half_spread: Estimate | None = None
    """Half spread [bps], where every row's spread is one estimate of it; without a finite error it is the prior's."""
    daily: bool = False
    """Whether rows are days, from which no weekend and no holiday is a gap."""

    @property
    def tape(self) -> pd.DataFrame:
        """The slices for a tape to play: spread and depth at their start, for nobody knows the mean beforehand."""
        opening = {f"opening_{name}": name for name in ("spread", "depth") if f"opening_{name}" in self.frame}
        return self.frame.drop(columns=list(opening.values())).rename(columns=opening)

    def training(self, share: float) -> "Slices":
        """The first ``share`` of the slices: those that a tape of ``tape_split`` has for training.

        Raises:
            InputError: as ``Split.at``.
        """
        return replace(self, frame=self.frame[: Split.at(share, len(self.frame)).training])

    @property
    def new(self) -> np.ndarray:
        """Whether each row comes after a gap, the first one included. Shape: (rows,)."""
        if self.daily:
            return np.arange(len(self.frame)) == 0
        return np.r_[True, steps_of(self.frame) > 1.5 * self.slice_length * self.hours_per_day * 3600]

    @property
    def session(self) -> np.ndarray:
        """Number of the stretch without a gap that each row is in. Shape: (rows,)."""
        return np.cumsum(self.new) - 1

    @property
    def day(self) -> np.ndarray:
        """Number of each row's day, which a gap of two hours ends, or 24 hours where there is none. Shape: (rows,)."""
        if self.daily:
            return np.arange(len(self.frame))
        return np.cumsum(np.r_[True, np.diff(self._place) < 0]) - 1

    @property
    def time_of_day(self) -> np.ndarray | None:
        """Place of each row in its day, from 0 to 1; None where days are too few, or whole. Shape: (rows,)."""
        if self.daily:
            return None
        place = self._place
        step = self.slice_length * self.hours_per_day * 3600
        return (place + step / 2) / (place.max() + step) if self.day[-1] + 1 >= _PROFILE_DAYS else None

    @property
    def _place(self) -> np.ndarray:
        """Time since the day began. Shape: (rows,). [s]"""
        steps = steps_of(self.frame)
        since = np.r_[0.0, np.cumsum(steps)]
        begun = np.maximum.accumulate(np.where(np.r_[True, steps > NIGHT], since, 0.0))
        return (since - begun) % _DAY


def finished(
    frame: pd.DataFrame,
    seconds: float | None,
    hours_per_day: float | None,
    files: list[DataFile],
    used: Used,
    cleaner: Cleaner,
    **more: Any,
) -> Slices:
    """Slices of a length, by default that of the median step, with what has to be said of them.

    Raises:
        InputError: for fewer than two, and as ``_remarked``.
    """
    if len(frame) < 2:
        raise InputError(f"{files[0].path}: {len(frame)} rows; at least two are needed")
    seconds = float(np.median(steps_of(frame))) if seconds is None else seconds
    hours = trading_day(frame, seconds, hours_per_day, files[0], cleaner)
    sources = [{"file": f.path.name, "holds": f.kind, "rows": used[f.path].rows} for f in files]
    return _remarked(Slices(frame, seconds / (3600 * hours), hours, sources, cleaner, **more), used, files)


def trading_day(frame: pd.DataFrame, seconds: float, given: float | None, file: DataFile, cleaner: Cleaner) -> float:
    """Length of the trading day: as given, of the session, or of the data, which is said. [hour]"""
    if given is not None:
        return given
    if file.session is not None:
        first, last = (int(stamp.value) for stamp in (frame["time"].iloc[0], frame["time"].iloc[-1]))
        return file.session.hours(first, last)
    steps = steps_of(frame)
    days = np.split(np.arange(len(frame)), np.flatnonzero(steps > NIGHT) + 1)
    since = np.r_[0.0, np.cumsum(steps)]
    lengths = sorted(since[day[-1]] - since[day[0]] + seconds for day in days)
    if seconds >= _DAY and (steps > 1.5 * _DAY).mean() > _WEEKENDS:
        hours, why = _USUAL_HOURS, "assumed: days that know weekends do not show how long they are"
    elif lengths[-1] >= _DAY:
        hours, why = 24.0, "they know no night"
    elif lengths[-1] > _LONGEST_DAY and len(days) == 1:
        raise InputError(
            f"{file.path}: {lengths[-1] / 3600:.3g} hours without a night, and no whole day: how long is a trading "
            "day? Give hours_per_day, 24 where trading never stops, or session"
        )
    elif (usual := lengths[len(lengths) // 2]) >= (_WHOLE_DAY if len(days) > 1 else 3600 * _USUAL_HOURS):
        hours, why = float(usual) / 3600, "as most days of the data" if len(days) > 1 else "as the one of the data"
    else:
        hours, why = _USUAL_HOURS, "assumed: the data do not show whole days"
    cleaner.taken.append(f"a trading day is {hours:.4g} hours, {why}; hours_per_day says another length")
    return hours


def counted_ahead(frame: pd.DataFrame) -> pd.DataFrame:
    """Slices whose volume, flow and cost are stamped at their end: those of each are in the row after it.

    Rows before a gap, and the last one, know no volume and are left out.
    """
    if len(frame) < 2:
        return frame
    steps = steps_of(frame)
    traded = [name for name in ("volume", "flow", "cost") if name in frame]
    moved = frame.assign(**{name: frame[name].shift(-1) for name in traded})
    return moved[np.r_[steps <= 1.5 * np.median(steps), False]].reset_index(drop=True)


def steps_of(frame: pd.DataFrame) -> np.ndarray:
    """Time from row to row. [s]"""
    return np.diff(frame["time"].dt.as_unit("ns").astype("int64").to_numpy()) / 1e9


def _remarked(slices: Slices, used: Used, files: list[DataFile]) -> Slices:
    """The slices, with gaps and halts named in the remarks.

    Raises:
        InputError: when the price or the volume never differs, so that nothing has a scale.
    """
    frame, remarks, file = slices.frame, slices.cleaner.remarks, files[0].path
    begun = sorted((u.first, path.name) for path, u in used.items() if u.first is not None)
    rows_begun = np.searchsorted(frame["time"].dt.as_unit("ns").astype("int64"), [first for first, _ in begun])

    def place(row: int) -> str:
        """File that a slice is in, and its number there."""
        i = max(int(np.searchsorted(rows_begun, row, side="right")) - 1, 0)
        return f"{begun[i][1]}: slice {row - (rows_begun[i] if i else 0) + 1}"

    if np.ptp(frame["mid"]) == 0:
        raise InputError(f"{file}: 'mid' is {frame['mid'].iloc[0]:g} throughout, so that there is no volatility")
    if "volume" not in frame or not frame["volume"].sum() > 0:
        raise InputError(f"{file}: there is no volume; quotes need trades, or columns volume and flow")
    time, steps = frame["time"], steps_of(frame)
    for row in np.flatnonzero(slices.new)[1:]:
        if steps[row - 1] < NIGHT:
            minutes = steps[row - 1] / 60
            remarks.append(f"{place(int(row))}: gap of {minutes:.3g} minutes before {time[row]}")
    remarks += _day_length(slices)
    if "flow" in frame:
        move, flow = np.diff(np.log(frame["mid"])), frame["flow"].to_numpy()
        inside, before = (_correlation(flow[i : i + len(move)], move, ~slices.new[1:]) for i in (0, 1))
        if inside < -max(5 / len(move) ** 0.5, 0.1) and before <= -inside and files[0].reading.sides is None:
            raise InputError(
                f"{file}: buys go with falling prices in their own slice (correlation {inside:.2f}): are sides "
                "those of the maker? Say sides = 'maker', or sides = 'taker' if they are right"
            )
        if before > inside + 4 / len(move) ** 0.5:
            remarks.append(
                f"flow goes with the price move before its slice, not in it (correlation {before:.2f} against "
                f"{inside:.2f}): if stamps are those of a slice's end, say --stamp end"
            )
    still = frame["volume"].to_numpy() == 0
    if still.any():
        first = int(still.argmax())
        remarks.append(f"{place(first)}: no trade from {time[first]} on, one of {still.sum()} slices")
    return slices


def _day_length(slices: Slices) -> list[str]:
    """A remark where days of the data are clearly longer, or shorter, than the trading day that rates are per."""
    step = slices.slice_length * slices.hours_per_day
    last = np.flatnonzero(np.r_[np.diff(slices.day) > 0, True])
    hours = (slices._place[last] - slices._place[np.r_[0, last[:-1] + 1]]) / 3600 + step
    longest, usual = float(hours.max()), float(np.median(hours))
    if longest > 1.05 * slices.hours_per_day:
        seen = longest
    elif len(last) > 1 and usual < 0.5 * slices.hours_per_day:
        seen = usual
    else:
        return []
    return [
        f"days of the data are {seen:.3g} hours long, but rates are per day of {slices.hours_per_day:g}: "
        "see --hours-per-day"
    ]


def _correlation(x: np.ndarray, y: np.ndarray, known: np.ndarray) -> float:
    x, y = x[known], y[known]
    return float(np.corrcoef(x, y)[0, 1]) if known.sum() > 2 and np.ptp(x) > 0 and np.ptp(y) > 0 else 0.0
