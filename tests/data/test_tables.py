"""Data files: what is read under which names, and bad rows refused by file and row, or dropped and counted."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from exec_env.calibration import calibrate, read, simulate
from exec_env.data.checks import Cleaner
from exec_env.data.reading import Reading
from exec_env.data.tables import DataFile
from exec_env.data.tape import Tape
from exec_env.market.market import Market
from tests.conftest import recorded_slices

ROWS = 60


def slices(rows: int = ROWS) -> pd.DataFrame:
    return recorded_slices(rows).drop(columns="depth")


def ticks() -> dict[str, pd.DataFrame]:
    quotes, trades = next(simulate.sessions(Market(), 1, 0, n_steps=10))
    return {name: f.assign(time=pd.to_datetime(f["time"])) for name, f in (("quotes", quotes), ("trades", trades))}


def written(tmp_path: Path, frames: dict[str, pd.DataFrame], suffix: str = "csv") -> list[Path]:
    paths = [tmp_path / f"{name}.{suffix}" for name in frames]
    for path, frame in zip(paths, frames.values(), strict=True):
        frame.to_csv(path, index=False) if suffix == "csv" else frame.to_parquet(path)
    return paths


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_the_kind_of_a_file_is_told_by_its_columns(tmp_path: Path, suffix: str) -> None:
    book = slices().assign(bid_price_0=49.0, bid_size_0=10.0, ask_price_0=51.0, ask_size_0=20.0)
    frames = ticks() | {"slices": slices(), "book": book.drop(columns=["mid", "spread"])}
    for path in written(tmp_path, frames, suffix):
        assert DataFile(path).kind == path.stem


@pytest.mark.slow
def test_csv_and_parquet_give_the_same_slices_however_they_are_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = read(written(tmp_path, ticks())).frame
    assert len(whole) == 10
    monkeypatch.setattr("exec_env.data.tables.ROWS", 7)
    for suffix in ("csv", "parquet"):
        part = read(written(tmp_path, ticks(), suffix)).frame
        pd.testing.assert_frame_equal(part, whole, rtol=1e-9, check_exact=False, atol=1e-6)


def test_columns_of_other_names_and_levels_by_arithmetic_are_read(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"t": [1.5e9 + 0.5, 1.5e9 + 1.5], "m": [100.0, 101.0], "d0": 0.01, "d1": 0.02, "n": [3.0, 4.0]}
    )
    frame.to_csv(tmp_path / "book.csv", index=False)
    sides = {f"{side}_price_#": f"m * (1 {sign} d#)" for side, sign in (("bid", "-"), ("ask", "+"))}
    sizes = {"bid_size_#": "n", "ask_size_#": "n"}
    file = DataFile(tmp_path / "book.csv", {"time": "t", **sides, **sizes}, Reading(time_unit="s"))
    assert file.levels[:2] == [0, 1]
    (part,) = file.frames(Cleaner())
    assert part["time"].tolist() == [1_500_000_000_500_000_000, 1_500_000_001_500_000_000]
    assert part["ask_price_2"].tolist() == pytest.approx([102.0, 103.02])


BAD: list[tuple[str, str, Any, str]] = [
    ("quotes", "bid", np.nan, "is not a finite number"),
    ("quotes", "bid", 1000.0, "is above the ask: a crossed quote"),
    ("quotes", "ask", -1.0, "must be > 0"),
    ("quotes", "time", "soon", "is not a time"),
    ("quotes", "time", "2024-01-01", "is earlier than a row before it; sort the file by time"),
    ("trades", "size", -5.0, "must be > 0"),
    ("trades", "price", np.inf, "is not a finite number"),
    ("slices", "volume", -1.0, "must be >= 0"),
    ("slices", "mid", np.nan, "is not a finite number"),
    ("slices", "time", "2024-01-02 09:40", "is the same time as the row before"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "column", "value", "why"), BAD)
def test_a_bad_row_is_refused_by_file_and_row_and_dropped_and_counted_when_asked(
    kind: str, column: str, value: Any, why: str, tmp_path: Path
) -> None:
    frames = {"slices": slices()} if kind == "slices" else ticks()
    frames[kind] = frames[kind].astype({column: object})
    frames[kind].loc[3, column] = value
    paths = written(tmp_path, frames)
    with pytest.raises(ValueError, match=rf"{kind}\.csv: row 4, '{column}': .*{why}") as caught:
        read(paths)
    assert "\n" not in str(caught.value)
    cleaned = read(paths, clean=True)
    assert dict(cleaned.cleaner.dropped) == {f"{kind}.csv: '{column}' {why}": 1}


def test_words_where_numbers_belong_are_refused_by_row(tmp_path: Path) -> None:
    frame = slices().astype({"mid": object})
    frame.loc[5, "mid"] = "cheap"
    with pytest.raises(ValueError, match=r"slices\.csv: row 6, 'mid': 'cheap' is not a number"):
        read(written(tmp_path, {"slices": frame}))


def test_words_are_dropped_and_counted_when_asked_but_not_most_of_a_file(tmp_path: Path) -> None:
    frame = slices().astype({"mid": object})
    frame.loc[5, "mid"] = "cheap"
    paths = written(tmp_path, {"slices": frame})
    assert read(paths, clean=True).cleaner.dropped == {"slices.csv: 'mid' is not a finite number": 1}
    frame.loc[2, "time"] = pd.Timestamp("2034-01-01")  # so that all others are before it
    written(tmp_path, {"slices": frame})
    with pytest.raises(
        ValueError,
        match=r"slices\.csv: 57 of 60 rows are bad, more than clean_limit = 0.02 of them: .*earlier than a row",
    ):
        read(paths, clean=True)


def test_files_that_do_not_belong_together_are_refused_by_name(tmp_path: Path) -> None:
    quotes, trades = written(tmp_path, ticks())
    with pytest.raises(ValueError, match=r"trades\.csv: named twice"):
        read([quotes, trades, trades])
    with pytest.raises(ValueError, match=r"quotes\.csv: LOBSTER's files and quotes cannot be calibrated together"):
        read([*lobster(tmp_path), quotes])
    local = ticks()["trades"]
    local["time"] = local["time"].dt.tz_localize("America/New_York")
    (zoned,) = written(tmp_path, {"zoned": local}, "parquet")
    with pytest.raises(ValueError, match=r"quotes\.csv: times have no zone, but those of .*zoned\.parquet have"):
        read([quotes, zoned])
    with pytest.raises(ValueError, match="a folder; name the files in it"):
        read([tmp_path])


def test_names_of_columns_hold_for_the_files_that_have_them_and_for_one_at_least(tmp_path: Path) -> None:
    frames = ticks()
    whole = read(written(tmp_path, frames)).frame
    frames["quotes"] = frames["quotes"].rename(columns={"time": "exchange time"})
    paths = written(tmp_path, frames)
    pd.testing.assert_frame_equal(read(paths, columns={"time": "exchange time"}).frame, whole)
    with pytest.raises(ValueError, match="column 'size' as 'shares': none of the files takes it"):
        read(paths, columns={"time": "exchange time", "size": "shares"})


@pytest.mark.slow
def test_a_tape_and_a_calibration_take_the_same_columns(tmp_path: Path) -> None:
    """Of a book, mid and spread are the best prices'; what only the other needs may be named."""
    data = slices(100).assign(bought=5e4, sold=3e4)
    half = data["spread"] / 2
    for i in (1, 2):
        data = data.assign(**{f"bid_price_{i}": data["mid"] - i * half, f"ask_price_{i}": data["mid"] + i * half})
        data = data.assign(**{f"bid_size_{i}": 9.0, f"ask_size_{i}": 9.0})
    data = data.rename(columns={"mid": "midpoint", "volume": "total"})
    (path,) = written(tmp_path, {"book": data.drop(columns="spread")})
    least = {"volume": "total", "flow": "bought - sold"}
    for columns in (least, least | {"mid": "midpoint"}):
        calibrated = read([path], columns=columns).frame
        tape = Tape.read(path, columns)
        assert calibrated["flow"].tolist() == [2e4] * 100
        for name in ("mid", "spread", "volume"):
            np.testing.assert_allclose(getattr(tape, name), calibrated[name], rtol=1e-9)
    (plain,) = written(tmp_path, {"plain": slices()})
    with pytest.raises(ValueError, match="column 'price' as 'mid': a file of slices takes none"):
        read([plain], columns={"price": "mid"})
    with pytest.raises(ValueError, match=r"column 'mid' is missing; slices need time, mid, spread, volume"):
        Tape.from_frame(data.filter(regex="^(?!ask|midpoint)"), {"volume": "total"})


