"""Named problems: the published ones have their published numbers, and one name is one problem."""

from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from exec_env import ENVIRONMENTS, PRESETS
from exec_env.market.execution import Slice, State, price_per_share, terms, trade
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.market.paths import Normals, Paths
from exec_env.market.stress import STRESSES
from exec_env.one_asset.options import make_problem
from exec_env.one_asset.scenarios import NAMES, scenarios

# Two slices of the notebook at the second of its seven levels: mid without impact [$], market volume [shares], noise of
# the fill [$], shares traded, and price of the fill of a sell and of a buy [$].
TRACE = [
    (100.36784179015903, 1904082.2238, -0.00044465628522, 63469.40746064, 100.2537605532003, 100.48103392611202),
    (100.2293062426257, 1556185.5180, -0.00040151613786, 36530.59253936, 100.07878720296068, 100.37902248475946),
]


@pytest.mark.parametrize("side", ["sell", "buy"])
def test_the_notebooks_trace_agrees_within_half_a_per_cent_of_its_impact(side: Any) -> None:
    problem = make_problem("participation-notebook", side=side)
    market, order, sign = problem.market, problem.order, problem.order.sign
    level = problem.actions().one(1)
    state, total, impact = State(order.shares, 0.0, sign * (TRACE[0][0] - 100.0), 0.0), 0.0, 0.0
    after = [*(mid for mid, *_ in TRACE[1:]), TRACE[-1][0]]
    for t, (mid, volume, noise, shares, *prices) in enumerate(TRACE):
        theirs = prices[side == "buy"]
        now = Slice(
            **{"log_liquidity": 0.0, "half_spread": market.half_spread_at(0.0, 0.0), "volume": volume},
            **{"variance": 0.0, "drift": 0.0, "temporary": market.temporary_at(0.0, 0.0, order.slice_length)},
            **{"permanent": market.permanent_impact, "decay": 1.0, "price_shock": sign * (after[t] - mid)},
            slippage=-sign * noise,
        )
        left = order.n_steps - t
        state, fill = trade(state, now, problem.actions().ask(level, state, now, left), terms(market, order), False)
        assert fill.shares == pytest.approx(shares, rel=1e-9)
        ours = 100.0 + sign * price_per_share(fill.shares, fill.touch, fill.shortfall)
        concession = sign * (mid + noise - theirs) - 0.05  # theirs, all pushes so far and temporary impact
        assert abs(ours - theirs) <= 0.005 * concession
        total += fill.shares * (ours - theirs)
        impact += shares * concession
    assert state.remaining == 0.0
    assert abs(total) <= 0.005 * impact


def test_the_notebooks_impact_is_its_own() -> None:
    market, order = PRESETS["participation-notebook"].market, PRESETS["participation-notebook"].order
    assert market.permanent_impact == 1e-6
    # A trade pays its own push, and 5e-5 of the price times its share of the volume.
    assert market.temporary_at(0.0, 0.0, order.slice_length) == pytest.approx(1e-6 + 5e-5 * 100 / 2e6, rel=1e-12)
    assert market.transient_impact == 0.0
    assert (market.half_spread, order.max_participation) == (5.0, 0.20)


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.3])
def test_almgren_2005_concedes_what_the_paper_says(rate: float) -> None:
    market, order = PRESETS["almgren-2005"].market, PRESETS["almgren-2005"].order
    v = rate * market.daily_volume * order.slice_length
    mean = replace(market, impact_noise=0.0, liquidity_volatility=0.0)
    concession = mean.temporary_at(0.0, 0.0, order.slice_length) * v**market.impact_exponent / market.arrival_price
    assert concession == pytest.approx(0.142 * market.volatility * rate**0.6, rel=1e-12)
    push = market.permanent_impact * order.shares / market.arrival_price  # of all of the order
    outstanding = push / (0.314 * market.volatility * order.shares / market.daily_volume)
    assert outstanding == pytest.approx((1e9 / 5e6) ** 0.25, rel=1e-12)
    assert 3 < outstanding < 4
    assert market.transient_impact == 0.0


def test_coordinated_is_the_default_where_variance_rises_with_volume() -> None:
    coordinated = PRESETS["coordinated"]
    assert coordinated.market == Market(volatility_elasticity=0.5)
    assert coordinated.order == Order()
    slices = Paths.simulate(coordinated.market, Order(), 20_000, seed=0).slices
    np.testing.assert_allclose(np.log(slices.variance), np.log(4 / 78) + slices.log_liquidity - 0.125, atol=1e-9)
    correlation = np.corrcoef(np.log(slices.volume).ravel(), np.log(slices.variance).ravel())[0, 1]
    assert correlation == pytest.approx(0.5 / (0.5**2 + 0.4**2) ** 0.5, abs=0.02)
    assert slices.variance.mean() == pytest.approx(4 / 78, rel=0.02)


def named(env_id: str) -> str:
    """AlmgrenChrissLiquidityShocks-v0 -> liquidity-shocks."""
    words = env_id.removeprefix("AlmgrenChriss").removesuffix("-v0")
    return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in words).lstrip("-")


UNDER_STRESS = [env_id for env_id in ENVIRONMENTS if named(env_id) in NAMES]


def test_every_stress_has_one_preset_and_one_id() -> None:
    assert sorted(map(named, UNDER_STRESS)) == sorted(name for name in NAMES if name != "normal")


@pytest.mark.parametrize("env_id", UNDER_STRESS)
def test_one_name_is_one_problem(env_id: str) -> None:
    """The id, the preset, the stress by option and the regime of stress tests, all of one name."""
    name = named(env_id)
    onset = 0.0 if name == "liquidity-shocks" else 0.5
    market = PRESETS[name].market
    assert ENVIRONMENTS[env_id].options["preset"] == name
    assert gym.make(env_id).unwrapped.market == market  # type: ignore[attr-defined]
    (scenario,) = scenarios([name])
    tested = make_problem(**scenario.options)
    assert tested.market == market
    assert tested.order == PRESETS[name].order
    if name in STRESSES:
        by_option = make_problem(stress=name, stress_onset=onset)
        assert by_option.market == market
        assert STRESSES[name].description in PRESETS[name].description
        assert by_option.bound() == make_problem(name).bound()
    z = Normals(*np.random.default_rng(0).standard_normal((len(Normals._fields), 3, 40)))
    for one, other in zip(
        Paths.shaped(market, Order(), z).slices.columns,
        Paths.shaped(tested.market, Order(), z).slices.columns,
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


def test_liquidity_shocks_come_from_the_start_and_are_no_fields_of_the_market() -> None:
    market = PRESETS["liquidity-shocks"].market
    assert (market.stress, market.stress_onset, market.shock_rate, market.shock_size) == ("liquidity-shocks", 0, 0, 0)
    assert market.shocks == pytest.approx((2.0, 1.1))
    # The same as shocks by fields, but for the name.
    fields = Market(shock_rate=2.0, shock_size=1.1)
    z = Normals(*np.random.default_rng(0).standard_normal((len(Normals._fields), 50, 40)))
    ours, theirs = (Paths.shaped(m, Order(), z).slices for m in (market, fields))
    np.testing.assert_allclose(ours.log_liquidity, theirs.log_liquidity, rtol=1e-12)
