"""LOBSTER files: messages and the order book after each of them, as trades and books.

Huang & Polak (2011), "LOBSTER: Limit Order State Reconstruction System". Neither file has a header. A message has time
[s after midnight], type, order, size [shares], price [$ / 10 000] and direction of the resting order; a row of the book
has ask price, ask size, bid price and bid size of each level, with ±9999999999 where there is none.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from exec_env.base.errors import InputError
from exec_env.data import csv_table
from exec_env.data.checks import Cleaner, check
from exec_env.data.stamps import NO_TIME
from exec_env.data.tables import ROWS, DataFile

_UNIT = 1e-4  # prices are whole numbers of this [$]
_EXECUTED = (4, 5)  # types of messages: a visible or a hidden order was executed
_CROSS, _HALT = 6, 7


def frames(messages: DataFile, book: DataFile, cleaner: Cleaner) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Books and trades, a part at a time; columns as of ``DataFile.frames``.

    Of messages at the same time the book after the last one stands, but each trade. Trading halts and auctions are
    left out: a halt is a gap, and named as one.

    Raises:
        InputError: naming file and row, for rows that are bad, and files of different length.
    """
    name = messages.lobster
    assert name is not None
    midnight = pd.Timestamp(name["date"]).value
    row, last = 0, NO_TIME
    books = csv_table.parts(book.path, ROWS, header=None)
    for part in csv_table.parts(messages.path, ROWS, header=None, usecols=range(6)):
        part.columns = ["time", "type", "order", "size", "price", "direction"]
        part = part.apply(pd.to_numeric, errors="coerce")
        after = next(books, pd.DataFrame()).apply(pd.to_numeric, errors="coerce")
        if len(after) != len(part):
            raise InputError(
                f"{book.path}: {row + len(after)} rows, but {messages.path.name} has at least {row + len(part)}"
            )
        part.index = after.index = pd.RangeIndex(row, row + len(part))
        row += len(part)
        for column in map(str, part):
            part = cleaner.keep(part, ~np.isfinite(part[column]), messages.path, column, "is not a number")
        stamps = midnight + (part["time"] * 1e9).round().astype(np.int64)
        for number in part.index[part["type"] == _HALT]:
            cleaner.remarks.append(f"{messages.path.name}: row {number + 1}: trading halts or resumes")
        executed = part["type"].isin(_EXECUTED)
        trades = pd.DataFrame({"time": stamps, "price": part["price"] * _UNIT, "size": part["size"]})[executed]
        trades["side"] = -np.sign(part["direction"][executed]).astype(float)
        quoted = _levels(after.loc[part.index]).assign(time=stamps)
        quoted = quoted[~part["type"].isin((_CROSS, _HALT))]
        # While a side is empty there is no mid.
        quoted = quoted[(quoted["bid_size_1"] != 0) & (quoted["ask_size_1"] != 0)]
        quoted = quoted[~quoted["time"].duplicated(keep="last")]
        trades = check(trades, "trades", messages.path, cleaner, last)
        quoted = quoted.rename(columns={"bid_price_1": "bid", "ask_price_1": "ask"})
        quoted = check(quoted, "quotes", book.path, cleaner, last)
        if len(part):
            last = int(stamps.iloc[-1])
        yield quoted, trades
    if len(next(books, pd.DataFrame())):
        raise InputError(f"{book.path}: more rows than {messages.path.name}, which has {row}")


def _levels(raw: pd.DataFrame) -> pd.DataFrame:
    """Rows of the book under our names; an empty level has size 0 at the price of the level before."""
    found: dict[str, pd.Series] = {}
    for level in range(raw.shape[1] // 4):
        for j, side in enumerate(("ask", "bid")):
            price, size = raw[4 * level + 2 * j] * _UNIT, raw[4 * level + 2 * j + 1].astype(float)
            empty = raw[4 * level + 2 * j].abs() >= 9_999_999_999
            price = price.mask(empty, found[f"{side}_price_{level}"]) if level else price.abs()
            found[f"{side}_price_{level + 1}"] = price
            found[f"{side}_size_{level + 1}"] = size.mask(empty, 0.0)
    return pd.DataFrame(found)
