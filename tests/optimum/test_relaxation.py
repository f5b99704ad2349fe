"""Costs charged in part: a bound where all of them give none, or one that is far too low."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from exec_env.baselines.adaptive import Adaptive
from exec_env.harness import evaluate
from exec_env.market.execution import bps
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.market.paths import Paths
from exec_env.one_asset.actions import get_action_mode
from exec_env.optimum import lq, relaxation
from exec_env.optimum.cost_forms import Charged
from exec_env.optimum.seen import Seen
from tests.rollouts import executed

QUIET = {f"{name}_noise": 0.0 for name in ("volume", "spread", "impact", "decay")} | {"liquidity_volatility": 0.0}
PUSHING = Market(transient_impact=1.5e-5, resilience=60.0)
"""A trade pushes more than it pays, as in a deep book with much flow."""
JUMPY = Market(transient_impact=1.5e-5, resilience=60.0, half_spread=4.0, spread_noise=2.0, spread_elasticity=0.2)
"""And the spread is nothing for a while, then wide."""


def test_where_all_costs_give_a_bound_all_are_charged() -> None:
    assert relaxation.solve(Market(), Order()).charged == Charged()
    assert relaxation.solve(Market(), Order()).bound_bps == lq.solve(Market(), Order()).bound_bps


def test_to_charge_up_to_a_great_multiple_is_to_charge_all() -> None:
    full, nearly = lq.solve(Market(), Order()), lq.solve(Market(), Order(), charged=Charged(1e6, 1e6))
    assert nearly.bound_bps == pytest.approx(full.bound_bps, rel=1e-9)
    seen = Seen(3, 50_000.0, 0.01, 0.0, np.array([0.0, 0.02, 0.1]), 0.5)
    assert nearly.policy(seen) == pytest.approx(full.policy(seen), rel=1e-6)


@pytest.mark.parametrize("noise", [0.0, 0.5, 2.0])
def test_moments_of_a_spread_that_is_charged_up_to_a_multiple_of_its_mean(noise: float) -> None:
    m = np.exp(noise * np.random.default_rng(0).standard_normal(400_000) - noise**2 / 2)
    for most in (0.3, 1.0, 2.5):
        for power, found in zip((1, 2), Charged(spread=most).spread_moments(noise), strict=True):
            sample = np.minimum(m, most) ** power
            assert abs(found - sample.mean()) < 4 * sample.std() / m.size**0.5 + 1e-12


def brute_force(market: Market, order: Order) -> float:
    """J of the best two trades with v ≥ 0, without any noise. [bps]"""
    first = np.linspace(0.0, 1.0, 2001)[:, None]
    fractions = iter((first, np.ones_like(first)))
    paths = Paths.simulate(market, order, len(first), seed=0)
    steps = executed(lambda seen: next(fractions), paths, market, order, get_action_mode("fraction"))
    return float(sum(step.fill.objective for step in steps).min() * bps(order.shares * market.arrival_price))


@pytest.mark.parametrize("push", [1e-6, 1e-5, 1e-4])
def test_bound_is_below_the_best_two_trades_there_can_be(push: float) -> None:
    market, order = Market(transient_impact=push, permanent_impact=push / 2, **QUIET), Order(n_steps=2)
    best = brute_force(market, Order(n_steps=2, max_participation=None))
    assert 0 < relaxation.solve(market, order).bound_bps <= best * (1 + 1e-9)


@pytest.mark.slow
def test_no_policy_is_below_the_bound_where_all_costs_give_none() -> None:
    order = Order(n_steps=20, shares=100_000.0)
    for market in (PUSHING, JUMPY):
        with pytest.raises(lq.NoOptimum):
            lq.solve(market, order)
        solution = relaxation.solve(market, order)
        assert solution.charged.push < math.inf
        fields: dict[str, Any] = {name: value for name, value in vars(market).items() if value != getattr(Market, name)}
        agents = ["twap", "pov", "almgren-chriss", "adaptive"]
        found = evaluate(agents, episodes=4000, n_steps=20, shares=100_000.0, n_examples=0, **fields).per_agent
        assert (found["objective_mean"] + 3 * found["objective_se"] > solution.bound_bps).all()
        # It says something: who follows its rule is near, and before whoever does not look.
        assert found.loc["adaptive", "gap_percent"] < 0.7 * found.loc["twap", "gap_percent"]


def test_pushes_are_charged_less_than_they_could_be_where_round_trips_would_pay_a_lot() -> None:
    order = Order(n_steps=7, shares=13_000.0, risk_aversion=2.8e-5)
    market = Market(transient_impact=1.5e-5, resilience=4.1, half_spread=24.0)
    found = relaxation.solve(market, order)
    more = lq.solve(market, order, charged=replace(found.charged, push=1.3 * found.charged.push))
    assert found.bound_bps > max(more.bound_bps, 0.0)


@pytest.mark.slow
@pytest.mark.parametrize("push", [1.5e-6, 1.5e-5])
def test_there_is_a_bound_where_a_stress_begins_at_random(push: float) -> None:
    order = Order(n_steps=10, shares=100_000.0)
    onset: dict[str, Any] = {"stress": "liquidity-collapse", "stress_onset": 0.0, "stress_onset_end": 1.0}
    solution = relaxation.solve(replace(PUSHING, transient_impact=push, **onset), order)
    # Who knows when it begins does no worse than who sees it begin.
    assert 0 < solution.bound <= solution.cost


def test_trades_that_cost_nothing_have_no_optimum() -> None:
    nothing = {"temporary_impact": 0.0, "permanent_impact": 0.0, "transient_impact": 0.0}
    for risk_aversion in (0.0, 1e-6):
        with pytest.raises(lq.NoOptimum):
            relaxation.solve(Market(**nothing), Order(risk_aversion=risk_aversion))


def test_a_spread_that_jumps_is_charged_up_to_a_multiple_of_its_mean() -> None:
    order = Order(n_steps=20, shares=100_000.0)
    solution = relaxation.solve(JUMPY, order)
    assert solution.charged.spread < math.inf
    assert solution.bound_bps > lq.solve(JUMPY, order, charged=Charged(push=solution.charged.push)).bound_bps + 0.5


@pytest.mark.slow
@pytest.mark.parametrize("name", ["spread_noise", "transient_impact"])
def test_gradients_of_a_bound_that_charges_in_part_equal_finite_differences(name: str) -> None:
    torch = pytest.importorskip("torch")
    order, value = Order(n_steps=4, shares=100_000.0), getattr(JUMPY, name)
    x = torch.tensor(value, dtype=torch.float64, requires_grad=True)
    solution = relaxation.solve(replace(JUMPY, **{name: x}), order)
    (found,) = torch.autograd.grad(solution.bound_bps, x)
    up, down = (
        lq.solve(replace(JUMPY, **{name: value * (1 + h)}), order, charged=solution.charged).bound_bps
        for h in (1e-5, -1e-5)
    )
    assert float(found) == pytest.approx((up - down) / (2e-5 * value), rel=1e-4)


def test_the_rule_takes_a_wider_spread_for_the_most_that_is_charged() -> None:
    order = Order(n_steps=20, shares=100_000.0)
    solution = relaxation.solve(JUMPY, order)
    most = solution.charged.spread * JUMPY.half_spread_at(0.4, JUMPY.spread_noise / 2)
    wide, wider = (solution.policy(Seen(5, 60_000.0, 0.01, 0.0, np.array(h), 0.4)) for h in (most, 10 * most))
    assert wide == pytest.approx(wider)
    assert solution.policy(Seen(5, 60_000.0, 0.01, 0.0, np.array(most / 2), 0.4)) > wide
    assert Adaptive(JUMPY, order).solution.charged == solution.charged


@pytest.mark.slow
def test_a_table_says_what_its_bound_leaves_out() -> None:
    changed: dict[str, Any] = {"transient_impact": 1.5e-5, "resilience": 60.0, "n_steps": 6, "shares": 20_000.0}
    table = evaluate(["twap"], episodes=5, **changed).table()
    assert "lower bound" in table
    assert "the bound charges " in table
    assert "the bound charges" not in evaluate(["twap"], episodes=5).table()
