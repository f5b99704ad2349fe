"""Files as people have them: each quirk is read as the plain file is, or refused by file, row and way out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from exec_env.base.errors import InputError
from exec_env.data.reading import Reading
from exec_env.data.tape import Tape
from exec_env.data.ticks import read

Write = Callable[[pd.DataFrame, pd.DataFrame, Path], list[Path]]
N = 1200
ISO = "%Y-%m-%dT%H:%M:%S.%fZ"


def ticks() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Quotes every 30 seconds from 14:30 to 24:30 UTC, and a trade after each, whose side pushes the price."""
    rng = np.random.default_rng(3)
    side, size = rng.choice([-1.0, 1.0], N), rng.integers(1, 9, N) * 1000.0
    mid = 100 + np.r_[0.0, np.cumsum(1e-6 * side * size + rng.normal(0, 0.003, N))[:-1]]
    time = pd.Timestamp("2025-02-03 14:30", tz="UTC") + pd.to_timedelta(np.arange(N) * 30, unit="s")
    quotes = pd.DataFrame({"time": time, "bid": (mid - 0.01).round(4), "ask": (mid + 0.01).round(4)})
    trades = pd.DataFrame({"time": time + pd.Timedelta("1s"), "price": (mid + 0.01 * side).round(4), "size": size})
    return quotes, trades.assign(side=np.where(side > 0, "buy", "sell"))


def csv(frame: pd.DataFrame, path: Path, **options: Any) -> Path:
    """A text file with times as ISO 8601 unless they are texts or numbers already."""
    if pd.api.types.is_datetime64_any_dtype(frame["time"]):
        frame = frame.assign(time=frame["time"].dt.strftime(ISO))
    frame.to_csv(path, index=False, **options)
    return path


def plain(quotes: pd.DataFrame, trades: pd.DataFrame, path: Path) -> list[Path]:
    """Two files that need no option."""
    return [csv(quotes, path / "q.csv"), csv(trades, path / "t.csv")]


def other_quotes(change: Callable[[pd.DataFrame], pd.DataFrame], name: str = "other.csv", **options: Any) -> Write:
    """Quotes that are written differently, beside plain trades."""

    def write(quotes: pd.DataFrame, trades: pd.DataFrame, path: Path) -> list[Path]:
        return [csv(change(quotes), path / name, **options), csv(trades, path / "t.csv")]

    return write


def other_trades(change: Callable[[pd.DataFrame], pd.DataFrame], **options: Any) -> Write:
    """Trades that are written differently, beside plain quotes."""

    def write(quotes: pd.DataFrame, trades: pd.DataFrame, path: Path) -> list[Path]:
        return [csv(quotes, path / "q.csv"), csv(change(trades), path / "other.csv", **options)]

    return write


def same(frame: pd.DataFrame) -> pd.DataFrame:
    return frame


def with_rows(rows: dict[int, dict[str, Any]]) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Some cells replaced."""

    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame = frame.copy()
        for row, cells in rows.items():
            for name, value in cells.items():
                frame.loc[row, name] = value
        return frame

    return change


def commented(quotes: pd.DataFrame, trades: pd.DataFrame, path: Path) -> list[Path]:
    """A line before the names."""
    files = plain(quotes, trades, path)
    files[0].write_text("# made by hand\n\n" + files[0].read_text())
    return files


def in_one_file(quotes: pd.DataFrame, trades: pd.DataFrame, path: Path) -> list[Path]:
    """Rows of quotes and of trades by turns."""
    return [csv(pd.concat([quotes, trades]).sort_values("time"), path / "both.csv")]


def of_two(quotes: pd.DataFrame, trades: pd.DataFrame, path: Path) -> list[Path]:
    """Another instrument in the same file."""
    other = quotes.assign(bid=quotes["bid"] / 2, ask=quotes["ask"] / 2, symbol="B")
    both = pd.concat([quotes.assign(symbol="A"), other]).sort_values("time", kind="stable")
    return [csv(both, path / "two.csv"), csv(trades, path / "t.csv")]


def with_index(quotes: pd.DataFrame, trades: pd.DataFrame, path: Path) -> list[Path]:
    """Parquet whose times are the index, without a name."""
    for name, frame in (("q", quotes), ("t", trades)):
        frame.set_index("time").rename_axis(None).to_parquet(path / f"{name}.parquet")
    return [path / "q.parquet", path / "t.parquet"]


def local(frame: pd.DataFrame) -> pd.DataFrame:
    """New York's clock, of which times do not speak."""
    return frame.assign(time=frame["time"].dt.tz_convert("America/New_York").dt.strftime("%Y-%m-%d %H:%M:%S"))


