"""CSV files by pandas: what the reader says of a bad file becomes one sentence that names the file."""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import pandas as pd

from exec_env.base.errors import InputError

# Pandas' own errors, of bytes that are no text too, are ValueErrors; the others are of compressed files.
_UNREADABLE = (OSError, ValueError, EOFError, BadZipFile, zlib.error)


def read(path: str | Path, **options: Any) -> pd.DataFrame:
    """A whole file; ``options`` are those of ``pandas.read_csv``.

    Raises:
        InputError: for a file that is missing or is no table.
    """
    try:
        return pd.read_csv(path, **options)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except _UNREADABLE as error:
        raise InputError(f"{path}: not a CSV table: {' '.join(str(error).split())}") from None


def parts(path: str | Path, rows: int, **options: Any) -> Iterator[pd.DataFrame]:
    """A file some rows at a time; ``options`` are those of ``pandas.read_csv``.

    Raises:
        InputError: for a file that is no table, with the number of rows that could be read.
    """
    read = 0
    try:
        with pd.read_csv(path, chunksize=rows, **options) as frames:
            for frame in frames:
                read += len(frame)
                yield frame
    except _UNREADABLE as error:  # of the reader alone: whoever takes the rows raises outside
        text = " ".join(str(error).split())
        raise InputError(f"{path}: not a CSV table after row {read}: {text}") from None
