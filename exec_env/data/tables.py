"""Data files, read a part at a time: columns of any name, rows checked, and named where they are bad."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from exec_env.base.errors import InputError
from exec_env.base.validation import unknown
from exec_env.data import columns, formats, instruments, kinds, stamps, values, vendor_files, vendor_rows
from exec_env.data.checks import Cleaner, Counted, check
from exec_env.data.columns import LEVEL
from exec_env.data.csv_table import TextTable
from exec_env.data.features import Feature, labelled
from exec_env.data.formats import FORMATS, Format
from exec_env.data.kinds import ALSO, NEEDS, TAPE, Kind
from exec_env.data.names import nearest
from exec_env.data.parquet_table import ParquetTable
from exec_env.data.reading import Reading
from exec_env.data.sessions import Session
from exec_env.data.stamps import NO_TIME

ROWS = 500_000
"""Rows in memory at once."""
_SOME = 100  # rows that show how times are written
_LOBSTER = re.compile(r"(?P<stem>.*(?P<date>\d{4}-\d{2}-\d{2}).*)_(?P<what>message|orderbook)(?P<rest>_\d+\.csv)$")


@dataclass(frozen=True)
class DataFile:
    """One file of market data, or one kind of row of a file that holds several.

    Raises:
        InputError: naming the file, when it is missing or no table, or holds no kind of data that is known.
    """

    path: Path
    columns: Mapping[str, str] = field(default_factory=dict)
    """Where the file has other names: our name -> its column, two columns as "day clock", or arithmetic of its columns.
    One that the file has under our name alone is read under that, because files of several kinds share these names."""
    reading: Reading = field(default_factory=Reading)
    frame: pd.DataFrame | None = None
    """The rows, where they are not in a file; ``path`` is what messages call them then."""
    rows_of: str = ""
    """Name of the format, where the file holds rows of several."""
    half: Literal["", "quotes", "trades"] = ""
    """The rows that count, where a file without a known format holds quotes and trades."""
    tape: bool = False
    """Whether a book's own mid, spread and depth are taken too."""
    features: Mapping[str, Feature] = field(default_factory=dict)
    """What else is taken of each row, whatever kind it is of."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))
        known = {name for names in (*NEEDS.values(), *ALSO.values()) for name in names}
        columns.require_mapping(self.columns, "tape_columns" if self.tape else "columns")
        for name in self.columns:
            if name not in known:
                raise InputError(f"{self.path}: {unknown('column', name, known)}")
        if self.frame is not None:
            return
        if self.path.is_dir():
            raise InputError(f"{self.path}: a folder; name the files in it")
        if self.path.exists() and not self.path.is_file():
            raise InputError(f"{self.path}: no regular file")
        if not self.path.exists():
            raise InputError(f"{self.path}: no such file")

    # What the file is

    @property
    def lobster(self) -> re.Match[str] | None:
        """The parts of a LOBSTER file's name: NAME_DATE_..._message_LEVELS.csv, or orderbook."""
        return None if self.frame is not None else _LOBSTER.match(str(self.path))

    @cached_property
    def format_name(self) -> str | None:
        """Name of the vendor's format: as it is said, or as the names of columns tell it."""
        if self.rows_of or self._named or self.lobster or self.frame is not None:
            return self.rows_of or self._named
        if why := formats.unreadable(self.header):
            raise InputError(f"{self.path}: {why}")
        return formats.recognise(self.header)

    @cached_property
    def _named(self) -> str | None:
        """The format that is said, where this file can be of it: others beside it say what they are themselves."""
        if self.frame is not None or self.lobster or self.path.suffix in (".parquet", ".pq"):
            return self.reading.format
        return vendor_files.named(self.path, self.reading)

    @cached_property
    def format(self) -> Format | None:
        """The vendor's format, if it is known."""
        return FORMATS[self.format_name] if self.format_name else None

    @property
    def quotes_and_trades(self) -> bool:
        """Whether a file of no known format has columns of both; a row may be of one of them."""
        both = {*NEEDS["quotes"], *NEEDS["trades"]} - {"time"}
        return self.format is None and not self.lobster and not self.levels and all(map(self._has, both))

    @cached_property
    def others(self) -> list["DataFile"]:
        """The same file's rows of other kinds, where its format has such."""
        if self.half == "quotes":
            return [replace(self, half="trades")]
        if self.format is None or not self.format.also or self.rows_of:
            return []
        return [replace(self, rows_of=self.format.also)]

    @cached_property
    def _table(self) -> TextTable | ParquetTable:
        """The file's reader."""
        if self.path.suffix in (".parquet", ".pq"):
            return ParquetTable(self.path)
        return vendor_files.text_table(self.path, self.reading, self.rows_of or self._named)

    @cached_property
    def header(self) -> list[str]:
        """Names of the file's columns."""
        return [str(name) for name in self.frame] if self.frame is not None else self._table.header

    @cached_property
    def own(self) -> dict[str, str]:
        """Our names -> columns or arithmetic, where they are not ours: as said, of the format, or near enough."""
        named = self.format.taken(self.header) if self.format is not None else {}
        for ours, text in self.columns.items():
            if self.tape or ours not in self.header or columns.readable(text, self.header) or self.format is not None:
                named[ours] = text
        if self.format is None and self.frame is None:
            # A clock may be called time.
            near = nearest(self.header)
            named = {
                x: name for x, name in near.items() if x not in self.header or (x == "time" and " " in name)
            } | named
        return named

    def _source(self, name: str) -> str:
        return self.own.get(name, name)

    def _has(self, name: str) -> bool:
        return self._parts_of(name) <= set(self.header)

    def _parts_of(self, name: str) -> set[str]:
        """Columns of the file that our name takes."""
        text = self._source(name)
        both = columns.two(text, self.header) if name == "time" and text not in self.header else None
        return set(both) if both else columns.parts_of(text, self.header)

    @cached_property
    def levels(self) -> list[int]:
        """Numbers of the levels of the book that the file has."""
        return columns.levels(self.header, self.own)

    @cached_property
    def kind(self) -> Kind:
        """What the file holds, by its format or its columns; messages: of LOBSTER, by its name."""
        if self.lobster:
            return "messages" if self.lobster["what"] == "message" else "book"
        if self.format is not None:
            return self.format.kind
        if self.half:
            return self.half
        if self.levels:
            return "book"
        for name in self.columns if self.tape else ():
            if "#" in name:
                raise InputError(
                    f"{self.path}: column {name!r} as {self.columns[name]!r} is missing with # = 0 and 1; a book needs "
                    f"{', '.join(LEVEL)}"
                )
        return kinds.told(self._has, self.own, self.header, self.tape, str(self.path))

    def taken(self) -> dict[str, str]:
        """Our names, levels numbered from 1 -> the column or expression that each is read from."""
        kind = self.kind
        if self.lobster:
            return {}
        names = {name: self._source(name) for name in NEEDS[kind] if "#" not in name}
        also = (*ALSO[kind], *(TAPE if self.tape and kind == "book" else ()))
        names |= {name: self._source(name) for name in also if self._has(name) or name in self.columns}
        return names | columns.at_levels(self.levels if kind == "book" else [], self.own)

    def said(self) -> list[str]:
        """What the file was taken for, where it does not say so itself: format, columns of other names, zone."""
        others = [f"{ours} = {theirs}" for ours, theirs in self.taken().items() if ours != theirs]
        what = f"{self.kind} of {self.format_name}" if self.format_name else self.kind
        said = []
        if self.format_name or any(ours not in self.columns for ours, theirs in self.taken().items() if ours != theirs):
            shown = ", ".join(others[:8]) + (" ..." if len(others) > 8 else "")
            said.append(f"{self.path.name}: {what}: {shown}" if others else f"{self.path.name}: {what}")
        if self.format is not None and self.reading.zone not in (None, self._zone) and self._time_format is not None:
            said.append(f"{self.path.name}: times of {self.format_name} are {self._zone}, whatever zone says")
        if self.zone == "none":
            said.append(f"{self.path.name}: times name no zone: taken as UTC; zone says another")
        if self.format is not None and self.format.cannot:
            said.append(f"{self.format_name} cannot tell {self.format.cannot}")
        return said

    # Its rows

    def frames(self, cleaner: Cleaner) -> Iterator[pd.DataFrame]:
        """Parts of the file under our names, checked and in order of time; the index counts rows from 0.

        Columns are numbers, ``time`` is in nanoseconds since 1970 [ns], ``side`` is +1 for buys, −1 for sells and NaN
        where nobody says. Rows of another instrument, out of the session or without a price in a way that the format
        documents are left out and counted in the remarks of ``cleaner``.

        Raises:
            InputError: naming file, row and reason; bad rows are dropped instead where ``cleaner`` says so.
        """
        taken = self.taken() | {labelled(name): of.column for name, of in self.features.items()}
        wanted = self._parts_of("time").union(*(columns.parts_of(text, self.header) for text in taken.values()))
        wanted |= {name for name in self._other_columns if name in self.header}
        counted = Counted()
        last = NO_TIME
        for raw in self._in_order([name for name in self.header if name in wanted], cleaner):
            counted.rows += len(raw)
            raw = self._selected(raw, counted)
            frame = self._ours(raw, taken, cleaner, counted)
            frame = check(frame, self.kind, self.path, cleaner, last)
            if len(frame):
                last = int(frame["time"].iloc[-1])
                yield frame
        if counted.rows == 0:
            raise InputError(f"{self.path}: no rows")
        counted.tell(self.path, self.reading, self.format_name, cleaner)

    @property
    def _other_columns(self) -> set[str]:
        """Columns that say which rows count."""
        return {*self._telling, *self.symbols}

    @property
    def _telling(self) -> set[str]:
        """Columns that say which rows are of the format's kind."""
        return set() if self.format is None else {self.format.spelled(name, self.header) for name in self.format.only}

    @cached_property
    def symbols(self) -> list[str]:
        """The columns that name the instrument."""
        return instruments.naming(self.header)

    def _in_order(self, wanted: list[str], cleaner: Cleaner) -> Iterator[pd.DataFrame]:
        """Parts with rows numbered from 0, turned round where the newest come first."""
        parts, rows = self._parts(wanted), 0

        def numbered() -> Iterator[pd.DataFrame]:
            nonlocal rows
            for raw in parts:
                raw.index = pd.RangeIndex(rows, rows + len(raw))
                rows += len(raw)
                yield raw

        first = next(numbered(), None)
        if first is None:
            return
        if not self._newest_first(first):
            yield first
            yield from numbered()
            return
        for raw in reversed([first, *numbered()]):
            yield raw[::-1]
        cleaner.remarks.append(f"{self.path.name}: newest rows first, read from the end")

    def _newest_first(self, raw: pd.DataFrame) -> bool:
        if self.frame is not None or len(raw) < 3:
            return self.format is not None and self.format.newest_first
        some = raw.iloc[np.unique(np.linspace(0, len(raw) - 1, 50).astype(int))]
        steps = np.diff(self._times(some).astype(np.float64))
        return bool((steps <= 0).all() and (steps < 0).any())

    def _selected(self, raw: pd.DataFrame, counted: "Counted") -> pd.DataFrame:
        """Rows of the format's kind, and of the instrument that counts.

        Raises:
            InputError: where there are several instruments and none is named.
        """
        if self.format is not None:
            raw = vendor_rows.counting(raw, self.format)
        if self.half:  # a row of the other kind has none of these
            own = [name for name in NEEDS[self.half] if name != "time"]
            raw = raw[raw[sorted(set().union(*map(self._parts_of, own)))].notna().any(axis=1)]
        return instruments.selected(raw, self.symbols, self.reading.symbol, counted, self.path)

    def _ours(self, raw: pd.DataFrame, taken: Mapping[str, str], cleaner: Cleaner, counted: "Counted") -> pd.DataFrame:
        found: dict[str, Any] = {"time": self._times(raw)}
        none = np.flatnonzero(found["time"] == NO_TIME)
        if none.size and not cleaner.clean:
            text = columns.evaluate(raw, "time", self._source("time"), str(self.path), "time").iloc[none[0]]
            more = f" (and {none.size - 1} more rows here)" if none.size > 1 else ""
            raise InputError(
                f"{self.path}: row {raw.index[none[0]] + 1}, 'time': {text!r} is not a time{more}; if it is one, say "
                "how it is written: time_format"
            )
        whole = set()
        for ours, text in taken.items():
            if ours == "time":
                continue
            column = columns.evaluate(raw, ours, text, str(self.path), ", ".join(NEEDS[self.kind]))
            if ours == "side":
                words = self.format.sides if self.format is not None else {}
                side = values.sides(column, text, words, str(self.path))
                found[ours] = -side if self.reading.sides == "maker" else side
                counted.without_side += int(np.isnan(side).sum())
            else:
                found[ours] = values.numbers(column, ours, str(self.path), cleaner.clean)
                whole |= {ours} if pd.api.types.is_integer_dtype(column) else set()
        frame = pd.DataFrame(found, index=raw.index)
        if self.format is not None:
            rows = len(frame)
            frame, counted.before = vendor_rows.priced(frame, self.format, whole, counted.before)
            counted.without_price += rows - len(frame)
        if self.session is not None:
            inside = self.session.inside(frame["time"].to_numpy())
            counted.outside += int((~inside).sum())
            frame = frame[inside]
        return frame

    @cached_property
    def session(self) -> Session | None:
        """Hours that count."""
        hours = self.reading.session
        return None if hours is None else Session(hours, self.reading.zone or self._zone)

    def _times(self, raw: pd.DataFrame) -> np.ndarray:
        """Nanoseconds since 1970; the least number there is where there is no time."""
        text = self._source("time")
        column = columns.evaluate(raw, "time", text, str(self.path), ", ".join(NEEDS[self.kind]))
        try:
            return vendor_rows.times(column, self.format, self.reading, lambda: self._zone)
        except InputError as error:
            raise InputError(f"{self.path}: {error}") from None

    @property
    def _time_format(self) -> str | None:
        """How times are written, where they are texts of another form than ISO 8601."""
        return vendor_rows.time_format(self.format, self.reading)

    @property
    def _zone(self) -> str:
        """Zone of times that name none."""
        if self.format is not None and self.format.zone is not None:
            return self.format.zone
        if self.format is not None and self.reading.zone is None:
            raise InputError(f"{self.path}: {self.format_name} does not say the zone of its times: give zone")
        return self.reading.zone or "UTC"

    @cached_property
    def zone(self) -> stamps.Zone | None:
        """How times say their zone, as the first row has them; None where it is settled, or there is no row."""
        if self.lobster or self.reading.zone is not None or self.format is not None:
            return None
        wanted = self._parts_of("time")
        first = next(self._parts([name for name in self.header if name in wanted], _SOME), None)
        if first is None or first.empty or not wanted <= set(self.header):
            return None
        column = columns.evaluate(first, "time", self._source("time"), str(self.path), "time")
        return stamps.zone_in(column[:1], self._time_format)

    def texts(self, name: str) -> list[str]:
        """A column as texts, in the file's order."""
        return [str(cell) for part in self._parts([name]) for cell in part[name]]

    def _parts(self, wanted: list[str], rows: int = ROWS) -> Iterator[pd.DataFrame]:
        if self.frame is not None:
            for name in wanted:
                if list(self.frame).count(name) > 1:
                    raise InputError(f"{self.path}: more than one column {name!r}")
            yield self.frame[wanted].reset_index(drop=True)
        elif isinstance(self._table, ParquetTable):
            yield from self._table.parts(rows, wanted)
        else:
            as_written = {name for name in self._parts_of("time") if self._as_written}
            as_written |= self._other_columns
            yield from self._table.parts(rows, wanted, [name for name in wanted if name in as_written])

    @property
    def _as_written(self) -> bool:
        """Whether times are read as text, so that 093000 keeps its first digit."""
        return self._time_format is not None or len(self._parts_of("time")) > 1