def in_numbers(unit: int) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Times since 1970 in a unit of nanoseconds."""
    return lambda frame: frame.assign(time=frame["time"].dt.as_unit("ns").astype("int64") // unit)


def day_and_clock(frame: pd.DataFrame) -> pd.DataFrame:
    """Day and clock in two columns, as Germans write them."""
    clocks = {"Date": frame["time"].dt.strftime("%d.%m.%Y"), "time": frame["time"].dt.strftime("%H:%M:%S")}
    return pd.DataFrame(clocks | {name: frame[name] for name in ("bid", "ask")})


READ: list[tuple[str, Write, dict[str, Any]]] = [
    ("tabs", other_quotes(same, sep="\t"), {}),
    ("semicolons and decimal commas", other_trades(same, sep=";", decimal=","), {"decimal": ","}),
    ("UTF-16", other_quotes(same, encoding="utf-16"), {}),
    ("gzip", other_quotes(same, "q.csv.gz"), {}),
    ("zip", other_quotes(same, "q.csv.zip"), {}),
    ("zstandard", other_quotes(same, "q.csv.zst"), {}),
    ("a comment before the names", commented, {}),
    ("newest first", other_quotes(lambda q: q[::-1]), {}),
    ("trades newest first", other_trades(lambda t: t[::-1]), {}),
    ("no names", other_quotes(same, header=False), {"header": ("time", "bid", "ask")}),
    (
        "milliseconds",
        other_quotes(in_numbers(10**6)),
        {"time_unit": "ms"},
    ),
    ("a zone that is not named", other_quotes(local), {"zone": "America/New_York"}),
    ("day and clock", other_quotes(day_and_clock), {"time_format": "%d.%m.%Y %H:%M:%S", "zone": "UTC"}),
    ("thousands", other_trades(lambda t: t.assign(size=t["size"].map("{:,.0f}".format))), {"thousands": ","}),
    ("A and B", other_trades(lambda t: t.assign(side=t["side"].map({"buy": "B", "sell": "A"}))), {}),
    ("a maker's flag", other_trades(lambda t: t.assign(is_buyer_maker=t["side"] == "sell").drop(columns="side")), {}),
    (
        "makers' sides",
        other_trades(lambda t: t.assign(side=t["side"].map({"buy": "sell", "sell": "buy"}))),
        {"sides": "maker"},
    ),
    ("sides nobody knows", other_trades(lambda t: t.assign(side=t["side"].where(t.index % 9 > 0, "N"))), {}),
    ("other names", other_quotes(lambda q: q.rename(columns={"bid": "Bid Price", "ask": "askPrice"})), {}),
    ("quotes and trades in one file", in_one_file, {}),
    ("two instruments", of_two, {"symbol": "A"}),
    ("an index", with_index, {}),
    ("a stub quote", other_quotes(with_rows({7: {"bid": 0.01, "ask": 199_999.99}})), {"clean": True}),
    ("no price", other_quotes(with_rows({7: {"ask": 2.0**63}})), {"clean": True}),
]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Slices of the plain files."""
    return read(plain(*ticks(), tmp_path_factory.mktemp("plain")), hours_per_day=6.5).frame


@pytest.mark.slow
@pytest.mark.parametrize(("write", "options"), [case[1:] for case in READ], ids=[case[0] for case in READ])
def test_a_file_with_a_quirk_gives_the_slices_of_the_plain_one(
    write: Write, options: dict[str, Any], tmp_path: Path, expected: pd.DataFrame
) -> None:
    found = read(write(*ticks(), tmp_path), hours_per_day=6.5, **options).frame
    pd.testing.assert_frame_equal(found, expected, rtol=1e-3 if options.get("clean") else 1e-12)


