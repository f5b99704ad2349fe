"""What the data show none of: no transient impact, no factor of liquidity, columns that never differ."""

import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from exec_env.base.errors import InputError
from exec_env.calibration import Calibration, impact, liquidity, of, sanity, truth
from exec_env.data.ticks import Slices
from exec_env.market.market import Market

DT, GAMMA = 1 / 78, 3e-5
Columns = dict[str, np.ndarray]


def slices(columns: Columns) -> Slices:
    """Days of 78 slices of five minutes."""
    n = len(columns["mid"])
    day, number = np.divmod(np.arange(n), 78)
    time = pd.Timestamp("2025-03-03 14:30", tz="UTC") + pd.to_timedelta(day * 24 * 60 + number * 5, unit="min")
    return Slices(pd.DataFrame({"time": time} | columns), DT, 6.5, [{"file": "own", "holds": "slices", "rows": n}])


def lasting(seed: int, days: int = 20) -> Columns:
    """The price moves by γ q for good, and by a noise beside which the flow explains two fifths of the variance."""
    rng, n = np.random.default_rng(seed), 78 * days
    flow = 3000 * rng.standard_normal(n)
    move = GAMMA * (flow + 3000 * 1.5**0.5 * rng.standard_normal(n))
    mid = 100 + np.r_[0.0, move.cumsum()[:-1]]
    volume = 12_800 + 500 * rng.standard_normal(n)
    return {"mid": mid, "spread": np.full(n, 0.05), "volume": volume, "flow": flow}


def found_of_permanent_impact(seeds: range) -> tuple[int, int]:
    """How often it is from the data, and how often its interval holds the truth."""
    found = [of(slices(lasting(seed))).file.parameters["permanent_impact"] for seed in seeds]
    intervals = [p.interval for p in found if p.interval is not None]
    assert all(abs(p.value / GAMMA - 1) < 0.15 for p in found if p.source == "data")
    return sum(p.source == "data" for p in found), sum(low <= GAMMA <= high for low, high in intervals)


@pytest.mark.slow
def test_permanent_impact_is_found_where_nothing_reverts() -> None:
    assert found_of_permanent_impact(range(2)) == (2, 2)


@pytest.mark.long
def test_permanent_impact_is_found_in_nineteen_of_twenty_samples_and_held_in_seventeen() -> None:
    seen, held = found_of_permanent_impact(range(20))
    assert seen >= 19
    assert held >= 17


@pytest.mark.slow
@pytest.mark.parametrize("kappa", [0.0, 0.1, 0.25])
def test_the_interval_of_permanent_impact_alone_bears_a_transient_impact_too_weak_to_show(kappa: float) -> None:
    # Of 40 intervals of 95 % fewer than 34 hold with a chance of 1 in 100; γ's own error would hold in some 10.
    rng, n, held, own = np.random.default_rng(0), 780, 0, 0
    new, block, speed = np.arange(n) % 78 == 0, np.arange(n) // 39, 20.0 * DT
    for _ in range(40):
        flow = rng.standard_normal(n)
        before, after = impact._pushes(flow, new, speed)
        move = flow + kappa * (after - before) + 1.5**0.5 * rng.standard_normal(n)
        move[77::78] = np.nan
        found = impact.lasting(move, flow, np.ones(n), new, block, DT, 10.0)
        assert found.permanent_interval is not None
        low, high = found.permanent_interval
        held += low <= 1 <= high
        own += high >= 1 >= 2 * found.permanent.value - high
    assert held >= 34
    assert kappa < 0.25 or own < 20


