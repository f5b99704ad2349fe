"""Baselines: published numbers, limits, and schedules that finish."""

from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exec_env.base.errors import NoBound
from exec_env.baselines.almgren_chriss import AlmgrenChriss, Impact, efficient_frontier
from exec_env.baselines.pov import POV
from exec_env.baselines.schedule import Schedule, fractions
from exec_env.baselines.twap import TWAP
from exec_env.baselines.vwap import VWAP
from exec_env.harness import evaluate
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.one_asset.presets import PRESETS
from exec_env.optimum.schedule import best_schedule
from tests.conftest import play


def closed_form(market: Market, order: Order) -> np.ndarray:
    return Impact.of(market, order).closed_form(order.shares, order.n_steps)


PAPER = PRESETS["almgren-chriss-2001"]


def test_kappa_and_twap_of_the_worked_example_of_almgren_and_chriss_2001() -> None:
    impact = Impact.of(PAPER.market, PAPER.order)
    assert impact.eta_tilde == pytest.approx(2.375e-6)
    assert impact.kappa == pytest.approx(0.6071, abs=5e-5)
    twap = np.linspace(1e6, 0, 6)
    assert impact.expected_cost(twap) == pytest.approx(662_500)
    assert impact.variance(twap) == pytest.approx(1.083e12)


@pytest.mark.parametrize(
    ("aversion", "cost", "std", "kappa"),
    [
        (2e-6, 1_140_715.2, 449_367.7, 0.8463),
        (1e-6, 911_227.0, 603_430.7, 0.6071),
        (0.0, 662_500.0, 1_040_672.9, 0.0),
        (-2e-7, 717_958.1, 1_258_654.3, np.nan),
    ],
)
def test_schedules_of_almgren_and_chriss_2001(aversion: float, cost: float, std: float, kappa: float) -> None:
    impact = Impact.of(PAPER.market, replace(PAPER.order, risk_aversion=aversion))
    assert impact.kappa == pytest.approx(kappa, abs=5e-5, nan_ok=True)
    for held in (impact.closed_form(1e6, 5), impact.optimum(1e6, 5)):
        assert impact.expected_cost(held) == pytest.approx(cost, abs=0.05)
        assert impact.variance(held) ** 0.5 == pytest.approx(std, abs=0.05)
    frontier = efficient_frontier(impact, 1e6, 5, risk_aversions=[aversion]).points[0]
    assert frontier.expected_cost == pytest.approx(cost, abs=0.05)


@pytest.mark.parametrize("n_steps", [2, 5, 40])
def test_below_a_limit_of_risk_aversion_there_is_no_schedule(n_steps: int) -> None:
    impact = Impact.of(PAPER.market, PAPER.order)
    limit = -4 * np.sin(np.pi / (2 * n_steps)) ** 2 * impact.eta_tilde / impact.volatility**2
    inside = replace(impact, risk_aversion=0.999 * limit)
    np.testing.assert_allclose(inside.closed_form(1e6, n_steps), inside.optimum(1e6, n_steps), rtol=1e-7, atol=1.0)
    outside = replace(impact, risk_aversion=1.001 * limit)
    for solve in (outside.closed_form, outside.optimum):
        with pytest.raises(NoBound, match=r"risk_aversion = -.*: must be above -.* over \d+ slices"):
            solve(1e6, n_steps)


def test_the_environment_charges_what_the_paper_says() -> None:
    env = gym.make("AlmgrenChriss-v0", preset="almgren-chriss-2001", action="fraction")
    agent = TWAP(PAPER.market, PAPER.order)
    steps = play(env, lambda o: agent.act(o[None])[0], seed=0)
    risk = sum(s["risk"] for s in steps)
    notional_bps = 1e6 * 50 * 1e-4
    assert (steps[-1]["objective_bps"] - risk) * notional_bps == pytest.approx(662_500, rel=1e-6)
    assert risk * notional_bps / 1e-6 == pytest.approx(1.083e12, rel=1e-6)


def test_zero_risk_aversion_gives_twap() -> None:
    order = Order(risk_aversion=0.0)
    np.testing.assert_allclose(closed_form(Market(), order), np.linspace(order.shares, 0, 41), rtol=1e-12)
    nearly = closed_form(Market(), Order(risk_aversion=1e-13))
    np.testing.assert_allclose(nearly, np.linspace(order.shares, 0, 41), rtol=1e-5, atol=1e-3)


def test_huge_risk_aversion_sells_at_once_without_overflow() -> None:
    held = closed_form(Market(), Order(risk_aversion=1e6))
    assert held[0] == 200_000
    assert held[1] < 1e-3
    assert np.isfinite(held).all()


def test_the_closed_form_is_the_optimum_of_the_classic_market() -> None:
    preset = PRESETS["classic"]
    closed = -np.diff(closed_form(preset.market, preset.order))
    np.testing.assert_allclose(best_schedule(preset.market, preset.order), closed, rtol=1e-6)
    impact = Impact.of(preset.market, preset.order)
    assert impact.objective(np.r_[2e5, 2e5 - np.cumsum(closed)].round(6)) < impact.objective(np.linspace(2e5, 0, 41))


