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
from exec_env.envs.factory import ONE_ASSET
from exec_env.envs.registry import get_spec, problem_of
from exec_env.harness import evaluate
from exec_env.harness.agents import known_agents
from exec_env.market.execution import Slice, State, bps, terms, trade
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.market.paths import Paths, Simulator, mapped, regime_of
from exec_env.one_asset.actions import ActionMode, get_action_mode
from exec_env.one_asset.presets import PRESETS, get_preset, with_overrides
from exec_env.optimum import dynamic_programming, lq
from exec_env.optimum.schedule import best_schedule
from exec_env.optimum.seen import Seen
from tests.rollouts import executed

ONE_ASSET_IDS = [env_id for env_id, row in ENVIRONMENTS.items() if row.problem == ONE_ASSET]
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(7)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


def brute_force(market: Market, order: Order) -> float:
    """Optimal unconstrained cost by a tree of quadrature nodes and the equations of ``trade``. [bps]

    The cost of a slice and all that follows is a parabola in the shares traded; three points of it give its minimum.
    In the last slice all is sold, than which no trade v ≥ 0 that leaves a block b ≥ 0 costs less.
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
        points = np.array([0.2, 0.5, 0.8]) if not last else np.ones(1)
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
            cost = np.broadcast_to(cost, np.broadcast_shapes(np.shape(cost), (*ell.shape[:-4], 7, 1, 1, 1)))
            for _ in range(3):  # an axis of length 1 is of something that does not matter to this cost
                cost = cost @ WEIGHTS if cost.shape[-1] > 1 else cost[..., 0]
            costs.append(cost)
        if last:
            return costs[0] @ WEIGHTS
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

    def value(t: int, state: State, l: float) -> float:
        total, last = 0.0, t == 2
        points = np.array([0.2, 0.5, 0.8]) if not last else np.ones(1)
        slope = float(WEIGHTS @ market.temporary_at(l, NODES, dt))
        for zh, wh in zip(z, w, strict=True):
            costs = np.zeros(len(points))
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
            if last:
                total += wh * costs[0]
                continue
            c2, c1, c0 = np.polyfit(points, costs, 2)
            total += wh * (c0 - c1**2 / (4 * c2))
        return total

    starts = [value(0, State(order.shares, 0.0, 0.0, 0.0), float(market.liquidity_volatility * zl)) for zl in z]
    return float(w @ starts) * bps(order.shares * market.arrival_price)


OLD = {
    **{"volatility_elasticity": -0.25, "liquidity_volatility": 0.6, "volume_noise": 0.3, "half_spread": 2.5},
    **{"temporary_impact": 1.4e-7, "permanent_impact": 1.25e-7, "transient_impact": 3e-7, "resilience": 20.0},
}
"""The default market of versions before 1."""


@pytest.mark.parametrize(
    ("options", "bound", "precision"),
    [
        ({}, 20.15214, 1e-4),
        ({"risk_aversion": 0.0}, 10.9744, 1e-4),
        ({"risk_aversion": 3e-6}, 30.63442, 1e-4),
        ({"shares": 50_000.0}, 5.74498, 1e-4),
        ({"volume_noise": 0.6, "spread_noise": 0.5}, 20.14496, 1e-4),
        (OLD, 17.984, 5e-5),  # as it was said, to 0.0005 bps or so
    ],
)
def test_bounds_are_what_was_computed_independently(options: dict[str, float], bound: float, precision: float) -> None:
    # By another simulator and solver, from the equations of ``trade`` and ``Market`` alone.
    market, order = with_overrides(Market(), Order(), options)
    assert lq.solve(market, order).bound_bps == pytest.approx(bound, rel=precision)


class MeanRule(Adaptive):
    """The linear-quadratic rule of the market with every factor at its mean, the spread too."""

    def __init__(self, market: Market, order: Order) -> None:
        decay, _ = lq.decay_moments(market, order.slice_length)
        quiet = {f"{name}_noise": 0.0 for name in ("volume", "spread", "impact", "decay")}
        resilience = -float(np.log(decay)) / order.slice_length
        mean = replace(market, liquidity_volatility=0.0, resilience=resilience, **quiet)
        super().__init__(market, order, lq.solve(mean, order))

    def rule(self, seen: Seen) -> Any:
        spread = self.solution.market.half_spread_at(0.0, 0.0)
        return self.solution.policy(seen._replace(half_spread=spread, liquidity=0.0))


@pytest.mark.long
@pytest.mark.parametrize(
    ("agent", "cap", "j", "error"),
    [
        (TWAP, 0.3, 24.7084, 0.0049),
        (MeanRule, 0.3, 20.8732, 0.0048),
        (Adaptive, 0.3, 20.2642, 0.0054),
        (Adaptive, None, 20.1536, 0.0049),
    ],
)
def test_costs_of_policies_are_what_was_computed_independently(
    agent: Any, cap: float | None, j: float, error: float
) -> None:
    market, order = Market(), Order(max_participation=cap)
    paths, mode = Paths.simulate(market, order, 40_000, seed=12), get_action_mode(agent.action_mode)
    steps = executed(agent(market, order).act, paths, market, order, mode)
    objective = sum(s.fill.objective for s in steps) * bps(order.shares * paths.arrival_price)
    ours = objective.std(ddof=1) / 40_000**0.5
    assert abs(objective.mean() - j) < 3 * np.hypot(ours, error)


@pytest.mark.slow
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


@pytest.mark.long
@pytest.mark.parametrize("env_id", ONE_ASSET_IDS)
@pytest.mark.parametrize("side", ["sell", "buy"])
def test_the_bound_is_below_two_hundred_random_policies(env_id: str, side: Any) -> None:
    preset = get_preset(get_spec(env_id).options["preset"])
    order = replace(preset.order, side=side)
    bound = lq.solve(preset.market, order).bound_bps
    optimum = best_schedule(preset.market, order)
    paths, n = Paths.simulate(preset.market, order, 300, seed=1), 50
    alike = Paths(mapped(paths.slices, lambda column: np.concatenate([column] * n)), np.tile(paths.arrival_price, n))
    rng = np.random.default_rng(0)
    for _ in range(200 // n):  # each policy on the same paths, many policies at once
        # From near the optimum to far away.
        apart = [rng.uniform(0, 1.5) * rng.standard_normal(order.n_steps) for _ in range(n)]
        agents = [Schedule(optimum * np.exp(by)) for by in apart]

        def act(observations: np.ndarray, agents: list[Schedule] = agents) -> np.ndarray:
            parts = np.split(observations, len(agents))
            return np.concatenate([agent.act(part) for agent, part in zip(agents, parts, strict=True)])

        steps = executed(act, alike, preset.market, order, ActionMode("fraction"))
        objective = sum(s.fill.objective for s in steps) * bps(order.shares * alike.arrival_price)
        each = objective.reshape(n, paths.n_paths)
        standard_error = each.std(axis=1, ddof=1) / paths.n_paths**0.5
        assert (each.mean(axis=1) > bound - 4 * standard_error - 1e-9).all()


@pytest.mark.long
@pytest.mark.parametrize("env_id", ONE_ASSET_IDS)
def test_the_bound_is_below_every_baseline(env_id: str) -> None:
    # A quarter of order and horizon, because the constrained optimum takes as long as there are slices.
    classes = {name: point.load() for name, point in known_agents().items()}
    there = set(problem_of(env_id).names)
    names = [
        name for name, cls in classes.items() if not hasattr(cls, "learn") and set(getattr(cls, "names", ())) <= there
    ]
    assert len(names) >= 6
    result = evaluate(names, env_id, episodes=4000, seed=8, n_examples=0, n_steps=10, shares=50_000.0)
    table = result.per_agent
    assert (table["objective_mean"] > result.bound_bps - 3 * table["objective_se"] - 1e-6).all()


@pytest.mark.slow
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


class Lazy:
    """Seven hundredths of the order in each of ten slices: three tenths are left to the closing block."""

    action_mode = "shares"

    def act(self, observations: np.ndarray) -> np.ndarray:
        return np.full((len(observations), 1), 0.07 * 200_000.0)


@pytest.mark.slow
@pytest.mark.parametrize("penalty", [1.0, 1.05, 5.0])
@pytest.mark.parametrize(
    "features",
    [
        {},
        {"stress": "impact-regime-shift"},
        {"stress": "liquidity-collapse", "stress_factor": 0.5, "shock_rate": 5.0, "shock_size": 0.1},
        {"regime_rate": 10.0, "regime_recovery": 20.0, "regime_liquidity": 0.8},
    ],
)
def test_a_policy_that_leaves_a_block_has_what_it_costs_above_the_bound(
    features: dict[str, Any], penalty: float
) -> None:
    # Little noise, so that the push of the last trade on the block shows even where the penalty is one.
    quiet = {"liquidity_volatility": 0.05, "impact_noise": 0.1, "decay_noise": 0.1}
    order = Order(n_steps=10, terminal_penalty=penalty, max_participation=None)
    market = Market(**features, **quiet)
    solution, n = lq.solve(market, order), 20_000
    normals = Simulator(market, order).normals([np.random.default_rng(9)], n)
    paths, regime = Paths.shaped(market, order, normals), regime_of(market, order, normals)
    mean_slope = np.exp(market.impact_noise * normals.impact[:, -1] - market.impact_noise**2 / 2)
    rest, closing = np.zeros(n), np.zeros(n)
    for t, step in enumerate(executed(Lazy().act, paths, market, order, ActionMode("shares"))):
        state, now, fill = step.before, step.now, step.fill
        v, b, last = fill.shares - fill.block, fill.block, t == 9
        seen = Seen(t, state.remaining, state.transient, 0.0, now.half_spread, now.log_liquidity)
        each = [solution.excess(seen._replace(regime=k), v) for k in range(solution.regimes.n_regimes)]
        rest += fill.objective - np.choose(regime[:, t], each)
        if last:
            # The terms of the last slice, without the solver: its noise of impact is not seen, and so its mean.
            slope, push = now.temporary / mean_slope, now.permanent + market.transient_impact
            closing = push * v * b + (penalty - 1) * slope * b**2
            np.testing.assert_allclose(np.choose(regime[:, t], each), closing, rtol=1e-5)
    to_bps = bps(order.shares * market.arrival_price)
    error = (rest * to_bps).std(ddof=1) / n**0.5
    assert abs((rest * to_bps).mean() - solution.cost_bps) < 3 * error
    assert (closing * to_bps).mean() > 5 * error  # it would show if it were missing


@pytest.mark.slow
def test_gradients_of_the_bound_equal_finite_differences() -> None:
    at = {
        "temporary_impact": 1.6e-7,
        "liquidity_volatility": 0.5,
        "half_spread": 1.0,
        "resilience": 10.0,
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


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [name if name == "default" else pytest.param(name, marks=pytest.mark.long) for name in PRESETS]
)
def test_every_preset_has_a_bound_or_a_best_achievable_value_and_a_schedule_that_finishes(name: str) -> None:
    preset = PRESETS[name]
    if preset.market.impact_exponent == 1:
        assert np.isfinite(lq.solve(preset.market, preset.order).bound_bps)
    else:
        assert np.isfinite(dynamic_programming.solve(preset.market, preset.order, 16).value_bps)
    assert best_schedule(preset.market, preset.order).sum() == pytest.approx(preset.order.shares)


def test_what_double_precision_cannot_solve_is_refused() -> None:
    with pytest.raises(ValueError, match="Order.risk_aversion = 1e.12: too large"):
        lq.solve(Market(), Order(risk_aversion=1e12))
    # Nearly all in the first slice: its spread, and η / Δ on all of the order.
    at_once = 1.0 + 1.6e-7 * 78 * 200_000 / 100 * 1e4
    assert lq.solve(Market(), Order(risk_aversion=1.0)).bound_bps == pytest.approx(at_once, rel=1e-3)


def test_a_tensor_problem_without_an_optimum_is_refused_too() -> None:
    with pytest.raises(ValueError, match="no optimum"):
        lq.solve(Market(permanent_impact=torch.tensor(1.0, dtype=torch.float64, requires_grad=True)), Order())


def test_shocks_that_reach_too_far_for_a_grid_are_refused() -> None:
    market = Market(shock_rate=50.0, shock_size=2.0, liquidity_volatility=1e-3, liquidity_reversion=0.1)
    assert np.isfinite(lq.solve(market, Order()).bound_bps)  # steps of the grid follow the shocks, not the noise
    with pytest.raises(ValueError, match=r"Market.shock_rate = 50.0, shock_size = 2.0: .* a grid of liquidity would"):
        lq.solve(market, Order(n_steps=2000))
