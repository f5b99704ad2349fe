"""Formats of vendors of data of stocks, futures and currencies."""

from dataclasses import replace

from exec_env.data.vendor_format import Format

_DATABENTO = "https://databento.com/docs/schemas-and-data-formats/"
_MASSIVE = "https://massive.com/docs/flat-files/stocks/"
_TAQ = "https://wrds-www.wharton.upenn.edu/pages/get-data/nyse-trade-and-quote/"
_METATRADER = "https://www.metatrader5.com/en/terminal/help/trading_advanced/custom_instruments"
_DUKASCOPY = "https://www.dukascopy.com/swiss/english/marketwatch/historical/"
_HISTDATA = "http://www.histdata.com/f-a-q/data-files-detailed-specification/"
_KIBOT = "http://www.kibot.com/Data_Format.aspx"
_FIRSTRATE = "https://firstratedata.com/_readme/stock.txt"
_YFINANCE = "https://ranaroussi.github.io/yfinance/reference/yfinance.price_history.html"
_ALPHA_VANTAGE = "https://www.alphavantage.co/documentation/"

_NEW_YORK = "America/New_York"
_DAY = "09:30-16:00"
_NO_QUOTES = "the spread, for there are no quotes"
_NO_SIDES = "sides, but by quotes beside the trades"
_NO_TRADES = "volume and flow, for there are no trades"
_BARS = "the quoted spread and what single trades paid"
_DAILY = "what happens within a day: spread, liquidity, impact"
_TICKS = "volume, where it is a number of ticks, or zero"

_OHLCV = {"open": "open", "high": "high", "low": "low", "close": "close", "volume": "volume"}
_TITLED = {ours: name.title() for ours, name in _OHLCV.items()}
_DATED = ("date", "open", "high", "low", "close", "volume")
_DATED_CLOCK = ("date", "time", "open", "high", "low", "close", "volume")

# Prices are whole numbers of 1e-9 and times nanoseconds, or decimals and ISO 8601 (pretty_px, pretty_ts). Records are
# in the order of ts_recv. A is a seller who takes, B a buyer, N neither.
_UNDEF = (9223372036854775807.0, 9223372036.854775807)
_TRADED = {"time": "ts_recv", "price": "price", "size": "size", "side": "side"}
_BEST = {"time": "ts_recv", "bid": "bid_px_00", "ask": "ask_px_00"}
_RECORD = ("ts_recv", "ts_event", "rtype", "publisher_id", "instrument_id")
_EVENT = (*_RECORD, "action", "side", "depth", "price", "size", "flags", "ts_in_delta", "sequence")
_LEVEL = ("bid_px_0#", "ask_px_0#", "bid_sz_0#", "ask_sz_0#", "bid_ct_0#", "ask_ct_0#")
# Consolidated quotes have the publisher of each price in the place of a count.
_TOUCH = (*(name.replace("#", "0") for name in _LEVEL[:4]), "~bid_(ct|pb)_00", "~ask_(ct|pb)_00")
_QUOTE = (*_EVENT, *_TOUCH)
_BOOK = {
    "time": "ts_recv",
    "bid_price_#": "bid_px_0#",
    "bid_size_#": "bid_sz_0#",
    "ask_price_#": "ask_px_0#",
    "ask_size_#": "ask_sz_0#",
}


def _databento(kind: str, header: tuple[str, ...], columns: dict[str, str], schema: str, **rest: object) -> Format:
    prices = {ours: 1e-9 for ours in columns if ours in ("price", "bid", "ask", *_OHLCV) or "_price_" in ours}
    prices.pop("volume", None)
    return Format(
        kind,  # type: ignore[arg-type]
        (*header, "ts_out", "symbol"),
        columns,
        _DATABENTO + schema,
        optional=("ts_out", "symbol", *({"depth", "sequence"} & set(header) if header[-1] in _TOUCH else ())),
        time="ns or iso",
        sides={"b": 1.0, "a": -1.0} if "side" in columns else {},
        missing=_UNDEF,
        scale=prices,
        symbol="symbol",
        **rest,  # type: ignore[arg-type]
    )


# What a record of bbo says of the last sale is no trade, for it stands again in the next.
_SALE = tuple(name for name in _QUOTE if name not in ("action", "depth", "ts_in_delta"))
_TRADES_OF_MBP = {"own": False, "only": {"action": "T"}}

