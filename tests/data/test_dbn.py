"""Databento's binary files, written by its own package from the known market, are read as its text files are."""

import datetime
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import databento_dbn as dbn
import numpy as np
import pandas as pd
import pytest
import zstandard

from exec_env.base.errors import InputError
from exec_env.data.checks import Cleaner
from exec_env.data.reading import Reading
from exec_env.data.tables import DataFile
from exec_env.data.tape import Tape
from exec_env.data.ticks import read
from tests.data.test_vendors import file, rows
from tests.data.vendors import market

NOTHING = 2**63 - 1  # what stands for no price


def header(schema: dbn.Schema, **symbols: int) -> bytes:
    """What a file begins with, which tells what a number of an instrument is called."""
    days = {"start_date": datetime.date(2025, 2, 3), "end_date": datetime.date(2025, 2, 5)}
    mappings = [
        SimpleNamespace(raw_symbol=name, intervals=[SimpleNamespace(**days, symbol=str(number))])
        for name, number in symbols.items()
    ]
    start, raw, number = int(market().quotes["time"][0]), dbn.SType.RAW_SYMBOL, dbn.SType.INSTRUMENT_ID
    return bytes(dbn.Metadata("XNAS.ITCH", start, raw, number, schema, [*symbols], mappings=mappings))


def packed(content: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(content)


def px(price: float) -> int:
    return round(price * 1e9)


def record(cls: Any, time: int, price: float, size: float, side: float, levels: Any = None) -> bytes:
    """A trade where there is a side, or else a change of the book."""
    what = (dbn.Action.TRADE, dbn.Side.BID if side > 0 else dbn.Side.ASK) if side else (dbn.Action.ADD, dbn.Side.NONE)
    rest = {} if levels is None else {"levels": levels}
    return bytes(cls(2, 38, time - 1000, px(price), int(size), *what, 0, time, flags=130, **rest))


def pair(bid: float, ask: float, i: int = 0) -> dbn.BidAskPair:
    prices = px(bid - 0.01 * i), px(ask + 0.01 * i) if np.isfinite(ask) else NOTHING
    return dbn.BidAskPair(*prices, 500 + 100 * i, 500 + 100 * i, 1 + i, 1 + i)


def trades() -> bytes:
    rows = market().trades.itertuples(index=False)
    return header(dbn.Schema.TRADES, AAPL=38) + b"".join(record(dbn.TradeMsg, *row) for row in rows)


def mbp(cls: Any, schema: dbn.Schema, levels: Callable[[float, float], Any]) -> bytes:
    """Quotes, a trade after each, and every hundredth quote once more without an ask."""
    parts, m = [header(schema, AAPL=38)], market()
    both = zip(m.quotes.itertuples(index=False), m.trades.itertuples(index=False), strict=True)
    for i, ((time, bid, ask), trade) in enumerate(both):
        parts.append(record(cls, time, bid, 100, 0.0, levels(bid, ask)))
        if i % 100 == 0:
            parts.append(record(cls, time, bid, 100, 0.0, levels(bid, np.inf)))
        parts.append(record(cls, *trade, levels(bid, ask)))
    return b"".join(parts)


def bars() -> bytes:
    names = ("open", "high", "low", "close")
    rows = (
        bytes(dbn.OHLCVMsg(dbn.RType.OHLCV_1M, 2, 38, int(bar["time"]), *(px(bar[n]) for n in names), int(bar.volume)))
        for _, bar in market().bars.iterrows()
    )
    return header(dbn.Schema.OHLCV_1M, AAPL=38) + b"".join(rows)


FILES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "databento trades, raw": ("a.dbn", trades),
    "databento mbp-1, raw": ("b.dbn.zst", lambda: packed(mbp(dbn.MBP1Msg, dbn.Schema.MBP_1, pair))),
    "databento mbp-10, raw": (
        "named_as_text.csv",
        lambda: mbp(dbn.MBP10Msg, dbn.Schema.MBP_10, lambda bid, ask: [pair(bid, ask, i) for i in range(10)]),
    ),
    "databento ohlcv, raw": ("packed_and_named_as_if_not.dbn", lambda: packed(bars())),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "sample", [pytest.param(name, marks=pytest.mark.long) if "mbp-10" in name else name for name in FILES]
)
def test_a_binary_file_holds_what_the_text_file_of_its_schema_does(sample: str, tmp_path: Path) -> None:
    name, content = FILES[sample]
    (tmp_path / name).write_bytes(content())
    found, text = DataFile(tmp_path / name), file(sample, tmp_path)
    assert found.format_name == text.format_name
    for one, other in zip((found, *found.others), (text, *text.others), strict=True):
        pd.testing.assert_frame_equal(rows(one), rows(other), rtol=1e-12)


