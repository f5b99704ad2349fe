"""Bars: slices by hand, bars of trades, what is refused, and a spread that is known."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from exec_env.base.errors import InputError
from exec_env.calibration import of
from exec_env.calibration.evidence import interval
from exec_env.data import bars
from exec_env.data.checks import Cleaner, check
from exec_env.data.sessions import Session
from exec_env.data.ticks import Slices
from exec_env.market.market import Market

MINUTE = 60 * 10**9
OPENING = pd.Timestamp("2024-01-02 14:30").value
NEW_YORK = Session("09:30-16:00", "America/New_York")


def flat(minutes: list[float], price: float = 100.0) -> pd.DataFrame:
    """Bars of one price and 10 shares at these minutes after the opening; each closes a cent above its open."""
    time = OPENING + (np.array(minutes) * MINUTE).astype(np.int64)
    opens = price + np.arange(len(time))
    return pd.DataFrame(
        {"time": time, "open": opens, "high": opens + 0.02, "low": opens - 0.01, "close": opens + 0.01, "volume": 10.0}
    )


def traded(
    seed: int, days: int, half: float, trades: float = 4.0, sigma: float = 0.02, runs: float = 0.0
) -> pd.DataFrame:
    """Trades at a random walk plus or minus ``half`` [bps], on average ``trades`` a minute of 390 a day.

    ``runs`` is the autocorrelation of their sides.
    """
    rng = np.random.default_rng(seed)
    minute = np.repeat(np.arange(days * 390), rng.poisson(trades, days * 390))
    at = np.sort(minute + rng.uniform(0.0, 1.0, len(minute)))
    log = np.cumsum(rng.standard_normal(len(at)) * sigma * (np.diff(at, prepend=0.0) / 390) ** 0.5)
    side = np.where(np.cumsum(rng.uniform(size=len(at)) < (1 - runs) / 2) % 2, 1.0, -1.0)
    day = pd.bdate_range("2024-01-02 14:30", periods=days, normalize=False).as_unit("ns").asi8[(at // 390).astype(int)]
    price = 100 * np.exp(log + half * 1e-4 * side)
    return pd.DataFrame({"time": day + (at % 390 * MINUTE).astype(np.int64), "price": price, "size": 1.0, "side": side})


def parts(trades: pd.DataFrame, rows: int) -> Iterator[pd.DataFrame]:
    return (trades.iloc[i : i + rows] for i in range(0, len(trades), rows))


def slices_of(made: bars.SlicedBars, hours: float = 6.5) -> Slices:
    length = 1.0 if made.daily else made.seconds / 3600 / hours
    sources = [{"file": "bars.csv", "holds": "bars", "rows": 1}]
    return Slices(made.frame, length, hours, sources, half_spread=made.spread, daily=made.daily)


def test_slices_of_bars_by_hand() -> None:
    # Minute 5 is missing, so the second slice begins with what the fourth bar closed at; 10 to 14 have no bar at all.
    made = bars.sliced(flat([0, 1, 3, 4, 6, 7, 16]), 5)
    assert made.frame["time"].tolist() == list(pd.date_range("2024-01-02 14:30", periods=4, freq="5min", tz="UTC"))
    assert made.frame["mid"].tolist() == [100.0, 103.01, 105.01, 105.01]
    assert made.frame["volume"].tolist() == [40.0, 20.0, 0.0, 10.0]
    assert made.seconds == 300
    assert "1 of 4 slices have no bar: no trade, and the price of the last" in made.remarks


def test_bars_stamped_at_their_end_are_those_of_the_minute_before() -> None:
    ended = flat([1, 2, 4, 5, 7, 8, 17])
    pd.testing.assert_frame_equal(
        bars.sliced(ended, 5, stamp="end").frame, bars.sliced(flat([0, 1, 3, 4, 6, 7, 16]), 5).frame
    )


def test_without_a_session_a_silence_of_more_than_a_quarter_of_an_hour_is_a_gap() -> None:
    quiet, gap = ([*range(5), *range(later, later + 5)] for later in (20, 25))
    assert bars.sliced(flat(quiet), 5).frame["volume"].tolist() == [50.0, 0.0, 0.0, 0.0, 50.0]
    assert bars.sliced(flat(gap), 5).frame["volume"].tolist() == [50.0, 50.0]


def test_a_session_is_filled_to_its_close_and_no_further() -> None:
    # From 15:30 on nobody trades; the next day opens ten minutes late, and a bar after the close does not count.
    minutes = [*range(0, 360), *range(1450, 1830), 1835]
    made = bars.sliced(flat(minutes), 5, NEW_YORK)
    times = made.frame["time"].dt.strftime("%d %H:%M").tolist()
    assert times[71:79] == [
        "02 20:25",
        "02 20:30",
        "02 20:35",
        "02 20:40",
        "02 20:45",
        "02 20:50",
        "02 20:55",
        "03 14:40",
    ]
    assert made.frame["volume"].tolist() == [50.0] * 72 + [0.0] * 6 + [50.0] * 76
    assert "bars: 1 of 741 bars are outside the session 09:30-16:00: left out" in made.remarks


def test_slices_begin_with_the_session_whatever_their_length() -> None:
    made = bars.sliced(flat([*range(390)]), 65, NEW_YORK)
    assert made.frame["time"].iloc[1] == pd.Timestamp("2024-01-02 15:35", tz="UTC")
    assert made.frame["volume"].tolist() == [650.0] * 6


def test_a_market_that_never_closes_has_no_gap_at_midnight() -> None:
    made = bars.sliced(flat([*range(0, 2880)]), 7 * 5, Session("24h", "America/New_York"))
    assert (made.frame["time"].diff().dropna() == pd.Timedelta(minutes=35)).all()
    assert made.frame["volume"].sum() == 28_800


def test_longer_bars_are_slices_themselves_and_have_no_spread() -> None:
    made = bars.sliced(flat([60 * hour for hour in range(30)]), 5)
    assert (made.seconds, len(made.frame)) == (3600, 30)
    assert not np.isfinite(made.spread.error)
    assert (made.frame["spread"] / made.frame["mid"]).to_numpy() == pytest.approx(2e-4 * Market.half_spread)
    assert "bars: slices are as long as bars, 60 minutes" in made.remarks
    assert "half spread is the prior's: the bars say nothing of it" in made.remarks


@pytest.mark.parametrize(
    ("minutes", "message"),
    [
        ([0, 1, 2, 3.5, 5], "that of 2024-01-02 14:33:30 comes 1.5 minutes after the one before, others 1"),
        ([*range(40), *range(40, 240, 5)], "1 minutes and 5 minutes"),
        ([*range(40), *range(1440, 60_000, 1440)], "1 minutes and longer"),
    ],
)
def test_bars_of_mixed_length_are_refused(minutes: list[float], message: str) -> None:
    with pytest.raises(InputError, match=f"^bars of mixed length: {message}|^x.csv: bars of mixed length: {message}"):
        bars.sliced(flat(minutes), 5, name="x.csv")


def test_slices_are_whole_bars_and_bars_no_longer_than_a_day() -> None:
    with pytest.raises(InputError, match="minutes = 5: must be a multiple of the length of bars, 2 minutes"):
        bars.sliced(flat([0, 2, 4, 6]), 5)
    with pytest.raises(InputError, match="bars of 7 days; a bar must be a day at most"):
        bars.sliced(flat([7 * 1440 * week for week in range(9)]), 5)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("high", 90.0, "row 2, 'high': 90.0 is below the low"),
        ("open", 102.0, "row 2, 'open': 102.0 is not from low to high"),
        ("close", 99.0, "row 2, 'close': 99.0 is not from low to high"),
        ("time", OPENING, "row 2, 'time': 2024-01-02 14:30:00 is the same time as the row before"),
    ],
)
def test_a_bar_that_cannot_be_is_refused_by_row_or_dropped(column: str, value: float, message: str) -> None:
    bad = flat([0, 1, 2])
    bad.loc[1, column] = value
    with pytest.raises(InputError, match=f"x.csv: {message}"):
        check(bad, "bars", Path("x.csv"), Cleaner())
    cleaner = Cleaner(clean=True)
    assert len(check(bad, "bars", Path("x.csv"), cleaner)) == 2
    assert sum(cleaner.dropped.values()) == 1


def test_prices_that_an_adjustment_rounded_are_within_the_bar() -> None:
    rounded = flat([0, 1])
    rounded.loc[1, "open"] = rounded.loc[1, "high"] * (1 + 1e-9)
    assert check(rounded, "bars", Path("x.csv"), Cleaner()).loc[1, "open"] == rounded.loc[1, "high"]


def test_bars_of_trades_by_hand_in_any_parts() -> None:
    trades = pd.DataFrame(
        {
            "time": OPENING + np.array([0, 10, 59, 60, 185]) * 10**9,
            "price": [10.0, 12.0, 11.0, 9.0, 8.0],
            "size": [1.0, 2.0, 3.0, 4.0, 5.0],
            "side": [1.0, -1.0, 1.0, np.nan, -1.0],
        }
    )
    for rows in (5, 2, 1):
        made, said = bars.of_trades(parts(trades, rows))
        assert made["time"].tolist() == [OPENING, OPENING + MINUTE, OPENING + 3 * MINUTE]
        assert made[["open", "high", "low", "close", "volume", "flow"]].to_numpy().tolist() == [
            [10.0, 12.0, 10.0, 11.0, 6.0, 2.0],
            [9.0, 9.0, 9.0, 9.0, 4.0, 0.0],
            [8.0, 8.0, 8.0, 8.0, 5.0, -5.0],
        ]
        assert said == ["0.27 of the volume is of an unknown side, and in no flow"]


def test_trades_without_sides_have_no_flow() -> None:
    made, said = bars.of_trades([traded(0, 1, 1.0).drop(columns="side")])
    assert "flow" not in made
    assert said == ["trades have no sides, so that there is no flow, and impact is the prior's"]
    with pytest.raises(InputError, match="there are no trades"):
        bars.of_trades([])


@pytest.mark.slow
@pytest.mark.parametrize(
    "half", [pytest.param(1.0, marks=pytest.mark.long), 2.4, pytest.param(5.0, marks=pytest.mark.long)]
)
def test_the_spread_of_minute_bars_is_found_within_its_interval(half: float) -> None:
    held, seen = 0, []
    for seed in range(10):
        found = bars.sliced(bars.of_trades([traded(seed, 10, half)])[0], 5, NEW_YORK).spread
        low, high = interval("half_spread", found)
        held += low <= half <= high
        seen.append(found.value)
    assert held >= 8
    assert np.mean(seen) == pytest.approx(half, rel=0.15)


def test_a_spread_does_not_know_the_currency() -> None:
    made = bars.of_trades([traded(0, 5, 2.4)])[0]
    cents = made.assign(**{name: 100 * made[name] for name in bars.PRICES})
    assert bars.sliced(cents, 5).spread == pytest.approx(bars.sliced(made, 5).spread)


def test_a_spread_that_the_bars_do_not_show_is_the_priors_and_never_zero() -> None:
    made = bars.sliced(bars.of_trades([traded(1, 5, 0.05)])[0], 5)
    assert not made.spread.error <= made.spread.value
    assert (made.frame["spread"] / made.frame["mid"]).to_numpy() == pytest.approx(2e-4 * Market.half_spread)
    assert any("half spread is the prior's" in remark for remark in made.remarks)


@pytest.mark.slow
def test_a_market_of_minute_bars_has_their_spread_and_no_noise_of_it() -> None:
    made = bars.sliced(bars.of_trades([traded(0, 8, 2.4).drop(columns="side")])[0], 5, NEW_YORK)
    file = of(slices_of(made)).file
    spread, sigma = file.parameters["half_spread"], file.parameters["volatility"]
    assert (spread.source, spread.value, spread.standard_error) == ("data", *made.spread)
    assert sigma.interval is not None
    assert sigma.interval[0] <= 0.02 <= sigma.interval[1]
    assert {file.parameters[name].source for name in ("spread_noise", "spread_elasticity")} == {"prior"}


def days(seed: int, n: int = 250) -> pd.DataFrame:
    """Daily bars of volatility 0.02 from open to close, and nights of 0.01; 5 million shares a day."""
    rng = np.random.default_rng(seed)
    day, night = 0.02 * rng.standard_normal(n), 0.01 * rng.standard_normal(n)
    opens = 100 * np.exp(np.cumsum(night) + np.cumsum(day) - day)
    closes = opens * np.exp(day)
    volume = 5e6 * np.exp(0.4 * rng.standard_normal(n) - 0.08)
    high, low = np.maximum(opens, closes), np.minimum(opens, closes)
    time = pd.bdate_range("2023-01-02", periods=n).as_unit("ns").asi8
    return pd.DataFrame({"time": time, "open": opens, "high": high, "low": low, "close": closes, "volume": volume})


@pytest.mark.slow
def test_daily_bars_tell_volatility_and_volume_within_their_intervals() -> None:
    held = {"volatility": 0, "daily_volume": 0}
    for seed in range(20):
        found = of(slices_of(bars.sliced(days(seed)))).file
        for name, truth in (("volatility", 0.02), ("daily_volume", 5e6)):
            within = found.parameters[name].interval
            assert within is not None
            held[name] += within[0] <= truth <= within[1]
        others = {name: p.source for name, p in found.parameters.items() if name not in held}
        assert [name for name, source in others.items() if source == "data"] == ["arrival_price"]
        assert found.slice_length == 1 / 78  # the prior's noises are those of its slices
    assert min(held.values()) >= 17


def test_weekends_are_no_gaps_between_days_and_a_line_says_what_days_cannot_tell() -> None:
    made = bars.sliced(days(0, 30))
    slices = slices_of(made)
    assert slices.new.sum() == 1
    assert (slices.day[-1], slices.time_of_day) == (29, None)
    assert any("not the spread, depth, impact" in remark for remark in made.remarks)
    with pytest.raises(InputError, match="bars.csv: 19 days; a calibration needs at least 20"):
        of(slices_of(bars.sliced(days(0, 19))))
