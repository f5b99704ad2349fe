"""One format of market data as its vendor documents it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["slices", "trades", "quotes", "book", "bars"]


@dataclass(frozen=True)
class Format:
    """What a vendor documents of its files. Names of columns are compared without case and blanks around them."""

    kind: Kind
    header: tuple[str, ...]
    """All columns in their order; # is the number of a level of a book, and ~ begins a regular expression."""
    columns: Mapping[str, str]
    """Our name -> its column; two columns, a day and a clock, with a blank between them; or arithmetic of columns."""
    source: str
    """Address of the vendor's documentation."""
    optional: tuple[str, ...] = ()
    """Columns that not all of its files have."""
    own: bool = True
    """Whether these names tell the vendor; where other files may have them too, the format must be named."""
    headless: bool = False
    """Whether files have no line of names."""
    separator: str = ","
    decimal: str = "."
    skip: int = 0
    """Lines before the line of names."""
    after: int = 0
    """Lines after the line of names that are no rows."""
    time: str = "iso"
    """"iso", a unit since 1970 (s, ms, us, ns) or a format of strptime; several with " or " between them are told apart
    by the values: numbers by their size, texts by what fits."""
    zone: str | None = "UTC"
    """Zone of times that name none; None: it is not documented, or depends on the download."""
    newest_first: bool = False
    sides: Mapping[str, float] = field(default_factory=dict)
    """Word of the column of sides, lower case -> +1, the taker buys, or -1; any other word: nobody knows."""
    missing: tuple[float, ...] = ()
    """Numbers, as written, that stand for no price."""
    scale: Mapping[str, float] = field(default_factory=dict)
    """Our name -> factor of whole numbers; a number with a decimal point is what it says."""
    only: Mapping[str, str] = field(default_factory=dict)
    """Column -> value of the rows that count."""
    carried: bool = False
    """Whether an empty price is the one of the row before."""
    symbol: str = ""
    """The column that names the instrument."""
    also: str = ""
    """The format of the same file's other rows, or columns."""
    session: str | None = None
    """The regular session in the zone; rows outside it may be in the files. For information."""
    cannot: str = ""
    """What the files cannot tell."""

    def taken(self, header: Sequence[str]) -> dict[str, str]:
        """Our names -> columns or arithmetic, spelled as in ``header``; columns that it lacks as documented.

        >>> Format("bars", ("Close", "~Volume .*"), {"close": "close", "volume": "~Volume .*"}, "").taken(["CLOSE",
        ...     "Volume BTC"])
        {'close': 'CLOSE', 'volume': 'Volume BTC'}
        """
        return {ours: self.spelled(text, header) for ours, text in self.columns.items()}

    def spelled(self, text: str, header: Sequence[str]) -> str:
        """A column, or arithmetic of columns, as the names in ``header`` are written."""
        exact = next((name for name in header if _same(text, name)), None)
        if exact is not None:
            return exact
        if "#" in text:
            level = next((m for name in header if (m := _level(text).fullmatch(name.strip()))), None)
            return text if level is None else _with(level)
        for name in self._parts(text):
            found = next((theirs for theirs in header if _same(name, theirs)), name)
            text = _word(name).sub(found.replace("\\", r"\\"), text)
        return text

    def holds(self, header: Sequence[str]) -> bool:
        """Whether a line of names has all columns that are taken."""

        def there(name: str) -> bool:
            return any(_same(name, theirs) or ("#" in name and _level(name).fullmatch(theirs)) for theirs in header)

        return all(there(name) for text in self.columns.values() for name in self._parts(text))

    def _parts(self, text: str) -> list[str]:
        """The columns in the name of one, of two, or in arithmetic."""
        return [text] if text in self.header else [name for name in self.header if _word(name).search(text)]

    def fits(self, header: Sequence[str]) -> bool:
        """Whether a line of names is one of this format."""
        plain = [name for name in self.header if "#" not in name]
        leveled = [_level(name) for name in self.header if "#" in name]
        left = [name.strip() for name in header]
        for name in plain:
            found = [theirs for theirs in left if _same(name, theirs)]
            if len(found) > 1 or (not found and name not in self.optional):
                return False
            left = [theirs for theirs in left if theirs not in found]
        numbers = [sorted(int(m[1]) for theirs in left if (m := level.fullmatch(theirs))) for level in leveled]
        if not numbers:
            return not left
        one = numbers[0]
        whole = len(one) > 1 and one == list(range(one[0], one[0] + len(one)))  # one level alone is a quote
        return whole and all(other == one for other in numbers) and len(left) == len(one) * len(numbers)


def _word(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w<]){re.escape(name)}(?![\w>])")


def _same(documented: str, theirs: str) -> bool:
    pattern = documented[1:] if documented.startswith("~") else re.escape(documented)
    return re.fullmatch(pattern, theirs.strip(), re.I) is not None


def _level(name: str) -> re.Pattern[str]:
    return re.compile(re.escape(name).replace(r"\#", r"(\d+)").replace("#", r"(\d+)"), re.I)


def _with(found: re.Match[str]) -> str:
    return found.string[: found.start(1)] + "#" + found.string[found.end(1) :]