@pytest.mark.parametrize(("hours", "seen"), [(6.5, "24 hours long, but rates are per day of 6.5"), (24.0, None)])
def test_a_market_that_never_stops_is_told_from_one_of_trading_days(
    hours: float, seen: str | None, tmp_path: Path
) -> None:
    (path,) = written(tmp_path, {"plain": slices(600)})
    assert [seen in remark for remark in read([path], hours_per_day=hours).cleaner.remarks] == [True] * bool(seen)


def test_trading_days_far_shorter_than_the_day_of_rates_are_remarked(tmp_path: Path) -> None:
    days = [slices(78).assign(time=pd.date_range(f"2024-01-0{day} 09:30", periods=78, freq="5min")) for day in (2, 3)]
    (path,) = written(tmp_path, {"days": pd.concat(days)})
    assert not read([path]).cleaner.remarks
    (remark,) = read([path], hours_per_day=24.0).cleaner.remarks
    assert remark == "days of the data are 6.5 hours long, but rates are per day of 24: see --hours-per-day"


def test_levels_of_a_book_go_away_from_the_touch(tmp_path: Path) -> None:
    book = slices().drop(columns=["mid", "spread"])
    for i in (1, 2):
        book = book.assign(**{f"bid_price_{i}": 50.0 - i, f"ask_price_{i}": 50.0 + i})
        book = book.assign(**{f"bid_size_{i}": 9.0, f"ask_size_{i}": 9.0})
    book.loc[6, "ask_price_2"] = 50.5
    with pytest.raises(ValueError, match=r"row 7, 'ask_price_2': 50.5 is nearer to the mid than the level before"):
        read(written(tmp_path, {"book": book}))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["slices", "book"])
