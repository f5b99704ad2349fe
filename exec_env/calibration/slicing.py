"""Slices from ticks: files larger than memory become one row for each slice of time."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from exec_env.calibration import lobster
from exec_env.calibration.files import Cleaner, DataFile
from exec_env.calibration.slicer import Slicer
from exec_env.slices import Stamp
from exec_env.validation import is_finite

_NIGHT = 2 * 3600.0  # [s] a longer gap is the end of a trading day, which need not be named


@dataclass(frozen=True)
class Slices:
    """A market slice by slice."""

    frame: pd.DataFrame
    """One row a slice, in order of time. ``time`` start [UTC]; ``mid`` at the start [$]; ``spread`` mean over the slice
    [$]; ``volume`` traded [shares]; where the data have them ``depth`` near the touch [shares], ``slope`` of the price
    concession in the shares taken from the book [$/share per share], ``flow`` bought less sold by those who take
    liquidity [shares], ``cost``, what takers paid beyond the touch, against the mid at the slice's start [$], and
    ``walk_xx``, ``walk_xy``: squares and products of log shares and log concession over the levels of its books, and
    ``walk_size``: log of the shares that ``slope`` is felt at."""
    slice_length: float
    """Δ. [day]"""
    hours_per_day: float
    """Length of a trading day. [hour]"""
    sources: list[dict[str, Any]] = field(default_factory=list)
    """Files, what they hold and how many rows of them were used."""
    cleaner: Cleaner = field(default_factory=Cleaner)

    @property
    def new(self) -> np.ndarray:
        """Whether each row comes after a gap, the first one included. Shape: (rows,)."""
        return np.r_[True, _steps(self.frame) > 1.5 * self.slice_length * self.hours_per_day * 3600]

    @property
    def session(self) -> np.ndarray:
        """Number of the stretch without a gap that each row is in. Shape: (rows,)."""
        return np.cumsum(self.new) - 1


def read(
    paths: Sequence[str | Path],
    minutes: float = 5.0,
    hours_per_day: float = 6.5,
    columns: dict[str, str] | None = None,
    time_unit: str | None = None,
    clean: bool = False,
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
        stamp: whether volume and flow in a row of slices, quotes or books are those from its time on, or up to it.

    Raises:
        ValueError: naming file and row, for data that cannot be right or do not suffice.
    """
    for name, value, high in (("minutes", minutes, 1440.0), ("hours_per_day", hours_per_day, 24.0)):
        if not is_finite(value) or not 0 < value <= high:
            raise ValueError(f"{name} = {value!r}: must be in (0, {high:g}]")
    if not paths:
        raise ValueError("name the files with the data")
    files = [DataFile(Path(path), dict(columns or {}), time_unit) for path in paths]
    kinds: dict[str, list[DataFile]] = {
        kind: [f for f in files if f.kind == kind] for kind in dict.fromkeys(f.kind for f in files)
    }
    cleaner = Cleaner(clean)
    if "slices" in kinds:
        if len(kinds) > 1:
            other = next(f for f in files if f.kind != "slices")
            raise ValueError(f"{other.path}: recorded slices and {other.kind} cannot be calibrated together")
        return _recorded(files, hours_per_day, cleaner, stamp)
    counts: dict[Path, int] = dict.fromkeys((f.path for f in files), 0)
    stream = _stream(kinds, cleaner, counts)
    step = round(minutes * 60 * 1e9)
    slicer = Slicer(step, stamp)
    for quotes, trades in stream:
        slicer.add(quotes, trades)
    if slicer.too_early:
        cleaner.remarks.append(f"{slicer.too_early} trades before the first quote were left out")
    frame = slicer.finished()
    if len(frame) < 2:
        raise ValueError(f"{files[0].path}: {len(frame)} slices of {minutes:g} minutes; at least two are needed")
    sources = [{"file": f.path.name, "holds": f.kind, "rows": counts[f.path]} for f in files]
    slices = Slices(frame, minutes / (60 * hours_per_day), hours_per_day, sources, cleaner)
    return _remarked(slices, files[0].path)


