"""Slices from ticks: files larger than memory become one row for each slice of time."""

import glob
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
from tqdm import tqdm

from exec_env.base.errors import InputError
from exec_env.base.validation import is_finite, shown
from exec_env.data import bars, lobster
from exec_env.data.checks import Cleaner
from exec_env.data.features import Feature
from exec_env.data.formats import FORMATS
from exec_env.data.kinds import TAPE
from exec_env.data.reading import Reading
from exec_env.data.slices import NIGHT, Slices, Stamp, Used, UsedRows, cleaner_of, counted_ahead, finished, trading_day
from exec_env.data.tables import DataFile
from exec_env.data.tick_sums import Slicer


def read(
    paths: str | Path | Sequence[str | Path],
    minutes: float = 5.0,
    hours_per_day: float | None = None,
    columns: dict[str, str] | None = None,
    reading: Reading | None = None,
    progress: bool = False,
    stamp: Stamp = "start",
    **given: Any,
) -> Slices:
    """Slices of files: recorded slices, bars, trades alone, quotes and trades, books, or LOBSTER's messages and books.

    Books have trades beside them, or volumes of their own.

    Args:
        paths: files, or patterns of names such as "2025-*.csv", in order of time where several hold the same.
        minutes: length of a slice; recorded slices, and bars that are longer, have their own. [minute]
        hours_per_day: length of a trading day, the unit of time of every rate; None: the session's, or else the data's,
            24 where they know no night. [hour]
        columns: as of ``DataFile``.
        reading: how the files are read.
        progress: whether to show a progress bar.
        stamp: whether the volume and flow that slices, bars, or books have themselves are of the time from their stamp
            on, or before it. What else slices and books have is always of the stamp.
        given: fields of ``Reading``, instead of ``reading``.

    Raises:
        InputError: naming file and row, for data that cannot be right or do not suffice.
    """
    for name, value, high in (("minutes", minutes, 1440.0), ("hours_per_day", hours_per_day, 24.0)):
        if value is not None and (not is_finite(value) or not 0 < value <= high):
            raise InputError(f"{name} = {value!r}: must be in (0, {high:g}]")
    if not isinstance(stamp, str) or stamp not in get_args(Stamp):
        raise InputError(f"stamp = {shown(stamp)}: must be 'start' or 'end'")
    reading = Reading.of(given or reading, "reading")
    files = opened(paths, dict(columns or {}), reading)
    kinds: dict[str, list[DataFile]] = {
        kind: [f for f in files if f.kind == kind] for kind in dict.fromkeys(f.kind for f in files)
    }
    used: Used = {f.path: UsedRows() for f in files}
    for kind in ("slices", "bars"):
        if kind in kinds and len(kinds) > 1:
            other = next(f for f in files if f.kind != kind)
            what = "recorded slices" if kind == "slices" else "bars"
            raise InputError(f"{other.path}: {what} and {other.kind} cannot be calibrated together")
    cleaner = cleaner_of(files)
    if "slices" in kinds:
        return finished(recorded(files, cleaner, used, stamp == "end"), None, hours_per_day, files, used, cleaner)
    if "bars" in kinds or list(kinds) == ["trades"]:
        return _of_bars(files, minutes, hours_per_day, used, cleaner, stamp)
    if stamp == "end" and not any("volume" in f.taken() for f in files if not f.lobster):
        raise InputError("stamp = 'end': no file has volumes of its own but trades")
    stream = _stream(kinds, cleaner, used)
    slicer = Slicer(round(minutes * 60 * 1e9), round(NIGHT * 1e9), stamp == "end")
    with tqdm(unit=" rows", unit_scale=True, disable=not progress, desc="read") as bar:
        for quotes, trades in stream:
            slicer.add(quotes, trades)
            bar.update(len(quotes) + len(trades))
    cleaner.left_out(slicer.too_early, slicer.trades, "trades", "have no quote before them that still holds")
    if slicer.far > cleaner.limit * slicer.trades:
        raise InputError(
            f"{kinds['trades'][0].path}: {slicer.far} of {slicer.trades} trades are more than 10 % away from the "
            "quotes: another instrument, unit, or zone of times"
        )
    frame = slicer.finished()
    if len(frame) < 2:
        raise InputError(f"{files[0].path}: {len(frame)} slices of {minutes:g} minutes; at least two are needed")
    return finished(frame, minutes * 60, hours_per_day, files, used, cleaner)


