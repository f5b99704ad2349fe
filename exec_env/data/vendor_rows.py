"""Rows of a vendor's files as the vendor documents them: which count, what stands for no price, and whole numbers."""

import re
from collections.abc import Collection

import numpy as np
import pandas as pd

from exec_env.data.reading import NANOSECONDS
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


def unit_of(format: Format) -> str | None:
    """Units of times that are numbers, joined by " or "."""
    return " or ".join(each for each in format.time.split(" or ") if each in NANOSECONDS) or None


def written(format: Format, column: pd.Series) -> str | None:
    """How the format writes times that are texts, of several ways the one that the first text fits; None: ISO 8601."""
    ways = [each for each in format.time.split(" or ") if "%" in each]
    first = column.dropna().astype(str)[:1]
    fits = (way for way in ways if not np.any(pd.to_datetime(first, format=way, errors="coerce", utc=True).isna()))
    return next(fits, ways[0]) if ways else None
