"""Small files in each vendor's format hold what one known market has, and give its estimates."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from exec_env.calibration import Slices, calibrate, read
from exec_env.data.checks import Cleaner
from exec_env.data.formats import FORMATS, Format
from exec_env.data.reading import Reading
from exec_env.data.tables import DataFile
from tests.data.vendors import DAILY_VOLATILITY, HALF_SPREAD, IMPACT, ROWS, SAMPLES, market

NO_VOLUME = {"histdata bars"}


def file(sample: str, folder: Path, rows_of: str = "") -> DataFile:
    """A sample on disk, read with no more options than its vendor's documentation leaves open."""
    told, f = SAMPLES[sample], FORMATS[SAMPLES[sample].format]
    path = folder / "file.csv"
    path.write_text(told.text)
    named = told.format if f.headless or not f.own else None
    return DataFile(path, {}, Reading(format=named, zone=told.zone), rows_of=rows_of)


def rows(of: DataFile) -> pd.DataFrame:
    return pd.concat(of.frames(Cleaner())).reset_index(drop=True)


def expected(f: Format, daily: bool) -> pd.DataFrame:
    """What the market has, under our names."""
    m = market()
    if f.kind == "bars":
        return (m.daily if daily else m.bars)[["time", "open", "high", "low", "close", "volume"]]
    if f.kind == "trades":
        return m.trades
    return m.quotes


@pytest.mark.slow
@pytest.mark.parametrize("sample", SAMPLES)
def test_a_file_holds_what_the_market_has(sample: str, tmp_path: Path) -> None:
    f = FORMATS[SAMPLES[sample].format]
    truth = expected(f, SAMPLES[sample].daily)
    found = rows(file(sample, tmp_path))
    on_time = found[found["time"].isin(truth["time"])].groupby("time").tail(1)
    assert len(on_time) == len(truth) <= len(found) <= 2 * len(truth)
    for name in truth:
        if name == "side" and not f.sides:
            assert name not in found
        elif name == "volume" and sample in NO_VOLUME:
            assert (found[name] == 0).all()
        else:
            np.testing.assert_allclose(on_time[name], truth[name], rtol=1e-9, err_msg=name)
    if "flow" in f.columns:
        np.testing.assert_allclose(found["flow"], market().bars["flow"])


@pytest.mark.slow
@pytest.mark.parametrize("sample", [name for name, told in SAMPLES.items() if FORMATS[told.format].also])
def test_other_rows_of_the_same_file_are_read_too(sample: str, tmp_path: Path) -> None:
    also = FORMATS[SAMPLES[sample].format].also
    found = rows(file(sample, tmp_path, rows_of=also))
    m = market()
    truth = m.trades if FORMATS[also].kind == "trades" else m.quotes.assign(time=m.trades["time"])
    for name in truth:
        np.testing.assert_allclose(found[name], truth[name], rtol=1e-9, err_msg=name)


def test_a_file_that_got_a_line_of_names_lately_is_read_by_the_name_of_its_format(tmp_path: Path) -> None:
    names = ",".join(FORMATS["binance-spot-trades"].header)
    path = tmp_path / "file.csv"
    path.write_text(f"{names}\n{SAMPLES['binance trades, spot'].text}")
    for reading in (Reading(format="binance-spot-trades"), Reading()):
        np.testing.assert_allclose(rows(DataFile(path, {}, reading))["price"], market().trades["price"])


def test_a_file_that_would_give_a_plausible_wrong_number_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    path.write_text("timestamp,percentage,depth,notional\n2025-02-03 05:00:00,-1,10,1000\n")
    with pytest.raises(ValueError, match=r"file\.csv: binance-bookdepth: .*; take bookTicker"):
        read([path])


# What is estimated from them

TOGETHER = (
    ("binance bookTicker", "binance trades, futures"),
    ("tardis quotes", "binance aggTrades, futures"),
    ("tardis book_snapshot_5", "tardis trades"),
    ("databento mbp-1, raw",),
    ("databento mbp-10, raw",),
    ("massive quotes", "massive trades"),
    ("taq complete NBBO", "taq trades"),
    ("kibot ticks",),
    ("dukascopy ticks, local", "coinapi trades"),
)


def of_quotes_and_trades(samples: tuple[str, ...], folder: Path) -> dict[str, Any]:
    """Files of several samples, and how they are read."""
    told = [SAMPLES[sample] for sample in samples]
    paths = [folder / f"{i}.csv" for i in range(len(samples))]
    for path, sample in zip(paths, told, strict=True):
        path.write_text(sample.text)
    format = next((s.format for s in told if FORMATS[s.format].headless), None)
    zone = next((s.zone for s in told if s.zone), None)
    return {"paths": paths, "minutes": 5.0, "hours_per_day": 24.0, "reading": Reading(format=format, zone=zone)}


@pytest.mark.slow
@pytest.mark.parametrize("samples", TOGETHER, ids=" and ".join)
def test_quotes_and_trades_give_the_slices_of_the_market(samples: tuple[str, ...], tmp_path: Path) -> None:
    found = read(**of_quotes_and_trades(samples, tmp_path)).frame
    m = market()
    slices = m.trades.assign(flow=m.trades["side"] * m.trades["size"]).groupby(np.arange(ROWS) // 10)
    mid = ((m.quotes["bid"] + m.quotes["ask"]) / 2)[::10]
    truth = {"mid": mid, "volume": slices["size"].sum(), "flow": slices["flow"].sum(), "spread": 2 * HALF_SPREAD}
    for name, value in truth.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-9, err_msg=name)


