"""Formats of crypto exchanges and of vendors of their data."""

from exec_env.data.vendor_format import Format

_BINANCE = "https://github.com/binance/binance-public-data"
_TARDIS = "https://docs.tardis.dev/downloadable-csv-files/data-types"
_KRAKEN = "https://support.kraken.com/hc/en-us/articles/"
_COINBASE = "https://docs.cdp.coinbase.com/api-reference/exchange-api/rest-api/products/"
_COINAPI = "https://docs.coinapi.io/flat-files-api/data-types/"
_BITMEX = "https://public.bitmex.com"

# The flag says whether the buyer was the maker: true is a taker who sold.
_MAKER = {"true": -1.0, "false": 1.0}
_TAKER = {"buy": 1.0, "sell": -1.0}
_NO_QUOTES = "the spread, for there are no quotes"
_NO_TRADES = "volume and flow, for there are no trades"
_BARS = "the quoted spread and what single trades paid"

_BINANCE_TRADES = ("id", "price", "qty", "quote_qty", "time", "is_buyer_maker", "is_best_match")
_BINANCE_AGG = (
    "agg_trade_id",
    "price",
    "quantity",
    "first_trade_id",
    "last_trade_id",
    "transact_time",
    "is_buyer_maker",
    "is_best_match",
)
_BINANCE_KLINES = (
    "open_time",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "close_time",
    "quote_volume",
    "count",
    "taker_buy_volume",
    "taker_buy_quote_volume",
    "ignore",
)
_OHLCV = {"open": "open", "high": "high", "low": "low", "close": "close", "volume": "volume"}
_TRADE = {"time": "time", "price": "price", "size": "qty", "side": "is_buyer_maker"}
_AGG = {"time": "transact_time", "price": "price", "size": "quantity", "side": "is_buyer_maker"}
_KLINE = _OHLCV | {"time": "open_time", "flow": "2 * taker_buy_volume - volume"}
_TARDIS_BASE = ("exchange", "symbol", "timestamp", "local_timestamp")
_BYBIT = (
    "timestamp",
    "symbol",
    "side",
    "size",
    "price",
    "tickDirection",
    "trdMatchID",
    "grossValue",
    "homeNotional",
    "foreignNotional",
)
_TIMED = {"time": "timestamp", "price": "price", "size": "size", "side": "side"}
# Volume is in the base asset where the other one is a currency; older files have the two the other way round.
_QUOTED = r"Volume (?:USD[TC]?|BUSD|TUSD|EUR|GBP|JPY|KRW|AUD)"
_BASE = rf"~(?!{_QUOTED}$)Volume \w+"