def _recorded(files: list[DataFile], hours_per_day: float, cleaner: Cleaner, stamp: Stamp) -> Slices:
    counts: dict[Path, int] = dict.fromkeys((f.path for f in files), 0)
    frame = pd.concat(list(_chained(files, cleaner, counts)), ignore_index=True)
    frame["time"] = pd.to_datetime(frame["time"], utc=True)
    if len(frame) < 2:
        raise ValueError(f"{files[0].path}: {len(frame)} rows; at least two are needed")
    seconds = float(np.median(_steps(frame)))
    sources = [{"file": f.path.name, "holds": f.kind, "rows": counts[f.path]} for f in files]
    slices = Slices(frame, seconds / (3600 * hours_per_day), hours_per_day, sources, cleaner)
    if stamp == "end":
        counted = [name for name in ("volume", "flow", "cost") if name in frame]
        frame[counted] = frame[counted].shift(-1)
        slices = replace(slices, frame=frame[~np.r_[slices.new[1:], True]].reset_index(drop=True))
    return _remarked(slices, files[0].path)


def _steps(frame: pd.DataFrame) -> np.ndarray:
    """Time from row to row. [s]"""
    return np.diff(frame["time"].dt.as_unit("ns").astype("int64").to_numpy()) / 1e9


def _remarked(slices: Slices, file: Path) -> Slices:
    """The slices, with gaps and halts named in the remarks.

    Raises:
        ValueError: when the price or the volume never differs, so that nothing has a scale.
    """
    frame, remarks = slices.frame, slices.cleaner.remarks
    if np.ptp(frame["mid"]) == 0:
        raise ValueError(f"{file}: 'mid' is {frame['mid'].iloc[0]:g} throughout, so that there is no volatility")
    if "volume" not in frame or not frame["volume"].sum() > 0:
        raise ValueError(f"{file}: there is no volume; quotes need trades, or columns volume and flow")
    time, steps = frame["time"], _steps(frame)
    for row in np.flatnonzero(slices.new)[1:]:
        if steps[row - 1] < _NIGHT:
            minutes = steps[row - 1] / 60
            remarks.append(f"{file.name}: slice {row + 1}: gap of {minutes:.3g} minutes before {time[row]}")
    still = frame["volume"].to_numpy() == 0
    if still.any():
        first = int(still.argmax())
        remarks.append(f"{file.name}: slice {first + 1}: no trade from {time[first]} on, one of {still.sum()} slices")
    return slices


def _stream(
    kinds: dict[str, list[DataFile]], cleaner: Cleaner, counts: dict[Path, int]
) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Quotes and trades of the same stretch of time, a part at a time."""
    if "messages" in kinds:
        return _lobster(kinds, cleaner, counts)
    quoted = kinds.get("quotes", []) + kinds.get("book", [])
    traded = kinds.get("trades", [])
    if not quoted:
        raise ValueError(f"{traded[0].path}: trades need quotes, or a book, beside them")
    if not traded:
        return ((frame, pd.DataFrame()) for frame in _chained(quoted, cleaner, counts))
    return _side_by_side(_chained(quoted, cleaner, counts), _chained(traded, cleaner, counts))


def _lobster(
    kinds: dict[str, list[DataFile]], cleaner: Cleaner, counts: dict[Path, int]
) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    books = {(b.lobster["stem"], b.lobster["rest"]): b for b in kinds.get("book", []) if b.lobster}
    for messages in kinds["messages"]:
        name = messages.lobster
        assert name is not None
        book = books.get((name["stem"], name["rest"]))
        if book is None:
            raise ValueError(f"{messages.path}: its order book, {name['stem']}_orderbook{name['rest']}, is not named")
        for quotes, trades in lobster.frames(messages, book, cleaner):
            counts[book.path] += len(quotes)
            counts[messages.path] += len(trades)
            yield quotes, trades


def _chained(files: Iterable[DataFile], cleaner: Cleaner, counts: dict[Path, int]) -> Iterator[pd.DataFrame]:
    """Parts of all files, one file after the other."""
    last, before = None, None
    for file in files:
        for frame in file.frames(cleaner):
            if last is not None and frame["time"].iloc[0] < last and before != file.path:
                raise ValueError(f"{file.path}: row 1: begins before {before} ends; name files in order of time")
            last, before = int(frame["time"].iloc[-1]), file.path
            counts[file.path] += len(frame)
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