def opened(
    paths: str | Path | Sequence[str | Path],
    columns: dict[str, str],
    reading: Reading,
    tape: bool = False,
    features: Mapping[str, Feature] | None = None,
) -> list[DataFile]:
    """The files, and the kinds of rows in each, checked against one another; arguments are those of ``DataFile``.

    Raises:
        InputError: where there is none, or they do not belong together.
    """
    if isinstance(paths, str | Path):
        paths = [paths]
    if not isinstance(paths, Sequence) or not all(isinstance(path, str | Path) for path in paths):
        raise InputError(f"files = {shown(paths)}: must be paths")
    named: list[Path] = []
    for path in map(Path, paths):
        found = [path] if path.exists() or not glob.has_magic(str(path)) else sorted(map(Path, glob.glob(str(path))))
        if not found:
            raise InputError(f"{path}: no file has such a name")
        named += found
    if not named:
        raise InputError("name the files with the data")
    files = [DataFile(path, columns, reading, tape=tape, features=features or {}) for path in named]
    if reading.symbol is not None and not any(file.symbols for file in files):
        raise InputError(f"{named[0]}: symbol = {reading.symbol!r}: no column names an instrument")
    _belong(files)
    if not tape:  # a tape has trades of no one
        files = [replace(file, half="quotes") if file.quotes_and_trades else file for file in files]
    return [file for first in files for file in (first, *first.others)]


def _belong(files: list[DataFile]) -> None:
    """Check that files can be read together.

    Raises:
        InputError: naming the file that cannot, or the column that none has.
    """
    for i, file in enumerate(files):
        if any(file.path.resolve() == other.path.resolve() for other in files[:i]):
            raise InputError(f"{file.path}: named twice")
    said = files[0].reading.format if files else None
    if said is not None and not any(f.format_name == said for f in files):
        raise InputError(
            f"{files[0].path}: format = {said!r}: no file has its columns, {', '.join(FORMATS[said].header)}"
        )
    pairs = [f for f in files if f.lobster]
    other = next((f for f in files if not f.lobster), None)
    if pairs and other:
        raise InputError(f"{other.path}: LOBSTER's files and {other.kind} cannot be calibrated together")
    zones = {f.zone: f.path for f in files if f.zone is not None}
    named = next((path for zone, path in zones.items() if zone != "none"), None)
    if "none" in zones and named is not None:
        raise InputError(f"{zones['none']}: times have no zone, but those of {named} have: give zone")
    for name, text in files[0].columns.items() if files else ():
        in_book = name in TAPE or "#" in name
        if not any(name in f.own and ((in_book and f.kind == "book") or name in f.taken()) for f in files):
            whose = "none of the files takes it" if len(files) > 1 else f"a file of {files[0].kind} takes none"
            raise InputError(f"{files[0].path}: column {name!r} as {text!r}: {whose}")


def recorded(files: list[DataFile], cleaner: Cleaner, used: Used, ends: bool) -> pd.DataFrame:
    """Slices as they are; where stamps are of their end, with what was traded moved to the row before."""
    frame = pd.concat([*_chained(files, cleaner, used)], ignore_index=True)
    frame["time"] = pd.to_datetime(frame["time"], utc=True)
    return counted_ahead(frame) if ends else frame


def _of_bars(
    files: list[DataFile],
    minutes: float,
    hours_per_day: float | None,
    used: Used,
    cleaner: Cleaner,
    stamp: Stamp,
) -> Slices:
    """Slices of bars, or of trades alone, which become bars of a minute."""
    name, session = str(files[0].path), files[0].session
    parts = _chained(files, cleaner, used)
    if files[0].kind == "trades":
        if stamp == "end":
            raise InputError("stamp = 'end': no file has volumes of its own but trades")
        found, said = bars.of_trades(parts, min(1.0, minutes))
        cleaner.taken += [f"{name}: trades alone, of which bars are made: no quotes", *said]
    else:
        found = pd.concat([*parts], ignore_index=True)
        # Where only the open is there, no bar has a width, from which EDGE could see the spread.
        found = found.assign(**{name: found["open"] for name in ("high", "low", "close") if name not in found})
    made = bars.sliced(found, minutes, session, stamp, name)
    cleaner.taken += made.remarks
    more: dict[str, Any] = {"half_spread": made.spread, "daily": made.daily}
    if made.daily:
        hours_per_day = trading_day(made.frame, made.seconds, hours_per_day, files[0], cleaner)
    seconds = made.seconds if hours_per_day is None or not made.daily else hours_per_day * 3600
    return finished(made.frame, seconds, hours_per_day, files, used, cleaner, **more)


def _stream(
    kinds: dict[str, list[DataFile]], cleaner: Cleaner, used: Used
) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Quotes and trades of the same stretch of time, a part at a time."""
    if any(file.lobster for file in itertools.chain(*kinds.values())):
        return _lobster(kinds, cleaner, used)
    quoted = kinds.get("quotes", []) + kinds.get("book", [])
    traded = kinds.get("trades", [])
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
