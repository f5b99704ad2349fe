"""CSV files of our own: written whole or not at all, and with no cell that a spreadsheet takes for a formula."""

import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import pandas as pd

from exec_env.base.errors import InputError
from exec_env.base.files import require_regular, write_bytes

_FORMULA, _ESCAPED = re.compile(r"'*[=+\-@\t\r]"), re.compile(r"'+[=+\-@\t\r]")

UNREADABLE = (OSError, ValueError, EOFError, BadZipFile, zlib.error)
"""What pandas says of a file that is no table: its own errors, of bytes that are no text too, are ValueErrors; the
others are of compressed files."""


def write_csv(frame: pd.DataFrame, path: Path, index: bool = False, float_format: str | None = None) -> None:
    """Write a table; ``read_csv`` gives back the texts that are escaped.

    Raises:
        InputError: when it cannot be written.
    """
    write_bytes(path, csv_text(frame, index, float_format).encode(errors="backslashreplace"))


def headed(frame: pd.DataFrame, units: Mapping[str, str]) -> pd.DataFrame:
    """A table for a reader: the header of each column that has a unit says it.

    >>> headed(pd.DataFrame({"agent": ["twap"], "J": [24.7]}), {"J": "bps"}).columns.tolist()
    ['agent', 'J [bps]']
    """
    return frame.rename(columns={name: f"{name} [{unit}]" for name, unit in units.items()})


def csv_text(frame: pd.DataFrame, index: bool = False, float_format: str | None = None) -> str:
    """A table as CSV; a text (never a number) that begins as a formula does gets a quotation mark before it.

    >>> print(csv_text(pd.DataFrame({"agent": ["=HYPERLINK(1)", "twap"], "J": [-1.5, 2.0]})))
    agent,J
    '=HYPERLINK(1),-1.5
    twap,2.0
    <BLANKLINE>
    """
    return _texts(frame, _escape).to_csv(index=index, float_format=float_format)


def read_csv(path: Path) -> pd.DataFrame:
    """Read what ``write_csv`` wrote.

    Raises:
        InputError: for a file that is missing or is no table.
    """
    require_regular(path, str(path))
    try:
        return _texts(pd.read_csv(path), _unescape)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except UNREADABLE as error:
        raise InputError(f"{path}: not a CSV table: {' '.join(str(error).split())}") from None


def _texts(frame: pd.DataFrame, change: Any) -> pd.DataFrame:
    """A table whose texts are changed, those of its index and header too."""
    frame = frame.copy(deep=False)
    for i, dtype in enumerate(frame.dtypes):
        if isinstance(dtype, pd.CategoricalDtype):
            frame.isetitem(i, frame.iloc[:, i].cat.rename_categories(change).array)
        elif not pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_datetime64_any_dtype(dtype):
            frame.isetitem(i, frame.iloc[:, i].map(change).array)
    return frame.rename(index=change, columns=change) if len(frame.index.names) == 1 else frame.rename(columns=change)


def _escape(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and _FORMULA.match(cell) else cell


def _unescape(cell: Any) -> Any:
    return cell[1:] if isinstance(cell, str) and _ESCAPED.match(cell) else cell
