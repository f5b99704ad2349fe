"""Orders over several sessions: quadratic programs, simulated means, and the bound below every policy."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from exec_env.base.errors import InputError, NoBound
from exec_env.baselines.adaptive import Adaptive
from exec_env.baselines.almgren_chriss import AlmgrenChriss
from exec_env.baselines.impact import Impact
from exec_env.baselines.schedule import Schedule
from exec_env.baselines.twap import TWAP
from exec_env.baselines.vwap import VWAP
from exec_env.harness import evaluate
from exec_env.market.clock import nights
from exec_env.market.execution import bps
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.market.paths import Paths
from exec_env.one_asset.actions import ActionMode
from exec_env.one_asset.presets import PRESETS
from exec_env.optimum import dual, dynamic_programming, lq
from exec_env.optimum.means import slice_means
from exec_env.optimum.schedule import best_schedule
from exec_env.optimum.schedule_cost import schedule_cost
from tests.rollouts import executed

NIGHTLY: dict[str, Any] = {"overnight_variance": 0.3, "night_length": 2.7}
CLASSIC = PRESETS["classic"].market
TWO_DAYS = Order(n_steps=10, slice_length=0.125, arrival=0.375, risk_aversion=3e-6, max_participation=None)  # 5 and 5
HALF_DAY = Order(n_steps=12, slice_length=0.125, arrival=0.5, sessions=(1.0, 0.5), max_participation=None)  # 4, 4, 4


def program(market: Market, order: Order) -> np.ndarray:
    """Trades of least expected cost + λ variance, as a quadratic program written out and solved directly. [shares]

    Prices: a random walk by the slice and, by ``overnight_variance`` sessions more, by the night; pushes decay by the
    slice and by the night.
    """
    n, dt = order.n_steps, order.slice_length
    night = np.zeros(n)
    ends = np.cumsum([*order.sessions, *np.ones(20)])
    for t in range(n - 1):
        night[t] = np.isclose(ends, (order.arrival or 0.0) + (t + 1) * dt).any()
    sold = np.tri(n)  # shares held after slice t are X − sold[t] @ v
    variance = (market.volatility * market.arrival_price) ** 2 * (dt + market.overnight_variance * night)
    time = dt * np.arange(n) + np.r_[0.0, np.cumsum(market.night_length * night)[:-1]]  # by the clock
    push = market.transient_impact * np.exp(-market.resilience * np.abs(np.subtract.outer(time, time)))
    np.fill_diagonal(push, 0.0)
    # γ v_t (X − Σ_{u ≤ t} v_u), temporary impact, pushes of earlier trades, and risk.
    quadratic = 2 * market.temporary_impact / dt * np.eye(n) + push - market.permanent_impact * (sold + sold.T)
    quadratic += 2 * order.risk_aversion * sold[:-1].T @ np.diag(variance[:-1]) @ sold[:-1]
    linear = market.permanent_impact * order.shares * np.ones(n)
    linear -= 2 * order.risk_aversion * order.shares * sold[:-1].T @ variance[:-1]
    system = np.block([[quadratic, np.ones((n, 1))], [np.ones((1, n)), np.zeros((1, 1))]])
    return np.linalg.solve(system, np.r_[-linear, order.shares])[:n]


@pytest.mark.parametrize("order", [TWO_DAYS, HALF_DAY, Order(n_steps=5, slice_length=1.0, max_participation=None)])
@pytest.mark.parametrize("ratio", [0.0, 0.3, 2.0])
def test_almgren_chriss_over_nights_is_the_quadratic_program(order: Order, ratio: float) -> None:
    market = replace(CLASSIC, overnight_variance=ratio)
    expected = program(market, order)
    np.testing.assert_allclose(AlmgrenChriss(market, order).trades, expected, rtol=1e-9, atol=1e-9 * order.shares)
    np.testing.assert_allclose(best_schedule(market, order), expected, rtol=1e-6, atol=1e-6 * order.shares)


@pytest.mark.parametrize("order", [TWO_DAYS, HALF_DAY])
def test_the_best_schedule_with_impact_that_decays_overnight_is_the_quadratic_program(order: Order) -> None:
    market = replace(CLASSIC, transient_impact=3e-7, resilience=2.0, overnight_variance=0.3, night_length=0.4)
    expected = program(market, order)
    assert (expected > 0).all()
    np.testing.assert_allclose(best_schedule(market, order), expected, rtol=1e-7, atol=1e-7 * order.shares)
    # The rule without constraints trades the same, and its cost is the schedule's.
    cost = schedule_cost(market, order, expected).objective
    assert lq.solve(market, order).bound_bps == pytest.approx(cost, rel=1e-9)


def test_a_night_is_as_so_many_slices_without_trading() -> None:
    """Three slices' variance at night: a program over slices of which those three must not be traded in."""
    order = replace(TWO_DAYS, n_steps=6, arrival=0.625)  # three slices, the night, three slices
    market = replace(CLASSIC, overnight_variance=3 * order.slice_length)
    longer = replace(order, n_steps=9, arrival=None)
    slope = 2 * (CLASSIC.temporary_impact / order.slice_length - CLASSIC.permanent_impact / 2)
    risk = 2 * order.risk_aversion * (CLASSIC.volatility * CLASSIC.arrival_price) ** 2 * order.slice_length
    traded = np.delete(np.eye(9), [3, 4, 5], 1)
    held = np.tri(9)[:-1] @ traded  # sold by the end of each slice
    quadratic = slope * np.eye(6) + risk * held.T @ held
    system = np.block([[quadratic, np.ones((6, 1))], [np.ones((1, 6)), np.zeros((1, 1))]])
    right = np.r_[risk * order.shares * held.sum(0), order.shares]
    expected = np.linalg.solve(system, right)[:6]
    assert longer.n_steps == len(held) + 1
    np.testing.assert_allclose(AlmgrenChriss(market, order).trades, expected, rtol=1e-9)


