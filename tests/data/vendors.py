"""One known market, written as each vendor documents its files."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import pandas as pd

STEP = 30 * 10**9
"""Between quotes, and between trades, which are half of it later. [ns]"""
ROWS = 720
HALF_SPREAD = 0.01
"""[$], of a price near 100: 1 bp."""
IMPACT = 2e-4
"""Permanent impact. [$/share per share]"""
LEVELS = 5
START = pd.Timestamp("2025-02-03 05:00", tz="UTC").value
NEW_YORK, BROKER, LOCAL = "America/New_York", "Europe/Athens", "Asia/Tokyo"
DAYS = 260
DAILY_VOLATILITY = 0.02


@dataclass(frozen=True)
class Market:
    """Quotes, trades of them and the bars that these make, under our names; times in ns since 1970."""

    quotes: pd.DataFrame
    trades: pd.DataFrame
    bars: pd.DataFrame
    daily: pd.DataFrame
    volatility: float
    """Relative, of 24 hours."""
    daily_volume: float


@cache
def market() -> Market:
    """The truth that all files are made of."""
    rng = np.random.default_rng(0)
    side, size = rng.choice([-1.0, 1.0], ROWS), rng.exponential(10, ROWS).round() + 1
    move = IMPACT * side * size + rng.normal(0, 0.003, ROWS)
    mid = np.round(100 + np.r_[0, np.cumsum(move)[:-1]], 4)
    time = START + np.arange(ROWS) * STEP
    quotes = pd.DataFrame({"time": time, "bid": mid - HALF_SPREAD, "ask": mid + HALF_SPREAD}).round(4)
    price = np.round(mid + HALF_SPREAD * side, 4)
    trades = pd.DataFrame({"time": time + STEP // 2, "price": price, "size": size, "side": side})
    per_day = 24 * 3600 * 10**9 / STEP
    return Market(
        quotes,
        trades,
        bars_of(trades),
        _days(rng),
        float(move.std() * per_day**0.5 / 100),
        float(size.mean() * per_day),
    )


def bars_of(trades: pd.DataFrame, length: int = 60 * 10**9) -> pd.DataFrame:
    """Bars of trades, a minute long; ``time`` is their start, ``flow`` what was bought less what was sold."""
    group = trades.assign(flow=trades["side"] * trades["size"]).groupby(trades["time"] // length * length)
    prices = group["price"].agg(open="first", high="max", low="min", close="last")
    return prices.assign(volume=group["size"].sum(), flow=group["flow"].sum()).reset_index()


def _days(rng: np.random.Generator) -> pd.DataFrame:
    """Days of 400 moves each."""
    path = 100 * np.exp(np.cumsum(rng.normal(0, DAILY_VOLATILITY / 20, (DAYS, 400))).reshape(DAYS, 400))
    time = pd.bdate_range("2024-01-02", periods=DAYS, tz="UTC").as_unit("ns").astype("int64").to_numpy()
    days = {"open": path[:, 0], "high": path.max(1), "low": path.min(1), "close": path[:, -1]}
    volume = rng.lognormal(13, 0.3, DAYS).round()
    return pd.DataFrame({"time": time, **days, "volume": volume}).round(4)


# How vendors write numbers and times


def since(time: pd.Series, unit: str) -> list[str]:
    """Whole numbers of a unit since 1970."""
    return [str(t // {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}[unit]) for t in time]


def clock(time: pd.Series, written: str, zone: str = "UTC", digits: int = 3) -> list[str]:
    """Texts of strptime; ``%f`` has so many digits."""
    stamps = pd.to_datetime(time, utc=True).dt.tz_convert(zone)
    fraction = [f"{t % 10**9:09d}"[:digits] for t in time]
    return [s.strftime(written.replace("%f", "{f}")).format(f=f) for s, f in zip(stamps, fraction, strict=True)]


def fixed(numbers: Iterable[float], digits: int = 2) -> list[str]:
    """With so many digits behind the point."""
    return [f"{x:.{digits}f}" for x in numbers]


def whole(numbers: Iterable[float], factor: float = 1) -> list[str]:
    """Without a point."""
    return [f"{round(x * factor):d}" for x in numbers]


def words(side: pd.Series, buy: str, sell: str) -> list[str]:
    """The side of each trade in a vendor's word."""
    return [buy if s > 0 else sell for s in side]


