"""Data files, read a part at a time: CSV or Parquet, columns of any name, rows checked and named where they are bad."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from exec_env.base.errors import InputError
from exec_env.base.extras import importing
from exec_env.base.validation import unknown
from exec_env.data import columns, csv_table
from exec_env.data.checks import NO_TIME, Cleaner, check
from exec_env.data.columns import LEVEL

Kind = Literal["slices", "trades", "quotes", "book", "messages"]

ROWS = 500_000
"""Rows in memory at once."""
NEEDS: dict[str, tuple[str, ...]] = {
    "slices": ("time", "mid", "spread", "volume"),
    "trades": ("time", "price", "size"),
    "quotes": ("time", "bid", "ask"),
    "book": ("time", *LEVEL),
}
ALSO: dict[str, tuple[str, ...]] = {
    "slices": ("depth", "flow", "cost", "slope"),
    "trades": ("side",),
    "quotes": ("volume", "flow"),
    "book": ("volume", "flow"),
}
TAPE = ("mid", "spread", "depth")
"""What a tape may take beside a book; here they are the book's own, and naming them has no effect."""
_UNITS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_LATEST = pd.Timestamp("2200-01-01").value
_LOBSTER = re.compile(r"(?P<stem>.*(?P<date>\d{4}-\d{2}-\d{2}).*)_(?P<what>message|orderbook)(?P<rest>_\d+\.csv)$")
_SIDES = {"b": 1.0, "buy": 1.0, "bid": 1.0, "1": 1.0, "s": -1.0, "sell": -1.0, "ask": -1.0, "-1": -1.0}


