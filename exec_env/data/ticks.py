"""Slices from ticks: files larger than memory become one row for each slice of time."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
from tqdm import tqdm

from exec_env.base.errors import InputError
from exec_env.base.jackknife import Estimate
from exec_env.base.validation import is_finite
from exec_env.data import lobster
from exec_env.data.checks import Cleaner
from exec_env.data.slices import Stamp
from exec_env.data.split import Split
from exec_env.data.tables import TAPE, DataFile
from exec_env.data.tick_sums import Slicer

_NIGHT = 2 * 3600.0  # [s] a longer gap is the end of a trading day, which need not be named
_DAY = 24 * 3600.0
_PROFILE_DAYS = 5  # at least, before a time of day is told apart from luck


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
        return np.r_[True, _steps(self.frame) > 1.5 * self.slice_length * self.hours_per_day * 3600]

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
        steps = _steps(self.frame)
        since = np.r_[0.0, np.cumsum(steps)]
        begun = np.maximum.accumulate(np.where(np.r_[True, steps > _NIGHT], since, 0.0))
        return (since - begun) % _DAY


def read(
    paths: Sequence[str | Path],
    minutes: float = 5.0,
    hours_per_day: float = 6.5,
    columns: dict[str, str] | None = None,
    time_unit: str | None = None,
    clean: bool = False,
    progress: bool = False,
    stamp: Stamp = "start",
) -> Slices:
    """Slices of the files: recorded slices; quotes and trades; books, with trades or their own volume; or LOBSTER's.

    Args:
        paths: files, in order of time where several hold the same.
        minutes: length of a slice; recorded slices have their own. [minute]
        hours_per_day: length of a trading day, the unit of time of every rate. [hour]
        columns: as of ``DataFile``.
        time_unit: as of ``DataFile``.
        clean: drop bad rows and count them, rather than refuse the first.
        progress: whether to show a progress bar.
        stamp: whether the volume and flow that slices, or books, have themselves are of the time from their stamp on,
            or before it. What else they have is always of the stamp.

    Raises:
        InputError: naming file and row, for data that cannot be right or do not suffice.
    """
    for name, value, high in (("minutes", minutes, 1440.0), ("hours_per_day", hours_per_day, 24.0)):
        if not is_finite(value) or not 0 < value <= high:
            raise InputError(f"{name} = {value!r}: must be in (0, {high:g}]")
    if stamp not in get_args(Stamp):
        raise InputError(f"stamp = {stamp!r}: must be 'start' or 'end'")
    if not paths:
        raise InputError("name the files with the data")
    files = [DataFile(Path(path), dict(columns or {}), time_unit) for path in paths]
    _belong(files)
    kinds: dict[str, list[DataFile]] = {
        kind: [f for f in files if f.kind == kind] for kind in dict.fromkeys(f.kind for f in files)
    }
    cleaner = Cleaner(clean)
    if "slices" in kinds:
        if len(kinds) > 1:
            other = next(f for f in files if f.kind != "slices")
            raise InputError(f"{other.path}: recorded slices and {other.kind} cannot be calibrated together")
        return _recorded(files, hours_per_day, cleaner, stamp == "end")
    if stamp == "end" and not any("volume" in f.taken() for f in files if not f.lobster):
        raise InputError("stamp = 'end': no file has volumes of its own but trades")
    used: Used = {f.path: _Used() for f in files}
    stream = _stream(kinds, cleaner, used)
    step = round(minutes * 60 * 1e9)
    slicer = Slicer(step, round(_NIGHT * 1e9), stamp == "end")
    with tqdm(unit=" rows", unit_scale=True, disable=not progress, desc="read") as bar:
        for quotes, trades in stream:
            slicer.add(quotes, trades)
            bar.update(len(quotes) + len(trades))
    if slicer.too_early:
        cleaner.remarks.append(f"{slicer.too_early} trades before a day's first quote were left out")
    frame = slicer.finished()
    if len(frame) < 2:
        raise InputError(f"{files[0].path}: {len(frame)} slices of {minutes:g} minutes; at least two are needed")
    sources = [{"file": f.path.name, "holds": f.kind, "rows": used[f.path].rows} for f in files]
    slices = Slices(frame, minutes / (60 * hours_per_day), hours_per_day, sources, cleaner)
    return _remarked(slices, used)


def _belong(files: list[DataFile]) -> None:
    """Check that files can be read together.

    Raises:
        InputError: naming the file that cannot, or the column that none has.
    """
    for i, file in enumerate(files):
        if any(file.path.resolve() == other.path.resolve() for other in files[:i]):
            raise InputError(f"{file.path}: named twice")
    pairs = [f for f in files if f.lobster]
    other = next((f for f in files if not f.lobster), None)
    if pairs and other:
        raise InputError(f"{other.path}: LOBSTER's files and {other.kind} cannot be calibrated together")
    zones = {f.zone: f.path for f in files}
    if "none" in zones and "local" in zones:
        raise InputError(f"{zones['none']}: times have no zone, but those of {zones['local']} have")
    for name, text in files[0].columns.items() if files else ():
        in_book = name in TAPE or "#" in name
        if not any(name in f.own and ((in_book and f.kind == "book") or name in f.taken()) for f in files):
            whose = "none of the files takes it" if len(files) > 1 else f"a file of {files[0].kind} takes none"
            raise InputError(f"{files[0].path}: column {name!r} as {text!r}: {whose}")


def _recorded(files: list[DataFile], hours_per_day: float, cleaner: Cleaner, ends: bool) -> Slices:
    used: Used = {f.path: _Used() for f in files}
    frame = pd.concat(list(_chained(files, cleaner, used)), ignore_index=True)
    frame["time"] = pd.to_datetime(frame["time"], utc=True)
    if len(frame) < 2:
        raise InputError(f"{files[0].path}: {len(frame)} rows; at least two are needed")
    seconds = float(np.median(_steps(frame)))
    sources = [{"file": f.path.name, "holds": f.kind, "rows": used[f.path].rows} for f in files]
    slices = Slices(frame, seconds / (3600 * hours_per_day), hours_per_day, sources, cleaner)
    if ends:  # what a row says of the time before it belongs to the row before, but after a gap to none
        traded = [name for name in ("volume", "flow", "cost") if name in frame]
        moved = frame.assign(**{name: frame[name].shift(-1) for name in traded})
        slices = replace(slices, frame=moved[~np.r_[slices.new[1:], True]].reset_index(drop=True))
    return _remarked(slices, used)


def _steps(frame: pd.DataFrame) -> np.ndarray:
    """Time from row to row. [s]"""
    return np.diff(frame["time"].dt.as_unit("ns").astype("int64").to_numpy()) / 1e9


@dataclass
class _Used:
    """Rows that were read of a file, and what they hold."""

    rows: int = 0
    first: int | None = None
    """First stamp of what says where the price is. [ns]"""

    def add(self, frame: pd.DataFrame) -> None:
        """Rows that say where the price is."""
        self.rows += len(frame)
        if self.first is None and len(frame):
            self.first = int(frame["time"].iloc[0])


Used = dict[Path, _Used]


def _remarked(slices: Slices, used: Used) -> Slices:
    """The slices, with gaps and halts named in the remarks.

    Raises:
        InputError: when the price or the volume never differs, so that nothing has a scale.
    """
    frame, remarks, file = slices.frame, slices.cleaner.remarks, next(iter(used))
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
    time, steps = frame["time"], _steps(frame)
    for row in np.flatnonzero(slices.new)[1:]:
        if steps[row - 1] < _NIGHT:
            minutes = steps[row - 1] / 60
            remarks.append(f"{place(int(row))}: gap of {minutes:.3g} minutes before {time[row]}")
    remarks += _day_length(slices)
    if "flow" in frame:
        move, flow = np.diff(np.log(frame["mid"])), frame["flow"].to_numpy()
        inside, before = (_correlation(flow[i : i + len(move)], move, ~slices.new[1:]) for i in (0, 1))
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


def _stream(
    kinds: dict[str, list[DataFile]], cleaner: Cleaner, used: Used
) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Quotes and trades of the same stretch of time, a part at a time."""
    if any(file.lobster for file in itertools.chain(*kinds.values())):
        return _lobster(kinds, cleaner, used)
    quoted = kinds.get("quotes", []) + kinds.get("book", [])
    traded = kinds.get("trades", [])
    if not quoted:
        raise InputError(f"{traded[0].path}: trades need quotes, or a book, beside them")
    if not traded:
        return ((frame, pd.DataFrame()) for frame in _chained(quoted, cleaner, used))
    return _side_by_side(_chained(quoted, cleaner, used), _chained(traded, cleaner, used))