def test_more_variance_at_night_sells_more_before_it() -> None:
    before = [AlmgrenChriss(replace(CLASSIC, overnight_variance=r), TWO_DAYS).trades[:5].sum() for r in (0, 0.3, 2, 50)]
    assert (np.diff(before) > 0).all()
    assert before[-1] > 0.97 * TWO_DAYS.shares


def test_the_closed_form_knows_no_night_and_the_model_counts_them() -> None:
    impact = Impact.of(replace(CLASSIC, overnight_variance=0.5), TWO_DAYS)
    with pytest.raises(NoBound, match="nights"):
        impact.closed_form(1.0, 10)
    with pytest.raises(InputError, match="nights: has 9 numbers; 4 slices have 3 between them"):
        impact.optimum(1.0, 4)
    with pytest.raises(NoBound, match="too far below zero"):
        replace(impact, risk_aversion=-1.0).optimum(1.0, 10)
    trades = impact.trades(TWO_DAYS.shares, 10)
    held = TWO_DAYS.shares - np.r_[0.0, np.cumsum(trades)]
    held[-1] = 0.0
    span = np.where(nights(TWO_DAYS), 0.625, 0.125)
    assert impact.variance(held) == pytest.approx(4.0 * span @ held[1:] ** 2)
    for seeking in (-1e-8, 0.0, 1e-6):
        tilted = replace(impact, risk_aversion=seeking)
        best = tilted.optimum(TWO_DAYS.shares, 10)
        assert tilted.objective(best) < tilted.objective(best + 100.0 * np.r_[0.0, 1.0, -1.0, np.zeros(8)])


def test_power_law_impact_over_a_night_has_a_schedule_that_nothing_beats() -> None:
    market = replace(CLASSIC, impact_exponent=0.6, overnight_variance=0.5)
    impact = Impact.of(market, TWO_DAYS)
    best = impact.optimum(TWO_DAYS.shares, 10)
    rng = np.random.default_rng(0)
    for _ in range(50):
        other = best + np.r_[0.0, 300.0 * rng.standard_normal(9), 0.0]
        assert impact.objective(best) < impact.objective(other)


# --- limits


