"""Text tables by pandas: what a reader says of a bad file becomes one sentence that names the file."""

import csv
import lzma
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from exec_env.base.csv_files import UNREADABLE
from exec_env.base.errors import InputError
from exec_env.data.formats import candidates
from exec_env.data.streams import opened

_UNREADABLE = (*UNREADABLE, lzma.LZMAError, pd.errors.ParserWarning)
_BEGINNING = 1 << 16  # [byte] enough to see separators, names and the first rows
_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8-sig"}
_FEW = 24
_SEPARATORS = ",;\t|"
_NUMBER = frozenset("0123456789+-.,:/ eETZ")


@contextmanager
def _sentences(path: str | Path, row: int | None = None) -> Iterator[None]:
    """Turn what readers say of a file into one sentence, with the number of rows that could be read."""
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except Exception as error:  # the class of zstandard's errors is to be had with the package alone
        if not isinstance(error, _UNREADABLE) and "zstd" not in type(error).__module__ + type(error).__name__.lower():
            raise
        after = "" if row is None else f" after row {row}"
        raise InputError(f"{path}: not a CSV table{after}: {' '.join(str(error).split())[:300]}") from None


def parts(path: str | Path, rows: int, **options: Any) -> Iterator[pd.DataFrame]:
    """A file some rows at a time; ``options`` are those of ``pandas.read_csv``.

    Raises:
        InputError: for a file that is no table, with the number of rows that could be read.
    """
    read = 0
    with _sentences(path, read):
        file = opened(Path(path))
    with file:
        with _sentences(path, read):
            frames = pd.read_csv(file, chunksize=rows, **options)
        while True:
            # Of the reader alone: whoever takes the rows raises outside. Its warning is of cells that it leaves out.
            with _sentences(path, read), warnings.catch_warnings():
                warnings.simplefilter("error", pd.errors.ParserWarning)
                frame = next(frames, None)
            if frame is None:
                return
            read += len(frame)
            yield frame


class TextTable:
    """A text file of rows under names, read a part at a time.

    Args:
        path: the file, perhaps compressed (gzip, bzip2, xz, zip, zstd), or databento's DBN.
        separator: what separates columns; None: what the first line shows.
        decimal: the decimal mark.
        thousands: what groups digits in threes.
        header: names of the columns, where the file has no line of them.
        after: lines between the line of names and the rows.
        skip: lines before the line of names. Empty lines and comments that begin with # are passed over.
    """

    def __init__(
        self,
        path: Path,
        separator: str | None = None,
        decimal: str = ".",
        thousands: str | None = None,
        header: Sequence[str] = (),
        skip: int = 0,
        after: int = 0,
    ) -> None:
        self.path, self.decimal, self.thousands = path, decimal, thousands
        self._separator, self._header, self._skip, self._after = separator, tuple(header), skip, after

    def named(self, header: Sequence[str]) -> "TextTable":
        """The same file, of which ``header`` are the names of columns: it has no line of them."""
        given = (self._separator, self.decimal, self.thousands, header, self._skip, self._after)
        return TextTable(self.path, *given)

    @property
    def lines(self) -> int:
        """Lines of its beginning."""
        return len(self._start[1])

    @property
    def names(self) -> list[str]:
        """Cells of the line where names are."""
        return self._split(self._start[1][self.skipped])

    @property
    def nameless(self) -> bool:
        """Whether a cell where names would be is a number or a time."""
        return any(cell[:1].isdigit() and set(cell) <= _NUMBER for cell in self.names)

    @cached_property
    def _start(self) -> tuple[str, list[str], bool]:
        """Encoding, the first lines, and whether they are all."""
        with _sentences(self.path), opened(self.path) as file:
            raw = file.read(_BEGINNING)
        encoding = next((name for mark, name in _MARKS.items() if raw.startswith(mark)), "utf-8")
        text = raw.decode(encoding, errors="replace")
        if "\0" in text:
            raise InputError(f"{self.path}: not a CSV table: binary")
        lines = text.splitlines()
        whole = len(raw) < _BEGINNING
        return encoding, lines if whole or len(lines) < 2 else lines[:-1], whole

    @cached_property
    def skipped(self) -> int:
        """Lines before the names, or the first row: those said, comments, and empty ones."""
        lines = self._start[1]
        at = self._skip
        while at < len(lines) and (not lines[at].strip() or lines[at].lstrip().startswith("#")):
            at += 1
        if at >= len(lines):
            raise InputError(f"{self.path}: not a CSV table: No columns to parse from file")
        return at

    @cached_property
    def separator(self) -> str:
        """What separates the columns."""
        if self._separator is not None:
            return self._separator
        line = self._start[1][self.skipped]
        seen = Counter({mark: len(next(csv.reader([line], delimiter=mark))) for mark in _SEPARATORS})
        return seen.most_common(1)[0][0] if max(seen.values()) > 1 else ","

    def _split(self, line: str) -> list[str]:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=self.separator), [])]

    @cached_property
    def header(self) -> list[str]:
        """Names of the columns.

        Raises:
            InputError: where rows have other numbers of columns than there are names, or the line of names has numbers.
        """
        rows = self._start[1][self.skipped :]
        first = self._split(rows[0])
        names = list(self._header) or first
        row = first if self._header else self._split(rows[1]) if len(rows) > 1 else []
        if not self._header and len(names) > 1 and all(name and set(name) <= _NUMBER for name in names):
            possible = candidates(len(names))
            raise InputError(
                f"{self.path}: its first line has no names of columns but {', '.join(names[:6])}; say what the "
                f"{len(names)} columns are with header, or whose files they are with format"
                f"{', as ' + ', '.join(possible) if possible else ''}"
            )
        if len(row) > len(names):
            if any(row[len(names) :]):
                raise InputError(f"{self.path}: row 1 has {len(row)} columns, for which there are {len(names)} names")
            names += [f"(empty {i})" for i in range(len(names), len(row))]  # a separator at the end of every row
        return names

    @property
    def _passed(self) -> list[int]:
        """Numbers of the lines that are neither names nor rows."""
        first = self.skipped + (not self._header)
        return [*range(self.skipped), *range(first, first + self._after)]

    def parts(self, rows: int, wanted: Sequence[str], texts: Sequence[str] = ()) -> Iterator[pd.DataFrame]:
        """The file some rows at a time.

        Args:
            rows: how many.
            wanted: columns to read.
            texts: those of them that are taken as they are written.

        Raises:
            InputError: for a file that is no table, with the number of rows that could be read, and for a column
                wanted that the file has twice.
        """
        twice = [name for name, count in Counter(self.header).items() if count > 1]
        for name in twice:
            if name in wanted:
                raise InputError(f"{self.path}: more than one column {name!r}")
        seen: Counter[str] = Counter()
        names = []
        for name in self.header:
            names.append(f"{name} ({seen[name]})" if name in twice else name)
            seen[name] += 1
        options: dict[str, Any] = {"names": names, "header": None if self._header else 0}
        if len(names) > _FEW:  # else a row with a cell too many is told: pandas passes over it where it picks columns
            options["usecols"] = list(wanted)
        options |= {"sep": self.separator, "decimal": self.decimal, "thousands": self.thousands}
        options |= {
            "encoding": self._start[0],
            "skiprows": self._passed,
            "skipinitialspace": True,
            "dtype": dict.fromkeys(texts, "str"),
        }
        for frame in parts(self.path, rows, index_col=False, **options):
            yield frame[list(wanted)]