@dataclass(frozen=True)
class DataFile:
    """One file of market data.

    Raises:
        InputError: naming the file, when it is missing or no table, or holds no kind of data that is known.
    """

    path: Path
    columns: dict[str, str] = field(default_factory=dict)
    """Where the file has other names: our name -> its column, or arithmetic of its columns. One that the file has under
    our name alone is read under that, because files of several kinds share these names."""
    time_unit: str | None = None
    """Unit of times that are plain numbers since 1970: s, ms, us or ns; None refuses them."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))
        known = {name for names in (*NEEDS.values(), *ALSO.values()) for name in names}
        columns.require_mapping(self.columns, "columns")
        for name in self.columns:
            if name not in known:
                raise InputError(f"{self.path}: {unknown('column', name, known)}")
        if self.time_unit is not None and self.time_unit not in _UNITS:
            raise InputError(f"time_unit = {self.time_unit!r}: must be one of {', '.join(_UNITS)}, or None")
        if self.path.is_dir():
            raise InputError(f"{self.path}: a folder; name the files in it")
        if not self.path.is_file():
            raise InputError(f"{self.path}: no such file")

    @property
    def parquet(self) -> bool:
        """Whether it is read as Parquet, by its name."""
        return self.path.suffix in (".parquet", ".pq")

    @property
    def lobster(self) -> re.Match[str] | None:
        """The parts of a LOBSTER file's name: NAME_DATE_..._message_LEVELS.csv, or orderbook."""
        return _LOBSTER.match(str(self.path))

    @cached_property
    def header(self) -> list[str]:
        """Names of the file's columns."""
        if self.parquet:
            return list(self._parquet().schema_arrow.names)
        return [str(name) for name in csv_table.read(self.path, nrows=0)]

    @cached_property
    def own(self) -> dict[str, str]:
        """Entries of ``columns`` that this file has."""
        return {
            ours: text
            for ours, text in self.columns.items()
            if ours not in self.header
            or text in self.header
            or (columns.names(text) - {text} or {text}) <= set(self.header)
        }

    @cached_property
    def zone(self) -> Literal["none", "local"] | None:
        """Whether times, as the first row has them, have no zone, or one other than UTC; None: neither, or numbers."""
        wanted = [] if self.lobster else [x for x in self.header if x in columns.names(self.own.get("time", "time"))]
        first = next(self._parts(wanted), None) if len(wanted) == 1 else None
        if first is None or first.empty or pd.api.types.is_numeric_dtype(first.iloc[:, 0]):
            return None
        stamp = pd.to_datetime(first.iloc[:1, 0], errors="coerce").iloc[0]
        if not isinstance(stamp, pd.Timestamp):
            return None
        return "none" if stamp.tzinfo is None else "local" if stamp.utcoffset() else None

    def _has(self, name: str) -> bool:
        return columns.needed(self.own.get(name, name), self.header) <= set(self.header)

    @cached_property
    def levels(self) -> list[int]:
        """Numbers of the levels of the book that the file has."""
        return columns.levels(self.header, self.own)

    @cached_property
    def kind(self) -> Kind:
        """What the file holds, by its columns; messages: of LOBSTER, by its name."""
        if self.lobster:
            return "messages" if self.lobster["what"] == "message" else "book"
        if self.levels:
            return "book"
        for kind in ("slices", "quotes", "trades"):
            if all(self._has(name) for name in NEEDS[kind] if name != "time"):
                return kind
        raise InputError(
            f"{self.path}: columns are missing; slices need {', '.join(NEEDS['slices'])}, trades "
            f"{', '.join(NEEDS['trades'])}, quotes {', '.join(NEEDS['quotes'])}, a book {', '.join(LEVEL)}. "
            f"Its columns: {', '.join(self.header[:12])}{' ...' if len(self.header) > 12 else ''}"
            f"{'; columns are separated by commas' if len(self.header) == 1 else ''}"
        )

    def taken(self) -> dict[str, str]:
        """Our names, levels numbered from 1 -> the column or expression that each is read from."""
        kind = self.kind
        names = {name: self.own.get(name, name) for name in NEEDS[kind] if "#" not in name}
        names |= {name: self.own.get(name, name) for name in ALSO[kind] if self._has(name)}
        return names | columns.at_levels(self.levels if kind == "book" else [], self.own)

    def frames(self, cleaner: Cleaner) -> Iterator[pd.DataFrame]:
        """Parts of the file under our names, checked and in order of time; the index counts rows from 0.

        Columns are numbers, ``time`` is in nanoseconds since 1970 [ns], ``side`` is +1 for buys and −1 for sells.

        Raises:
            InputError: naming file, row and reason; bad rows are dropped instead where ``cleaner`` says so.
        """
        taken = self.taken()
        needed = set().union(*(columns.names(text) for text in taken.values()))
        last, rows, kept = NO_TIME, 0, 0
        for raw in self._parts([name for name in self.header if name in needed]):
            raw.index = pd.RangeIndex(rows, rows + len(raw))
            rows += len(raw)
            frame = self._ours(raw, taken, cleaner.clean)
            frame = check(frame, self.kind, self.path, cleaner, last)
            kept += len(frame)
            if len(frame):
                last = int(frame["time"].iloc[-1])
                yield frame
        if rows == 0:
            raise InputError(f"{self.path}: no rows")
        if 2 * kept < rows:  # one stamp of the far future, for example, makes all rows after it unsorted
            raise InputError(
                f"{self.path}: {rows - kept} of {rows} rows are bad, too many to drop: {cleaner.most(self.path)}"
            )

    def _ours(self, raw: pd.DataFrame, taken: dict[str, str], clean: bool) -> pd.DataFrame:
        found: dict[str, Any] = {}
        for ours, text in taken.items():
            column = columns.evaluate(raw, ours, text, str(self.path), ", ".join(NEEDS[self.kind]))
            if ours == "time":
                found[ours] = self._times(column)
            elif ours == "side" and not pd.api.types.is_numeric_dtype(column):
                found[ours] = column.astype(str).str.strip().str.lower().map(_SIDES).to_numpy(np.float64)
            else:
                numbers = pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
                words = np.flatnonzero(np.isnan(numbers) & column.notna().to_numpy())
                if words.size and not clean:  # with ``clean`` they are dropped later, because they are no numbers
                    row = words[0]
                    raise InputError(
                        f"{self.path}: row {raw.index[row] + 1}, {ours!r}: {column.iloc[row]!r} is not a number"
                    )
                found[ours] = numbers
        return pd.DataFrame(found, index=raw.index)

    def _times(self, column: pd.Series) -> np.ndarray:
        """Nanoseconds since 1970; the least number there is where there is no time."""
        if pd.api.types.is_numeric_dtype(column):
            if self.time_unit is None:
                raise InputError(
                    f"{self.path}: column 'time' holds plain numbers, whose unit is unknown; give time_unit, "
                    f"one of {', '.join(_UNITS)}"
                )
            numbers, unit = column.to_numpy(), _UNITS[self.time_unit]
            late = np.flatnonzero(numbers > _LATEST / unit)
            if late.size:
                raise InputError(
                    f"{self.path}: row {column.index[late[0]] + 1}, 'time': {numbers[late[0]]} {self.time_unit} is "
                    f"after the year 2200; is time_unit right?"
                )
            known = np.isfinite(numbers)
            return np.where(known, np.where(known, numbers, 0) * unit, NO_TIME).astype(np.int64)
        stamps = pd.to_datetime(column, utc=True, format="ISO8601", errors="coerce")
        return stamps.dt.as_unit("ns").astype("int64").to_numpy()

    def _parts(self, wanted: list[str]) -> Iterator[pd.DataFrame]:
        if self.parquet:
            import pyarrow

            batches = self._parquet().iter_batches(ROWS, columns=wanted)
            read = 0
            while True:
                try:
                    batch = next(batches, None)
                except (OSError, pyarrow.ArrowException) as error:
                    raise InputError(f"{self.path}: damaged or cut short after row {read}: {error}") from None
                if batch is None:
                    return
                read += batch.num_rows
                yield batch.to_pandas()
        yield from csv_table.parts(self.path, ROWS, usecols=wanted)

    def _parquet(self) -> Any:
        with importing(str(self.path)):
            import pyarrow
            from pyarrow import parquet
        try:
            return parquet.ParquetFile(self.path)
        except (OSError, pyarrow.ArrowException) as error:
            raise InputError(
                f"{self.path}: not a Parquet file, or cut short: {' '.join(str(error).split())[:200]}"
            ) from None
