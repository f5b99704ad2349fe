"""The constrained optimum: equal to brute force, converged, attained by its rule, below every other policy."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicSpline
from scipy.stats import norm

from exec_env.baselines.adaptive import Adaptive
from exec_env.baselines.optimal import Optimal
from exec_env.market.execution import Slice, State, bps, temporary_cost, terms, trade
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.market.paths import Paths
from exec_env.one_asset.actions import ActionMode
from exec_env.one_asset.presets import PRESETS
from exec_env.optimum import liquidity_grid
from exec_env.optimum.dynamic_programming import Solution, _recursion, solve
from exec_env.optimum.seen import Seen
from tests.rollouts import executed

SHORT = Order(shares=50_000.0, n_steps=6, max_participation=0.3)
"""An order whose cap binds often, and which takes a tenth of a second."""


def more(*cases: Any) -> list[Any]:
    """Further cases of what others show, for ``make long``."""
    return [pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.long) for case in cases]


class AtTheCap:
    action_mode = "shares"

    def act(self, observations: np.ndarray) -> np.ndarray:
        return np.full((len(observations), 1), SHORT.shares)


def excess(agent: Any, solution: Solution, paths: Paths) -> np.ndarray:
    """What an agent adds to the bound on each path, less what is known to have mean zero. [bps]

    A rare path through the poorest liquidity costs a thousand times the average. How far the price of the
    constraints jumps with liquidity, beyond what was to be expected, takes nearly all of that out.
    """
    market, order, linear = solution.market, solution.order, solution.linear
    (z, w), dt = liquidity_grid.gauss_hermite(9), order.slice_length
    shifts = np.log(market.stress_factors(order.n_steps).liquidity)
    p, comes = market.shock_probability(dt), solution.linear.regimes.shocks[:, 0]
    even = order.shares / order.n_steps  # where power-law and linear impact cost the same
    total, ahead = 0.0, [(market.liquidity_volatility * z[:, None], 1.0)]
    for t, step in enumerate(executed(agent.act, paths, market, order, ActionMode("shares"))):
        state, now = step.before, step.now
        signal = now.drift / (market.arrival_price * dt)
        seen = Seen(t, state.remaining, state.transient, signal, now.half_spread, now.log_liquidity)
        v, block, delta = step.fill.shares - step.fill.block, step.fill.block, market.impact_exponent
        total = total + linear.excess(seen, v)
        for shares, weight in ((v + block, 1.0), (block, order.terminal_penalty - 1.0)):
            power = temporary_cost(now.temporary, shares, delta)
            total = total + weight * (power - temporary_cost(now.temporary * even ** (delta - 1.0), shares, 1.0))
        expected = sum(q * w @ solution.price(t, state.remaining, state.transient, l + shifts[t]) for l, q in ahead)
        total = total + expected - solution.price(t, state.remaining, state.transient, now.log_liquidity)
        l, shocks = now.log_liquidity - shifts[t], bool(comes[min(t + 1, order.n_steps - 1)])
        jumps = ((0.0, 1 - p), (market.shocks[1], p)) if shocks else ((0.0, 1.0),)
        ahead = [(market.next_liquidity(l, z[:, None], jump, dt), q) for jump, q in jumps]
    return total * bps(order.shares * market.arrival_price)


def mean_and_error(values: np.ndarray) -> tuple[float, float]:
    return float(values.mean()), float(values.std(ddof=1) / len(values) ** 0.5)


def brute_force(market: Market, order: Order) -> float:
    """Optimal cost of two slices by quadrature over all that is random, and the equations of ``trade``. [bps]

    What the second slice costs is a parabola in its trade: three points give it, and its minimum within the cap is at
    one of the ends, or between them where it opens upwards. The first trade is sought on a fine mesh.
    """
    constants, dt = terms(market, replace(order, max_participation=None)), order.slice_length
    z, w = np.polynomial.hermite_e.hermegauss(9)
    w = w / w.sum()
    levels, weights = np.polynomial.legendre.leggauss(160)  # of the volume, whose cap makes kinks
    levels, weights = 6 * levels, 6 * weights * norm.pdf(6 * levels)

    def now(ell: Any, half_spread: Any, decay: Any) -> Slice:
        slope = sum(wi * market.temporary_at(ell, zi, dt) for zi, wi in zip(z, w, strict=True))
        variance = market.variance_at(ell, dt)
        return Slice(ell, half_spread, 1.0, variance, 0.0, slope, market.permanent_impact, decay, 0.0, 0.0)

    def caps(ell: Any) -> Any:
        return order.max_participation * market.volume_at(ell, levels, dt)

    first = np.linspace(0.0, order.shares, 61)
    # Axes: first trade, ℓ_0, decay, ℓ_1, and the volume or three points of the second trade.
    v = first[:, None, None, None, None]
    ell0 = market.liquidity_volatility * z[:, None, None, None]
    decay = market.decay_at(z, dt)[:, None, None]
    ell1 = market.next_liquidity(ell0, z[:, None], 0.0, dt)
    start = State(np.full(v.shape, order.shares), 0.0 * v, 0.0 * v, 0.0 * v)
    after, fill = trade(start, now(ell0, 0.0, decay), v, constants, False)
    points = np.array([0.0, 0.5, 1.0])
    # The spread is free in both slices so far: what is left pays that of the second one, whose mean is added below.
    second = trade(after, now(ell1, 0.0, 1.0), points * after.remaining, constants, True)[1].objective
    c0, middle, end = np.moveaxis(second, -1, 0)[..., None]
    c2 = 2 * (c0 + end - 2 * middle)
    c1 = end - c0 - c2
    most = np.minimum(caps(ell1) / np.maximum(after.remaining, 1e-9), 1.0)
    between = np.clip(-c1 / np.where(c2 > 0, 2 * c2, np.inf), 0.0, most)
    best = np.minimum.reduce([c0 + (c1 + c2 * p) * p for p in (0.0 * most, between, most)])
    onward = np.einsum("vdln,d,n->vl", (best @ weights).swapaxes(1, 2), w, w)
    spread1 = sum(wi * market.half_spread_at(ell1, zi) for zi, wi in zip(z, w, strict=True))
    spread1 = np.einsum("ln,n->l", spread1[:, 0, :, 0], w)
    cost = fill.objective[:, :, 0, 0, 0] + onward + (order.shares - first[:, None]) * spread1
    mesh = np.linspace(0.0, order.shares, 20_001)
    fine = CubicSpline(first, cost)(mesh)  # (mesh, ℓ_0)
    total = 0.0
    for i, wl in enumerate(w):
        for zi, wh in zip(z, w, strict=True):
            spread = market.half_spread_at(ell0[i, 0, 0, 0], zi)
            least = np.minimum.accumulate(fine[:, i] + spread * mesh)
            total += wl * wh * np.interp(caps(ell0[i, 0, 0, 0]), mesh, least) @ weights
    return float(total) * bps(order.shares * market.arrival_price)


@pytest.mark.slow
@pytest.mark.parametrize(
    "features",
    [
        {},
        {"volume_noise": 0.0},
        {"transient_impact": 0.0, "half_spread": 20.0, "spread_noise": 0.8},
        {"liquidity_volatility": 0.0},
    ],
)
@pytest.mark.parametrize("cap", [0.1, pytest.param(0.3, marks=pytest.mark.long)])
def test_two_slices_equal_brute_force(features: dict[str, float], cap: float) -> None:
    market = Market(**({"liquidity_volatility": 0.3} | features))
    order = Order(n_steps=2, slice_length=0.05, max_participation=cap)
    solution = solve(market, order)
    assert solution.value_bps > solution.linear.bound_bps * 1.001
    assert solution.value_bps == pytest.approx(brute_force(market, order), rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("penalty", [1.0, 1.05, 1.3, 5.0])
def test_two_slices_equal_brute_force_whatever_a_block_costs(penalty: float) -> None:
    # Up to 1.3 the push of a trade on the block costs more than the block: one trades all or nothing at the end.
    market, order = Market(liquidity_volatility=0.3), Order(n_steps=2, slice_length=0.05, max_participation=0.1)
    order = replace(order, terminal_penalty=penalty)
    assert solve(market, order).value_bps == pytest.approx(brute_force(market, order), rel=1e-5)


def brute_force_of_three(market: Market, order: Order, n: int) -> float:
    """Optimal cost of three slices where only volume is random, on a mesh of shares held after each slice. [bps]

    What is held after the first two slices says what the push is, so that no state is left out.
    """
    held = np.linspace(0.0, order.shares, n)
    levels, weights = np.polynomial.legendre.leggauss(160)
    levels, weights = 6 * levels, 6 * weights * norm.pdf(6 * levels)
    caps = order.max_participation * market.volume_at(0.0, levels, order.slice_length)
    constants, dt = terms(market, replace(order, max_participation=None)), order.slice_length
    slope, variance = market.temporary_at(0.0, 0.0, dt), market.variance_at(0.0, dt)
    spread, decay = market.half_spread_at(0.0, 0.0), market.decay_at(0.0, dt)
    now = Slice(0.0, spread, 1.0, variance, 0.0, slope, market.permanent_impact, decay, 0.0, 0.0)

    def step(state: State, to: np.ndarray, last: bool) -> tuple[State, np.ndarray]:
        after, fill = trade(state, now, np.maximum(state.remaining - to, 0.0), constants, last)
        return after, np.where(to <= state.remaining, fill.objective, np.inf)

    def mean_of_best(cost: np.ndarray, remaining: np.ndarray) -> np.ndarray:
        """Over the cap, of the least ``cost`` of any trade within it; the last axis is what is held after."""
        out = np.empty(cost.shape[:-1])
        for at in np.ndindex(out.shape):
            trades, row = remaining[at] - held[held <= remaining[at]], cost[at][held <= remaining[at]]
            least = np.minimum.accumulate(row[::-1])  # from no trade to all
            out[at] = np.interp(caps, trades[::-1], least) @ weights
        return out

    start = State(*(np.full(len(held), s) for s in (order.shares, 0.0, 0.0, 0.0)))
    one, cost_of_one = step(start, held, False)  # (x_1,)
    two, cost_of_two = step(State(*(np.asarray(s)[..., None] + 0.0 * held for s in one)), held, False)  # (x_1, x_2)
    _, cost_of_three = step(State(*(s[..., None] for s in two)), held + 0.0 * two.remaining[..., None], True)
    # What is held after the last slice's trade is the block.
    ahead = mean_of_best(cost_of_three, np.where(np.isfinite(cost_of_two), two.remaining, 0.0))
    ahead = mean_of_best(cost_of_two + ahead, one.remaining)
    whole = cost_of_one + ahead
    return float(mean_of_best(whole[None], np.array([order.shares]))[0]) * bps(order.shares * market.arrival_price)


@pytest.mark.slow
@pytest.mark.parametrize("penalty", [1.0, 1.05, 5.0])
def test_three_slices_equal_brute_force_whatever_a_block_costs(penalty: float) -> None:
    quiet = {f"{name}_noise": 0.0 for name in ("spread", "impact", "decay")} | {"liquidity_volatility": 0.0}
    market = Market(**quiet)
    order = Order(n_steps=3, slice_length=0.05, max_participation=0.2, terminal_penalty=penalty)
    # A trade between two points costs what lies on the line between them: half the mesh, a quarter of the error.
    coarse, fine = (brute_force_of_three(market, order, n) for n in (61, 121))
    assert solve(market, order).value_bps == pytest.approx((4 * fine - coarse) / 3, rel=3e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["classic", "almgren-chriss-2001", "participation-notebook"])
def test_where_no_constraint_binds_it_is_the_linear_quadratic_optimum(name: str) -> None:
    market, order = PRESETS[name].market, PRESETS[name].order
    solution = solve(market, order)
    assert solution.value_bps == pytest.approx(solution.linear.bound_bps, rel=1e-9)
    x = np.linspace(0.1, 1.0, 9) * order.shares
    for step in (0, order.n_steps - 1):
        seen = Seen(step, x, 0.0, 0.0, market.half_spread_at(0.0, 0.0), 0.0)
        assert solution.policy(seen) == pytest.approx(solution.linear.policy(seen), rel=1e-5)


@pytest.mark.slow
def test_without_a_cap_only_the_sign_of_a_trade_costs_and_little() -> None:
    solution = solve(Market(), Order(max_participation=None), 16)
    assert 0 < solution.value_bps - solution.linear.bound_bps < 0.01


@pytest.mark.long
@pytest.mark.parametrize(
    "features",
    [
        {},
        {"shock_rate": 20.0, "shock_size": 1.0},
        {"impact_exponent": 0.5},
        *more(
            {"stress": "liquidity-collapse"},
            {"transient_impact": 0.0, "volume_noise": 0.0, "volume_profile": "u-shaped"},
            {"impact_exponent": 1.5},
        ),
    ],
)
def test_it_converges_within_the_stated_error(features: Any) -> None:
    market = Market(**features)
    values, finest = {n: solve(market, SHORT, n) for n in (16, 32)}, _recursion(market, SHORT, 48)[1]
    errors = {n: abs(values[n].value_bps - finest) for n in (16, 32)}
    assert errors[32] < errors[16]
    assert all(error < values[n].error_bps for n, error in errors.items())
    assert values[32].error_bps < 5e-3 * values[32].value_bps


SHOCKED = [
    {"shock_rate": 20.0, "shock_size": 1.0},
    {"shock_rate": 5.0, "shock_size": 1.0, "liquidity_volatility": 0.1},
    {"shock_rate": 10.0, "shock_size": 1.0, "liquidity_volatility": 0.0},
    {"stress": "liquidity-shocks", "stress_onset": 0.0, "stress_factor": 0.1, "liquidity_reversion": 1.0},
]


@pytest.mark.slow
@pytest.mark.parametrize("features", SHOCKED)
def test_shocks_do_not_fall_off_the_grid(features: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    linear, value, *_ = _recursion(Market(**features), SHORT, 16)
    grid = liquidity_grid.grid

    def further(*args: Any) -> Any:
        u, unit = grid(*args)
        return np.r_[u[0] - (u[1] - u[0]) * np.arange(20, 0, -1), u], unit

    monkeypatch.setattr(liquidity_grid, "grid", further)
    wider, wanted, *_ = _recursion(Market(**features), SHORT, 16)
    assert wider.grid[0] < linear.grid[0] - 3
    assert value == pytest.approx(wanted, rel=1e-5)
    assert linear.bound_bps == pytest.approx(wider.bound_bps, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("features", [SHOCKED[1], *more(SHOCKED[2])])
def test_the_plain_cost_of_the_optimum_under_shocks_is_the_value(features: Any) -> None:
    # Without what is known to have mean zero taken out: where the grid is wrong, that is too.
    market = Market(**features)
    solution, paths = solve(market, SHORT), Paths.simulate(market, SHORT, 20_000, seed=1)
    steps = executed(Optimal(market, SHORT).act, paths, market, SHORT, ActionMode("shares"))
    objective = sum(step.fill.objective for step in steps) * bps(SHORT.shares * paths.arrival_price)
    mean, error = mean_and_error(objective)
    assert error < 0.02 * mean
    assert abs(mean - solution.value_bps) < 3 * error


@pytest.mark.slow
@pytest.mark.parametrize("liquidity_volatility", [0.1, *more(0.0, 0.5)])
def test_the_value_grows_with_the_size_of_shocks_and_shrinks_where_they_raise_liquidity(
    liquidity_volatility: float,
) -> None:
    sizes = [2.0, 1.3, 1.0, 0.8, 0.4, 0.1]  # what a shock leaves
    factors: list[dict[str, Any]] = [{"stress": "liquidity-shocks", "stress_factor": f} for f in sizes]
    markets = [Market(**f, liquidity_volatility=liquidity_volatility, stress_onset=0.0) for f in factors]
    assert (np.diff([solve(market, SHORT, 16).value_bps for market in markets]) > 0).all()


@pytest.mark.long
@pytest.mark.parametrize(
    ("features", "terms"),
    [
        ({}, {}),
        ({"stress": "impact-regime-shift", "volume_profile": "u-shaped"}, {"risk_aversion": 1e-5}),
        ({"shock_rate": 20.0, "shock_size": 1.0, "slippage_noise": 1.0}, {"side": "buy"}),
        ({"signal": 0.05}, {"max_participation": None}),
        ({"impact_exponent": 0.5}, {}),
        ({"impact_exponent": 0.6, "reference_participation": 0.05, "shock_rate": 20.0, "shock_size": 1.0}, {}),
        ({}, {"terminal_penalty": 1.0, "max_participation": 0.1}),
        ({"impact_exponent": 0.6}, {"terminal_penalty": 1.05, "max_participation": 0.1}),
        *more(
            ({"stress": "extreme-shock"}, {}),
            ({"stress": "liquidity-shocks", "stress_factor": 0.2}, {}),
            ({"liquidity_volatility": 0.0, "shock_rate": 20.0, "shock_size": 1.0}, {}),
            ({"signal": -0.05, "half_spread": 0.0}, {"terminal_penalty": 1.0}),
            ({"transient_impact": 0.0, "spread_elasticity": -0.8}, {"risk_aversion": 0.0}),
            ({"impact_exponent": 0.6, "stress": "impact-regime-shift"}, {"max_participation": None}),
            ({"impact_exponent": 1.5}, {"side": "buy"}),
            ({"liquidity_volatility": 0.0, "spread_noise": 0.0}, {}),
            ({"resilience": 0.0, "volume_noise": 0.0}, {}),
            (
                {"liquidity_volatility": 0.3, "permanent_impact": 5e-7, "transient_impact": 1.5e-6},
                {"terminal_penalty": 1.05, "max_participation": 0.1},
            ),
        ),
    ],
)
def test_its_rule_attains_the_value_in_monte_carlo(features: dict[str, Any], terms: dict[str, Any]) -> None:
    market, order = Market(**features), replace(SHORT, **terms)
    solution = solve(market, order)
    paths = Paths.simulate(market, order, 3000, seed=4)
    ours, theirs = (excess(agent(market, order), solution, paths) for agent in (Optimal, Adaptive))
    mean, error = mean_and_error(ours)
    assert abs(solution.linear.bound_bps + mean - solution.value_bps) < 3 * error + 2 * solution.error_bps + 1e-4
    gain, error = mean_and_error(theirs - ours)
    assert gain > -3 * error - 1e-4
    assert solution.value_bps >= solution.linear.bound_bps or market.impact_exponent != 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "features",
    [
        {"regime_rate": 20.0, "regime_recovery": 40.0, "regime_liquidity": 0.4},
        *more({"stress": "volatility-spike", "stress_onset": 0.1, "stress_onset_end": 0.9, "stress_factor": 6.0}),
    ],
)
def test_with_regimes_that_show_its_rule_attains_the_value(features: dict[str, Any]) -> None:
    market, order = Market(**features), replace(SHORT, max_participation=0.2)
    solution, paths = solve(market, order), Paths.simulate(market, order, 12_000, seed=4)
    chain, sigma = solution.linear.regimes, market.volatility * market.arrival_price * order.slice_length**0.5
    totals = []
    for agent in (Optimal(market, order), Adaptive(market, order)):
        total = np.zeros(paths.n_paths)
        for t, step in enumerate(executed(agent.act, paths, market, order, ActionMode("shares"))):
            state, now, shares = step.before, step.now, step.fill.shares - step.fill.block
            seen = Seen(t, state.remaining, state.transient, 0.0, now.half_spread, now.log_liquidity)
            regime = chain.likely(market, t, now.log_liquidity, now.variance**0.5 / sigma).argmax(0)
            each = [solution.linear.excess(seen._replace(regime=k), shares) for k in range(chain.n_regimes)]
            total += np.choose(regime, each)
        totals.append(total * bps(order.shares * market.arrival_price))
    mean, error = mean_and_error(totals[0])
    assert mean > 10 * error  # the cap binds
    assert abs(solution.linear.cost_bps + mean - solution.value_bps) < 3 * error + 2 * solution.error_bps
    gain, error = mean_and_error(totals[1] - totals[0])
    assert gain > -3 * error


def test_regimes_that_are_alike_are_none() -> None:
    alike = solve(Market(regime_rate=5.0, regime_liquidity=1.0, regime_volatility=1.0), SHORT, 16)
    assert alike.value_bps == pytest.approx(solve(Market(), SHORT, 16).value_bps, rel=1e-9)


@pytest.mark.long
def test_the_default_optimum_is_between_the_bound_and_the_clipped_rule_and_attained() -> None:
    market, order = Market(), Order()
    solution = solve(market, order)
    paths = Paths.simulate(market, order, 2000, seed=5)
    ours, theirs = (excess(agent(market, order), solution, paths) for agent in (Optimal, Adaptive))
    above = solution.value_bps - solution.linear.bound_bps
    assert above == pytest.approx(0.0978, abs=4e-4)  # at twice the resolution
    assert solution.error_bps < 1e-3
    mean, error = mean_and_error(ours)
    assert abs(mean - above) < 3 * error
    gain, error = mean_and_error(theirs - ours)
    assert gain > 3 * error


@pytest.mark.slow
def test_a_smaller_cap_costs_more() -> None:
    caps = [None, 1.0, 0.5, 0.3, 0.2, 0.1, 0.05, 0.01]
    values = [solve(Market(), replace(SHORT, n_steps=4, max_participation=cap), 16).value_bps for cap in caps]
    assert (np.diff(values) > 0).all()


@pytest.mark.slow
def test_under_a_tiny_cap_one_always_trades_at_the_cap() -> None:
    market, order = Market(), replace(SHORT, n_steps=4, max_participation=0.01)
    solution = solve(market, order)
    paths = Paths.simulate(market, order, 4000, seed=6)
    ours, greedy = (excess(agent, solution, paths) for agent in (Optimal(market, order), AtTheCap()))
    assert ours == pytest.approx(greedy, rel=1e-3)  # the poorest liquidity is worth waiting out
    mean, error = mean_and_error(greedy)
    assert abs(solution.linear.bound_bps + mean - solution.value_bps) < 3 * error


def test_a_buy_costs_what_a_sell_does() -> None:
    assert solve(Market(), replace(SHORT, side="buy"), 16).value_bps == solve(Market(), SHORT, 16).value_bps


@pytest.mark.slow
def test_the_rule_knows_the_cap_and_trades_sooner() -> None:
    market, order = Market(), replace(SHORT, max_participation=0.1)
    seen = Seen(0, order.shares, 0.0, 0.0, market.half_spread_at(0.0, 0.0), np.linspace(-1.5, 1.5, 7))
    solution = solve(market, order)
    trades = solution.policy(seen)
    assert trades.shape == (7,)
    assert (trades > solution.linear.policy(seen)).all()
    assert (trades <= order.shares).all()


@pytest.mark.parametrize(
    ("market", "resolution", "message"),
    [
        (Market(signal_volatility=0.1), 32, "Market.signal_volatility = 0.1: must be 0"),
        (Market(half_spread=torch.tensor(2.5)), 32, "half_spread is a tensor"),
        (Market(permanent_impact=1e-3), 32, "no optimum"),
        (Market(), 20, "resolution = 20: must be a multiple of 16"),
    ],
)
def test_what_it_cannot_solve_is_refused_in_a_sentence(market: Market, resolution: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        solve(market, SHORT, resolution)


@pytest.mark.slow
def test_the_same_problem_is_solved_once() -> None:
    solution = solve(Market(), SHORT)
    assert isinstance(solution, Solution)
    assert Optimal(Market(), replace(SHORT)).constrained is solution