def test_what_lasts_and_what_reverts_are_the_two_ends_of_the_interval_without_noise() -> None:
    # Moves of κ alone at the resilience that is asked about: γ beside it is 0, alone it is what regression gives.
    rng, n = np.random.default_rng(0), 780
    flow, new = rng.standard_normal(n), np.arange(n) % 78 == 0
    before, after = impact._pushes(flow, new, 10.0 * DT)
    move = np.where(np.arange(n) % 78 == 77, np.nan, after - before)
    known = np.isfinite(move)
    found = impact.lasting(move, flow, np.ones(n), new, np.arange(n) // 39, DT, 10.0)
    slope = (flow[known] @ move[known]) / (flow[known] @ flow[known])
    assert found.permanent.value == pytest.approx(slope)
    assert found.transient.value == pytest.approx(1.0)
    assert found.permanent_interval is not None
    assert found.permanent_interval[0] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.slow
def test_what_the_data_show_none_of_is_zero_with_an_upper_limit_and_a_remark() -> None:
    file = of(slices(lasting(0))).file
    for name in ("transient_impact", "liquidity_volatility"):
        p = file.parameters[name]
        assert (p.value, p.source) == (0.0, "data")
        assert p.interval is not None
        assert p.interval[0] == 0 < p.interval[1]
        assert any(f"{name} is zero" in remark for remark in file.remarks)
    assert file.parameters["volume_noise"].value == pytest.approx(500 / 12_800, rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("s", [0.0, 0.05, 0.4])
def test_the_upper_limit_of_liquidity_is_above_what_is_hidden_and_what_is_clear_is_found(s: float) -> None:
    rng, n, a = np.random.default_rng(1), 780, np.exp(-10 * DT)
    state = np.empty(n)
    for t in range(n):
        state[t] = (
            s * rng.standard_normal() if t % 78 == 0 else a * state[t - 1] + s * (1 - a * a) ** 0.5 * rng.normal()
        )
    volume, spread = np.exp(state + 0.4 * rng.standard_normal(n)), np.exp(0.3 * rng.standard_normal(n) - 0.5 * state)
    found = liquidity.fit(volume, spread, None, np.arange(n) % 78 == 0, DT)
    if s == 0.4:
        assert found.limit is None
        assert abs(found.volatility.value - s) < 3 * found.volatility.error
    else:
        assert found.limit is not None
        assert s < found.limit < 0.3
        assert found.volatility.value == 0
        assert found.volume_noise.value == pytest.approx(float(np.log(volume).std()))


def one_size(c: Columns) -> Columns:
    return c | {"volume": np.full(len(c["mid"]), 600.0), "flow": 100.0 * np.sign(c["flow"])}


def with_cost(c: Columns) -> Columns:
    return c | {"cost": np.abs(c["flow"]) * 0.01}


def mostly_silent(c: Columns) -> Columns:
    traded = np.arange(len(c["mid"])) % 30 == 3
    return c | {name: np.where(traded, c[name], 0.0) for name in ("volume", "flow")}


def silent_after(c: Columns, slices: int) -> Columns:
    traded = np.arange(len(c["mid"])) < slices
    return c | {name: np.where(traded, c[name], 0.0) for name in ("volume", "flow")}


DEGENERATE: dict[str, Callable[[Columns], Columns]] = {
    "trades of one size": lambda c: with_cost(one_size(c)),
    "constant volume": lambda c: c | {"volume": np.full(len(c["mid"]), 1000.0)},
    "no trade in most slices": mostly_silent,
    "trades in ten slices": lambda c: silent_after(c, 10),
    "flow of one sign": lambda c: with_cost(c | {"flow": np.abs(c["flow"])}),
    "constant flow": lambda c: with_cost(c | {"flow": np.full(len(c["mid"]), 50.0)}),
    "no flow": lambda c: c | {"flow": np.zeros(len(c["mid"]))},
    "one move": lambda c: c | {"mid": np.where(np.arange(len(c["mid"])) > 500, 100.0, 100.01)},
    "no spread": lambda c: c | {"spread": np.zeros(len(c["mid"]))},
    "spread of one slice": lambda c: c | {"spread": np.where(np.arange(len(c["mid"])) == 9, 0.01, 0.0)},
    "two spreads": lambda c: c | {"spread": np.where(c["flow"] > 0, 0.01, 0.02)},
    "constant depth": lambda c: c | {"depth": np.full(len(c["mid"]), 100.0)},
}


def test_fewer_than_ten_slices_with_trades_are_refused() -> None:
    with pytest.raises(InputError, match="own: trades in 9 slices; a calibration needs 10 such at least"):
        of(slices(silent_after(lasting(0, 2), 9)))


@pytest.mark.slow
def test_a_price_of_two_levels_has_no_volatility_and_is_refused() -> None:
    columns = lasting(0, 8)
    with pytest.raises(InputError, match="own: the mid moves to and fro but hardly away"):
        of(slices(columns | {"mid": np.where(columns["flow"] > 0, 100.0, 100.01)}))


@pytest.mark.slow
def test_flow_in_a_few_slices_of_one_day_tells_nothing_of_impact() -> None:
    found = of(slices(silent_after(lasting(0, 8), 12)))
    assert found.response is None
    assert found.file.parameters["permanent_impact"].source == "prior"


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=pytest.mark.long if i % 3 else ()) for i, case in enumerate(DEGENERATE)]
)
def test_data_that_say_little_give_a_market_that_is_as_they_are(case: str) -> None:
    columns = DEGENERATE[case](lasting(0, 8))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = of(slices(columns))
    market = found.market
    assert market.daily_volume == pytest.approx(78 * columns["volume"].mean())
    if np.ptp(columns["volume"]) == 0:
        assert (market.volume_noise, market.liquidity_volatility) == (0.0, 0.0)
    spread = columns["spread"]
    if spread.all():
        assert market.half_spread == pytest.approx(1e4 * float((spread / columns["mid"]).mean()) / 2)
    if np.ptp(spread) == 0 < spread.max():
        assert market.spread_noise == 0
    for name, (estimate, _, _) in found.found.items():
        p = found.file.parameters[name]
        if p.source == "data" and p.interval is not None:
            assert p.interval[0] <= estimate.value <= p.interval[1], name


