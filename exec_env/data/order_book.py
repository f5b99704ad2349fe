"""Recorded levels of a limit order book, for fills that walk it."""

from dataclasses import dataclass, fields

import numpy as np
import pandas as pd

from exec_env.base.errors import InputError


@dataclass(frozen=True)
class OrderBook:
    """Both sides of the book at the start of each slice, the best prices first.

    Shape of each:
        (rows, levels).

    Raises:
        InputError: naming column and row, for what is not finite, prices that are not positive, that do not move away
            from the touch or that cross, sizes below zero, and a side that is empty or all at one price, which has no
            slope to go on with beyond it.
    """

    bid_price: np.ndarray
    """Price of each level. [$]"""
    bid_size: np.ndarray
    """Size of each level. [shares]"""
    ask_price: np.ndarray
    ask_size: np.ndarray

    def __post_init__(self) -> None:
        for f in fields(self):
            column = np.asarray(getattr(self, f.name), np.float64)
            object.__setattr__(self, f.name, column)
            if column.ndim != 2 or column.shape != self.bid_price.shape or column.size == 0:
                raise InputError(f"levels: {f.name} must have shape (rows, levels), the same as the others")
            _refuse(~np.isfinite(column), column, f.name, "is not a finite number")
            if f.name.endswith("price"):
                _refuse(column <= 0, column, f.name, "must be > 0")
            else:
                _refuse(column < 0, column, f.name, "must be >= 0")
                _refuse(column.sum(1, keepdims=True) <= 0, column, f.name, "and all others of the row are zero")
        for side, price, away in (("bid", self.bid_price, -1.0), ("ask", self.ask_price, 1.0)):
            back = np.diff(price, axis=1, prepend=price[:, :1]) * away < 0
            _refuse(back, price, f"{side}_price", "is nearer to the mid than the level before it")
            flat = price[:, -1:] == price[:, :1]
            _refuse(flat, price[:, -1:], f"{side}_price", "is the price of every level: the book has no slope")
        crossed = self.bid_price[:, :1] > self.ask_price[:, :1]
        _refuse(crossed, self.bid_price, "bid_price", "is above the ask: a crossed book")

    @classmethod
    def of(cls, frame: pd.DataFrame, n_levels: int, name: str) -> "OrderBook":
        """The book whose level i is the columns ``bid_price_i``, ``bid_size_i`` and so on, counted from 1.

        Raises:
            InputError: as the class, naming the data.
        """
        names = ("bid_price", "bid_size", "ask_price", "ask_size")
        sides = {of: np.stack([frame[f"{of}_{i}"] for i in range(1, n_levels + 1)], -1) for of in names}
        try:
            return cls(**sides)
        except InputError as error:
            raise InputError(f"{name}: {error}") from None

    def check(self, mid: np.ndarray, name: str) -> None:
        """Refuse best prices on the other side of the mid, and another number of rows; ``name`` is the data's.

        Raises:
            InputError: naming column and row.
        """
        if len(self.bid_price) != len(mid):
            raise InputError(f"{name}: levels must have {len(mid)} rows, as many as 'time'")
        for side, best, away in (("bid", self.bid_price[:, 0], -1.0), ("ask", self.ask_price[:, 0], 1.0)):
            across = np.flatnonzero(away * (best - mid) < 0)
            if across.size:
                row = across[0]
                where = f"row {row + 1}, '{side}_price_1': {best[row]} is on the other side of 'mid'"
                raise InputError(f"{name}: {where}, {mid[row]}")

    def hit(self, sign: float) -> tuple[np.ndarray, np.ndarray]:
        """Size [shares] and distance from the touch [$] of the levels that are hit by a sell (sign 1) or buy (−1).

        Shape:
            Each (rows, levels).
        """
        price, size = (self.bid_price, self.bid_size) if sign > 0 else (self.ask_price, self.ask_size)
        return size, np.abs(price - price[:, :1])


def _refuse(bad: np.ndarray, values: np.ndarray, name: str, why: str) -> None:
    if bad.any():
        row, level = np.argwhere(bad)[0]
        raise InputError(f"column '{name}_{level + 1}', row {row + 1}: {values[row, level]} {why}")