def table(
    columns: dict[str, object], names: bool = True, separator: str = ",", newest_first: bool = False, before: str = ""
) -> str:
    """A text file of columns; ``before`` are lines before the names."""
    frame = pd.DataFrame(columns)
    return before + (frame[::-1] if newest_first else frame).to_csv(index=False, header=names, sep=separator)


def _ids(frame: pd.DataFrame) -> np.ndarray:
    return np.arange(1, len(frame) + 1)


def _ohlc(bars: pd.DataFrame, names: str = "open high low close", digits: int = 4) -> dict[str, object]:
    return {name: fixed(bars[name.lower()], digits) for name in names.split()}


# The vendors


def _binance_trades(unit: str, names: bool) -> str:
    t = market().trades
    spot = {} if names else {"is_best_match": "True"}
    flags = words(t["side"], "false", "true") if names else words(t["side"], "False", "True")
    money = fixed(t["price"] * t["size"], 8)
    return table(
        {
            "id": _ids(t),
            "price": fixed(t["price"], 8),
            "qty": fixed(t["size"], 8),
            "quote_qty": money,
            "time": since(t["time"], unit),
            "is_buyer_maker": flags,
            **spot,
        },
        names,
    )


def _binance_agg(unit: str, names: bool) -> str:
    t = market().trades
    spot = {} if names else {"is_best_match": "True"}
    return table(
        {
            "agg_trade_id": _ids(t),
            "price": fixed(t["price"], 8),
            "quantity": fixed(t["size"], 8),
            "first_trade_id": _ids(t),
            "last_trade_id": _ids(t),
            "transact_time": since(t["time"], unit),
            "is_buyer_maker": words(t["side"], "false", "true"),
            **spot,
        },
        names,
    )


def _binance_klines(unit: str, names: bool) -> str:
    b = market().bars
    buys = (b["volume"] + b["flow"]) / 2
    return table(
        {
            "open_time": since(b["time"], unit),
            **_ohlc(b, digits=8),
            "volume": fixed(b["volume"], 8),
            "close_time": since(b["time"] + 60 * 10**9 - 1, unit),
            "quote_volume": fixed(b["volume"] * b["close"], 8),
            "count": 2,
            "taker_buy_volume": fixed(buys, 8),
            "taker_buy_quote_volume": fixed(buys * b["close"], 8),
            "ignore": 0,
        },
        names,
    )


def _binance_book_ticker() -> str:
    q = market().quotes
    return table(
        {
            "update_id": _ids(q),
            "best_bid_price": fixed(q["bid"], 4),
            "best_bid_qty": 500,
            "best_ask_price": fixed(q["ask"], 4),
            "best_ask_qty": 500,
            "transaction_time": since(q["time"], "ms"),
            "event_time": since(q["time"] + 4 * 10**6, "ms"),
        }
    )


def _tardis(time: pd.Series) -> dict[str, object]:
    before = since(time - 20_000_000, "us")
    return {"exchange": "bitmex", "symbol": "XBTUSD", "timestamp": before, "local_timestamp": since(time, "us")}


def _tardis_trades() -> str:
    t = market().trades
    rest = {"id": _ids(t), "side": words(t["side"], "buy", "sell"), "price": fixed(t["price"], 4), "amount": t["size"]}
    return table(_tardis(t["time"]) | rest)


def _tardis_quotes() -> str:
    q = market().quotes
    prices = {"ask_price": fixed(q["ask"], 4), "bid_price": fixed(q["bid"], 4)}
    return table({**_tardis(q["time"]), "ask_amount": 500, **prices, "bid_amount": 500})