@pytest.mark.parametrize("fields", [{}, {"regime_rate": 3.0}, {"stress": "volatility-spike", "stress_onset_end": 0.9}])
def test_without_night_fields_an_order_over_days_is_as_before_bit_for_bit(fields: dict[str, Any]) -> None:
    order = replace(TWO_DAYS, arrival=None, sessions=())
    one, other = (lq.solve(Market(**fields), each) for each in (order, TWO_DAYS))
    assert one.bound_bps == other.bound_bps
    for name in ("at_arrival", "gain", "curvature"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    np.testing.assert_array_equal(best_schedule(Market(**fields), order), best_schedule(Market(**fields), TWO_DAYS))


def test_an_order_within_a_session_knows_no_night() -> None:
    for order in (Order(), Order(arrival=0.4)):
        assert lq.solve(Market(**NIGHTLY), order).bound_bps == lq.solve(Market(), Order()).bound_bps


def test_a_small_night_costs_little_and_a_long_one_lets_all_push_decay() -> None:
    known = lq.solve(Market(), TWO_DAYS).bound_bps
    assert lq.solve(Market(overnight_variance=1e-9, night_length=1e-9), TWO_DAYS).bound_bps == pytest.approx(known)
    bounds = [lq.solve(Market(night_length=length), TWO_DAYS).bound_bps for length in (0.0, 0.1, 2.7, 1e3)]
    assert bounds[0] > bounds[1] > bounds[2] == pytest.approx(bounds[3], rel=1e-6)


# --- simulated means


RANDOM = {"liquidity_volatility": 0.3, "volume_profile": "u-shaped", "volatility_elasticity": 0.3}
MARKETS: dict[str, dict[str, Any]] = {
    "random": RANDOM,
    "regimes": {"regime_rate": 3.0, "regime_volatility": 3.0},
    "spike": {"stress": "volatility-spike", "stress_onset": 0.3},
}


@pytest.mark.parametrize("name", MARKETS)
def test_means_of_slices_are_those_of_simulated_paths(name: str) -> None:
    market = Market(**MARKETS[name], **NIGHTLY)
    means, n = slice_means(market, TWO_DAYS), 20_000
    slices = Paths.simulate(market, TWO_DAYS, n, seed=11).slices
    for column in ("variance", "volume", "decay"):
        drawn = getattr(slices, column) + 0.0
        error = drawn.std(0) / n**0.5 + 1e-12 * drawn.mean(0)
        assert (np.abs(drawn.mean(0) - getattr(means, column)) < 4.5 * error).all(), column


@pytest.mark.parametrize("name", MARKETS)
def test_j_of_the_rule_without_a_cap_is_the_bound_and_that_of_others_is_above_it(name: str) -> None:
    market, n = Market(**MARKETS[name], **NIGHTLY), 8000
    order = replace(TWO_DAYS, risk_aversion=1e-6)
    paths = Paths.simulate(market, order, n, seed=3)
    bound = lq.solve(market, order).bound_bps
    for agent in (Adaptive(market, order), TWAP(market, order), VWAP(market, order), AlmgrenChriss(market, order)):
        steps = executed(agent.act, paths, market, order, ActionMode(agent.action_mode))
        objective = sum(s.fill.objective for s in steps) * bps(order.shares * paths.arrival_price)
        mean, error = objective.mean(), objective.std(ddof=1) / n**0.5
        assert mean > bound - 3 * error
        if isinstance(agent, Adaptive):
            assert mean < bound + 3 * error


@pytest.mark.slow
@pytest.mark.parametrize("cap", [None, pytest.param(0.05, marks=pytest.mark.long)])
def test_the_best_schedule_over_nights_beats_others_and_costs_what_it_is_said_to(cap: float | None) -> None:
    market, order = Market(**RANDOM, **NIGHTLY), replace(HALF_DAY, max_participation=cap)
    best = best_schedule(market, order)
    known = schedule_cost(market, order, best)
    rng = np.random.default_rng(0)
    for _ in range(3):
        other = np.maximum(best * (1 + 0.1 * rng.standard_normal(12)), 0.0)
        assert schedule_cost(market, order, order.shares / other.sum() * other).objective > known.objective
    agent, paths = Schedule(best), Paths.simulate(market, order, 8000, seed=5)
    steps = executed(agent.act, paths, market, order, ActionMode(agent.action_mode))
    objective = sum(s.fill.objective for s in steps) * bps(order.shares * paths.arrival_price)
    assert abs(objective.mean() - known.objective) < 3 * (objective.std() / 8000**0.5 + known.error)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["random", pytest.param("regimes", marks=pytest.mark.long)])
def test_the_constrained_optimum_over_nights_is_in_its_interval_and_above_the_bound(name: str) -> None:
    market, order = Market(**MARKETS[name], **NIGHTLY), Order(n_steps=3, slice_length=0.25, arrival=0.5)
    order = replace(order, max_participation=0.1)
    solution = dynamic_programming.solve(market, order)
    interval = dual.certify(market, order, 500)
    low, high = interval.lower_bps - 3 * interval.lower_se, interval.upper_bps + 3 * interval.upper_se
    assert low - solution.error_bps < solution.value_bps < high + solution.error_bps
    assert interval.gap_bps < 0.02 * solution.value_bps
    assert solution.value_bps > solution.linear.bound_bps


def test_j_corrected_by_what_is_known_of_nights_is_j() -> None:
    """The control variates have mean zero: the mean is that of plain simulation, its error less than half."""
    order = Order(n_steps=6, slice_length=0.25, arrival=0.5)
    market = Market(**RANDOM, **NIGHTLY)
    options = {**RANDOM, **NIGHTLY, "n_steps": 6, "slice_length": 0.25, "arrival": 0.5}
    found = evaluate(["twap"], episodes=1000, seed=1, n_examples=0, **options).per_agent.iloc[0]
    paths = Paths.simulate(market, order, 20_000, seed=3)
    steps = executed(TWAP(market, order).act, paths, market, order, ActionMode(TWAP.action_mode))
    objective = sum(s.fill.objective for s in steps) * bps(order.shares * paths.arrival_price)
    error = objective.std() / 20_000**0.5
    assert abs(found["objective_mean"] - objective.mean()) < 3 * (found["objective_se"] ** 2 + error**2) ** 0.5
    assert found["objective_se"] < 0.5 * error * 20**0.5  # of a twentieth of the paths