@pytest.mark.parametrize("penalty", [1.0, 5.0, 1000.0])
def test_no_part_of_the_last_trade_is_worth_leaving_to_the_closing_block(penalty: float) -> None:
    preset = PRESETS["classic"]
    order = replace(preset.order, terminal_penalty=penalty)
    np.testing.assert_allclose(best_schedule(preset.market, order), -np.diff(closed_form(preset.market, order)), 1e-6)


@given(seed=st.integers(0, 10_000), size=st.floats(0.001, 0.3))
def test_no_other_schedule_is_cheaper_than_the_closed_form(seed: int, size: float) -> None:
    market, order = PRESETS["classic"].market, PRESETS["classic"].order
    best = closed_form(market, order)
    other = best.copy()
    other[1:-1] *= 1 + size * np.random.default_rng(seed).standard_normal(39)

    impact = Impact.of(market, order)
    assert impact.objective(other) > impact.objective(best)


def test_without_an_optimum_almgren_chriss_says_so() -> None:
    with pytest.raises(ValueError, match="must be above permanent_impact × slice_length / 2"):
        Impact.of(Market(permanent_impact=1e-4), Order())


def test_vwap_follows_the_profile_and_is_twap_on_a_flat_one() -> None:
    order = Order()
    np.testing.assert_array_equal(VWAP(Market(), order).trades, TWAP(Market(), order).trades)
    u = VWAP(Market(volume_profile="u-shaped"), order).trades
    np.testing.assert_allclose(u / u.sum(), Market(volume_profile="u-shaped").profile(order) / 40)


@given(trades=st.lists(st.floats(0, 1e6), min_size=2, max_size=30))
def test_fractions_of_the_remainder_reproduce_a_schedule(trades: list[float]) -> None:
    wanted = np.array(trades)
    left, done = wanted.sum(), []
    for fraction in fractions(wanted):
        done.append(left * fraction)
        left -= done[-1]
    np.testing.assert_allclose(done, wanted, rtol=1e-9, atol=1e-6)


def test_a_schedule_that_the_cap_held_back_catches_up_and_finishes() -> None:
    env = gym.make("AlmgrenChriss-v0", action="fraction", shares=900_000)
    agent = Schedule(np.ones(40))
    steps = play(env, lambda o: agent.act(o[None])[0], seed=4)
    assert any(s["clipped"] for s in steps)
    assert steps[-1]["shares"] - steps[-1]["block"] > 0


def test_pov_trades_its_share_of_volume_until_the_last_part_of_the_horizon() -> None:
    market, order = Market(), Order()
    agent = POV(market, order)
    assert agent.rate == pytest.approx(200_000 / (5e6 * 40 / 78))
    env = gym.make("AlmgrenChriss-v0", action="participation")
    for seed in range(5):
        steps = play(env, lambda o: agent.act(o[None])[0], seed=seed)
        early = [s["observation"][8] for s in steps[:19]]
        np.testing.assert_allclose(early, 1.0, rtol=1e-5)


@pytest.mark.parametrize("kwargs", [{"rate": 0.0}, {"rate": 0.31}, {"clean_up": 1.5}])
def test_an_impossible_pov_is_refused(kwargs: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(kwargs))):
        POV(Market(), Order(), **kwargs)


@pytest.mark.long
def test_twap_costs_what_was_computed_independently() -> None:
    # By another simulator, 400 000 paths: 24.7167 ± 0.0043, with a standard deviation of 81.4 of the shortfall.
    row = evaluate(["twap"], episodes=40_000, seed=123).per_agent.loc["twap"]
    assert abs(row["objective_mean"] - 24.7167) < 3 * np.hypot(row["objective_se"], 0.0043)
    assert row["shortfall_std"] == pytest.approx(81.4, abs=1.5)


@pytest.mark.long
def test_the_objective_of_agents_is_above_the_bound_and_almgren_chriss_is_close_to_it() -> None:
    evaluation = evaluate(["twap", "vwap", "pov", "almgren-chriss"], episodes=20_000, seed=5)
    table = evaluation.per_agent
    assert evaluation.bound_bps == pytest.approx(20.15214, rel=1e-4)
    assert (table["objective_mean"] - 3 * table["objective_se"] > evaluation.bound_bps).all()
    assert table.loc["almgren-chriss", "gap_percent"] == pytest.approx(3.9, abs=0.6)


def test_the_almgren_chriss_agent_trades_its_trajectory() -> None:
    preset = PRESETS["classic"]
    agent = AlmgrenChriss(preset.market, preset.order)
    env = gym.make("AlmgrenChrissClassic-v0")
    steps = play(env, lambda o: agent.act(o[None])[0], seed=0)
    np.testing.assert_allclose(
        [s["shares"] for s in steps], -np.diff(closed_form(preset.market, preset.order)), rtol=1e-4, atol=0.1
    )