def _tardis_book() -> str:
    q = market().quotes
    columns = _tardis(q["time"])
    for i in range(LEVELS):
        for side, name, away in (("asks", "ask", 1), ("bids", "bid", -1)):
            columns[f"{side}[{i}].price"] = fixed(q[name] + away * 0.01 * i, 4)
            columns[f"{side}[{i}].amount"] = 500 + 100 * i
    return table(columns)


def _coinapi_trades() -> str:
    t = market().trades
    return table(
        {
            "time_exchange": clock(t["time"], "%Y-%m-%dT%H:%M:%S.%f", digits=7),
            "time_coinapi": clock(t["time"] + 10**6, "%Y-%m-%dT%H:%M:%S.%f", digits=7),
            "guid": "5caec0c2-09f0-4232-8601-3e4e07521b73",
            "price": fixed(t["price"], 4),
            "base_amount": t["size"],
            "taker_side": words(t["side"], "BUY", "SELL"),
        },
        separator=";",
    )


def _kraken_trades() -> str:
    t = market().trades
    return table({"t": since(t["time"], "s"), "p": fixed(t["price"], 5), "v": fixed(t["size"], 8)}, names=False)


def _kraken_rest_trades() -> str:
    t = market().trades
    time = fixed(t["time"] / 1e9, 4)
    columns = {"p": fixed(t["price"], 5), "v": fixed(t["size"], 8), "t": time, "s": words(t["side"], "b", "s")}
    return table({**columns, "o": "m", "misc": "", "id": _ids(t)}, names=False)


def _kraken_ohlcvt() -> str:
    b = market().bars
    return table({"t": since(b["time"], "s"), **_ohlc(b), "v": fixed(b["volume"], 8), "n": 2}, names=False)


def _coinbase_trades() -> str:
    t = market().trades
    columns = {"trade_id": _ids(t), "side": words(t["side"], "sell", "buy"), "size": fixed(t["size"], 8)}
    time = clock(t["time"], "%Y-%m-%dT%H:%M:%S.%fZ", digits=6)
    return table({**columns, "price": fixed(t["price"], 8), "time": time}, newest_first=True)


def _coinbase_candles() -> str:
    b = market().bars
    columns = {"t": since(b["time"], "s"), **_ohlc(b, "low high open close"), "v": fixed(b["volume"], 8)}
    return table(columns, names=False, newest_first=True)


def _bitstamp_trades() -> str:
    t = market().trades
    columns = {"date": since(t["time"], "s"), "tid": _ids(t), "price": fixed(t["price"], 4)}
    columns |= {"amount": fixed(t["size"], 8), "type": words(t["side"], "0", "1")}
    return table(columns, newest_first=True)


def _cryptodatadownload(names: str, unit: str) -> str:
    b = market().bars
    date = clock(b["time"], "%Y-%m-%d %H:%M:%S")
    volumes = {"Volume BTC": fixed(b["volume"], 8), "Volume USDT": fixed(b["volume"] * 100, 8)}
    first, second, third, *ohlc = names.split()
    columns = {first: since(b["time"], unit), second: date, third: "BTC/USDT", **_ohlc(b, " ".join(ohlc)), **volumes}
    return table(columns, newest_first=True, before="https://www.CryptoDataDownload.com\n")


def _bybit(time: list[str], rest: dict[str, object]) -> str:
    t = market().trades
    columns = {"timestamp": time, "symbol": "BTCUSDT", "side": words(t["side"], "Buy", "Sell"), "size": t["size"]}
    columns |= {"price": fixed(t["price"], 4), "tickDirection": "PlusTick", "trdMatchID": "ab-12"}
    return table({**columns, "grossValue": "1e+11", "homeNotional": 1, "foreignNotional": 100, **rest})


def _bybit_trades() -> str:
    return _bybit(fixed(market().trades["time"] / 1e9, 4), {})


def _bitmex_trades() -> str:
    return _bybit(clock(market().trades["time"], "%Y-%m-%dD%H:%M:%S.%f", digits=9), {"trdType": "Regular"})