@pytest.mark.slow
def test_estimates_are_the_truth_within_their_intervals(tmp_path: Path) -> None:
    found = calibrate(**of_quotes_and_trades(TOGETHER[0], tmp_path)).found
    truth = {"daily_volume": market().daily_volume, "volatility": market().volatility, "permanent_impact": IMPACT}
    for name, value in truth.items():
        low, high = found[name].interval(name)
        assert low < value < high, name
    assert found["half_spread"].estimate.value == pytest.approx(1.0, rel=2e-3)


def alone(sample: str, folder: Path) -> Slices:
    """A sample read with no file beside it."""
    of = file(sample, folder)
    return read([of.path], minutes=5.0, reading=of.reading)


@cache
def plain(kind: str, daily: bool, signed: bool, folder: Path) -> Slices:
    """The same from a file under our own names, with flow or sides if ``signed``."""
    m = market()
    frame = m.trades if kind == "trades" else m.daily if daily else m.bars
    frame = frame if signed else frame.drop(columns=["side", "flow"], errors="ignore")
    frame.assign(time=pd.to_datetime(frame["time"], utc=True)).to_csv(folder / "plain.csv", index=False)
    return read([folder / "plain.csv"], minutes=5.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("plain")


ALONE = [name for name, told in SAMPLES.items() if name not in NO_VOLUME and not FORMATS[told.format].also]


@pytest.mark.slow
@pytest.mark.parametrize("sample", ALONE)
def test_a_file_alone_gives_the_slices_that_the_market_has_or_is_refused(
    sample: str, tmp_path: Path, folder: Path
) -> None:
    f = FORMATS[SAMPLES[sample].format]
    if f.kind in ("quotes", "book"):
        with pytest.raises(ValueError, match=r"file\.csv: there is no volume; quotes need trades"):
            alone(sample, tmp_path)
        return
    told = plain(f.kind, SAMPLES[sample].daily, bool(f.sides) or "flow" in f.columns, folder)
    found = alone(sample, tmp_path)
    pd.testing.assert_frame_equal(found.frame, told.frame, rtol=1e-9, check_exact=False)
    assert found.hours_per_day == told.hours_per_day
    assert not found.cleaner.dropped


@pytest.mark.slow
@pytest.mark.parametrize("daily", [False, True], ids=["minutes", "days"])
def test_bars_give_volatility_and_volume_within_their_intervals(daily: bool, tmp_path: Path) -> None:
    m = market()
    sample, truth = (
        ("yahoo", (DAILY_VOLATILITY, m.daily["volume"].mean()))
        if daily
        else (
            "binance klines, futures",
            (m.volatility, m.daily_volume),
        )
    )
    of = file(sample, tmp_path)
    hours = None if daily else 24.0
    found = calibrate([of.path], minutes=5.0, hours_per_day=hours, reading=of.reading).found
    for name, value in zip(("volatility", "daily_volume"), truth, strict=True):
        low, high = found[name].interval(name)
        assert low < value < high, name


def test_bars_whose_vendor_has_no_volume_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"file\.csv: there is no volume"):
        alone("histdata bars", tmp_path)


# Options beside what the table says


def together(folder: Path, **files: str) -> list[Path]:
    for name, text in files.items():
        (folder / f"{name}.csv").write_text(text)
    return [folder / f"{name}.csv" for name in files]


@pytest.mark.slow
def test_a_format_that_is_named_is_of_the_files_that_can_be_of_it(tmp_path: Path) -> None:
    quotes = market().quotes.assign(time=pd.to_datetime(market().quotes["time"], utc=True)).to_csv(index=False)
    told = read(together(tmp_path, q=SAMPLES["tardis quotes"].text, t=SAMPLES["tardis trades"].text))
    for trades in ("binance trades, spot", "coinbase trades"):
        for beside in (quotes, SAMPLES["tardis quotes"].text):
            paths = together(tmp_path, q=beside, t=SAMPLES[trades].text)
            found = read(paths, reading=Reading(format=SAMPLES[trades].format))
            pd.testing.assert_frame_equal(found.frame, told.frame)


def test_a_format_that_no_file_can_be_of_is_refused(tmp_path: Path) -> None:
    paths = together(tmp_path, q=SAMPLES["tardis quotes"].text)
    with pytest.raises(ValueError, match=r"q\.csv: format = 'coinbase-trades': no file has its columns, trade_id"):
        read(paths, reading=Reading(format="coinbase-trades"))


@pytest.mark.slow
def test_a_zone_counts_for_files_that_do_not_document_theirs(tmp_path: Path) -> None:
    ticks, trades = SAMPLES["metatrader 5 ticks"], SAMPLES["taq trades"]
    paths = together(tmp_path, q=ticks.text, t=trades.text)
    with pytest.raises(ValueError, match=r"q\.csv: metatrader-ticks does not say the zone of its times: give zone"):
        read(paths)
    found = read(paths, reading=Reading(zone=ticks.zone))
    told = read(together(tmp_path, q=SAMPLES["tardis quotes"].text, t=SAMPLES["massive trades"].text))
    pd.testing.assert_frame_equal(found.frame, told.frame)
    assert any("times of taq-trades are America/New_York" in line for line in found.cleaner.taken)
