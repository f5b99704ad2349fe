"""Parquet files by pyarrow: what the reader says of a bad file becomes one sentence that names the file."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from exec_env.base.errors import InputError
from exec_env.base.extras import importing

_INDEX = "__index_level_0__"


class ParquetTable:
    """A Parquet file of rows under names, read a part at a time. An index is a column; one without a name is time."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def _file(self) -> Any:
        with importing(str(self.path)):
            import pyarrow
            from pyarrow import parquet
        try:
            return parquet.ParquetFile(self.path)
        except (OSError, pyarrow.ArrowException) as error:
            text = " ".join(str(error).split())[:200]
            raise InputError(f"{self.path}: not a Parquet file, or cut short: {text}") from None

    @cached_property
    def header(self) -> list[str]:
        """Names of the columns."""
        names = list(self._file.schema_arrow.names)
        return names if "time" in names else ["time" if name == _INDEX else name for name in names]

    def parts(self, rows: int, wanted: Sequence[str]) -> Iterator[pd.DataFrame]:
        """The file some rows at a time, the columns wanted alone.

        Raises:
            InputError: for a file that is damaged, with the number of rows that could be read.
        """
        import pyarrow

        theirs = {name if name in self._file.schema_arrow.names else _INDEX for name in wanted}
        batches = self._file.iter_batches(rows, columns=sorted(theirs))
        read = 0
        while True:
            try:
                batch = next(batches, None)
            except (OSError, pyarrow.ArrowException) as error:
                raise InputError(f"{self.path}: damaged or cut short after row {read}: {error}") from None
            if batch is None:
                return
            read += batch.num_rows
            frame = batch.to_pandas(ignore_metadata=True)  # else pandas makes an index of a column
            yield frame.rename(columns={_INDEX: "time"})[list(wanted)]
