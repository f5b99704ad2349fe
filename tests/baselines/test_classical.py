"""Almgren-Chriss, LQR and Garleanu-Pedersen: published numbers, closed forms against recursions, and simulation."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from exec_env.base.errors import NoBound
from exec_env.baselines import lqr
from exec_env.baselines.almgren_chriss import (
    CONVENTIONS,
    Impact,
    ac_efficient_frontier,
    ac_kappa,
    ac_optimal_schedule,
    efficient_frontier,
)
from exec_env.baselines.garleanu_pedersen import (
    GarleanuPedersen,
    gp_exact_trajectory,
    gp_execution_cost,
    gp_objective,
    gp_optimal_trajectory,
    gp_urgency,
)
from exec_env.baselines.schedule import Schedule
from exec_env.baselines.twap import TWAP
from exec_env.harness import evaluate
from exec_env.market.execution import bps
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.market.paths import Paths
from exec_env.one_asset.actions import ActionMode
from exec_env.one_asset.presets import PRESETS
from tests.rollouts import executed

# A published notebook: a million shares in an hour, 60 slices, quadratic convention.
NOTEBOOK = Impact(0.004, 5e-7, 1e-7, 2e-6, slice_length=60.0, convention="quadratic")


def test_the_notebooks_optimum_is_reproduced_in_its_own_convention() -> None:
    held = NOTEBOOK.optimum(1e6, 60)
    assert NOTEBOOK.expected_cost(held) == pytest.approx(55269.86539749491, rel=1e-9)
    assert NOTEBOOK.variance(held) == pytest.approx(3158296078.6355605, rel=1e-9)
    assert NOTEBOOK.objective(held) == pytest.approx(61586.457554766035, rel=1e-9)
    assert held[[1, 30, 59]] == pytest.approx([834289.2990611545, 4360.054734042648, 6.926312917875002], rel=1e-6)
    twap = np.linspace(1e6, 0, 61)
    assert NOTEBOOK.expected_cost(twap) == pytest.approx(50972.2222222)
    assert NOTEBOOK.variance(twap) == pytest.approx(19682666666.67)


def test_the_notebooks_frontier_is_reproduced_at_both_ends() -> None:
    frontier = ac_efficient_frontier(
        1e6, 60, 0.004, 5e-7, 1e-7, risk_aversions=[1e-8, 1e-3], slice_length=60.0, convention="quadratic"
    ).to_frame()
    assert frontier["expected_cost"].tolist() == pytest.approx([50979.01767945472, 102320.45649263554], rel=1e-9)
    assert frontier["variance"].tolist() == pytest.approx([18285435856.535397, 962843069.9177505], rel=1e-9)


def test_what_the_notebook_charges_and_its_simulation_does_not_pay_is_the_own_push_of_each_trade() -> None:
    held = NOTEBOOK.optimum(1e6, 60)
    trades = -np.diff(held)
    charged = 1e-7 * (held[:-1] * trades).sum()
    paid = 1e-7 * (held[1:] * trades).sum()
    assert charged - paid == pytest.approx(1e-7 * (trades**2).sum())
    # The published simulation's mean, 45 896 from a finite number of paths, is the cost without that part.
    assert NOTEBOOK.expected_cost(held) - (charged - paid) == pytest.approx(45_896, rel=0.01)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("aversion", [0.0, 1e-8, 1e-6, 1e-3])
def test_the_banded_optimum_is_the_closed_form(convention: Any, aversion: float) -> None:
    impact = Impact(0.95, 2.5e-6, 2.5e-7, aversion, convention=convention)
    np.testing.assert_allclose(impact.optimum(1e6, 50), impact.closed_form(1e6, 50), rtol=1e-9, atol=1e-6)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_the_banded_optimum_minimises_the_objective(convention: Any) -> None:
    impact = Impact(0.95, 2.5e-6, 2.5e-7, 1e-6, convention=convention)

    def objective(inner: np.ndarray) -> float:
        return impact.objective(np.r_[1e6, inner * 1e6, 0.0]) / 1e5

    found = minimize(objective, np.linspace(1, 0, 7)[1:-1], tol=1e-12)
    np.testing.assert_allclose(found.x * 1e6, impact.optimum(1e6, 6)[1:-1], rtol=1e-4)


def test_a_hundred_thousand_slices_take_memory_in_proportion() -> None:
    held = Impact(0.95, 2.5e-6, 2.5e-7, 1e-6, slice_length=5e-5).optimum(1e6, 100_000)
    assert held.shape == (100_001,)
    continuous = 1e6 * np.sinh((1e-6 * 0.95**2 / 2.5e-6) ** 0.5 * 2.5) / np.sinh((1e-6 * 0.95**2 / 2.5e-6) ** 0.5 * 5)
    assert held[50_000] == pytest.approx(continuous, rel=1e-4)


def test_the_discrete_urgency_converges_to_the_continuous_one_at_first_order() -> None:
    continuous = (1e-6 * 0.95**2 / 2.5e-6) ** 0.5
    steps = np.array([0.04, 0.02, 0.01, 0.005])
    errors = [abs(Impact(0.95, 2.5e-6, 2.5e-7, 1e-6, slice_length=dt).kappa - continuous) for dt in steps]
    order = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert order == pytest.approx(1.0, abs=0.02)  # through η̃ = η − γ Δ / 2


def test_half_life_is_the_reciprocal_of_urgency() -> None:
    assert Impact(0.95, 2.5e-6, 2.5e-7, 1e-6).half_life == pytest.approx(1 / 0.6071, rel=1e-4)
    assert Impact(0.95, 2.5e-6, 2.5e-7, 0.0).half_life == np.inf


@pytest.mark.long
@pytest.mark.parametrize("side", ["sell", "buy"])
def test_analytic_mean_and_variance_agree_with_simulation_in_the_classic_environment(side: Any) -> None:
    market, order = PRESETS["classic"].market, replace(PRESETS["classic"].order, side=side)
    impact = Impact.of(market, order)
    for held in (impact.optimum(order.shares, order.n_steps), np.linspace(order.shares, 0, order.n_steps + 1)):
        n = 40_000
        paths = Paths.simulate(market, order, n, seed=6)
        agent = Schedule(-np.diff(held))
        steps = executed(agent.act, paths, market, order, ActionMode("fraction"))
        shortfall = sum(s.fill.shortfall for s in steps)
        std = impact.variance(held) ** 0.5
        assert abs(shortfall.mean() - impact.expected_cost(held)) < 3 * std / n**0.5
        assert abs(shortfall.var(ddof=1) / std**2 - 1) < 3 * (2 / n) ** 0.5


@pytest.mark.slow
def test_no_baseline_beats_the_closed_form_in_the_classic_environment() -> None:
    result = evaluate(
        ["twap", "vwap", "pov", "adaptive", "garleanu-pedersen", "almgren-chriss"],
        "AlmgrenChrissClassic-v0",
        episodes=20,
    )
    table = result.per_agent["objective_mean"]
    # Observations are in single precision.
    assert (table > table["almgren-chriss"] - 1e-6).all()
    assert table["almgren-chriss"] == pytest.approx(result.bound_bps, rel=1e-9)


def test_a_buy_is_a_sell_with_the_other_sign() -> None:
    arguments = (5, 0.95, 2.5e-6, 2.5e-7, 1e-6)
    sell, buy = ac_optimal_schedule(1e6, *arguments), ac_optimal_schedule(-1e6, *arguments)
    assert [s.trade_size for s in buy.steps] == pytest.approx([-s.trade_size for s in sell.steps])
    assert buy.expected_cost == pytest.approx(sell.expected_cost)


def test_a_schedule_turns_into_a_frame_and_plots_itself() -> None:
    schedule = ac_optimal_schedule(1e6, 5, 0.95, 2.5e-6, 2.5e-7, 1e-6)
    frame = schedule.to_frame()
    assert list(frame) == ["time", "remaining", "trade_size", "cumulative_cost"]
    assert frame["cumulative_cost"].iloc[-1] == pytest.approx(schedule.expected_cost)
    assert frame["trade_size"].sum() == pytest.approx(1e6)
    assert schedule.kappa == ac_kappa(0.95, 2.5e-6, 2.5e-7, 1e-6) == pytest.approx(0.6071, abs=5e-5)
    assert len(schedule.plot().lines) == 1
    frontier = ac_efficient_frontier(1e6, 5, 0.95, 2.5e-6, 2.5e-7)
    assert len(frontier.points) == 50
    costs, variances = frontier.to_frame()["expected_cost"], frontier.to_frame()["variance"]
    assert costs.is_monotonic_increasing
    assert variances.is_monotonic_decreasing
    assert len(frontier.plot().lines) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"position": float("nan")}, "position = nan"),
        ({"n_periods": 0}, "n_periods = 0"),
        ({"volatility": -1.0}, "volatility = -1.0"),
        ({"risk_aversion": -1.0}, r"risk_aversion = -1.0: must be above -1.005e-06"),
        ({"permanent_impact": 1e-5}, "temporary_impact = 2.5e-06: must be above"),
        ({"convention": "mine"}, "convention = 'mine'"),
    ],
)
def test_impossible_schedules_are_refused(change: dict[str, Any], message: str) -> None:
    good = {"position": 1e6, "n_periods": 5, "volatility": 0.95, "temporary_impact": 2.5e-6, "permanent_impact": 2.5e-7}
    with pytest.raises(ValueError, match=message):
        ac_optimal_schedule(**(good | {"risk_aversion": 1e-6} | change))


@pytest.mark.slow
@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("exponent", [0.5, 0.6, 1.5])
def test_the_optimum_under_a_power_law_minimises_the_objective(convention: Any, exponent: float) -> None:
    law = {"exponent": exponent, "reference_rate": 1e5}
    impact = Impact(0.95, 2.5e-6, 2.5e-7, 1e-6, half_spread=0.1, convention=convention, **law)
    for shares in (1e6, -1e6):

        def objective(inner: np.ndarray, shares: float = shares) -> float:
            return impact.objective(np.r_[shares, inner * shares, 0.0]) / 1e5

        found = minimize(objective, np.linspace(1, 0, 5)[1:-1], method="Nelder-Mead", tol=1e-10)
        held = impact.optimum(shares, 4)
        assert impact.objective(held) / 1e5 == pytest.approx(found.fun, rel=1e-8)
        np.testing.assert_allclose(held[1:-1], found.x * shares, rtol=1e-3)


def test_a_power_law_has_a_frontier_but_no_closed_form() -> None:
    impact = Impact(0.95, 2.5e-6, 2.5e-7, 1e-6, exponent=0.6, reference_rate=1e5)
    frame = efficient_frontier(impact, 1e6, 5, n_points=8).to_frame()
    assert frame["expected_cost"].is_monotonic_increasing
    assert frame["variance"].is_monotonic_decreasing
    assert np.isnan(impact.kappa)
    with pytest.raises(NoBound, match="exponent = 0.6: only linear impact, 1, has a closed form"):
        impact.closed_form(1e6, 5)


@pytest.mark.long
@pytest.mark.parametrize(
    ("volume", "outstanding", "volatility", "costs"),
    [(6_561_000.0, 1.728e9, 0.0157, [32.22, 24.64, 18.42]), (1_929_000.0, 168e6, 0.0226, [42.93, 32.01, 23.06])],
    ids=["IBM", "DRI"],
)
def test_costs_of_almgren_et_al_2005_in_a_market_without_noise(
    volume: float, outstanding: float, volatility: float, costs: list[float]
) -> None:
    # A tenth of the daily volume within 0.1, 0.2 and 0.5 days: J = I / 2 + K.
    price, n = 50.0, 4000
    scale = volatility * price / volume
    market = replace(
        PRESETS["classic"].market,
        arrival_price=price,
        volatility=volatility,
        daily_volume=volume,
        half_spread=0.0,
        temporary_impact=0.142 * scale * 0.1**-0.4,
        permanent_impact=0.314 * scale * (outstanding / volume) ** 0.25,
        impact_exponent=0.6,
    )
    for horizon, wanted in zip((0.1, 0.2, 0.5), costs, strict=True):
        order = Order(volume / 10, "sell", n, horizon / n, risk_aversion=0.0, max_participation=None)
        paths = Paths.simulate(market, order, 1, seed=0)
        steps = executed(TWAP(market, order).act, paths, market, order, ActionMode("fraction"))
        cost = sum(step.fill.objective[0] for step in steps) * bps(order.shares * price)
        assert cost == pytest.approx(wanted, abs=0.01)


# LQR


def test_published_lqr_gains_and_sells_are_reproduced_to_their_single_precision() -> None:
    assert lqr.gain(2.5, 0.4) == pytest.approx(0.87695257, rel=5e-7)
    assert lqr.sells(2.5, 0.4, 20)[:3] == pytest.approx([0.876952567, 0.107906744, 0.0132776339], rel=1e-6)
    batch = lqr.gain(np.array([0.5, 2.5, 5.0]), np.array([0.4, 0.4, 0.2]))
    assert batch == pytest.approx([0.65586909, 0.87695257, 0.96291202], rel=5e-7)


def test_published_lqr_tuning_is_reproduced() -> None:
    tuned = lqr.tune(np.exp(-0.22 * np.arange(21)))
    assert tuned.initial_loss == pytest.approx(0.052402, abs=1e-6)
    assert tuned.final_loss == pytest.approx(0.046743, abs=1e-6)
    assert tuned.q == pytest.approx(0.116998, abs=1e-6)
    assert tuned.r == pytest.approx(0.156547, abs=1e-6)


@pytest.mark.slow
def test_finite_horizon_gains_begin_at_the_infinite_one_and_end_at_the_myopic_one() -> None:
    q, r = np.meshgrid(np.geomspace(0.01, 100.0, 13), np.geomspace(0.01, 100.0, 13))
    k = lqr.gains(q, r, 1500)
    assert k[..., 0] == pytest.approx(lqr.gain(q, r), rel=1e-9)
    assert k[..., -1] == pytest.approx(q / (q + r))


def test_finite_horizon_sells_minimise_the_cost() -> None:
    q, r, n = 0.7, 1.3, 4

    def cost(v: np.ndarray) -> float:
        held = 1 - np.cumsum(v)
        return q * (1 + (held**2).sum()) + r * (v**2).sum()

    best = minimize(cost, np.full(n, 0.2), tol=1e-14).x
    np.testing.assert_allclose(lqr.sells(q, r, n, finite=True), best, atol=1e-6)


def test_thousands_of_pairs_in_one_call_equal_one_by_one_in_numpy_and_torch() -> None:
    rng = np.random.default_rng(0)
    q, r = rng.uniform(0.1, 5, (2, 3000))
    for finite in (False, True):
        together = lqr.sells(q, r, 6, finite)
        assert together.shape == (3000, 6)
        tensors = lqr.sells(torch.tensor(q), torch.tensor(r), 6, finite)
        np.testing.assert_allclose(tensors.numpy(), together, rtol=1e-12, atol=1e-15)
        for i in (0, 1234, 2999):
            np.testing.assert_allclose(lqr.sells(q[i], r[i], 6, finite), together[i], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_weights_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="q = "):
        lqr.gain(bad, 1.0)
    with pytest.raises(ValueError, match="r = "):
        lqr.gains(np.ones(2), np.array([1.0, bad]), 3)


# Garleanu-Pedersen

GP = {"alpha": 1.0, "alpha_decay": 0.3, "temporary_impact": 2.0, "permanent_impact": 0.2, "n_periods": 20}


def test_the_rule_of_thumb_approaches_its_target_exponentially() -> None:
    rule = gp_optimal_trajectory(100.0, 20.0, **GP)
    urgency = gp_urgency(0.3, 2.0, 0.2)
    assert rule.urgency == urgency == pytest.approx(0.4**0.5)
    positions = [step.position for step in rule.steps]
    np.testing.assert_allclose(positions, 100 - 80 * np.exp(-urgency * np.arange(1, 21)))
    assert rule.completion == pytest.approx(1 - np.exp(-20 * urgency))
    assert rule.steps[4].remaining_alpha == pytest.approx(np.exp(-1.5))
    assert list(rule.to_frame()) == ["time", "position", "trade_rate", "remaining_alpha", "cumulative_cost"]
    assert rule.total_cost == rule.steps[-1].cumulative_cost == gp_execution_cost(100.0, 20.0, **GP)
    first = rule.steps[0]
    assert first.cumulative_cost == pytest.approx(first.trade_rate**2 + 0.1 * first.trade_rate * first.position)
    assert len(rule.plot().lines) == 1


@pytest.mark.parametrize("target", [None, 0.5])
def test_the_exact_trajectory_maximises_the_stated_objective(target: float | None) -> None:
    short = GP | {"n_periods": 5}
    best = gp_exact_trajectory(0.2, **short, target_position=target)

    def loss(free: np.ndarray) -> float:
        x = np.r_[0.2, free, [] if target is None else target]
        dx = np.diff(x)
        gain = (np.exp(-0.3 * np.arange(5)) * x[1:]).sum()
        return -(gain - (dx**2).sum() - 0.1 * (dx * x[1:]).sum())

    found = minimize(loss, np.zeros(5 if target is None else 4), tol=1e-14)
    np.testing.assert_allclose(
        [s.position for s in best.steps], np.r_[found.x, [] if target is None else target], atol=1e-5
    )
    assert gp_objective(best, 1.0, 0.3) == pytest.approx(-found.fun)


def test_the_rule_of_thumb_is_worth_less_than_the_optimum_with_the_same_end() -> None:
    rule = gp_optimal_trajectory(0.5, 0.0, **GP)
    best = gp_exact_trajectory(0.0, **GP, target_position=rule.steps[-1].position)
    assert gp_objective(rule, 1.0, 0.3) < 0.3 * gp_objective(best, 1.0, 0.3)


@pytest.mark.parametrize(
    "change", [{"temporary_impact": 0.0}, {"alpha_decay": -1.0}, {"alpha": float("nan")}, {"n_periods": 0}]
)
def test_impossible_trajectories_are_refused(change: dict[str, Any]) -> None:
    name, value = next(iter(change.items()))
    for function, places in ((gp_optimal_trajectory, (1.0, 0.0)), (gp_exact_trajectory, (0.0,))):
        with pytest.raises(ValueError, match=f"{name} = {value}"):
            function(*places, **(GP | change))


@pytest.mark.long
def test_the_dynamic_policy_beats_twap_when_the_signal_is_real_and_ties_when_it_is_zero() -> None:
    real = {"risk_aversion": 0.0, "signal_volatility": 0.005, "max_participation": None}
    for signal, side in ((0.01, "sell"), (-0.01, "sell"), (0.01, "buy")):
        result = evaluate(["garleanu-pedersen", "twap"], episodes=4000, signal=signal, side=side, **real)
        assert result.per_agent.loc["garleanu-pedersen", "diff_high"] < 0, (signal, side)
    tie = evaluate(["garleanu-pedersen", "twap"], episodes=2000, risk_aversion=0.0).per_agent
    assert tie.loc["garleanu-pedersen", "diff"] == pytest.approx(0.0, abs=1e-3)


def test_the_dynamic_policy_trades_partially_towards_an_aim_that_rises_with_the_signal() -> None:
    agent = GarleanuPedersen(Market(signal_volatility=0.01), Order())
    assert 0 < agent.rate(0) < agent.rate(20) < agent.rate(39) == pytest.approx(1.0, abs=1e-5)
    assert agent.aim(0, 0.0) == pytest.approx(0.0, abs=1e-6)
    assert agent.aim(0, 0.01) > 0 > agent.aim(0, -0.01)


def test_one_period_sells_at_once() -> None:
    schedule = ac_optimal_schedule(1e6, 1, 0.95, 2.5e-6, 2.5e-7, 1e-6)
    assert [step.trade_size for step in schedule.steps] == [1e6]


@pytest.mark.parametrize("bad", [None, "a", 1j, [1.0], float("nan")])
def test_what_is_no_number_is_refused_by_name(bad: Any) -> None:
    with pytest.raises(ValueError, match="position = "):
        ac_optimal_schedule(bad, 5, 0.95, 2.5e-6, 2.5e-7, 1e-6)
    with pytest.raises(ValueError, match="alpha = "):
        gp_optimal_trajectory(1.0, 0.0, **(GP | {"alpha": bad}))
    with pytest.raises(ValueError, match="q = "):
        lqr.gain(bad, 1.0)
    with pytest.raises(ValueError, match="n_periods = "):
        lqr.sells(1.0, 1.0, bad)
    with pytest.raises(ValueError, match="rate = "):
        lqr.tune([1.0, 0.5], rate=bad)


def test_gains_of_huge_weights_do_not_overflow() -> None:
    assert lqr.gain(1e300, 0.4) == pytest.approx(1.0)
    assert lqr.gain(1e200, 1e200) == pytest.approx((5**0.5 - 1) / 2)