def _bitmex_quotes() -> str:
    q = market().quotes
    time = clock(q["time"], "%Y-%m-%dD%H:%M:%S.%f", digits=9)
    prices = {"bidPrice": fixed(q["bid"], 4), "askPrice": fixed(q["ask"], 4)}
    return table({"timestamp": time, "symbol": "XBTUSD", "bidSize": 500, **prices, "askSize": 500})


def _bybit_spot_trades() -> str:
    t = market().trades
    columns = {"id": _ids(t), "timestamp": since(t["time"], "ms"), "price": fixed(t["price"], 4)}
    return table({**columns, "volume": fixed(t["size"], 6), "side": words(t["side"], "buy", "sell"), "rpi": 0})


def _okx_trades() -> str:
    t = market().trades
    columns = {"instrument_name": "BTC-USDT-SWAP", "trade_id": _ids(t), "side": words(t["side"], "buy", "sell")}
    return table({**columns, "price": fixed(t["price"], 4), "size": t["size"], "created_time": since(t["time"], "ms")})


def _databento(frame: pd.DataFrame, pretty: bool, action: str, levels: int = 0) -> pd.DataFrame:
    """Records of trades, or of the book's quotes; prices and times raw, or as people read them."""

    def px(price: pd.Series) -> list[str]:
        return fixed(price, 9) if pretty else whole(price, 1e9)

    def ts(time: pd.Series) -> list[str]:
        return clock(time, "%Y-%m-%dT%H:%M:%S.%fZ", digits=9) if pretty else since(time, "ns")

    trade = action == "T"
    columns: dict[str, object] = {"ts_recv": ts(frame["time"]), "ts_event": ts(frame["time"] - 1000), "rtype": 1}
    columns |= {"publisher_id": 2, "instrument_id": 38, "action": action}
    columns |= {"side": words(frame["side"], "B", "A") if trade else "N", "depth": 0}
    columns |= {"price": px(frame["price"] if trade else frame["bid"]), "size": whole(frame["size"]) if trade else 100}
    columns |= {"flags": 130, "ts_in_delta": 165000, "sequence": 100}
    for i in range(levels):
        columns |= {f"bid_px_0{i}": px(frame["bid"] - 0.01 * i), f"ask_px_0{i}": px(frame["ask"] + 0.01 * i)}
        columns |= {f"{name}_0{i}": 500 + 100 * i for name in ("bid_sz", "ask_sz")}
        columns |= {f"{name}_0{i}": 1 + i for name in ("bid_ct", "ask_ct")}
    return pd.DataFrame(columns | {"symbol": "AAPL"}, dtype=str).assign(key=frame["time"].to_numpy())


def _databento_trades(pretty: bool) -> str:
    return _databento(market().trades, pretty, "T").drop(columns="key").to_csv(index=False)


def _databento_mbp(levels: int, pretty: bool) -> str:
    """Quotes and trades in one file, and every hundredth quote once without an ask."""
    m = market()
    quotes = _databento(m.quotes, pretty, "A", levels)
    none = quotes[::100].copy()
    none["ask_px_00"] = "" if pretty else str(2**63 - 1)
    beside = m.trades.assign(bid=m.quotes["bid"], ask=m.quotes["ask"])
    rows = pd.concat([quotes, none, _databento(beside, pretty, "T", levels)])
    return rows.sort_values("key", kind="stable").drop(columns="key").to_csv(index=False)


def _databento_bbo() -> str:
    """Quotes as of each interval, beside the sale that was last in it, or long before it."""
    q = market().quotes
    records = _databento(q, True, "A", 1).assign(price=fixed(q["bid"] * 2, 9), ts_event=str(2**64 - 1))
    return records.drop(columns=["action", "depth", "ts_in_delta", "key"]).to_csv(index=False)


def _databento_ohlcv(pretty: bool) -> str:
    b = market().bars
    time = clock(b["time"], "%Y-%m-%dT%H:%M:%S.%fZ", digits=9) if pretty else since(b["time"], "ns")
    names = ("open", "high", "low", "close")
    prices = {name: fixed(b[name], 9) if pretty else whole(b[name], 1e9) for name in names}
    columns = {"ts_event": time, "rtype": 33, "publisher_id": 2, "instrument_id": 38}
    return table({**columns, **prices, "volume": whole(b["volume"]), "symbol": "AAPL"})


