"""Fills of a real order, as a broker or an exchange reports them: read, checked, and none of them twice."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from exec_env.base.errors import InputError
from exec_env.data.features import features_of, labelled
from exec_env.data.names import plain
from exec_env.data.reading import Reading
from exec_env.data.slices import cleaner_of
from exec_env.data.tables import DataFile
from exec_env.market.order import Side

_IDS = ("id", "fillid", "execid", "executionid", "tradeid", "transactionid")
_FEES = ("fee", "fees", "commission", "commissions")


@dataclass(frozen=True)
class Executions:
    """What was filled of an order, in order of time."""

    time: pd.DatetimeIndex
    """[UTC]"""
    price: np.ndarray
    """[$]"""
    shares: np.ndarray
    """Above zero. [shares]"""
    fees: np.ndarray
    """Paid on top of the price, below zero where they were earned. [$]"""
    side: Side | None = None
    """As the file says; None where it does not."""
    row: np.ndarray | None = None
    """Row of the file that each is in, from 1."""
    name: str = "fills"
    remarks: tuple[str, ...] = ()
    """What the file was taken for, a sentence each."""

    def __len__(self) -> int:
        return len(self.price)

    def where(self, i: int) -> str:
        """A fill, for messages."""
        return f"{self.name}: row {i + 1 if self.row is None else self.row[i]}"

    @classmethod
    def read(
        cls, path: str | Path, columns: Mapping[str, str] | None = None, reading: Reading | None = None
    ) -> "Executions":
        """Read fills from a file with columns time, price, size and, if known, side, fee and an id.

        Args:
            path: the file.
            columns: where it has other names, as of ``DataFile``; ``fee`` and ``id`` too.
            reading: how it is read.

        Raises:
            InputError: naming file, row and reason; for an id that comes twice, or, without ids, a row that repeats the
                one before; for fills of both sides.
        """
        own = dict(columns or {})
        fee, ident = own.pop("fee", None), own.pop("id", None)
        file = DataFile(Path(path), own, reading or Reading())
        if file.kind != "trades":
            raise InputError(f"{path}: holds {file.kind}; fills need time, price, size and, if known, side, fee, id")
        fee = fee or next((name for name in file.header if plain(name) in _FEES), None)
        ident = ident or next((name for name in file.header if plain(name) in _IDS), None)
        if ident is not None and ident not in file.header:
            raise InputError(f"{path}: column 'id' as {ident!r} is missing; there are {', '.join(file.header)}")
        file = DataFile(Path(path), own, reading or Reading(), features=features_of({"fee": fee} if fee else {}))
        cleaner = cleaner_of([file])
        frame = pd.concat(list(file.frames(cleaner)))
        if frame.empty:
            raise InputError(f"{path}: no fills")
        rows = frame.index.to_numpy() + 1
        _refuse_twice(frame, None if ident is None else file.texts(ident), ident, str(path))
        sides = frame["side"].dropna().unique() if "side" in frame else np.zeros(0)
        if len(sides) > 1:
            other = rows[(frame["side"] != frame["side"].iloc[0]).to_numpy().argmax()]
            raise InputError(f"{path}: row {other}, 'side': fills of both sides; name those of one order, a file each")
        return cls(
            pd.DatetimeIndex(pd.to_datetime(frame["time"].to_numpy(), utc=True)),
            frame["price"].to_numpy(float),
            frame["size"].to_numpy(float),
            frame[labelled("fee")].to_numpy(float) if fee else np.zeros(len(frame)),
            None if len(sides) == 0 else "buy" if sides[0] > 0 else "sell",
            rows,
            str(path),
            tuple(cleaner.said()),
        )


def _refuse_twice(frame: pd.DataFrame, ids: list[str] | None, column: str | None, name: str) -> None:
    """Refuse a fill that is in the file twice.

    Raises:
        InputError: naming both rows.
    """
    rows = frame.index.to_numpy()
    if ids is not None:
        keys = pd.Series([ids[row] for row in rows])
        what, way = f"{column!r}", "take one out"
    else:
        keys = pd.Series(list(zip(frame["time"], frame["price"], frame["size"], strict=True)))
        what, way = "time, price and size", "take one out, or give each an id in a column 'id'"
    again = keys.duplicated().to_numpy()
    if again.any():
        i = int(again.argmax())
        first = int((keys == keys.iloc[i]).to_numpy().argmax())
        raise InputError(
            f"{name}: row {rows[i] + 1} has the same {what} as row {rows[first] + 1} ({again.sum()} rows in all): a "
            f"fill that is reported twice? {way}"
        )
