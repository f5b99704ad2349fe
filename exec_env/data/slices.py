"""Slices of a recorded market from a table: its columns under our names, as numbers."""

import operator
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pandas as pd

from exec_env.base.errors import InputError
from exec_env.base.validation import unknown
from exec_env.data import columns
from exec_env.data.columns import LEVEL
from exec_env.data.order_book import OrderBook

REQUIRED = ("time", "mid", "spread", "volume")
OPTIONAL = ("depth",)
_BEST: dict[str, Callable[..., Any]] = {"mid": lambda ask, bid: (ask + bid) / 2, "spread": operator.sub}
Stamp = Literal["start", "end"]
"""Whether a row's volume and flow are those of the time that its stamp begins, or that it ends."""
_CALIBRATION = ("flow", "cost", "slope")
"""Columns that only calibration uses. A tape may name them too, without effect, so that both take the same names."""
_KNOWN = (*REQUIRED, *OPTIONAL, *LEVEL)


def read(frame: pd.DataFrame, given: dict[str, str], name: str) -> dict[str, Any]:
    """Arguments of ``Tape`` from a table: ``time``, ``mid`` ..., ``levels``, and ``columns``: the source of each.

    A book without mid or spread has those of its best prices.

    Args:
        frame: one row a slice.
        given: where it has other names: our name -> its column or arithmetic.
        name: what error messages call the data.

    Raises:
        InputError: for ``given`` that is no mapping of texts to texts, a name that is not ours, a column that is
            missing, and what is no time or no number.
    """
    columns.require_mapping(given, "tape_columns")
    for ours in given:
        if ours not in (*_KNOWN, *_CALIBRATION):
            raise InputError(f"{name}: {unknown('tape column', ours, _KNOWN)}")
    book = {ours: text for ours, text in given.items() if ours in LEVEL}
    found = columns.levels([str(column) for column in frame], book)
    for ours, text in book.items() if not found else ():
        raise InputError(
            f"{name}: column {ours!r} as {text!r} is missing with # = 0 and 1; a book needs {', '.join(LEVEL)}"
        )
    best = [ours for ours in _BEST if found and ours not in given and ours not in frame]
    taken = {ours: text for ours, text in given.items() if ours not in (*LEVEL, *_CALIBRATION)}
    for ours in REQUIRED + OPTIONAL:
        if (ours in REQUIRED or ours in frame) and ours not in best:
            taken.setdefault(ours, ours)
    values = {
        ours: columns.evaluate(frame, ours, text, name, f"{', '.join(REQUIRED)} and, if known, depth")
        for ours, text in (taken | columns.at_levels(found, book)).items()
    }
    time = _times(values.pop("time"), name)
    numbers = {ours: _numbers(column, ours, name) for ours, column in values.items()}
    levels = _order_book(numbers, len(found), name) if found else None
    if levels is not None:
        numbers |= {ours: _BEST[ours](levels.ask_price[:, 0], levels.bid_price[:, 0]) for ours in best}
    taken |= dict.fromkeys(best, "(best prices)")
    own = {ours: column for ours, column in numbers.items() if ours in (*REQUIRED, *OPTIONAL)}
    return own | {"time": time, "levels": levels, "columns": taken | book}


def _order_book(numbers: dict[str, np.ndarray], n_levels: int, name: str) -> OrderBook:
    """The book whose level i is the columns ``bid_price_i``, ``bid_size_i`` and so on, counted from 1."""
    sides = {
        of.removesuffix("_#"): np.stack([numbers[of.replace("#", str(i))] for i in range(1, n_levels + 1)], -1)
        for of in LEVEL
    }
    try:
        return OrderBook(**sides)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None


def counted_ahead(found: dict[str, Any]) -> dict[str, Any]:
    """What ``read`` gives of rows stamped at their end: the volume of each is that of the next.

    Rows before a gap, and the last one, know no volume and are left out.
    """
    if found["time"].hasnans:
        return found  # ``Tape`` refuses a time that is missing
    steps = np.diff(found["time"].to_numpy()) / np.timedelta64(1, "s")
    known = np.flatnonzero(steps <= 1.5 * np.median(np.abs(steps))) if steps.size else steps.astype(int)
    rows = {name: column[known] for name, column in found.items() if name not in ("volume", "levels", "columns")}
    levels = found["levels"] and OrderBook(**{side: column[known] for side, column in vars(found["levels"]).items()})
    return found | rows | {"volume": found["volume"][known + 1], "levels": levels}


def _times(column: pd.Series, name: str) -> pd.DatetimeIndex:
    if pd.api.types.is_numeric_dtype(column):
        raise InputError(f"{name}: column 'time' holds plain numbers, whose unit is unknown; it must hold times")
    try:
        return pd.DatetimeIndex(pd.to_datetime(column, utc=True, format="mixed", errors="coerce"))
    except (TypeError, ValueError) as error:  # what pandas says of stamps
        raise InputError(f"{name}: column 'time': {error}") from None


def _numbers(column: pd.Series, ours: str, name: str) -> np.ndarray:
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(np.float64)
    words = np.flatnonzero(np.isnan(numbers) & column.notna().to_numpy())
    if words.size:
        row = words[0]
        raise InputError(f"{name}: column {ours!r}, row {row + 1}: {column.iloc[row]!r} is not a number")
    return numbers