def _lobster(
    kinds: dict[str, list[DataFile]], cleaner: Cleaner, used: Used
) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Pairs of messages and books, day by day."""
    pairs: dict[tuple[str, ...], dict[str, DataFile]] = {}
    for file in [*kinds.get("messages", []), *kinds.get("book", [])]:
        name = file.lobster
        assert name is not None
        pairs.setdefault((name["date"], name["stem"], name["rest"]), {})[name["what"]] = file
    for (date, stem, rest), pair in pairs.items():
        for what, other, words in (
            ("message", "orderbook", "its order book"),
            ("orderbook", "message", "its file of messages"),
        ):
            if other not in pair:
                raise InputError(f"{pair[what].path}: {words}, {stem}_{other}{rest}, is not named")
        if sum(date == key[0] for key in pairs) > 1:
            raise InputError(
                f"{pair['message'].path}: there are more messages of {date}; calibrate one stock at a time"
            )
    for _, pair in sorted(pairs.items(), key=lambda item: item[0]):
        messages, book = pair["message"], pair["orderbook"]
        for quotes, trades in lobster.frames(messages, book, cleaner):
            used[book.path].add(quotes)
            used[messages.path].rows += len(trades)
            yield quotes, trades


def _chained(files: Iterable[DataFile], cleaner: Cleaner, used: Used) -> Iterator[pd.DataFrame]:
    """Parts of all files, one file after the other."""
    last, before = None, None
    for file in files:
        for frame in file.frames(cleaner):
            # In slices and books a time stands once, over all files.
            first = int(frame["time"].iloc[0])
            again = last == first and file.kind in ("slices", "book")
            if last is not None and (first < last or again) and before != file.path:
                raise InputError(f"{file.path}: row 1: begins before {before} ends; name files in order of time")
            last, before = int(frame["time"].iloc[-1]), file.path
            if file.kind == "trades":
                used[file.path].rows += len(frame)
            else:
                used[file.path].add(frame)
            yield frame


def _side_by_side(
    quotes: Iterator[pd.DataFrame], trades: Iterator[pd.DataFrame]
) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Two streams cut at the same moments, so that no more than a part of each is in memory."""
    q, t = next(quotes, None), next(trades, None)
    none_q, none_t = (pd.DataFrame() if f is None else f.iloc[:0] for f in (q, t))
    while q is not None or t is not None:
        until = min(int(f["time"].iloc[-1]) for f in (q, t) if f is not None)
        cut = []
        for f in (q, t):
            at = 0 if f is None else int(np.searchsorted(f["time"], until, side="right"))
            cut.append(at)
        yield (none_q if q is None else q.iloc[: cut[0]]), (none_t if t is None else t.iloc[: cut[1]])
        q = _rest(q, cut[0], quotes)
        t = _rest(t, cut[1], trades)


def _rest(frame: pd.DataFrame | None, at: int, more: Iterator[pd.DataFrame]) -> pd.DataFrame | None:
    return None if frame is None else frame.iloc[at:] if at < len(frame) else next(more, None)