def _massive_trades() -> str:
    t = market().trades
    columns = {"ticker": "A", "conditions": "12,37", "correction": 0, "exchange": 4, "id": _ids(t)}
    columns |= {"participant_timestamp": since(t["time"] - 300_000, "ns"), "price": fixed(t["price"], 4)}
    columns |= {"sequence_number": _ids(t), "sip_timestamp": since(t["time"], "ns"), "size": whole(t["size"])}
    return table({**columns, "tape": 1, "trf_id": 0, "trf_timestamp": 0})


def _massive_quotes() -> str:
    """Every hundredth quote stands once more without an ask, whose price is 0 then."""
    q = market().quotes
    q = pd.concat([q, q[::100].assign(ask=0.0)]).sort_values("time", kind="stable")
    columns = {"ticker": "A", "ask_exchange": 8, "ask_price": fixed(q["ask"], 4), "ask_size": 5}
    columns |= {"bid_exchange": 11, "bid_price": fixed(q["bid"], 4), "bid_size": 5, "conditions": "1,81"}
    columns |= {"indicators": "", "participant_timestamp": since(q["time"] - 300_000, "ns"), "sequence_number": _ids(q)}
    return table({**columns, "sip_timestamp": since(q["time"], "ns"), "tape": 1, "trf_timestamp": 0})


def _massive_aggregates() -> str:
    b = market().bars
    columns = {"ticker": "A", "volume": whole(b["volume"]), **_ohlc(b, "open close high low")}
    return table({**columns, "window_start": since(b["time"], "ns"), "transactions": 2})


def _taq_trades(date: str, case: Callable[[str], str]) -> str:
    """Every hundredth trade stands once more as it was before a correction, at twice its price."""
    t = market().trades.assign(code="00")
    t = pd.concat([t, t[::100].assign(code="01", price=t["price"] * 2)]).sort_values("time", kind="stable")
    columns = {"DATE": clock(t["time"], date, NEW_YORK)}
    columns |= {"TIME_M": [text.removeprefix("0") for text in clock(t["time"], "%H:%M:%S.%f", NEW_YORK, 9)]}
    columns |= {"EX": "T", "SYM_ROOT": "A", "SYM_SUFFIX": "", "TR_SCOND": "TI", "SIZE": whole(t["size"])}
    columns |= {"PRICE": fixed(t["price"], 4), "TR_STOP_IND": "N", "TR_CORR": t["code"], "TR_SEQNUM": _ids(t)}
    columns |= {"TR_ID": _ids(t), "TR_SOURCE": "C", "TR_RF": ""}
    return table({case(name): column for name, column in columns.items()})


def _taq_nbbo() -> str:
    q = market().quotes
    columns = {"date": clock(q["time"], "%Y-%m-%d", NEW_YORK), "time_m": clock(q["time"], "%H:%M:%S.%f", NEW_YORK, 6)}
    columns |= {"time_m_nano": 226, "sym_root": "A", "sym_suffix": "", "qu_cond": "R", "natbbo_ind": 4}
    columns |= {"qu_source": "N", "nbbo_qu_cond": "", "best_bid": fixed(q["bid"], 4), "best_bidsizeshares": 500}
    return table({**columns, "best_ask": fixed(q["ask"], 4), "best_asksizeshares": 500})


def _dated_bars(date: str, time: str, zone: str) -> str:
    b = market().bars
    columns = {"d": clock(b["time"], date, zone), "t": clock(b["time"], time, zone)}
    return table({**columns, **_ohlc(b), "v": whole(b["volume"])}, names=False)


def _kibot_ticks() -> str:
    m = market()
    columns = {"d": clock(m.trades["time"], "%m/%d/%Y", NEW_YORK), "t": clock(m.trades["time"], "%H:%M:%S", NEW_YORK)}
    prices = {"p": m.trades["price"], "b": m.quotes["bid"], "a": m.quotes["ask"]}
    columns |= {name: fixed(price, 4) for name, price in prices.items()}
    return table({**columns, "s": whole(m.trades["size"])}, names=False)


