"""Times of market data: plain numbers since 1970, or texts, with or without a zone, to nanoseconds since 1970 UTC."""

import re
from typing import Any, Literal

import numpy as np
import pandas as pd

from exec_env.base.errors import InputError
from exec_env.data.reading import NANOSECONDS, zone_of

NO_TIME = np.iinfo(np.int64).min
"""What a stamp that cannot be read becomes."""
Zone = Literal["numbers", "named", "none"]
"""How times say where they are: numbers since 1970 UTC, texts that name a zone, texts that name none."""
_FIRST, _LAST = (pd.Timestamp(text, tz="UTC").value for text in ("1980-01-01", "2100-01-01"))
_NAMED = re.compile(r"(Z|z|UTC|GMT|[+-]\d{2}:?\d{2})\s*$")


def zone_in(column: pd.Series, time_format: str | None = None) -> Zone | None:
    """How the first and the last time of a column say their zone; None where there is none to see.

    Raises:
        InputError: where the two differ.
    """
    known = column.dropna()
    if known.empty:
        return None
    if pd.api.types.is_numeric_dtype(known):
        return "numbers"
    if isinstance(known.dtype, pd.DatetimeTZDtype):
        return "named"
    if pd.api.types.is_datetime64_any_dtype(known):
        return "none"
    if time_format is not None:
        return "named" if "%z" in time_format else "none"
    first, last = ("named" if _NAMED.search(str(text)) else "none" for text in (known.iloc[0], known.iloc[-1]))
    if first != last:
        raise InputError(f"column 'time': {known.iloc[0]!r} and {known.iloc[-1]!r}: only one of them names a zone")
    return first  # type: ignore[return-value]


def of_numbers(column: pd.Series, units: str | None) -> np.ndarray:
    """Nanoseconds since 1970 of plain numbers; ``NO_TIME`` where there is no number.

    Args:
        column: the numbers.
        units: their unit, or several of which the size of the first number tells, as "ms or us".

    Raises:
        InputError: naming row and number, for times before 1980 or from 2100 on, with the unit that would fit.
    """
    numbers = column.to_numpy()
    if column.dtype == object or not np.issubdtype(numbers.dtype, np.number):
        numbers = pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    known = np.isfinite(numbers)
    if not known.any():
        return np.full(len(numbers), NO_TIME)
    possible = units.split(" or ") if units else []
    first = numbers[known][0]
    unit = next((each for each in possible if _inside(first, each)), possible[0] if possible else None)
    fits = next((each for each in NANOSECONDS if _inside(first, each)), None)
    would = f"; in {fits} it would be {_shown(first, fits)}: time_unit = {fits!r}" if fits else ""
    if unit is None:
        raise InputError(
            f"column 'time' holds plain numbers, whose unit is unknown; give time_unit, one of "
            f"{', '.join(NANOSECONDS)}: {first} {would.lstrip('; ')}"
        )
    per = NANOSECONDS[unit]
    outside = np.flatnonzero(known & ((numbers < _FIRST / per) | (numbers >= _LAST / per)))
    if outside.size:
        row = outside[0]
        value = numbers[row]
        fits = next((each for each in NANOSECONDS if _inside(value, each)), None)
        would = f"; in {fits} it would be {_shown(value, fits)}: is time_unit right?" if fits else ""
        more = f" (and {outside.size - 1} more rows here)" if outside.size > 1 else ""
        raise InputError(
            f"row {column.index[row] + 1}, 'time': {value} {unit} is before 1980 or after 2099{more}{would}"
        )
    safe = np.where(known, numbers, 0)
    if np.issubdtype(safe.dtype, np.integer):
        return np.where(known, safe.astype(np.int64) * per, NO_TIME)
    whole = np.floor(safe)  # a double of seconds with a fraction keeps it to a part of a microsecond
    return np.where(known, whole.astype(np.int64) * per + np.rint((safe - whole) * per).astype(np.int64), NO_TIME)


def _inside(number: Any, unit: str) -> bool:
    return bool(_FIRST <= float(number) * NANOSECONDS[unit] < _LAST)


def _shown(number: Any, unit: str) -> str:
    return f"{pd.Timestamp(int(number), unit=unit):%Y-%m-%d %H:%M:%S}"


def of_texts(column: pd.Series, time_format: str | None, zone: str) -> np.ndarray:
    """Nanoseconds since 1970 of texts, or of pandas' own stamps; ``NO_TIME`` where there is no time.

    Args:
        column: the texts.
        time_format: how they are written; None: ISO 8601.
        zone: of those that name none. A local time that the clock's change leaves out, or has twice, is no time.

    Raises:
        InputError: naming row and text, for times before 1980 or from 2100 on.
    """
    named = zone_in(column, time_format) == "named"
    stamps = pd.to_datetime(column, utc=named, format=time_format or "ISO8601", errors="coerce")
    if not pd.api.types.is_datetime64_any_dtype(stamps):
        return np.full(len(column), NO_TIME)
    first, last = (pd.Timestamp(edge, tz="UTC" if named else None) for edge in (_FIRST, _LAST))
    outside = np.flatnonzero((stamps < first) | (stamps >= last))
    if outside.size:
        row = outside[0]
        raise InputError(f"row {column.index[row] + 1}, 'time': {column.iloc[row]} is before 1980 or after 2099")
    if not isinstance(stamps.dtype, pd.DatetimeTZDtype):
        stamps = stamps.dt.tz_localize(zone_of(zone), ambiguous="NaT", nonexistent="NaT")
    found: np.ndarray = stamps.dt.as_unit("ns").astype("int64").to_numpy()
    return found
