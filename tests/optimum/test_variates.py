"""Control variates: their mean is zero for any agent in any market, and they take most of the noise away."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from exec_env.base.errors import NoBound
from exec_env.envs.rollout import rollout
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.market.paths import Paths, Simulator, regime_of
from exec_env.one_asset.problem import OneAsset
from exec_env.optimum import dynamic_programming, martingale
from exec_env.optimum.news import News
from exec_env.optimum.seen import Seen
from exec_env.optimum.variates import EXCESS, FEWEST, MARTINGALE, Variates

NOISES = ("liquidity_volatility", "spread_noise", "volume_noise", "impact_noise", "decay_noise")
SHORT = Order(n_steps=6, shares=30_000.0)
MARKETS: dict[str, dict[str, Any]] = {
    "default": {},
    "shocks": {"shock_rate": 5.0, "shock_size": 1.0, "liquidity_volatility": 0.3},
    "regimes": {"regime_rate": 20.0, "regime_recovery": 40.0, "regime_liquidity": 0.4},
    "fixed onset": {"stress": "liquidity-collapse"},
    "random onset": {"stress": "volatility-spike", "stress_onset": 0.1, "stress_onset_end": 0.9, "stress_factor": 6.0},
    "hidden onset": {"stress": "impact-regime-shift", "stress_onset": 0.1, "stress_onset_end": 0.9},
    "shocks from a random onset": {"stress": "liquidity-shocks", "stress_onset": 0.0, "stress_onset_end": 0.6},
    "power law": {"impact_exponent": 0.6},
    "power law under stress": {"impact_exponent": 0.5, "stress": "impact-regime-shift"},
    "signal": {"signal": 0.05},
    "random signal": {"signal": 0.05, "signal_volatility": 0.2},
    "nothing random but the price": dict.fromkeys(NOISES, 0.0),
}


class Restless:
    """Trades that look at all that is seen, and at chance; some leave a block, some ask for more than the cap."""

    action_mode = "pace"

    def __init__(self, seed: int = 0) -> None:
        self._rng = np.random.default_rng(seed)

    def act(self, observations: np.ndarray) -> np.ndarray:
        moved = observations[:, 7] > 0
        return np.where(moved, 5, 2) + self._rng.integers(0, 4, len(observations))


def followed(market: Market, order: Order, agent: Any, n: int, seed: int = 0) -> tuple[np.ndarray, dict[str, Any]]:
    """Objective and variates of each path. [bps]"""
    problem, variates = OneAsset(market, order), Variates(market, order, max(n, FEWEST))
    paths = problem.sample([np.random.default_rng(seed)], n)
    along = variates.on(np.random.default_rng(seed), paths, variates.names).follow(variates.names)
    objective = np.zeros(n)
    for t, step in enumerate(rollout(agent.act, paths, problem, problem.actions(agent.action_mode))):
        along.watch(t, step.before, step.now, step.fill)
        objective += step.fill.objective
    return 1e4 * objective / (order.shares * market.arrival_price), along.sums()


@pytest.mark.long
@pytest.mark.parametrize("name", MARKETS)
def test_their_mean_is_zero_whatever_the_agent_does(name: str) -> None:
    market = Market(**MARKETS[name])
    objective, variates = followed(market, SHORT, Restless(), 6000, seed=3)
    assert list(variates) == ([EXCESS] if market.signal_volatility > 0 else [EXCESS, MARTINGALE])
    for values in variates.values():
        error = values.std() / len(values) ** 0.5
        # The second term is what solvers leave of rounding and interpolation.
        assert abs(values.mean()) < 4 * error + 1e-5 * objective.mean()


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.long if {"shocks", "onset"} & {*name.split()} else ())
        for name in MARKETS
        if name not in ("random signal", "hidden onset")
    ],
)
def test_off_the_best_policy_they_leave_little(name: str) -> None:
    from exec_env.baselines.optimal import Optimal

    market = Market(**MARKETS[name])
    objective, variates = followed(market, SHORT, Optimal(market, SHORT), 2000)
    left = objective - variates[EXCESS] - variates[MARTINGALE]
    assert left.std() <= 0.2 * objective.std() + 1e-9
    value = dynamic_programming.solve(market, SHORT)
    assert abs(left.mean() - value.value_bps) < 4 * left.std() / 2000**0.5 + 3 * value.error_bps + 1e-6


def test_the_excess_is_that_of_the_solution_slice_by_slice() -> None:
    market, order, agent = Market(), replace(SHORT, n_steps=3), Restless(1)
    objective, variates = followed(market, order, agent, 50)
    problem, linear = OneAsset(market, order), Variates(market, order, 1).linear
    paths = problem.sample([np.random.default_rng(0)], 50)
    excess = np.zeros(50)
    for t, step in enumerate(rollout(Restless(1).act, paths, problem, problem.actions("pace"))):
        x, push, now = step.before.remaining, step.before.transient, step.now
        seen = Seen(t, x, push, 0.0, now.half_spread, now.log_liquidity)
        excess += linear.excess(seen, step.fill.shares - step.fill.block)
    wanted = objective - linear.cost_bps - 1e4 * excess / (order.shares * market.arrival_price)
    np.testing.assert_allclose(variates[EXCESS], wanted, rtol=1e-9, atol=1e-9)


def test_at_points_of_the_grid_the_tables_give_what_news_gives() -> None:
    market, order = Market(), replace(SHORT, n_steps=3)
    tables = martingale.tables(market, order)
    linear, news = tables.news.solution.linear, News(tables.news.solution)
    simulator = Simulator(market, order)
    normals = simulator.normals([np.random.default_rng(0)], 40)
    # All begin at points of the grid of liquidity: there, and with all held, nothing is interpolated in slice 0.
    normals.liquidity[:, 0] = linear.grid[:: (len(linear.grid) - 1) // (tables.shape[0] - 1)][5:11].repeat(7)[:40]
    paths = Paths.shaped(market, order, normals)
    regime = regime_of(market, order, normals)
    now = paths.at(0)
    x, none = np.full(40, order.shares), np.zeros(40)
    seen = Seen(0, x, none, none, now.half_spread, now.log_liquidity)
    trade, (wanted, *_) = news.seen_now(
        seen, order.max_participation * now.volume, normals.spread[:, 0], normals.volume[:, 0]
    )
    kept = np.zeros(40)  # nothing is traded, so that what is held is at a point of the grid too
    wanted = wanted + news.seen_next(0, now, regime.T, normals, x, kept)[0]
    drawn = martingale.Martingale(tables, paths.slices, normals, regime)
    found = drawn.increment(0, OneAsset(market, order).opening(none), kept)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())
    assert (trade > 0).all()


def test_what_has_none_says_why(tape_csv: Any) -> None:
    with pytest.raises(NoBound, match="no optimum"):
        Variates(Market(temporary_impact=1e-9), Order(), 1000)
    many = Variates(Market(), Order(n_steps=400), 1000)
    assert many.names == (EXCESS,)
    assert "without the martingale of the constrained optimum: " in many.note
    assert Variates(Market(), SHORT, FEWEST - 1).names == (EXCESS,)