def _firstrate_bars() -> str:
    b = market().bars
    time = clock(b["time"], "%Y-%m-%d %H:%M:%S", NEW_YORK)
    return table({"t": time, **_ohlc(b), "v": whole(b["volume"])}, names=False)


def _alphavantage() -> str:
    b = market().bars
    time = clock(b["time"], "%Y-%m-%d %H:%M:%S", NEW_YORK)
    return table({"timestamp": time, **_ohlc(b), "volume": whole(b["volume"])}, newest_first=True)


def _days_file(written: str, ohlc: str, names: bool = True, **rest: object) -> str:
    d = market().daily
    return table({"Date": clock(d["time"], written), **_ohlc(d, ohlc), **rest, "Volume": whole(d["volume"])}, names)


def _yfinance() -> str:
    b = market().bars
    columns = {"Datetime": clock(b["time"], "%Y-%m-%d %H:%M:%S-05:00", NEW_YORK), **_ohlc(b, "Open High Low Close", 12)}
    return table({**columns, "Volume": whole(b["volume"]), "Dividends": 0.0, "Stock Splits": 0.0})


def _yfinance_download() -> str:
    d = market().daily
    rows = table({"d": clock(d["time"], "%Y-%m-%d"), **_ohlc(d, "Close High Low Open"), "v": whole(d["volume"])}, False)
    return "Price,Close,High,Low,Open,Volume\nTicker,MSFT,MSFT,MSFT,MSFT,MSFT\nDate,,,,,\n" + rows


def _stooq() -> str:
    b = market().bars
    columns = {"<TICKER>": "A.US", "<PER>": 1, "<DATE>": clock(b["time"], "%Y%m%d", BROKER)}
    columns |= {"<TIME>": clock(b["time"], "%H%M%S", BROKER), **_angled(b)}
    return table({**columns, "<VOL>": whole(b["volume"]), "<OPENINT>": 0})


def _angled(bars: pd.DataFrame) -> dict[str, object]:
    return {f"<{name.upper()}>": fixed(bars[name], 4) for name in ("open", "high", "low", "close")}


def _metatrader_bars() -> str:
    b = market().bars
    columns = {"<DATE>": clock(b["time"], "%Y.%m.%d", BROKER), "<TIME>": clock(b["time"], "%H:%M:%S", BROKER)}
    columns |= {**_angled(b), "<TICKVOL>": 2, "<VOL>": whole(b["volume"]), "<SPREAD>": 200}
    return table(columns, separator="\t")


def _metatrader_ticks() -> str:
    """Each quote comes in two ticks, a millisecond apart, of which one has the bid and one the ask."""
    q = market().quotes
    rises = q["bid"].diff() > 0  # the ask comes first then, so that no quote is crossed
    first, then = q.assign(time=q["time"] - 10**6, ask_only=rises), q.assign(ask_only=~rises)
    t = pd.concat([first, then]).sort_values("time", kind="stable")
    columns = {"<DATE>": clock(t["time"], "%Y.%m.%d", BROKER), "<TIME>": clock(t["time"], "%H:%M:%S.%f", BROKER)}
    columns["<BID>"] = ["" if ask else p for p, ask in zip(fixed(t["bid"], 4), t["ask_only"], strict=True)]
    columns["<ASK>"] = [p if ask else "" for p, ask in zip(fixed(t["ask"], 4), t["ask_only"], strict=True)]
    return table({**columns, "<LAST>": "", "<VOLUME>": "", "<FLAGS>": whole(2 + 2 * t["ask_only"])}, separator="\t")


def _dukascopy(frame: pd.DataFrame, local: bool, rest: dict[str, object]) -> str:
    written = "%d.%m.%Y %H:%M:%S.%f" + (" GMT+0900" if local else "")
    name, zone = ("Local time", LOCAL) if local else ("Gmt time", "UTC")
    return table({name: clock(frame["time"], written, zone), **rest})


