"""Impact that is not given follows σ S0 / V: in environments, evaluation, bounds and ids of one's own."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import exec_env
from exec_env.data.description import describe
from exec_env.data.market_file import UNITS, MarketFile, Parameter
from exec_env.envs.registry import ENVIRONMENTS
from exec_env.harness import evaluate
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.one_asset.options import make_problem
from exec_env.one_asset.presets import PRESETS

IMPACTS = ("temporary_impact", "permanent_impact", "transient_impact")
NOTE = "impact that is not given follows σ S0 / V: "


def impact(market: Market) -> list[float]:
    return [getattr(market, name) for name in IMPACTS]


def test_the_scale_is_volatility_times_price_over_volume() -> None:
    market = make_problem(arrival_price=40.0, daily_volume=3e6, volatility=0.018).market
    scale = (0.018 * 40 / 3e6) / (0.02 * 100 / 5e6)
    assert scale == pytest.approx(0.6)
    assert impact(market) == pytest.approx([0.6 * 1.6e-7, 0.6 * 2.5e-7, 0.6 * 6e-7], rel=1e-12)
    assert (market.half_spread, market.resilience) == (1.0, 10.0)


@pytest.mark.parametrize("name", IMPACTS)
def test_impact_that_is_given_is_held_and_the_rest_follows(name: str) -> None:
    problem = make_problem(daily_volume=1e6, **{name: 3e-7})
    held, followed = impact(problem.market), [5 * getattr(Market, n) for n in IMPACTS]
    followed[IMPACTS.index(name)] = 3e-7
    assert held == pytest.approx(followed, rel=1e-12)
    (note,) = problem.remarks()
    assert note.startswith(NOTE)
    assert name not in note


def test_all_that_is_given_is_literal_and_nothing_is_said() -> None:
    given: dict[str, Any] = {"volatility": 0.05, "temporary_impact": 1e-7, "permanent_impact": 0.0}
    problem = make_problem(**given, transient_impact=2e-7)
    assert impact(problem.market) == [1e-7, 0.0, 2e-7]
    assert problem.remarks() == []
    assert make_problem(volatility=0.02, arrival_price=100.0, shares=5.0, half_spread=3.0).remarks() == []
    assert make_problem(arrival_price=50.0, daily_volume=2.5e6).remarks() == []  # the same σ S0 / V


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_its_own_base(preset: str) -> None:
    base = PRESETS[preset].market
    scaled = make_problem(preset, arrival_price=3 * base.arrival_price, daily_volume=base.daily_volume / 2).market
    assert impact(scaled) == pytest.approx([6 * value for value in impact(base)], rel=1e-12)


@pytest.mark.long
@settings(max_examples=15, deadline=None)
@given(
    price=st.floats(1e-3, 1e5),
    volume=st.floats(1e-3, 1e3),
    sigma=st.floats(0.2, 5.0),
    exponent=st.sampled_from([1.0, 0.6]),
)
def test_an_order_as_large_in_another_market_costs_as_much_of_its_volatility(
    price: float, volume: float, sigma: float, exponent: float
) -> None:
    """X / V, h / σ and λ σ S0 X / V stay; then J over σ does, path by path, closing block and cap included."""
    base: dict[str, Any] = {"impact_exponent": exponent, "n_steps": 10, "max_participation": 0.1}
    ours = evaluate(["twap", "almgren-chriss", "pov"], episodes=50, n_examples=0, **base)
    order = {"shares": Order.shares * volume, "risk_aversion": Order.risk_aversion / (sigma * price / 100 * volume)}
    market = {"arrival_price": price, "daily_volume": 5e6 * volume, "volatility": 0.02 * sigma, "half_spread": sigma}
    theirs = evaluate(["twap", "almgren-chriss", "pov"], episodes=50, n_examples=0, **base, **order, **market)
    for column in ("objective", "shortfall", "temporary", "transient", "permanent"):
        np.testing.assert_allclose(theirs.per_path[column] / sigma, ours.per_path[column], rtol=1e-6, atol=1e-9)
    if exponent == 1.0:
        assert theirs.bound_bps == pytest.approx(sigma * ours.bound_bps, rel=1e-9)  # type: ignore[operator]


@pytest.mark.slow
def test_an_order_of_a_smaller_stock_costs_what_the_rule_says() -> None:
    """250 000 shares of a 40 $ stock that trades 3 M a day cost an even pace 30.1 bps: 1.5 of it the spread."""
    found = evaluate(
        ["twap"],
        episodes=20_000,
        n_examples=0,
        **{"shares": 250_000, "arrival_price": 40.0, "daily_volume": 3e6, "volatility": 0.018},
        **{"half_spread": 1.5, "n_steps": 24, "max_participation": None},
    ).per_path
    cost = found["spread"] + found["temporary"] + found["transient"] + found["permanent"]
    v, X = 250_000 / 24, 250_000.0
    temporary, permanent = 0.6 * 1.6e-7 * 78 * v / 40, 0.6 * 2.5e-7 * X / 2 * (1 - 1 / 24) / 40
    assert [1e4 * temporary, 1e4 * permanent] == pytest.approx([19.5, 4.49], abs=0.01)
    assert cost.mean() == pytest.approx(30.1, abs=3 * cost.std() / len(cost) ** 0.5 + 0.05)


def test_environments_ids_of_ones_own_bounds_and_vectors_follow_alike() -> None:
    options: dict[str, Any] = {"arrival_price": 40.0, "volatility": 0.03}
    theirs = make_problem(**options).market
    assert gym.make("AlmgrenChriss-v0", **options).unwrapped.market == theirs  # type: ignore[attr-defined]
    assert gym.make_vec("AlmgrenChriss-v0", 2, **options).unwrapped.market == theirs  # type: ignore[attr-defined]
    exec_env.register("Follows-v0", volatility=0.03)
    assert gym.make("Follows-v0", arrival_price=40.0).unwrapped.market == theirs  # type: ignore[attr-defined]
    by_hand = exec_env.bound(market=theirs).value_bps
    assert exec_env.bound(**options).value_bps == by_hand
    assert exec_env.bound("Follows-v0", arrival_price=40.0).value_bps == by_hand
    ENVIRONMENTS.pop("Follows-v0")
    gym.registry.pop("Follows-v0")
    assert exec_env.bound(market=Market(arrival_price=40.0, volatility=0.03)).value_bps != by_hand


def test_a_market_object_is_literal_and_the_base_of_what_is_given_beside_it() -> None:
    market = Market(daily_volume=1e6, temporary_impact=1e-7)
    problem = make_problem(market=market)
    assert problem.market == market
    assert problem.remarks() == []
    assert impact(make_problem(market=market, arrival_price=200.0).market) == pytest.approx([2e-7, 5e-7, 1.2e-6])


def test_a_volatility_of_zero_says_nothing_of_impact_and_a_line_says_that() -> None:
    still = make_problem(volatility=0.0)
    assert impact(still.market) == impact(Market())
    assert still.remarks() == ["a volatility of 0 says nothing of impact, which stays as it is"]
    smaller = make_problem(volatility=0.0, daily_volume=1e6)
    assert impact(smaller.market) == pytest.approx([8e-7, 1.25e-6, 3e-6])
    (line,) = smaller.remarks()
    assert line.startswith("impact that is not given follows S0 / V, because a volatility of 0 says nothing of it: ")
    back = make_problem(market=Market(volatility=0.0), volatility=0.04)
    assert impact(back.market) == impact(Market())
    assert back.remarks() == still.remarks()
    assert make_problem(volatility=0.0, **dict.fromkeys(IMPACTS, 1e-7)).remarks() == []
    assert make_problem(market=Market(volatility=0.0), daily_volume=5e6).remarks() == []


def test_beside_a_tape_the_volatility_that_is_given_is_followed_unless_a_market_is_given(tape_csv: Path) -> None:
    options: dict[str, Any] = {"tape": tape_csv, "shares": 1000.0, "n_steps": 10}
    calm, wild = make_problem(**options), make_problem(**options, volatility=0.5)
    scale = 0.5 / calm.market.volatility
    assert impact(wild.market) == pytest.approx([scale * value for value in impact(calm.market)], rel=1e-12)
    assert wild.tape is not None
    assert "as given); " not in describe(wild.tape, wild.market).split("not in it")[1].split("ρ")[0]
    held = make_problem(**options, volatility=0.5, market=Market())
    assert impact(held.market) == impact(Market())
    assert held.remarks() == []


def test_a_calibrated_market_is_the_base_of_what_is_given_beside_it(tmp_path: Path) -> None:
    MarketFile({name: Parameter(getattr(Market(), name)) for name in UNITS}).save(tmp_path / "market.yaml")
    assert make_problem(market=tmp_path / "market.yaml").remarks() == []
    problem = make_problem(market=tmp_path / "market.yaml", daily_volume=1e6)
    assert impact(problem.market) == pytest.approx([5 * value for value in impact(Market())])
    assert problem.remarks()[0].startswith(NOTE)


def test_ranges_are_around_the_scaled_market_and_what_is_drawn_moves_alone() -> None:
    problem = make_problem(arrival_price=50.0, randomise=["volatility=0.01:0.04", "temporary_impact=1e-7:2e-7"])
    assert impact(problem.market) == pytest.approx([8e-8, 1.25e-7, 3e-7])
    slices = problem.sample([np.random.default_rng(0)], 20).slices
    assert np.ptp(slices.variance[:, 0]) > 0
    np.testing.assert_allclose(slices.permanent, 1.25e-7)
    assert problem.remarks()[1] == "impact does not follow the volatility that each path draws"


def test_the_table_and_the_run_folders_note_say_it() -> None:
    result = evaluate(["twap"], episodes=4, daily_volume=1e6)
    line = f"{NOTE}temporary_impact = 8e-07, permanent_impact = 1.25e-06, transient_impact = 3e-06"
    assert sum(remark.startswith(line) for remark in result.remarks) == 1
    assert line in result.table()
    assert make_problem(daily_volume=1e6).provenance()["notes"][0].startswith(line)