CRYPTO: dict[str, Format] = {
    # Futures have names, those of COIN-M with base_qty; spot files have is_best_match. Spot is in us from 2025 on.
    "binance-trades": Format(
        "trades",
        (*_BINANCE_TRADES, "base_qty"),
        _TRADE,
        _BINANCE,
        optional=("quote_qty", "base_qty", "is_best_match"),
        time="ms or us",
        sides=_MAKER,
        cannot=_NO_QUOTES,
    ),
    "binance-spot-trades": Format(
        "trades",
        _BINANCE_TRADES,
        _TRADE,
        _BINANCE,
        headless=True,
        time="ms or us",
        sides=_MAKER,
        cannot=_NO_QUOTES,
    ),
    "binance-aggtrades": Format(
        "trades",
        _BINANCE_AGG,
        _AGG,
        _BINANCE,
        optional=("is_best_match",),
        time="ms or us",
        sides=_MAKER,
        cannot=_NO_QUOTES,
    ),
    "binance-spot-aggtrades": Format(
        "trades", _BINANCE_AGG, _AGG, _BINANCE, headless=True, time="ms or us", sides=_MAKER, cannot=_NO_QUOTES
    ),
    "binance-klines": Format("bars", _BINANCE_KLINES, _KLINE, _BINANCE, time="ms or us", cannot=_BARS),
    "binance-spot-klines": Format(
        "bars", _BINANCE_KLINES, _KLINE, _BINANCE, headless=True, time="ms or us", cannot=_BARS
    ),
    "binance-bookticker": Format(
        "quotes",
        (
            "update_id",
            "best_bid_price",
            "best_bid_qty",
            "best_ask_price",
            "best_ask_qty",
            "transaction_time",
            "event_time",
        ),
        {"time": "transaction_time", "bid": "best_bid_price", "ask": "best_ask_price"},
        _BINANCE,
        time="ms or us",
        cannot=_NO_TRADES,
    ),
    # Rows are in the order of arrival, which local_timestamp has.
    "tardis-trades": Format(
        "trades",
        (*_TARDIS_BASE, "id", "side", "price", "amount"),
        {"time": "local_timestamp", "price": "price", "size": "amount", "side": "side"},
        _TARDIS,
        time="us",
        sides=_TAKER,
        symbol="symbol",
        cannot=_NO_QUOTES,
    ),
    "tardis-quotes": Format(
        "quotes",
        (*_TARDIS_BASE, "ask_amount", "ask_price", "bid_price", "bid_amount"),
        {"time": "local_timestamp", "bid": "bid_price", "ask": "ask_price"},
        _TARDIS,
        time="us",
        symbol="symbol",
        cannot=_NO_TRADES,
    ),
    "tardis-book-snapshot": Format(
        "book",
        (*_TARDIS_BASE, "asks[#].price", "asks[#].amount", "bids[#].price", "bids[#].amount"),
        {
            "time": "local_timestamp",
            "bid_price_#": "bids[#].price",
            "bid_size_#": "bids[#].amount",
            "ask_price_#": "asks[#].price",
            "ask_size_#": "asks[#].amount",
        },
        _TARDIS,
        time="us",
        symbol="symbol",
        cannot=_NO_TRADES,
    ),
    "coinapi-trades": Format(
        "trades",
        (
            "time_exchange",
            "time_coinapi",
            "guid",
            "price",
            "base_amount",
            "taker_side",
            "id_exch_guid",
            "id_exch_int_inc",
            "order_id_maker",
            "order_id_taker",
        ),
        {"time": "time_exchange", "price": "price", "size": "base_amount", "side": "taker_side"},
        f"{_COINAPI}trades",
        optional=("id_exch_guid", "id_exch_int_inc", "order_id_maker", "order_id_taker"),
        separator=";",
        sides=_TAKER,
        cannot=_NO_QUOTES,
    ),
    "kraken-trades": Format(
        "trades",
        ("timestamp", "price", "volume"),
        {"time": "timestamp", "price": "price", "size": "volume"},
        f"{_KRAKEN}360047543791",
        headless=True,
        time="s",
        cannot=f"{_NO_QUOTES}; sides",
    ),
    "kraken-rest-trades": Format(
        "trades",
        ("price", "volume", "time", "side", "type", "misc", "trade_id"),
        {"time": "time", "price": "price", "size": "volume", "side": "side"},
        "https://docs.kraken.com/api/docs/rest-api/get-recent-trades",
        headless=True,
        time="s",
        sides={"b": 1.0, "s": -1.0},
        cannot=_NO_QUOTES,
    ),
    "kraken-ohlcvt": Format(
        "bars",
        ("timestamp", "open", "high", "low", "close", "volume", "trades"),
        _OHLCV | {"time": "timestamp"},
        f"{_KRAKEN}360047124832",
        headless=True,
        time="s",
        cannot=_BARS,
    ),
    # The side is the maker's: "a buy side indicates a down-tick because the maker was a buy order".
    "coinbase-trades": Format(
        "trades",
        ("trade_id", "side", "size", "price", "time"),
        {"time": "time", "price": "price", "size": "size", "side": "side"},
        f"{_COINBASE}get-product-trades",
        own=False,
        newest_first=True,
        sides={"buy": -1.0, "sell": 1.0},
        cannot=_NO_QUOTES,
    ),
    "coinbase-candles": Format(
        "bars",
        ("time", "low", "high", "open", "close", "volume"),
        _OHLCV | {"time": "time"},
        f"{_COINBASE}get-product-candles",
        headless=True,
        time="s",
        newest_first=True,
        cannot=_BARS,
    ),
    "bitstamp-trades": Format(
        "trades",
        ("date", "tid", "price", "amount", "type"),
        {"time": "date", "price": "price", "size": "amount", "side": "type"},
        "https://www.bitstamp.net/api/#tag/Transactions-public/operation/GetTransactions",
        time="s",
        newest_first=True,
        sides={"0": 1.0, "1": -1.0},
        cannot=_NO_QUOTES,
    ),
    "cryptodatadownload": Format(
        "bars",
        ("unix", "date", "symbol", "open", "high", "low", "close", _BASE, f"~{_QUOTED}", "tradecount"),
        _OHLCV | {"time": "unix", "volume": _BASE},
        "https://www.cryptodatadownload.com/data/",
        optional=(f"~{_QUOTED}", "tradecount"),
        time="s or ms",
        newest_first=True,
        skip=1,
        symbol="symbol",
        cannot=_BARS,
    ),
    "bybit-trades": Format(
        "trades",
        (*_BYBIT, "RPI"),
        _TIMED,
        "https://public.bybit.com/trading/",
        optional=("RPI",),
        time="s",
        sides=_TAKER,
        symbol="symbol",
        cannot=_NO_QUOTES,
    ),
    "bybit-spot-trades": Format(
        "trades",
        ("id", "timestamp", "price", "volume", "side", "rpi"),
        _TIMED | {"size": "volume"},
        "https://public.bybit.com/spot/",
        optional=("rpi",),
        time="ms",
        sides=_TAKER,
        cannot=_NO_QUOTES,
    ),
    "okx-trades": Format(
        "trades",
        ("instrument_name", "trade_id", "side", "price", "size", "created_time", "source"),
        _TIMED | {"time": "created_time"},
        "https://www.okx.com/historical-data",
        optional=("source",),
        time="ms",
        sides=_TAKER,
        symbol="instrument_name",
        cannot=f"{_NO_QUOTES}; coins, for sizes of derivatives are contracts",
    ),
    # Files without trdType, of before 2023, have Bybit's names: name the format then.
    "bitmex-trades": Format(
        "trades",
        (*_BYBIT, "trdType"),
        _TIMED,
        _BITMEX,
        time="%Y-%m-%dD%H:%M:%S.%f",
        sides=_TAKER,
        symbol="symbol",
        cannot=f"{_NO_QUOTES}; coins, for sizes are contracts",
    ),
    "bitmex-quotes": Format(
        "quotes",
        ("timestamp", "symbol", "bidSize", "bidPrice", "askPrice", "askSize"),
        {"time": "timestamp", "bid": "bidPrice", "ask": "askPrice"},
        _BITMEX,
        time="%Y-%m-%dD%H:%M:%S.%f",
        symbol="symbol",
        cannot=_NO_TRADES,
    ),
}