DATABENTO: dict[str, Format] = {
    "databento-trades": _databento("trades", _EVENT, _TRADED, "trades", cannot=_NO_QUOTES),
    "databento-mbp-1": _databento("quotes", _QUOTE, _BEST, "mbp-1", also="databento-mbp-1-trades"),
    "databento-mbp-1-trades": _databento("trades", _QUOTE, _TRADED, "mbp-1", **_TRADES_OF_MBP),
    "databento-mbp-10": _databento("book", (*_EVENT, *_LEVEL), _BOOK, "mbp-10", also="databento-mbp-10-trades"),
    "databento-mbp-10-trades": _databento("trades", (*_EVENT, *_LEVEL), _TRADED, "mbp-10", **_TRADES_OF_MBP),
    "databento-bbo": _databento("quotes", _SALE, _BEST, "bbo", cannot=_NO_TRADES),
    "databento-ohlcv": _databento(
        "bars", (*_RECORD[1:], *_OHLCV), _OHLCV | {"time": "ts_event"}, "ohlcv", cannot=_BARS
    ),
}

US_STOCKS: dict[str, Format] = {
    # Files of options have fewer columns. A side without a quote has the price 0.
    "massive-trades": Format(
        "trades",
        (
            "ticker",
            "conditions",
            "correction",
            "exchange",
            "id",
            "participant_timestamp",
            "price",
            "sequence_number",
            "sip_timestamp",
            "size",
            "tape",
            "trf_id",
            "trf_timestamp",
        ),
        {"time": "sip_timestamp", "price": "price", "size": "size"},
        f"{_MASSIVE}trades",
        optional=("id", "participant_timestamp", "sequence_number", "tape", "trf_id", "trf_timestamp"),
        time="ns",
        symbol="ticker",
        session=_DAY,
        cannot=f"{_NO_QUOTES}; {_NO_SIDES}",
    ),
    "massive-quotes": Format(
        "quotes",
        (
            "ticker",
            "ask_exchange",
            "ask_price",
            "ask_size",
            "bid_exchange",
            "bid_price",
            "bid_size",
            "conditions",
            "indicators",
            "participant_timestamp",
            "sequence_number",
            "sip_timestamp",
            "tape",
            "trf_timestamp",
        ),
        {"time": "sip_timestamp", "bid": "bid_price", "ask": "ask_price"},
        f"{_MASSIVE}quotes",
        optional=("conditions", "indicators", "participant_timestamp", "tape", "trf_timestamp"),
        time="ns",
        missing=(0.0,),
        symbol="ticker",
        session=_DAY,
        cannot=_NO_TRADES,
    ),
    "massive-aggregates": Format(
        "bars",
        ("ticker", "volume", "open", "close", "high", "low", "window_start", "transactions"),
        _OHLCV | {"time": "window_start"},
        f"{_MASSIVE}minute-aggregates",
        time="ns",
        symbol="ticker",
        session=_DAY,
        cannot=_BARS,
    ),
    # A correction code other than 00 is a trade that was corrected or cancelled (Holden & Jacobsen 2014).
    "taq-trades": Format(
        "trades",
        (
            "DATE",
            "TIME_M",
            "TIME_M_NANO",
            "EX",
            "SYM_ROOT",
            "SYM_SUFFIX",
            "TR_SCOND",
            "SIZE",
            "PRICE",
            "~TR_STOP_?IND",
            "TR_CORR",
            "TR_SEQNUM",
            "TR_ID",
            "TR_SOURCE",
            "TR_RF",
        ),
        {"time": "DATE TIME_M", "price": "PRICE", "size": "SIZE"},
        _TAQ,
        optional=("TIME_M_NANO", "EX", "SYM_SUFFIX", "TR_SCOND", "~TR_STOP_?IND", "TR_ID", "TR_SOURCE", "TR_RF"),
        time="%Y-%m-%d %H:%M:%S.%f or %Y%m%d %H:%M:%S.%f",
        zone=_NEW_YORK,
        only={"TR_CORR": "00"},
        symbol="SYM_ROOT",
        session=_DAY,
        cannot=f"{_NO_QUOTES}; {_NO_SIDES}",
    ),
    "taq-nbbo": Format(
        "quotes",
        (
            "date",
            "time_m",
            "time_m_nano",
            "sym_root",
            "sym_suffix",
            "qu_cond",
            "natbbo_ind",
            "qu_source",
            "nbbo_qu_cond",
            "best_bid",
            "best_bidsizeshares",
            "best_ask",
            "best_asksizeshares",
        ),
        {"time": "date time_m", "bid": "best_bid", "ask": "best_ask"},
        _TAQ,
        optional=("time_m_nano", "sym_suffix", "qu_cond", "natbbo_ind", "qu_source", "nbbo_qu_cond"),
        time="%Y-%m-%d %H:%M:%S.%f or %Y%m%d %H:%M:%S.%f",
        zone=_NEW_YORK,
        missing=(0.0,),
        symbol="sym_root",
        session=_DAY,
        cannot=_NO_TRADES,
    ),
    "kibot-bars": Format(
        "bars",
        _DATED_CLOCK,
        _OHLCV | {"time": "date time"},
        _KIBOT,
        headless=True,
        time="%m/%d/%Y %H:%M",
        zone=_NEW_YORK,
        session=_DAY,
        cannot=_BARS,
    ),
    "kibot-daily": Format(
        "bars", _DATED, _OHLCV | {"time": "date"}, _KIBOT, headless=True, time="%m/%d/%Y", cannot=_DAILY
    ),
    # The quotes are those at trades; times are whole seconds, or have a fraction.
    "kibot-ticks": Format(
        "trades",
        ("date", "time", "price", "bid", "ask", "size"),
        {"time": "date time", "price": "price", "size": "size"},
        "http://www.kibot.com/Support.aspx",
        headless=True,
        time="%m/%d/%Y %H:%M:%S or %m/%d/%Y %H:%M:%S.%f",
        zone=_NEW_YORK,
        also="kibot-ticks-quotes",
        session=_DAY,
        cannot=f"quotes between trades; {_NO_SIDES}",
    ),
    "firstrate-bars": Format(
        "bars",
        ("timestamp", "open", "high", "low", "close", "volume"),
        _OHLCV | {"time": "timestamp"},
        _FIRSTRATE,
        headless=True,
        zone=_NEW_YORK,
        session=_DAY,
        cannot=_BARS,
    ),
}
US_STOCKS["kibot-ticks-quotes"] = replace(
    US_STOCKS["kibot-ticks"],
    kind="quotes",
    columns={"time": "date time", "bid": "bid", "ask": "ask"},
    own=False,
    also="",
    cannot="quotes between trades",
)

