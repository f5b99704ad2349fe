"""Formats of vendors, one row each: ``recognise`` tells one by the line of names. LOBSTER's is told by file names."""

from collections.abc import Sequence
from typing import NamedTuple

from exec_env.data.vendor_format import Format
from exec_env.data.vendors_crypto import CRYPTO
from exec_env.data.vendors_markets import DATABENTO, DESKS, US_STOCKS

__all__ = ["FORMATS", "UNREADABLE", "Format", "Unreadable", "candidates", "recognise", "unreadable"]

FORMATS: dict[str, Format] = CRYPTO | DATABENTO | US_STOCKS | DESKS
"""Name -> format; adding one is a row here and a small file in the tests."""


class Unreadable(NamedTuple):
    """A format that is known, but of which no market can be made."""

    header: tuple[str, ...]
    why: str
    """What it holds, and the way out."""
    source: str


UNREADABLE: dict[str, Unreadable] = {
    "binance-bookdepth": Unreadable(
        ("timestamp", "percentage", "depth", "notional"),
        "depth within percentages of the price has no prices; take bookTicker, or a book",
        "https://github.com/binance/binance-public-data",
    ),
    "tardis-incremental-book": Unreadable(
        ("exchange", "symbol", "timestamp", "local_timestamp", "is_snapshot", "side", "price", "amount"),
        "changes of a book are no books; take book_snapshot_25, book_snapshot_5 or quotes",
        "https://docs.tardis.dev/downloadable-csv-files/data-types",
    ),
    "databento-mbo": Unreadable(
        (
            *("ts_recv", "ts_event", "rtype", "publisher_id", "instrument_id", "action", "side", "price", "size"),
            *("channel_id", "order_id", "flags", "ts_in_delta", "sequence", "ts_out", "symbol"),
        ),
        "single orders are no book; take the schemas mbp-1 or mbp-10",
        "https://databento.com/docs/schemas-and-data-formats/mbo",
    ),
    "taq-quotes": Unreadable(
        (
            *("DATE", "TIME_M", "EX", "BID", "BIDSIZ", "ASK", "ASKSIZ", "QU_COND", "QU_SEQNUM", "NATBBO_IND"),
            *("QU_CANCEL", "QU_SOURCE", "SYM_ROOT", "SYM_SUFFIX"),
        ),
        "quotes of every exchange are not the best ones; take the complete NBBO",
        "https://wrds-www.wharton.upenn.edu/pages/get-data/nyse-trade-and-quote/",
    ),
}
"""Name -> format that is refused, because it would give a plausible wrong number."""


def recognise(header: Sequence[str]) -> str | None:
    """The one format whose documented names these are; None where there is none, or several.

    >>> recognise("id,price,qty,quote_qty,time,is_buyer_maker".split(","))
    'binance-trades'
    """
    found = [name for name, f in FORMATS.items() if f.own and not f.headless and f.fits(header)]
    return found[0] if len(found) == 1 else None


def unreadable(header: Sequence[str]) -> str | None:
    """Why files with these names are refused, with the way out; None where they are not.

    >>> unreadable(["timestamp", "percentage", "depth", "notional"])
    'binance-bookdepth: depth within percentages of the price has no prices; take bookTicker, or a book'
    """
    names = {name.strip().lower() for name in header}
    for name, row in UNREADABLE.items():
        known = {column.lower() for column in row.header}
        if known - {"symbol", "ts_out"} <= names <= known:
            return f"{name}: {row.why}"
    return None


def candidates(n_columns: int) -> list[str]:
    """Formats without a line of names that have so many columns.

    >>> candidates(12)
    ['binance-spot-klines']
    """
    return [name for name, f in FORMATS.items() if f.headless and f.own and n_columns == len(f.header)]