REFUSED: list[tuple[str, Write, dict[str, Any], str]] = [
    ("numbers without a unit", other_quotes(in_numbers(10**9)), {},
     r"other\.csv: .*whose unit is unknown.*1738593000 in s it would be 2025-02-03 14:30:00"),
    ("a wrong unit", other_quotes(in_numbers(1)), {"time_unit": "us"},
     r"other\.csv: row 1, 'time': 1738593000000000000 us is before 1980 or after 2099.*in ns it would be 2025-02-03"),
    ("1970", other_quotes(with_rows({3: {"time": pd.Timestamp("1970-01-20", tz="UTC")}})), {},
     r"other\.csv: row 4, 'time': 1970-01-20.* is before 1980 or after 2099"),
    ("a sentinel", other_quotes(with_rows({7: {"ask": 2.0**63}})), {},
     r"other\.csv: row 8, 'ask': 9\.22.*e\+18 stands for no number in many files"),
    ("a stub quote", other_quotes(with_rows({7: {"bid": 0.01, "ask": 199_999.99}})), {},
     r"other\.csv: row 8, 'bid': 0\.01 is far from the median of the rows around it"),
    ("a wide quote", other_quotes(with_rows({7: {"bid": 80.0, "ask": 120.0}})), {},
     r"other\.csv: row 8, 'ask': 120\.0 makes a spread of over 10 %, where others are below 1 %"),
    ("many bad rows", other_quotes(with_rows({i: {"ask": -1.0} for i in range(30)})), {"clean": True},
     r"other\.csv: 30 of 1200 rows are bad, more than clean_limit = 0\.02 of them: 'ask' must be > 0"),
    ("two instruments", of_two, {}, r"two\.csv: 2 instruments, A, B: name one with symbol"),
    ("an instrument that is not there", of_two, {"symbol": "C"}, r"symbol = 'C': no such instrument; there are A, B"),
    ("no column of instruments", plain, {"symbol": "A"}, r"symbol = 'A': no column names an instrument"),
    ("no zone beside UTC", other_quotes(local), {}, r"other\.csv: times have no zone, but those of .*t\.csv have"),
    ("true and false", other_trades(lambda t: t.assign(side=t["side"] == "buy")), {},
     r"other\.csv: column 'side' as 'side': (true|false) does not say whose"),
    ("zeros", other_trades(lambda t: t.assign(side=(t["side"] == "buy").astype(int))), {},
     r"other\.csv: row \d+, 'side': '0' must be buy or sell"),
    ("a word", other_trades(with_rows({4: {"side": "up"}})), {}, r"other\.csv: row 5, 'side': 'up' must be buy or"),
    ("makers' sides", other_trades(lambda t: t.assign(side=t["side"].map({"buy": "sell", "sell": "buy"}))), {},
     r"buys go with falling prices in their own slice .*Say sides = 'maker'"),
    ("thousands", other_trades(lambda t: t.assign(size=t["size"].map("{:,.0f}".format))), {},
     r"other\.csv: row 1, 'size': '.,000' is not a number; if commas group digits, say thousands = ','"),
    ("decimal commas", other_trades(same, sep=";", decimal=","), {},
     r"other\.csv: row 1, 'price': '.*' is not a number; if the comma is a decimal mark, say decimal = ','"),
    ("days before months", other_quotes(lambda q: q.assign(time=q["time"].dt.strftime("%d.%m.%Y %H:%M"))),
     {"zone": "UTC"},
     r"other\.csv: row 1, 'time': '03\.02\.2025 14:30' is not a time .*time_format"),
    ("no names", other_quotes(same, header=False), {}, r"other\.csv: its first line has no names of columns but 2025"),
    ("cents", other_trades(lambda t: t.assign(price=100 * t["price"])), {},
     r"other\.csv: 1200 of 1200 trades are more than 10 % away from the quotes"),
    ("trades of another day", other_trades(lambda t: t.assign(time=t["time"] - pd.Timedelta("1D"))), {},
     r"1200 of 1200 trades have no quote before them .*may not be left out"),
    ("a session without rows", plain, {"session": "02:00-03:00"}, r"session = '02:00-03:00': no row is inside it"),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("write", "options", "message"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_what_is_not_understood_is_refused_by_file_row_and_way_out(
    write: Write, options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        read(write(*ticks(), tmp_path), **options)


def test_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    quotes, trades = plain(*ticks(), tmp_path)
    lines = quotes.read_text().splitlines()
    quotes.write_text("\n".join(f"{line},{line.split(',')[1]}" for line in lines))
    with pytest.raises(InputError, match=r"q\.csv: more than one column 'bid'"):
        read([quotes, trades])


def test_of_books_at_one_time_the_last_stands_and_that_is_said(tmp_path: Path) -> None:
    quotes, _ = ticks()
    sizes = {"bid_size_1": 500.0, "ask_size_1": 500.0, "volume": 5.0}
    book = quotes.rename(columns={"bid": "bid_price_1", "ask": "ask_price_1"}).assign(**sizes)
    before = book.assign(bid_price_1=book["bid_price_1"] - 0.2, ask_price_1=book["ask_price_1"] + 0.2)
    twice = pd.concat([before, book]).sort_values("time", kind="stable")
    found = read([csv(twice, tmp_path / "twice.csv")], hours_per_day=6.5)
    once = read([csv(book, tmp_path / "once.csv")], hours_per_day=6.5)
    pd.testing.assert_frame_equal(found.frame, once.frame)
    assert "twice.csv: 1200 books have the time of the next, which stands" in found.cleaner.remarks


def test_unknown_sides_keep_their_volume_and_that_is_said(tmp_path: Path) -> None:
    quotes, trades = ticks()
    trades["side"] = trades["side"].where(trades.index % 9 > 0, "N")
    found = read(plain(quotes, trades, tmp_path), hours_per_day=6.5)
    assert found.frame["volume"].sum() == trades["size"].sum()
    assert "t.csv: 134 of 1200 trades say no side: signed by the quote" in found.cleaner.remarks


def test_the_session_counts_and_says_how_long_a_day_is(tmp_path: Path) -> None:
    found = read(plain(*ticks(), tmp_path), session="09:30-16:00", zone="America/New_York")
    assert found.hours_per_day == 6.5
    assert len(found.frame) == 78
    assert "q.csv: 420 of 1200 rows are outside the session 09:30-16:00: left out" in found.cleaner.remarks


def test_a_pattern_stands_for_files_in_order_of_their_names(tmp_path: Path) -> None:
    quotes, trades = ticks()
    for i, rows in enumerate((slice(0, 600), slice(600, N))):
        csv(quotes[rows], tmp_path / f"q{i}.csv")
    csv(trades, tmp_path / "t.csv")
    expected = read([tmp_path / "q0.csv", tmp_path / "q1.csv", tmp_path / "t.csv"], hours_per_day=6.5)
    found = read([str(tmp_path / "q*.csv"), tmp_path / "t.csv"], hours_per_day=6.5)
    pd.testing.assert_frame_equal(found.frame, expected.frame)
    with pytest.raises(InputError, match=r"x\*\.csv: no file has such a name"):
        read([str(tmp_path / "x*.csv")])


def test_a_tape_is_read_by_the_same_options(tmp_path: Path) -> None:
    files = other_quotes(local)(*ticks(), tmp_path)
    reading = Reading(zone="America/New_York")
    tape, slices = Tape.read(files, reading=reading, hours_per_day=6.5), read(files, reading=reading, hours_per_day=6.5)
    np.testing.assert_array_equal(tape.mid, slices.frame["mid"])
    np.testing.assert_array_equal(tape.spread, slices.frame["opening_spread"])
    assert "other.csv: quotes" not in tape.remarks
    with pytest.raises(InputError, match="times have no zone"):
        Tape.read(files)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "databento-trade"}, "unknown format 'databento-trade'; did you mean 'databento-trades'"),
        ({"time_unit": "h"}, "time_unit = 'h': must be one of s, ms, us, ns, or None"),
        ({"zone": "Mars"}, "zone = 'Mars': no zone of that name"),
        ({"session": 5}, "session = 5: must be a text, or None"),
        ({"decimal": ",", "thousands": ","}, "separator, decimal, thousands = ',', ',': must differ"),
        ({"separator": "ab"}, "separator = 'ab': must be one character"),
        ({"skip": -1}, "skip = -1: must be a number of lines"),
        ({"header": "time"}, "header = 'time': must be names of columns"),
        ({"sides": "both"}, "sides = 'both': must be one of taker, maker, or None"),
        ({"clean_limit": 1}, r"clean_limit = 1: must be in \[0, 1\)"),
    ],
)
def test_an_option_that_cannot_be_is_refused_by_name(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Reading(**options)