def _dukascopy_bars(local: bool) -> str:
    b = market().bars
    return _dukascopy(b, local, {**_ohlc(b, "Open High Low Close"), "Volume": b["volume"]})


def _dukascopy_ticks(local: bool) -> str:
    q = market().quotes
    prices = {"Ask": fixed(q["ask"], 4), "Bid": fixed(q["bid"], 4)}
    return _dukascopy(q, local, {**prices, "AskVolume": 1.5, "BidVolume": 1.2})


def _histdata_bars() -> str:
    b = market().bars
    return table(
        {"t": clock(b["time"], "%Y%m%d %H%M%S", "Etc/GMT+5"), **_ohlc(b, digits=6), "v": 0}, False, separator=";"
    )


def _histdata_ticks() -> str:
    q = market().quotes
    time = clock(q["time"], "%Y%m%d %H%M%S%f", "Etc/GMT+5")
    return table({"t": time, "b": fixed(q["bid"], 6), "a": fixed(q["ask"], 6), "v": 0}, names=False)


def _sierrachart() -> str:
    b = market().bars
    columns = {"Date": clock(b["time"], "%Y/%m/%d", BROKER), " Time": clock(b["time"], " %H:%M:%S", BROKER)}
    columns |= {f" {name}": column for name, column in _ohlc(b.assign(last=b["close"]), "Open High Low Last").items()}
    columns |= {" Volume": whole(b["volume"]), " NumberOfTrades": 2}
    sides = {" BidVolume": (b["volume"] - b["flow"]) / 2, " AskVolume": (b["volume"] + b["flow"]) / 2}
    return table({**columns, **{name: whole(volume) for name, volume in sides.items()}})


@dataclass(frozen=True)
class Sample:
    """A file in a vendor's format."""

    format: str
    write: Callable[[], str]
    zone: str | None = None
    """What the user has to say of its times."""
    daily: bool = False

    @cached_property
    def text(self) -> str:
        """The file."""
        return self.write()