def test_rows_stamped_at_their_end_say_so_and_are_moved_when_asked(kind: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = slices(400)
    frame["flow"] = np.r_[0.0, 1e5 * np.diff(frame["mid"])] + rng.standard_normal(400) * 1e3
    if kind == "book":
        half = frame["spread"] / 2
        sides = {"bid_price_1": frame["mid"] - half, "ask_price_1": frame["mid"] + half}
        frame = frame.assign(**sides, bid_size_1=9.0, ask_size_1=9.0).drop(columns=["mid", "spread"])
    paths = written(tmp_path, {kind: frame})
    (remark,) = [r for r in read(paths).cleaner.remarks if "flow" in r]
    assert "if stamps are those of a slice's end, say --stamp end" in remark
    moved = read(paths, stamp="end", hours_per_day=24.0)
    assert not moved.cleaner.remarks
    assert len(moved.frame) == 399
    np.testing.assert_allclose(moved.frame["volume"], frame["volume"][1:])
    with pytest.raises(ValueError, match="stamp = 'end': no file has volumes of its own"):
        read(written(tmp_path, ticks()), stamp="end")


def test_what_cannot_be_read_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.csv: no such file"):
        read([tmp_path / "none.csv"])
    (path,) = written(tmp_path, {"slices": slices()}, "parquet")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"slices\.parquet: not a Parquet file, or cut short"):
        read([path])
    (other,) = written(tmp_path, {"other": slices().drop(columns="spread")})
    with pytest.raises(
        ValueError, match=r"other\.csv: column 'spread' is missing; slices need .*Its columns: time, mid"
    ):
        read([other])
    with pytest.raises(ValueError, match=r"quotes\.csv: there is no volume"):
        read(written(tmp_path, {"quotes": ticks()["quotes"]}))
    with pytest.raises(ValueError, match="cannot be calibrated together"):
        read(written(tmp_path, {"slices": slices(), "trades": ticks()["trades"]}))


def test_one_price_throughout_is_refused_and_gaps_and_halts_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"slices\.csv: 'mid' is 50 throughout"):
        read(written(tmp_path, {"slices": slices().assign(mid=50.0)}))
    frame = slices().drop(index=range(20, 26))
    frame.loc[[40, 41], "volume"] = 0.0
    found = read(written(tmp_path, {"slices": frame}))
    assert found.new.sum() == 2
    gap, halt = found.cleaner.remarks
    assert gap.startswith("slices.csv: slice 21: gap of 35 minutes before 2024-01-02 11:40")
    assert halt.startswith("slices.csv: slice 35: no trade from 2024-01-02 12:50")


