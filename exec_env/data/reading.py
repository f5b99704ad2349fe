"""How files of market data are read: one set of options, for calibration and for tapes."""

from dataclasses import dataclass, fields
from typing import Any, Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from exec_env.base.errors import InputError
from exec_env.base.validation import from_mapping, is_finite, shown, unknown
from exec_env.data.formats import FORMATS

TimeUnit = Literal["s", "ms", "us", "ns"]
Sides = Literal["taker", "maker"]
NANOSECONDS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_SEPARATORS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "space": " "}


@dataclass(frozen=True)
class Reading:
    """How files of market data are read.

    Raises:
        InputError: naming the field, its value and what is allowed.
    """

    format: str | None = None
    """Whose files they are, as "databento-trades"; by default told by their columns, if known."""
    time_unit: TimeUnit | None = None
    """Unit of times that are plain numbers since 1970."""
    time_format: str | None = None
    """How times are written, as "%d.%m.%Y %H:%M:%S" in Python's words; by default ISO 8601. Times in two columns, a day
    and a clock, are the column "day clock"."""
    zone: str | None = None
    """Zone of times that name none, as America/New_York; by default UTC, which is said."""
    session: str | None = None
    """Hours of trading that count, as 09:30-16:00 in that zone, 24h, or an exchange's calendar, as XNYS."""
    separator: str | None = None
    """What separates columns of a text file; by default seen in its first line. "tab" is a tab."""
    decimal: str | None = None
    """The decimal mark of a text file; by default a point."""
    thousands: str | None = None
    """What groups digits in threes; by default nothing does."""
    header: tuple[str, ...] = ()
    """Names of the columns, where the file has no line of names."""
    skip: int = 0
    """Lines before the line of names."""
    symbol: str | None = None
    """The instrument that counts, where a file has several."""
    sides: Sides | None = None
    """Whose side a trade's is; by default the taker's, unless it goes against the price, which is refused."""
    clean: bool = False
    """Drop bad rows, and count them, rather than refuse the first."""
    clean_limit: float = 0.02
    """Part of a file's rows that may be dropped or left out for reasons that nobody named."""

    def __post_init__(self) -> None:
        if self.format is not None and self.format not in FORMATS:
            raise InputError(unknown("format", self.format, FORMATS))
        for name, literal in (("time_unit", TimeUnit), ("sides", Sides)):
            if getattr(self, name) not in (None, *get_args(literal)):
                allowed = ", ".join(get_args(literal))
                raise InputError(f"{name} = {getattr(self, name)!r}: must be one of {allowed}, or None")
        for name in ("time_format", "zone", "session", "separator", "decimal", "thousands", "symbol"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, str) or not value):
                raise InputError(f"{name} = {shown(value)}: must be a text, or None")
        if self.separator is not None:
            object.__setattr__(self, "separator", _SEPARATORS.get(self.separator, self.separator))
        for name in ("separator", "decimal", "thousands"):
            value = getattr(self, name)
            if value is not None and len(value) != 1:
                raise InputError(f"{name} = {value!r}: must be one character")
        marks = [mark for mark in (self.separator, self.decimal, self.thousands) if mark is not None]
        if len(set(marks)) < len(marks):
            raise InputError(f"separator, decimal, thousands = {', '.join(map(repr, marks))}: must differ")
        if self.zone is not None:
            zone_of(self.zone)
        if isinstance(self.header, str) or not all(isinstance(name, str) and name for name in self.header):
            raise InputError(f"header = {shown(self.header)}: must be names of columns")
        object.__setattr__(self, "header", tuple(self.header))
        if isinstance(self.skip, bool) or not isinstance(self.skip, int) or self.skip < 0:
            raise InputError(f"skip = {self.skip!r}: must be a number of lines, a whole number from 0")
        if not isinstance(self.clean, bool):
            raise InputError(f"clean = {self.clean!r}: must be True or False")
        if not is_finite(self.clean_limit) or not 0 <= self.clean_limit < 1:
            raise InputError(f"clean_limit = {self.clean_limit!r}: must be in [0, 1), a part of the rows")

    @classmethod
    def of(cls, given: "Reading | dict[str, Any] | None", where: str) -> "Reading":
        """From a mapping of fields; ``where`` is what messages call it.

        Raises:
            InputError: for what is neither, and for a field that there is not.
        """
        if given is None or isinstance(given, Reading):
            return given or cls()
        if isinstance(given, dict) and isinstance(given.get("header"), list):
            given = given | {"header": tuple(given["header"])}
        made: Reading = from_mapping(cls, given, where)
        return made

    def named(self) -> dict[str, Any]:
        """The fields that differ from the defaults, in plain values."""
        return {
            f.name: list(value) if isinstance(value, tuple) else value
            for f in fields(self)
            if (value := getattr(self, f.name)) != f.default
        }


def zone_of(name: str) -> ZoneInfo:
    """The zone of a name.

    Raises:
        InputError: where there is none.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError, TypeError):
        raise InputError(f"zone = {name!r}: no zone of that name; as UTC, America/New_York, Europe/London") from None
