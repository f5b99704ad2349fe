"""Calibration: slices by hand, each estimator on a case with a known answer, and intervals that hold."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from exec_env.base import jackknife as errors
from exec_env.calibration import calibrate, impact, liquidity, of, prices, simulate, truth
from exec_env.calibration.evidence import interval
from exec_env.data.market_file import NIGHTS, MarketFile, Parameter
from exec_env.data.tick_sums import Slicer, walk
from exec_env.data.ticks import Slices
from exec_env.market.market import Market

DT = 1 / 78
SECOND = 10**9
DAYS = pd.date_range("2024-01-02", periods=6)
STRONG = Market(
    permanent_impact=3e-6, transient_impact=6e-6, temporary_impact=1e-6, resilience=20.0, volatility_elasticity=-0.25
)


def ticks(rows: list[tuple[float, ...]], names: str) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=names.split())
    return frame.assign(time=(frame["time"] * SECOND).astype(np.int64))


def test_a_slice_by_hand() -> None:
    slicer = Slicer(10 * SECOND)
    quotes = ticks([(0, 99, 101), (4, 100, 104), (12, 100, 102)], "time bid ask")
    # A buy of 3 a dollar beyond the ask, a sell of 1 at the bid, then a trade at the mid, which is what the last was.
    trades = ticks([(1, 102, 3), (5, 100, 1), (13, 101, 2)], "time price size")
    slicer.add(quotes, trades)
    frame = slicer.finished()
    assert frame["mid"].tolist() == [100.0, 101.0]
    assert frame["spread"].tolist() == pytest.approx([(4 * 2 + 6 * 4) / 10, 2.0])  # over time
    assert frame["volume"].tolist() == [4.0, 2.0]
    assert frame["flow"].tolist() == [2.0, -2.0]
    # Against the mid of 100 at the slice's start: 3 · 2 − 1 · 0, less half spreads 3 · 1 + 1 · 2.
    assert frame["cost"].tolist() == pytest.approx([1.0, 0.0 - 2.0])


def test_what_a_tape_plays_of_slices_is_known_at_their_start() -> None:
    slicer = Slicer(10 * SECOND)
    quotes = ticks([(0, 99, 101), (4, 100, 104), (12, 100, 103), (13, 101, 102)], "time bid ask")
    slicer.add(quotes, ticks([(1, 102, 3), (13, 101, 2)], "time price size"))
    tape = Slices(slicer.finished(), 1 / 78, 6.5).tape
    assert tape["spread"].tolist() == [2.0, 3.0]  # not the means, of which 4 and 1 are a part
    assert "opening_spread" not in tape


def test_ticks_may_come_in_any_parts() -> None:
    quotes, trades = next(simulate.sessions(Market(), 1, 0, n_steps=6))
    once, often = Slicer(300 * SECOND), Slicer(300 * SECOND)
    once.add(quotes, trades)
    ends = [int(quotes["time"].iloc[0]) + int(x * SECOND) for x in (100, 301, 777, 900, 1e6)]
    for low, high in zip([0, *ends[:-1]], ends, strict=True):
        often.add(*(f[(f["time"] >= low) & (f["time"] < high)] for f in (quotes, trades)))
    pd.testing.assert_frame_equal(once.finished(), often.finished(), check_exact=False, atol=1e-6)


def test_a_slice_without_ticks_is_quiet_and_a_long_silence_a_gap() -> None:
    slicer = Slicer(300 * SECOND)
    slicer.add(
        ticks([(0, 99, 101), (620, 100, 102), (2100, 100, 102)], "time bid ask"),
        ticks([(1, 101, 5)], "time price size"),
    )
    frame = slicer.finished()
    assert [t.timestamp() for t in frame["time"]] == [0, 300, 600, 2100]
    assert frame["volume"].tolist() == [5, 0, 0, 0]
    assert frame["mid"].tolist() == [100, 100, 101, 101]
    assert frame["spread"].tolist() == [2, 2, 2, 2]


def test_no_trade_is_held_against_the_quote_of_the_day_before() -> None:
    slicer = Slicer(300 * SECOND)
    slicer.add(ticks([(0, 99, 101), (90_060, 109, 111)], "time bid ask"), ticks([(90_010, 111, 5)], "time price size"))
    assert slicer.too_early == 1
    assert slicer.finished()["mid"].tolist() == [100, 110]


def test_days_are_by_the_clock_so_a_halt_begins_none_and_markets_that_never_stop_have_some() -> None:
    def days_of(times: pd.DatetimeIndex, hours: float) -> Slices:
        return Slices(pd.DataFrame({"time": times}), 1 / (2 * hours), hours)

    nine = pd.DatetimeIndex(
        [d + pd.Timedelta(minutes=570 + 30 * i) for d in DAYS for i in range(13) if i != 5], tz="UTC"
    )
    slices = days_of(nine, 6.5)
    assert slices.new.sum() == 12  # a gap in each of the six days
    assert slices.day.tolist() == [d for d in range(6) for _ in range(12)]
    assert slices.time_of_day is not None
    np.testing.assert_allclose(slices.time_of_day[:7], (np.array([0, 1, 2, 3, 4, 6, 7]) + 0.5) / 13)
    always = days_of(pd.date_range("2024-01-02", periods=6 * 48, freq="30min", tz="UTC"), 24.0)
    assert always.new.sum() == 1
    assert always.day[[0, 47, 48, -1]].tolist() == [0, 0, 1, 5]
    assert always.time_of_day is not None
    np.testing.assert_allclose(always.time_of_day[:96:48], 0.5 / 48)
    assert days_of(nine[:36], 6.5).time_of_day is None  # three days


def test_walking_a_book_of_even_levels_costs_in_proportion_to_the_shares() -> None:
    # Ten shares every cent: v shares cost (v − 10) / 2 · 0.001 beyond the touch, almost a line through the origin.
    levels = 200
    book = {f"{side}_size_{i}": 10.0 for i in range(1, levels + 1) for side in ("bid", "ask")}
    book |= {f"ask_price_{i}": 100 + 0.01 * i for i in range(1, levels + 1)}
    book |= {f"bid_price_{i}": 100 - 0.01 * i for i in range(1, levels + 1)}
    found = walk(pd.DataFrame([book]))
    assert found["slope"][0] == pytest.approx(0.01 / 20, rel=0.01)
    assert found["depth"][0] == 10.0 * levels
    assert found["walk_xy"][0] / found["walk_xx"][0] == pytest.approx(1.0, abs=0.1)


def test_volatility_is_blind_to_noise_of_the_quotes() -> None:
    rng = np.random.default_rng(0)
    session = np.repeat(np.arange(200), 78)
    true = 100 * np.exp(np.cumsum(0.02 * DT**0.5 * rng.standard_normal(len(session))))
    noisy = true * np.exp(0.002 * rng.standard_normal(len(session)))
    assert np.std(np.diff(np.log(noisy))) / DT**0.5 > 1.5 * 0.02
    found = prices.volatility(noisy, session, session, DT)
    assert abs(found.value - 0.02) < 3 * found.error
    assert found.error < 0.001


def test_response_recovers_a_propagator_without_noise() -> None:
    rng = np.random.default_rng(0)
    n, gamma, kappa, rho = 400, 2e-6, 5e-6, 20.0
    flow, passing, moves = rng.standard_normal(n) * 1e4, 0.0, np.empty(n)
    for t in range(n):
        after = np.exp(-rho * DT) * (passing + kappa * flow[t])
        moves[t], passing = gamma * flow[t] + after - passing, after
    new = np.arange(n) == 0
    moves[-1] = np.nan
    found = impact.response(moves, flow, np.ones(n), new, np.arange(n) // 20, DT)
    assert found.permanent.value == pytest.approx(gamma, rel=1e-3)
    assert found.transient.value == pytest.approx(kappa, rel=1e-3)
    assert found.resilience.value == pytest.approx(rho, rel=1e-3)
    assert found.explained == pytest.approx(1.0, abs=1e-6)


def test_a_push_that_overshoots_back_has_no_negative_lasting_part() -> None:
    rng = np.random.default_rng(0)
    flow = rng.standard_normal(400)
    moves = np.r_[np.convolve(flow, [1.0, -0.7, -0.6])[:399], np.nan]
    found = impact.response(moves, flow, np.ones(400), np.arange(400) == 0, np.arange(400) // 20, DT)
    assert found.permanent.value < 0
    assert found.transient.value > 0
    assert found.curve[-1][2] >= 0  # what is fitted has none


@pytest.mark.long
def test_errors_of_the_response_are_those_seen_over_many_samples() -> None:
    rng = np.random.default_rng(1)
    n, gamma, kappa, rho = 3900, 2e-6, 5e-6, 20.0
    new, block, found = np.arange(n) % 78 == 0, np.arange(n) // 78, []
    for _ in range(14):
        flow, passing, moves = rng.standard_normal(n) * 1e4, 0.0, np.empty(n)
        for t in range(n):
            after = np.exp(-rho * DT) * ((0.0 if new[t] else passing) + kappa * flow[t])
            moves[t] = gamma * flow[t] + after - (0.0 if new[t] else passing) + 0.02 * rng.standard_normal()
            passing = after
        moves[77::78] = np.nan
        found.append(impact.response(moves, flow, np.ones(n), new, block, DT))
    for name, true in (("permanent", gamma), ("transient", kappa), ("resilience", rho)):
        estimates = [getattr(r, name) for r in found]
        spread, typical = np.std([e.value for e in estimates], ddof=1), np.mean([e.error for e in estimates])
        assert 0.5 < typical / spread < 2.0, name
        assert np.mean([abs(e.value - true) < 3 * e.error for e in estimates]) > 0.8, name


def test_the_elasticity_of_volatility_stands_moves_of_zero() -> None:
    rng = np.random.default_rng(0)
    x = 0.6 * rng.standard_normal(8000)
    move = 0.1 * np.exp(-0.4 * x) * rng.standard_normal(8000)
    move[::50] = np.nan
    found = prices.elasticity(move, x, np.arange(8000) // 80)
    assert abs(found.value + 0.4) < 3 * found.error < 0.1
    coarse = prices.elasticity(np.round(move, 1), x, np.arange(8000) // 80)  # two thirds of them zero
    assert -0.8 < coarse.value < -0.2


@pytest.mark.long
def test_the_liquidity_factor_is_seen_through_volume_spread_and_depth() -> None:
    rng = np.random.default_rng(1)
    n, a, s = 8000, np.exp(-10.0 * DT), 0.5
    new = np.arange(n) % 80 == 0
    state = np.empty(n)
    for t in range(n):
        z = rng.standard_normal()
        state[t] = s * z if new[t] else a * state[t - 1] + s * (1 - a * a) ** 0.5 * z
    views = {"volume": (1.0, 0.3), "spread": (-0.4, 0.2), "depth": (1.0, 0.5)}
    volume, spread, depth = (np.exp(b * state + v * rng.standard_normal(n)) for b, v in views.values())
    volume[5] = 0.0  # a slice without a trade is unknown, not a disaster
    found = liquidity.fit(volume, spread, depth, new, DT)
    assert found.reversion is not None
    assert found.spread_noise is not None
    assert found.depth_noise is not None
    assert found.elasticity is not None
    truths = [10.0, 0.5, 0.4, 0.3, 0.2, 0.5]
    estimates = [
        *(found.reversion, found.volatility, found.elasticity),
        *(found.volume_noise, found.spread_noise, found.depth_noise),
    ]
    for true, estimate in zip(truths, estimates, strict=True):
        assert abs(estimate.value - true) < 3 * estimate.error, (true, estimate)
        assert estimate.error < 0.1 * true
    assert np.corrcoef(found.mean, state)[0, 1] > 0.85


@pytest.fixture(scope="module")
def calibrated() -> object:
    return of(truth.slices_of(STRONG, 60, 1))


@pytest.mark.slow
def test_what_is_identified_is_from_the_data_and_near_the_truth(calibrated: object) -> None:
    found = calibrated.file  # type: ignore[attr-defined]
    sources = {name: p.source for name, p in found.parameters.items()}
    assert {name for name, source in sources.items() if source == "prior"} == {"impact_noise", "decay_noise"}
    for name, (estimate, _, _) in calibrated.found.items():  # type: ignore[attr-defined]
        if name in NIGHTS:  # every simulated day begins at the arrival price anew
            continue
        true = getattr(STRONG, name)
        assert abs(estimate.value - true) < 3.5 * estimate.error + 0.05 * abs(true), name
    assert found.reported["impact_exponent"]["value"] == pytest.approx(1.0, abs=0.1)


@pytest.fixture(scope="module")
def power() -> Slices:
    return truth.slices_of(replace(STRONG, impact_exponent=0.6), 20, 1)


@pytest.mark.slow
def test_a_power_law_is_fitted_or_taken_as_given(power: Slices) -> None:
    fitted, given = (of(power, exponent=e).file for e in ("fit", 0.6))
    delta, eta = fitted.parameters["impact_exponent"], fitted.parameters["temporary_impact"]
    assert delta.source == eta.source == "data"
    assert delta.standard_error is not None
    assert abs(delta.value - 0.6) < 3.5 * delta.standard_error < 0.1
    for file in (fitted, given):
        found = file.parameters["temporary_impact"]
        assert found.standard_error is not None
        assert abs(found.value - STRONG.temporary_impact) < 3.5 * found.standard_error < 0.5 * found.value
        assert file.market().reference_participation == 0.1
    assert given.parameters["impact_exponent"] == Parameter(0.6, "given", how=given.parameters["impact_exponent"].how)
    assert eta.standard_error > given.parameters["temporary_impact"].standard_error  # it bears that of the exponent
    assert given.reported["impact_exponent"]["value"] == delta.value  # shown, if not used


@pytest.mark.slow
def test_an_exponent_that_the_data_do_not_show_is_linear_and_the_file_says_so(power: Slices) -> None:
    frame = power.frame.assign(
        cost=power.frame["cost"] + 1e5 * np.random.default_rng(0).standard_normal(len(power.frame))
    )
    noisy = of(type(power)(frame, DT, 6.5, power.sources), exponent="fit").file.parameters["impact_exponent"]
    assert (noisy.value, noisy.source) == (1.0, "prior")
    assert noisy.seen is not None
    assert "too weak in the data" in noisy.how


def test_the_slope_of_a_book_of_a_power_law_is_that_of_the_law_whatever_size_it_is_felt_at() -> None:
    # A book such that taking v shares costs 0.001 v^0.6 a share beyond the touch, all over.
    taken = 100.0 * np.arange(1, 41)
    cost = np.r_[0.0, np.diff(0.001 * taken**1.6)] / 100.0
    price = cost - cost[0]
    book = {f"{side}_size_{i + 1}": 100.0 for i in range(40) for side in ("bid", "ask")}
    book |= {f"ask_price_{i + 1}": 100 + price[i] for i in range(40)}
    book |= {f"bid_price_{i + 1}": 100 - price[i] for i in range(40)}
    found = walk(pd.DataFrame([book] * 2))
    volume, block = np.full(2, 10_000.0), np.arange(2)
    slope = found["slope"] * np.exp(0.4 * found["walk_size"])
    assert slope[0] == pytest.approx(0.001, rel=0.03)
    eta = impact.temporary_by_walk(slope, found["walk_size"], volume, block, errors.Estimate(0.6, 0.0), 0.1)
    assert eta.value * 1000.0 == pytest.approx(0.001 * 1000.0**0.6, rel=0.03)  # at the reference, of 1000 shares


@pytest.mark.parametrize(
    ("exponent", "message"),
    [(3.0, "Market.impact_exponent = 3.0: must be in"), ("best", "exponent = 'best': must be a number or 'fit'")],
)
def test_an_exponent_that_cannot_be_is_refused(exponent: Any, message: str, power: Slices) -> None:
    with pytest.raises(ValueError, match=message):
        of(power, exponent=exponent)


@pytest.mark.slow
def test_weak_evidence_gives_way_to_the_prior_and_is_kept_beside_it() -> None:
    quiet = of(truth.slices_of(Market(), 10, 1)).file  # an order's impact, which the flow of all does not show
    gamma = quiet.parameters["permanent_impact"]
    assert gamma.source == "prior"
    assert gamma.seen is not None
    assert gamma.standard_error is not None
    assert gamma.value == pytest.approx(2.5e-7, rel=0.3)
    assert "too weak" in gamma.how


@pytest.mark.slow
def test_slices_without_flow_leave_impact_to_the_prior() -> None:
    slices = truth.slices_of(STRONG, 20, 2)
    bare = slices.frame[["time", "mid", "spread", "volume"]]
    found = of(type(slices)(bare, DT, 6.5, slices.sources))
    assert found.response is None
    for name in ("temporary_impact", "permanent_impact", "transient_impact", "resilience"):
        assert found.file.parameters[name].source == "prior"
    scaled = Market().rescaled(found.market.arrival_price, found.market.volatility, found.market.daily_volume)
    assert found.market.temporary_impact == pytest.approx(scaled.temporary_impact)


@pytest.mark.slow
def test_a_spread_of_always_one_tick_stays_so_and_says_nothing_about_liquidity() -> None:
    slices = truth.slices_of(STRONG, 20, 2)
    frame = slices.frame.assign(spread=0.01)
    found = of(type(slices)(frame, DT, 6.5, slices.sources)).file.parameters
    for name in ("spread_noise", "spread_elasticity"):
        assert (found[name].value, found[name].source, found[name].interval) == (0.0, "data", [0.0, 0.0])
    assert found["half_spread"].value == pytest.approx(0.5, rel=0.05)
    assert found["liquidity_volatility"].source == "data"


def test_too_few_slices_are_refused() -> None:
    slices = truth.slices_of(Market(), 1, 0)
    with pytest.raises(ValueError, match="40 slices; a calibration needs at least 50"):
        of(type(slices)(slices.frame[:40], DT, 6.5, slices.sources))


@pytest.mark.slow
def test_a_file_says_the_same_when_it_is_read_again(calibrated: object, tmp_path: Path) -> None:
    path = tmp_path / "market.yaml"
    calibrated.file.save(path)  # type: ignore[attr-defined]
    assert MarketFile.load(path) == calibrated.file  # type: ignore[attr-defined]
    assert "temporary_impact:  # [$/share per share/day]" in path.read_text()


def test_an_interval_of_a_positive_parameter_is_positive() -> None:
    assert interval("resilience", errors.Estimate(1.0, 1.0))[0] > 0
    assert interval("spread_elasticity", errors.Estimate(0.0, 1.0))[0] < 0


@pytest.mark.long
def test_intervals_cover_the_truth_and_estimates_are_not_biased() -> None:
    # The whole study, 50 markets of 60 days, is `exec-env calibrate --simulated-truth 50`. With 4 markets and 13
    # parameters an interval of 95 % misses about 3 of 52; 11 or more has a chance below 1 in 1000 at 93 %.
    found = truth.study(n=4, days=40, seed=3)
    assert (~found["covered"]).sum() < 11
    table = truth.summary(found)
    assert (table["bias"].abs() < 0.1 + 3 * table["bias_error"]).all()


@pytest.mark.long
def test_nights_are_estimated_from_several_sessions(tmp_path: Path) -> None:
    """Sessions of 78 slices with nights of 0.4 of a session's variance, 17.5 hours or a weekend apart."""
    rng, days = np.random.default_rng(2), 250
    dates = pd.bdate_range("2024-01-02", periods=days)
    moves = 0.02 / 78**0.5 * rng.standard_normal((days, 78))
    moves[:, -1] += 0.02 * 0.4**0.5 * rng.standard_normal(days)
    time = [day + pd.Timedelta(minutes=570 + 5 * i) for day in dates for i in range(78)]
    mid = 100 * np.exp(np.r_[0.0, np.cumsum(moves)[:-1]])
    frame = pd.DataFrame({"time": time, "mid": mid, "spread": 0.02, "volume": rng.uniform(5e4, 1e5, len(mid))})
    frame.to_csv(tmp_path / "market.csv", index=False)
    parameters = calibrate([tmp_path / "market.csv"]).file.parameters
    found = parameters["overnight_variance"]
    assert found.source == "data"
    assert abs(found.value - 0.4) < 3 * found.standard_error < 0.2
    assert parameters["night_length"].value == pytest.approx(17.5 / 6.5)
    frame[:200].to_csv(tmp_path / "few.csv", index=False)
    assert "overnight_variance" not in calibrate([tmp_path / "few.csv"]).file.parameters