@pytest.mark.slow
def test_the_table_ends_with_what_twap_costs() -> None:
    found: Calibration = of(slices(lasting(0, 5)))
    assert [cost.part for cost in found.twap] == [0.01, 0.04]
    assert found.table().splitlines()[-1].startswith("TWAP over one day costs ")


@pytest.mark.parametrize("slice_length", [1 / 78, 1 / 390, 1 / 23_400])
def test_twap_of_permanent_impact_alone_costs_half_the_push_and_the_spread(slice_length: float) -> None:
    market = Market(temporary_impact=0.0, transient_impact=0.0, permanent_impact=2e-6)
    n = min(round(1 / slice_length), 390)
    for cost in sanity.twap(market, slice_length):
        shares = cost.part * market.daily_volume
        # All shares but those of a trade bear its push: γ X² / 2 (1 − 1/N), by hand.
        bps = 1.0 + 2e-6 * shares * (1 - 1 / n) / 2 / 100.0 * 1e4
        assert cost.bps == pytest.approx(bps)
        assert cost.y == pytest.approx(bps * 1e-4 / (0.02 * cost.part**0.5))


def test_truths_are_drawn_with_zeros_and_elasticities_of_both_signs() -> None:
    drawn = list(truth.markets(60, 0))
    for name in truth.ZERO:
        values = np.array([getattr(market, name) for market in drawn])
        assert 0.05 < np.mean(values == 0) < 0.5, name
    c = np.array([market.volatility_elasticity for market in drawn])
    assert c.min() < -0.3
    assert c.max() > 0.3


def test_the_summary_has_a_row_of_its_own_for_truths_of_zero() -> None:
    names = ["market", "parameter", "truth", "estimate", "error", "low", "high", "covered"]
    rows = [(0, "a", 2.0, 3.0, 1.0, 2.5, 4.0, False), (1, "a", 0.0, 0.0, 0.5, 0.0, 1.0, True)]
    table = truth.summary(pd.DataFrame(rows, columns=names))
    assert table.index.tolist() == ["a", "a = 0"]
    shown = table[["coverage", "bias", "typical_error", "markets"]].to_numpy().tolist()
    assert shown == [[0.0, 1.0, 1.0, 1.0], [1.0, 0.0, 0.5, 1.0]]
