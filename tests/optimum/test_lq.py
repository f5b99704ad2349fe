"""The bound: below every policy, equal to brute force, converged, differentiable."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from exec_env import ENVIRONMENTS
from exec_env.baselines.adaptive import Adaptive
from exec_env.baselines.schedule import Schedule
from exec_env.baselines.twap import TWAP
from exec_env.envs.registry import get_spec
from exec_env.harness import evaluate
from exec_env.harness.agents import known_agents
from exec_env.market.execution import Slice, State, bps, terms, trade
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.market.paths import Paths
from exec_env.one_asset.actions import ActionMode, get_action_mode
from exec_env.one_asset.presets import PRESETS, get_preset
from exec_env.optimum import lq
from exec_env.optimum.schedule import best_schedule
from exec_env.optimum.seen import Seen
from tests.rollouts import executed

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(7)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


def brute_force(market: Market, order: Order) -> float:
    """Optimal unconstrained cost by a tree of quadrature nodes and the equations of ``trade``. [bps]

    The cost of a slice and all that follows is a parabola in the shares traded; three points of it give its minimum.
    """
    constants, dt = terms(market, replace(order, max_participation=None)), order.slice_length

    def value(t: int, state: State, l: np.ndarray, alpha: np.ndarray) -> np.ndarray:
        last = t == order.n_steps - 1
        # Axes behind those of the state: spread, decay, next liquidity, next signal.
        wide = State(*(np.asarray(entry)[..., None, None, None, None] for entry in state))
        ell, a = l[..., None, None, None, None], alpha[..., None, None, None, None]
        now = Slice(
            log_liquidity=ell,
            half_spread=market.half_spread_at(ell, NODES[:, None, None, None]),
            volume=np.array(1.0),
            variance=market.variance_at(ell, dt),
            drift=market.arrival_price * dt * a,
            temporary=(market.temporary_at(ell[..., None], NODES, dt) * WEIGHTS).sum(-1),
            permanent=market.permanent_impact,
            decay=market.decay_at(NODES[:, None, None], dt),
            price_shock=0.0,
            slippage=0.0,
        )
        points = np.array([0.2, 0.5, 0.8])
        costs = []
        for point in points:
            after, fill = trade(wide, now, point * wide.remaining, constants, last)
            cost = fill.objective
            if not last:
                following = market.next_liquidity(ell, NODES[:, None], 0.0, dt)
                signal = market.next_signal(a, NODES, dt)
                shape = np.broadcast_shapes(after.remaining.shape, after.transient.shape, following.shape, signal.shape)
                onward = State(*(np.broadcast_to(entry, shape) for entry in after))
                cost = cost + value(t + 1, onward, np.broadcast_to(following, shape), np.broadcast_to(signal, shape))
            cost = np.broadcast_to(cost, np.broadcast_shapes(np.shape(cost), (*ell.shape[:-4], 7, 7, 7, 7)))
            costs.append(np.einsum("...hdls,d,l,s->...h", cost, WEIGHTS, WEIGHTS, WEIGHTS))
        c2, c1, c0 = np.moveaxis(np.polyfit(points, np.reshape(costs, (3, -1)), 2), 0, 0)
        return (c0 - c1**2 / (4 * c2)).reshape(costs[0].shape) @ WEIGHTS

    start = market.liquidity_volatility * NODES[:, None]
    signal = market.signal + market.signal_volatility * NODES[None, :]
    shape = np.broadcast_shapes(start.shape, signal.shape)
    state = State(*(np.full(shape, entry) for entry in (order.shares, 0.0, 0.0, 0.0)))
    total = value(0, state, np.broadcast_to(start, shape), np.broadcast_to(signal, shape))
    return float(WEIGHTS @ total @ WEIGHTS) * bps(order.shares * market.arrival_price)


MILD = {"liquidity_volatility": 0.15, "spread_noise": 0.1, "impact_noise": 0.1, "decay_noise": 0.1, "half_spread": 20.0}


@pytest.mark.slow
@pytest.mark.parametrize("side", ["sell", "buy"])
@pytest.mark.parametrize("extra", [{}, {"signal": 0.02, "signal_volatility": 0.05}, {"spread_elasticity": -0.8}])
def test_two_slices_equal_brute_force(extra: dict[str, float], side: Any) -> None:
    market, order = Market(**(MILD | extra)), Order(n_steps=2, slice_length=0.05, side=side)
    assert lq.solve(market, order).bound_bps == pytest.approx(brute_force(market, order), rel=1e-6)


@pytest.mark.slow
def test_three_slices_equal_brute_force() -> None:
    quiet = MILD | {"liquidity_volatility": 0.05, "spread_noise": 0.05, "impact_noise": 0.05, "decay_noise": 0.05}
    market, order = Market(**quiet), Order(n_steps=3, slice_length=0.05)
    assert lq.solve(market, order).bound_bps == pytest.approx(tree_of_three(market, order), rel=1e-6)


def tree_of_three(market: Market, order: Order) -> float:
    """Three slices without signal, with three nodes for each random factor, as plain floats. [bps]"""
    z, w = np.polynomial.hermite_e.hermegauss(3)
    w = w / w.sum()
    constants, dt = terms(market, replace(order, max_participation=None)), order.slice_length
    points = np.array([0.2, 0.5, 0.8])

    def value(t: int, state: State, l: float) -> float:
        total, last = 0.0, t == 2
        slope = float(WEIGHTS @ market.temporary_at(l, NODES, dt))
        for zh, wh in zip(z, w, strict=True):
            costs = np.zeros(3)
            for i, point in enumerate(points):
                decays = zip(z, w, strict=True) if not last else [(0.0, 1.0)]
                for zd, wd in decays:
                    seen = (l, float(market.half_spread_at(l, zh)), 1.0, float(market.variance_at(l, dt)), 0.0)
                    hidden = (slope, market.permanent_impact, float(market.decay_at(zd, dt)), 0.0, 0.0)
                    now = Slice(*seen, *hidden)
                    after, fill = trade(state, now, point * state.remaining, constants, last)
                    cost = fill.objective
                    if not last:
                        onward = [value(t + 1, after, float(market.next_liquidity(l, zl, 0.0, dt))) for zl in z]
                        cost += float(w @ onward)
                    costs[i] += wd * cost
            c2, c1, c0 = np.polyfit(points, costs, 2)
            total += wh * (c0 - c1**2 / (4 * c2))
        return total

    starts = [value(0, State(order.shares, 0.0, 0.0, 0.0), float(market.liquidity_volatility * zl)) for zl in z]
    return float(w @ starts) * bps(order.shares * market.arrival_price)


def test_the_bound_of_the_default_problem_is_what_was_computed_independently() -> None:
    assert lq.solve(Market(), Order()).bound_bps == pytest.approx(17.984, rel=0.003)


@pytest.mark.parametrize(("elasticity", "limit"), [(0.5, 39.534), (-0.25, 46.05)])
def test_the_limit_of_many_slices_is_the_solution_of_almgren_2012(elasticity: float, limit: float) -> None:
    # Almgren (2012), "Optimal trading with stochastic liquidity and volatility", by a partial differential equation.
    quiet = {"half_spread": 0.0, "permanent_impact": 0.0, "transient_impact": 0.0}
    market = Market(
        volatility_elasticity=elasticity, liquidity_volatility=0.6, temporary_impact=1.4e-7, impact_noise=0.0, **quiet
    )
    bounds = []
    for n in (400, 800):
        order = Order(n_steps=n, slice_length=0.5 / n, risk_aversion=1e-5, max_participation=None)
        bounds.append(lq.solve(market, order).bound_bps)
    if elasticity == 0.5:
        assert bounds == pytest.approx([39.011, 39.271], abs=5e-4)
    assert 2 * bounds[1] - bounds[0] == pytest.approx(limit, abs=0.005)  # the error falls with 1 / N


def test_the_bound_has_converged_in_grid_and_quadrature() -> None:
    for market in (Market(), Market(liquidity_volatility=0.5, shock_rate=5.0, shock_size=0.7)):
        coarse, fine = (lq.solve(market, Order(), *size).bound_bps for size in ((41, 9), (82, 18)))
        assert coarse == pytest.approx(fine, rel=5e-4)


@pytest.mark.slow
@pytest.mark.parametrize("env_id", ENVIRONMENTS)
@pytest.mark.parametrize("side", ["sell", "buy"])
def test_the_bound_is_below_two_hundred_random_policies(env_id: str, side: Any) -> None:
    preset = get_preset(get_spec(env_id).options["preset"])
    order = replace(preset.order, side=side)
    bound = lq.solve(preset.market, order).bound_bps
    optimum = best_schedule(preset.market, order)
    paths = Paths.simulate(preset.market, order, 300, seed=1)
    rng = np.random.default_rng(0)
    for _ in range(200):
        # From near the optimum to far away.
        agent = Schedule(optimum * np.exp(rng.uniform(0, 1.5) * rng.standard_normal(order.n_steps)))
        steps = executed(agent.act, paths, preset.market, order, ActionMode("fraction"))
        objective = sum(s.fill.objective for s in steps) * bps(order.shares * paths.arrival_price)
        standard_error = objective.std(ddof=1) / len(objective) ** 0.5
        assert objective.mean() > bound - 4 * standard_error - 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("env_id", ENVIRONMENTS)
def test_the_bound_is_below_every_baseline(env_id: str) -> None:
    # A quarter of order and horizon, because the constrained optimum takes as long as there are slices.
    names = [n for n, point in known_agents().items() if not hasattr(point.load(), "learn")]
    assert len(names) >= 7
    result = evaluate(names, env_id, episodes=4000, seed=8, n_examples=0, n_steps=10, shares=50_000.0)
    table = result.per_agent
    assert (table["objective_mean"] > result.bound_bps - 3 * table["objective_se"] - 1e-6).all()


@pytest.mark.parametrize(
    ("features", "slack"),
    [
        ({}, 0.0),
        ({"half_spread": 0.0, "spread_elasticity": -0.5}, 0.0),
        # Buying back is optimal now and then, which the clipped rule may not do.
        ({"shock_rate": 8.0, "shock_size": 0.5, "slippage_noise": 1.0}, 0.01),
        ({"signal": 0.002, "signal_volatility": 0.002, "volume_profile": "u-shaped"}, 0.01),
    ],
)
def test_without_a_cap_the_optimum_attains_the_bound_in_monte_carlo(features: dict[str, Any], slack: float) -> None:
    market, order = Market(**features), Order(max_participation=None)
    paths = Paths.simulate(market, order, 20_000, seed=3)
    steps = executed(Adaptive(market, order).act, paths, market, order, ActionMode("shares"))
    objective = sum(s.fill.objective for s in steps) * bps(order.shares * paths.arrival_price)
    bound, standard_error = lq.solve(market, order).bound_bps, objective.std(ddof=1) / 20_000**0.5
    assert bound - 3 * standard_error < objective.mean() < bound * (1 + slack) + 3 * standard_error


@pytest.mark.parametrize("stress", ["none", "impact-regime-shift"])
def test_what_a_policy_has_above_the_bound_is_its_expected_excess(stress: Any) -> None:
    market, order = Market(stress=stress, signal=0.01), Order(n_steps=10, shares=50_000.0)
    solution, paths = lq.solve(market, order), Paths.simulate(market, order, 20_000, seed=9)
    objective, excess = 0.0, 0.0
    for t, step in enumerate(
        executed(TWAP(market, order).act, paths, market, order, get_action_mode(TWAP.action_mode))
    ):
        state, now, fill, _ = step
        signal = now.drift / (market.arrival_price * order.slice_length)
        seen = Seen(t, state.remaining, state.transient, signal, now.half_spread, now.log_liquidity)
        objective, excess = objective + fill.objective, excess + solution.excess(seen, fill.shares - fill.block)
    rest = (objective - excess) * bps(order.shares * market.arrival_price)
    assert excess.min() > 0
    assert abs(rest.mean() - solution.bound_bps) < 3 * rest.std(ddof=1) / 20_000**0.5


def test_gradients_of_the_bound_equal_finite_differences() -> None:
    at = {
        "temporary_impact": 1.4e-7,
        "liquidity_volatility": 0.6,
        "half_spread": 2.5,
        "resilience": 20.0,
        "decay_noise": 0.3,
    }
    tensors = {k: torch.tensor(v, dtype=torch.float64, requires_grad=True) for k, v in at.items()}
    lq.solve(Market(**tensors), Order()).bound_bps.backward()
    for name, value in at.items():
        up, down = (lq.solve(Market(**{name: value * (1 + h)}), Order()).bound_bps for h in (1e-4, -1e-4))
        assert float(tensors[name].grad) * value == pytest.approx((up - down) / 2e-4, rel=1e-5)


def test_a_problem_without_an_optimum_is_refused() -> None:
    with pytest.raises(ValueError, match="no optimum: Market.permanent_impact"):
        lq.solve(Market(permanent_impact=1e-3), Order())


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_has_a_bound_and_a_schedule_that_finishes(name: str) -> None:
    preset = PRESETS[name]
    assert np.isfinite(lq.solve(preset.market, preset.order).bound_bps)
    assert best_schedule(preset.market, preset.order).sum() == pytest.approx(preset.order.shares)


def test_what_double_precision_cannot_solve_is_refused() -> None:
    with pytest.raises(ValueError, match="Order.risk_aversion = 1e.12: too large"):
        lq.solve(Market(), Order(risk_aversion=1e12))
    assert lq.solve(Market(), Order(risk_aversion=1.0)).bound_bps == pytest.approx(220.9, rel=1e-3)


def test_a_tensor_problem_without_an_optimum_is_refused_too() -> None:
    with pytest.raises(ValueError, match="no optimum"):
        lq.solve(Market(permanent_impact=torch.tensor(1.0, dtype=torch.float64)), Order())


def test_shocks_that_reach_too_far_for_a_grid_are_refused() -> None:
    market = Market(shock_rate=50.0, shock_size=2.0, liquidity_volatility=1e-3, liquidity_reversion=0.1)
    assert np.isfinite(lq.solve(market, Order()).bound_bps)  # steps of the grid follow the shocks, not the noise
    with pytest.raises(ValueError, match=r"Market.shock_rate = 50.0, shock_size = 2.0: .* a grid of liquidity would"):
        lq.solve(market, Order(n_steps=2000))