def test_plain_numbers_as_times_need_a_unit(tmp_path: Path) -> None:
    frame = slices().assign(time=1_704_187_800 + 300 * np.arange(ROWS))
    paths = written(tmp_path, {"slices": frame})
    with pytest.raises(ValueError, match="whose unit is unknown"):
        read(paths)
    assert read(paths, time_unit="s").frame["time"].iloc[0] == pd.Timestamp("2024-01-02 09:30", tz="UTC")
    paths = written(tmp_path, {"slices": frame.assign(time=1000 * frame["time"])})
    with pytest.raises(
        ValueError,
        match="row 1, 'time': 1704187800000 s is before 1980 or after 2099.*; in ms it would be 2024-01-02 09:30:00",
    ):
        read(paths, time_unit="s")


def lobster(tmp_path: Path, rows: int = 4) -> list[Path]:
    """Four messages: a new order, a buy of 30, a buy of 20, a trading halt."""
    messages = [
        (34200.0, 1, 1, 100, 1_000_100, -1),
        (34210.0, 4, 1, 30, 1_000_100, -1),
        (34210.0, 4, 1, 20, 1_000_200, -1),
        (34600.0, 7, 0, 0, -1, -1),
    ]
    books = [
        (1_000_100, 100, 999_900, 50, 9_999_999_999, 0, -9_999_999_999, 0),
        (1_000_100, 70, 999_900, 50, 1_000_200, 40, 999_800, 60),
        (1_000_100, 50, 999_900, 50, 1_000_200, 40, 999_800, 60),
        (1_000_300, 50, 1_000_100, 50, 1_000_400, 40, 1_000_000, 60),
    ]
    stem = "XYZ_2024-01-02_34200000_57600000_{}_2.csv"
    paths = [tmp_path / stem.format(what) for what in ("message", "orderbook")]
    pd.DataFrame(messages).to_csv(paths[0], header=False, index=False)
    pd.DataFrame(books[:rows]).to_csv(paths[1], header=False, index=False)
    return paths


def test_lobster_files_are_read_as_trades_and_books(tmp_path: Path) -> None:
    from exec_env.data import lobster as reader

    messages, book = map(DataFile, lobster(tmp_path))
    cleaner = Cleaner()
    ((quotes, trades),) = reader.frames(messages, book, cleaner)
    assert trades["size"].tolist() == [30, 20]
    assert trades["price"].tolist() == pytest.approx([100.01, 100.02])
    assert trades["side"].tolist() == [1.0, 1.0]  # a sell order was hit, so takers bought
    assert quotes["bid"].tolist() == pytest.approx([99.99, 99.99])  # one for each time, none for the halt
    assert quotes["ask_size_1"].tolist() == [100.0, 50.0]
    assert quotes["ask_size_2"].tolist() == [0.0, 40.0]
    assert cleaner.remarks == [f"{messages.path.name}: row 4: trading halts or resumes"]
    assert pd.Timestamp(int(quotes["time"].iloc[0])) == pd.Timestamp("2024-01-02 09:30")


def test_lobster_files_belong_in_pairs_of_one_length(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"its order book, .*orderbook_2\.csv, is not named"):
        read(lobster(tmp_path)[:1])
    with pytest.raises(ValueError, match=r"orderbook_2\.csv: 3 rows, but .* has at least 4"):
        read(lobster(tmp_path, rows=3))
    with pytest.raises(ValueError, match=r"orderbook_2\.csv: its file of messages, .*message_2\.csv, is not named"):
        read(lobster(tmp_path)[1:])
    messages, book = lobster(tmp_path)
    messages.write_text(messages.read_text().replace(",30,", ",many,"))
    with pytest.raises(ValueError, match=r"message_2\.csv: row 2, 'size': nan is not a number"):
        read([messages, book])


@pytest.mark.slow
def test_files_become_a_market_in_one_call(tmp_path: Path) -> None:
    slices().to_csv(tmp_path / "slices.csv", index=False)
    found = calibrate([tmp_path / "slices.csv"], prior=Market(resilience=5.0), hours_per_day=24.0)
    assert found.market.resilience == 5.0
    assert found.file.sample["hours_per_day"] == 24.0
    assert found.market.daily_volume == pytest.approx(slices()["volume"].mean() * 288)