@pytest.mark.slow
def test_calibration_and_tape_take_the_same_slices_of_it(tmp_path: Path) -> None:
    name, content = FILES["databento mbp-1, raw"]
    path = tmp_path / name
    path.write_bytes(content())
    slices, tape = read([path], hours_per_day=24.0), Tape.read(path, hours_per_day=24.0)
    np.testing.assert_array_equal(tape.mid, slices.frame["mid"])
    assert slices.frame["volume"].sum() == market().trades["size"].sum()
    assert slices.frame["spread"].tolist() == pytest.approx([0.02] * len(slices.frame))


def test_an_instrument_is_named_by_its_symbol_and_by_its_number_where_it_has_none(tmp_path: Path) -> None:
    times = [int(time) for time in market().trades["time"][:3]]
    messages = [
        bytes(dbn.TradeMsg(2, number, time, px(price), 5, dbn.Action.TRADE, dbn.Side.BID, 0, time))
        for time in times
        for number, price in ((38, 100.0), (39, 50.0), (40, 25.0))
    ]
    path = tmp_path / "several.dbn"
    path.write_bytes(header(dbn.Schema.TRADES, AAPL=38, MSFT=39) + b"".join(messages))
    with pytest.raises(InputError, match=r"several\.dbn: 3 instruments, AAPL, MSFT, 40: name one with symbol"):
        rows(DataFile(path))
    for symbol, price in (("AAPL", 100.0), ("MSFT", 50.0), ("40", 25.0)):
        assert rows(DataFile(path, {}, Reading(symbol=symbol)))["price"].tolist() == [price] * 3


def test_records_of_another_kind_between_are_left_out(tmp_path: Path) -> None:
    message = bytes(dbn.SystemMsg(int(market().trades["time"][0]), "heartbeat"))
    whole = trades()
    size = dbn.TradeMsg.size_hint
    (tmp_path / "live.dbn").write_bytes(whole[:-size] + message + whole[-size:])
    assert len(rows(DataFile(tmp_path / "live.dbn"))) == len(market().trades)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (lambda whole: whole[:-7], "a DBN file that is cut short"),
        (lambda whole: whole[:50], "a DBN file that is cut short"),
        (lambda whole: whole[:-48] + bytes(48), "not a DBN file, or damaged: .*impossible length"),
        (lambda whole: b"DBN\xff" + whole[4:], "not a DBN file, or damaged: .*newer version"),
        (lambda whole: packed(whole)[:-3], "ended before the end of its last frame"),
    ],
    ids=["cut", "cut in its header", "damaged", "newer", "packed and cut"],
)
def test_a_damaged_file_is_refused_by_name(content: Callable[[bytes], bytes], why: str, tmp_path: Path) -> None:
    path = tmp_path / "a.dbn"
    path.write_bytes(content(trades()))
    with pytest.raises(InputError, match=rf"a\.dbn: .*{why}"):
        rows(DataFile(path))


def test_without_the_package_one_sentence_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.dbn").write_bytes(trades())
    monkeypatch.setitem(sys.modules, "databento_dbn", None)
    monkeypatch.setattr("exec_env.base.extras.importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        InputError, match=r"a\.dbn: databento_dbn is not installed: pip install 'exec-env\[databento\]'"
    ):
        DataFile(tmp_path / "a.dbn").frames(Cleaner()).__next__()