_CDD, _CDD_UPPER = "unix date symbol open high low close", "Unix Date Symbol Open High Low Close"
SAMPLES: dict[str, Sample] = {
    "binance trades, futures": Sample("binance-trades", lambda: _binance_trades("ms", True)),
    "binance trades, spot before 2025": Sample("binance-spot-trades", lambda: _binance_trades("ms", False)),
    "binance trades, spot": Sample("binance-spot-trades", lambda: _binance_trades("us", False)),
    "binance aggTrades, futures": Sample("binance-aggtrades", lambda: _binance_agg("ms", True)),
    "binance aggTrades, spot": Sample("binance-spot-aggtrades", lambda: _binance_agg("us", False)),
    "binance klines, futures": Sample("binance-klines", lambda: _binance_klines("ms", True)),
    "binance klines, spot": Sample("binance-spot-klines", lambda: _binance_klines("us", False)),
    "binance bookTicker": Sample("binance-bookticker", _binance_book_ticker),
    "tardis trades": Sample("tardis-trades", _tardis_trades),
    "tardis quotes": Sample("tardis-quotes", _tardis_quotes),
    "tardis book_snapshot_5": Sample("tardis-book-snapshot", _tardis_book),
    "coinapi trades": Sample("coinapi-trades", _coinapi_trades),
    "kraken trades": Sample("kraken-trades", _kraken_trades),
    "kraken REST trades": Sample("kraken-rest-trades", _kraken_rest_trades),
    "kraken OHLCVT": Sample("kraken-ohlcvt", _kraken_ohlcvt),
    "coinbase trades": Sample("coinbase-trades", _coinbase_trades),
    "coinbase candles": Sample("coinbase-candles", _coinbase_candles),
    "bitstamp trades": Sample("bitstamp-trades", _bitstamp_trades),
    "cryptodatadownload": Sample("cryptodatadownload", lambda: _cryptodatadownload(_CDD, "s")),
    "cryptodatadownload, Binance": Sample("cryptodatadownload", lambda: _cryptodatadownload(_CDD_UPPER, "ms")),
    "bybit trades, derivatives": Sample("bybit-trades", _bybit_trades),
    "bybit trades, spot": Sample("bybit-spot-trades", _bybit_spot_trades),
    "okx trades": Sample("okx-trades", _okx_trades),
    "bitmex trades": Sample("bitmex-trades", _bitmex_trades),
    "bitmex quotes": Sample("bitmex-quotes", _bitmex_quotes),
    "databento trades, raw": Sample("databento-trades", lambda: _databento_trades(False)),
    "databento trades, pretty": Sample("databento-trades", lambda: _databento_trades(True)),
    "databento mbp-1, raw": Sample("databento-mbp-1", lambda: _databento_mbp(1, False)),
    "databento mbp-1, pretty": Sample("databento-mbp-1", lambda: _databento_mbp(1, True)),
    "databento mbp-10, raw": Sample("databento-mbp-10", lambda: _databento_mbp(10, False)),
    "databento mbp-10, pretty": Sample("databento-mbp-10", lambda: _databento_mbp(10, True)),
    "databento bbo": Sample("databento-bbo", _databento_bbo),
    "databento ohlcv, raw": Sample("databento-ohlcv", lambda: _databento_ohlcv(False)),
    "databento ohlcv, pretty": Sample("databento-ohlcv", lambda: _databento_ohlcv(True)),
    "massive trades": Sample("massive-trades", _massive_trades),
    "massive quotes": Sample("massive-quotes", _massive_quotes),
    "massive aggregates": Sample("massive-aggregates", _massive_aggregates),
    "taq trades": Sample("taq-trades", lambda: _taq_trades("%Y-%m-%d", str.upper)),
    "taq trades, days without hyphens": Sample("taq-trades", lambda: _taq_trades("%Y%m%d", str.lower)),
    "taq complete NBBO": Sample("taq-nbbo", _taq_nbbo),
    "kibot bars": Sample("kibot-bars", lambda: _dated_bars("%m/%d/%Y", "%H:%M", NEW_YORK)),
    "kibot days": Sample("kibot-daily", lambda: _days_file("%m/%d/%Y", "open high low close", names=False), daily=True),
    "kibot ticks": Sample("kibot-ticks", _kibot_ticks),
    "firstrate bars": Sample("firstrate-bars", _firstrate_bars),
    "alphavantage bars": Sample("alphavantage", _alphavantage),
    "yfinance history": Sample("yfinance", _yfinance),
    "yfinance download": Sample("yfinance-download", _yfinance_download, daily=True),
    "yahoo": Sample("yahoo", lambda: _days_file("%Y-%m-%d", "Open High Low Close", **{"Adj Close": 1.0}), daily=True),
    "stooq, page": Sample("stooq-daily", lambda: _days_file("%Y-%m-%d", "Open High Low Close"), daily=True),
    "stooq, archive": Sample("stooq", _stooq, zone=BROKER),
    "metatrader 5 bars": Sample("metatrader-bars", _metatrader_bars, zone=BROKER),
    "metatrader 5 ticks": Sample("metatrader-ticks", _metatrader_ticks, zone=BROKER),
    "metatrader 4 bars": Sample("metatrader4-bars", lambda: _dated_bars("%Y.%m.%d", "%H:%M", BROKER), zone=BROKER),
    "dukascopy bars, GMT": Sample("dukascopy-bars", lambda: _dukascopy_bars(False)),
    "dukascopy bars, local": Sample("dukascopy-bars", lambda: _dukascopy_bars(True)),
    "dukascopy ticks, GMT": Sample("dukascopy-ticks", lambda: _dukascopy_ticks(False)),
    "dukascopy ticks, local": Sample("dukascopy-ticks", lambda: _dukascopy_ticks(True)),
    "histdata bars": Sample("histdata-bars", _histdata_bars),
    "histdata ticks": Sample("histdata-ticks", _histdata_ticks),
    "sierrachart": Sample("sierrachart", _sierrachart, zone=BROKER),
}
