"""Rows of a vendor's files as the vendor documents them: which count, what is no price, and times."""

import re
from collections.abc import Callable, Collection

import numpy as np
import pandas as pd

from exec_env.data import stamps
from exec_env.data.reading import NANOSECONDS, Reading
from exec_env.data.vendor_format import Format


def counting(raw: pd.DataFrame, format: Format) -> pd.DataFrame:
    """The rows that count; cells of the columns that say so are texts."""
    for name, value in format.only.items():
        raw = raw[raw[format.spelled(name, [str(column) for column in raw])].str.strip() == value]
    return raw


def priced(
    frame: pd.DataFrame, format: Format, whole: Collection[str], before: pd.Series | None
) -> tuple[pd.DataFrame, pd.Series | None]:
    """Rows that have their prices, in its unit, and what an empty price after them would be.

    Args:
        frame: numbers under our names.
        format: what the vendor documents.
        whole: our names of columns of whole numbers.
        before: the prices of the row before the first, of a format that leaves out what did not change.
    """
    prices = [name for name in frame if name in ("price", "bid", "ask") or "_price_" in str(name)]
    if format.missing or format.carried:
        known = frame[prices].mask(frame[prices].isin(format.missing))
        if format.carried:
            held = known if before is None else pd.concat([before.to_frame().T, known])
            known = held.ffill().loc[known.index]
            before = known.iloc[-1].rename(-1) if len(known) else before
        frame = frame.assign(**known)[known.notna().all(axis=1)]
    for ours, factor in format.scale.items():
        for name in [name for name in frame if ours in (name, re.sub(r"\d+$", "#", str(name)))]:
            if name in whole:
                frame = frame.assign(**{str(name): frame[name] * factor})
    return frame, before


def time_format(format: Format | None, reading: Reading) -> str | None:
    """How times that are texts are written, as the user or the format says it; None: ISO 8601."""
    if format is None or reading.time_format is not None or reading.time_unit is not None:
        return reading.time_format
    return format.time if "%" in format.time else None


def times(column: pd.Series, format: Format | None, reading: Reading, zone: Callable[[], str]) -> np.ndarray:
    """Nanoseconds since 1970 of a column of times; the least number there is where there is none.

    Args:
        column: the times.
        format: the vendor's, if it is known.
        reading: what the user says.
        zone: of texts that name none.

    Raises:
        InputError: naming row and value, for times that cannot be.
    """
    ways = format.time.split(" or ") if format is not None else ["iso"]
    units = reading.time_unit or " or ".join(way for way in ways if way in NANOSECONDS) or None
    written = time_format(format, reading)
    # A format whose times may be texts has them as texts: its numbers are numbers.
    numbers = units is not None and ("iso" not in ways or reading.time_unit is not None)
    numbers &= not pd.api.types.is_datetime64_any_dtype(column)
    if numbers and format is None:  # a unit counts for the files that have numbers
        numbers = bool(pd.to_numeric(column.dropna()[:1], errors="coerce").notna().all())
    if written is None and (numbers or pd.api.types.is_numeric_dtype(column)):
        return stamps.of_numbers(column, units)
    return stamps.of_texts(column, _fitting(written, column, format is None), zone())


def _fitting(written: str | None, column: pd.Series, or_iso: bool) -> str | None:
    """Of several ways to write times the one that the first text fits; ISO 8601 where it may be, and that alone fits.

    Files that are read together need not write times in the same way.
    """
    ways = written.split(" or ") if written is not None else []
    first = column.dropna().astype(str)[:1]
    fits = (way for way in ways if not pd.to_datetime(first, format=way, errors="coerce", utc=True).isna().any())
    iso = or_iso and not pd.to_datetime(first, format="ISO8601", errors="coerce", utc=True).isna().any()
    return next(fits, None if iso else ways[0]) if ways else None