_STOOQ = ("<TICKER>", "<PER>", "<DATE>", "<TIME>", "<OPEN>", "<HIGH>", "<LOW>", "<CLOSE>", "<VOL>", "<OPENINT>")
_ANGLED = {"open": "<OPEN>", "high": "<HIGH>", "low": "<LOW>", "close": "<CLOSE>", "volume": "<VOL>"}
_LOCAL = "%d.%m.%Y %H:%M:%S.%f GMT%z or %d.%m.%Y %H:%M:%S.%f"
_ONE_SIDE = "the mid, for they are of bids, or of asks"

DESKS: dict[str, Format] = {
    "alphavantage": Format(
        "bars",
        ("timestamp", *_OHLCV),
        _OHLCV | {"time": "timestamp"},
        _ALPHA_VANTAGE,
        own=False,
        zone=_NEW_YORK,
        newest_first=True,
        session=_DAY,
        cannot=_BARS,
    ),
    # A day has no zone; times within days name theirs.
    "yfinance": Format(
        "bars",
        ("~Date|Datetime", *_TITLED.values(), "Adj Close", "Dividends", "Stock Splits", "Capital Gains"),
        _TITLED | {"time": "~Date|Datetime"},
        _YFINANCE,
        optional=("Adj Close", "Capital Gains"),
        cannot=_BARS,
    ),
    # Yahoo's own file, as long as it gave one. The close is adjusted for splits alone.
    "yahoo": Format(
        "bars",
        ("Date", *_TITLED.values(), "Adj Close"),
        _TITLED | {"time": "Date"},
        "https://finance.yahoo.com",
        cannot=_DAILY,
    ),
    # download() of version 0.2.51 on: names, then the tickers, then the name of the index. One ticker alone.
    "yfinance-download": Format(
        "bars",
        ("Price", "Close", "High", "Low", "Open", "Volume", "Adj Close"),
        _TITLED | {"time": "Price"},
        _YFINANCE,
        optional=("Adj Close",),
        after=2,
        cannot=_BARS,
    ),
    "stooq-daily": Format(
        "bars",
        ("Date", *_TITLED.values()),
        _TITLED | {"time": "Date"},
        "https://stooq.com/db/h/",
        own=False,
        cannot=_DAILY,
    ),
    "stooq": Format(
        "bars",
        _STOOQ,
        _ANGLED | {"time": "<DATE> <TIME>"},
        "https://stooq.com/db/h/",
        time="%Y%m%d %H%M%S",
        zone=None,
        symbol="<TICKER>",
        cannot=_BARS,
    ),
    # Times are the broker's. An empty bid, or ask, did not change.
    "metatrader-bars": Format(
        "bars",
        ("<DATE>", "<TIME>", "<OPEN>", "<HIGH>", "<LOW>", "<CLOSE>", "<TICKVOL>", "<VOL>", "<SPREAD>"),
        _ANGLED | {"time": "<DATE> <TIME>"},
        _METATRADER,
        separator="\t",
        time="%Y.%m.%d %H:%M:%S or %Y.%m.%d %H:%M",
        zone=None,
        cannot=f"{_BARS}; {_TICKS}",
    ),
    "metatrader-ticks": Format(
        "quotes",
        ("<DATE>", "<TIME>", "<BID>", "<ASK>", "<LAST>", "<VOLUME>", "<FLAGS>"),
        {"time": "<DATE> <TIME>", "bid": "<BID>", "ask": "<ASK>"},
        _METATRADER,
        optional=("<FLAGS>",),
        separator="\t",
        time="%Y.%m.%d %H:%M:%S.%f",
        zone=None,
        missing=(0.0,),
        carried=True,
        cannot="volume and flow, where there are no trades",
    ),
    "metatrader4-bars": Format(
        "bars",
        _DATED_CLOCK,
        _OHLCV | {"time": "date time"},
        "https://www.metatrader4.com/en/trading-platform/help/service/history_center",
        headless=True,
        time="%Y.%m.%d %H:%M",
        zone=None,
        cannot=f"{_BARS}; {_TICKS}",
    ),
    "dukascopy-bars": Format(
        "bars",
        ("~Gmt time|Local time", *_TITLED.values()),
        _TITLED | {"time": "~Gmt time|Local time"},
        _DUKASCOPY,
        time=_LOCAL,
        cannot=f"{_BARS}; {_ONE_SIDE}",
    ),
    "dukascopy-ticks": Format(
        "quotes",
        ("~Gmt time|Local time", "Ask", "Bid", "AskVolume", "BidVolume"),
        {"time": "~Gmt time|Local time", "bid": "Bid", "ask": "Ask"},
        _DUKASCOPY,
        time=_LOCAL,
        cannot=_NO_TRADES,
    ),
    # Eastern Standard Time all year.
    "histdata-bars": Format(
        "bars",
        ("timestamp", *_OHLCV),
        _OHLCV | {"time": "timestamp"},
        _HISTDATA,
        headless=True,
        separator=";",
        time="%Y%m%d %H%M%S",
        zone="Etc/GMT+5",
        cannot=f"volume, which is zero; {_ONE_SIDE}",
    ),
    "histdata-ticks": Format(
        "quotes",
        ("timestamp", "bid", "ask", "volume"),
        {"time": "timestamp", "bid": "bid", "ask": "ask"},
        _HISTDATA,
        headless=True,
        time="%Y%m%d %H%M%S%f",
        zone="Etc/GMT+5",
        cannot=_NO_TRADES,
    ),
    # Ask volume is what buyers took.
    "sierrachart": Format(
        "bars",
        ("Date", "Time", "Open", "High", "Low", "Last", "Volume", "NumberOfTrades", "BidVolume", "AskVolume"),
        _TITLED | {"time": "Date Time", "close": "Last", "flow": "AskVolume - BidVolume"},
        "https://www.sierrachart.com/index.php?page=doc/TextCSVDataFormat.html",
        time="%Y/%m/%d %H:%M:%S or %Y/%m/%d %H:%M:%S.%f",
        zone=None,
        cannot=_NO_QUOTES,
    ),
}
