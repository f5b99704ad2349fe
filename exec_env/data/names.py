"""Words of data files: other names of our columns, sides, and what names an instrument."""

from collections.abc import Mapping, Sequence

ALIASES: Mapping[str, tuple[str, ...]] = {
    "time": ("timestamp", "datetime", "date", "opentime", "tstime", "localtime"),
    "price": ("px", "tradeprice", "lastprice"),
    "size": ("qty", "quantity", "tradesize", "lastsize", "shares"),
    "bid": ("bidprice", "bidpx", "bestbid", "bestbidprice"),
    "ask": ("askprice", "askpx", "bestask", "bestaskprice", "offer", "offerprice"),
    "maker": ("isbuyermaker", "buyermaker", "isbuyerthemaker"),
    "side": ("takerside", "aggressorside", "aggressor"),
}
"""Our name -> what a column may be called instead, in lower case without spaces and marks. ``maker`` is a side that is
true where the taker sells."""
_CLOCKS = ("time", "timeofday", "clock")
SIDES: Mapping[str, float] = dict.fromkeys(("b", "buy", "buyer", "bid", "1", "+1"), 1.0) | dict.fromkeys(
    ("s", "a", "sell", "seller", "ask", "-1"), -1.0
)
"""The taker's side; A and B are those of the book's side whose orders the taker's join: ask for who sells."""
MAKER: Mapping[str, float] = {"true": -1.0, "t": -1.0, "1": -1.0, "false": 1.0, "f": 1.0, "0": 1.0}
"""Whether the buyer was the maker."""
SYMBOLS = frozenset(
    ("symbol", "ticker", "sym", "instrument", "instrument_id", "instrumentid", "instrument_name", "pair", "ric", "isin")
) | {"sym_root", "inst_id", "instid", "contract", "product", "product_id"}
"""Columns that name the instrument, in lower case."""
INSTRUMENT_NUMBERS = frozenset(("instrument_id", "instrumentid", "product_id"))
"""Those that may do so by a number, which another day may give to another instrument."""


def plain(name: str) -> str:
    """A name in lower case, without spaces and marks.

    >>> plain("<Ask Price>")
    'askprice'
    """
    return "".join(letter for letter in name.lower() if letter.isalnum())


def nearest(header: Sequence[str]) -> dict[str, str]:
    """Our name -> the column that is meant, where it is not called so: other capitals, or one of ``ALIASES``.

    A day and a clock in two columns are both taken. What two columns could be is left alone.

    >>> nearest(["Date", "Time", "Open", "Qty"])
    {'open': 'Open', 'time': 'Date Time', 'size': 'Qty'}
    >>> nearest(["timestamp", "qty", "is_buyer_maker"])
    {'time': 'timestamp', 'size': 'qty', 'side': 'is_buyer_maker'}
    """
    called: dict[str, list[str]] = {}
    for name in header:
        called.setdefault(plain(name), []).append(name)
    once = {name: columns[0] for name, columns in called.items() if len(columns) == 1}
    ours = ("mid", "spread", "volume", "depth", "flow", "open", "high", "low", "close", *ALIASES)
    found = {name: once[name] for name in ours if name in once and once[name] != name and name != "maker"}
    for name, others in ALIASES.items():
        known = [once[other] for other in others if other in once]
        if len(known) == 1 and name not in once:
            found.setdefault("side" if name == "maker" else name, known[0])
    clock = next((once[name] for name in _CLOCKS if name in once), None)
    if "date" in once and clock is not None:
        found["time"] = f"{once['date']} {clock}"
    return found
