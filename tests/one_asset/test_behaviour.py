"""Behaviour maps: what agents do in states of our choice."""

from typing import Any

import numpy as np
import pytest

from exec_env import Market, Order
from exec_env.harness.agents import resolve
from exec_env.one_asset.behaviour import states
from exec_env.one_asset.observation import Observation
from exec_env.one_asset.picture import pace
from exec_env.one_asset.presets import get_preset
from exec_env.one_asset.problem import OneAsset
from exec_env.optimum.schedule import best_schedule

ENDLESS: dict[str, Any] = {"permanent_impact": 1e-4}
"""Trading ever faster pays, so that there is no optimum."""


class Watching:
    """Sells evenly, and keeps what it saw."""

    action_mode = "pace"

    def __init__(self) -> None:
        self.seen: list[Observation] = []

    def act(self, observations: np.ndarray) -> np.ndarray:
        self.seen.append(Observation(*observations.T.astype(float)))
        return np.full(len(observations), 4)


def map_of(name: str, market: Market, order: Order) -> np.ndarray:
    problem = OneAsset(market, order)
    return states(problem).map(resolve(name, problem)[1])


def test_twap_is_one_everywhere() -> None:
    paces = map_of("twap", Market(), Order(max_participation=None))
    assert paces.shape == (41, 40)
    np.testing.assert_allclose(paces, 1.0, rtol=1e-6)


@pytest.mark.slow
def test_where_the_cap_binds_the_pace_is_what_the_cap_lets_through() -> None:
    market, order = Market(), Order()
    at, paces = states(OneAsset(market, order)), map_of("twap", market, order)
    remaining = np.array([state.remaining[0] for state in at.states])
    even = remaining / np.arange(order.n_steps, 0, -1)
    np.testing.assert_allclose(paces, np.minimum(1.0, 0.3 * at.paths.slices.volume / even), rtol=1e-6)
    assert paces.min() < 1.0


def test_the_adaptive_optimum_goes_faster_when_liquidity_is_deeper() -> None:
    paces = map_of("adaptive", Market(), Order(max_participation=None))[:, :-1]
    assert (np.diff(paces, axis=0) > 0).all()
    assert paces[0].min() < 1.0 < paces[-1].max()


def test_a_fixed_share_of_the_volume_is_faster_in_proportion_to_the_volume() -> None:
    market, order = Market(), Order(max_participation=None)
    at, paces = states(OneAsset(market, order)), map_of("pov", market, order)
    volume = at.paths.slices.volume[:, 3]
    np.testing.assert_allclose(paces[:, 3] / paces[20, 3], volume / volume[20], rtol=1e-5)


@pytest.mark.slow
def test_observations_are_means_given_liquidity_along_the_best_fixed_schedule() -> None:
    market, order, agent = Market(volatility_elasticity=-0.25), Order(), Watching()
    at = states(OneAsset(market, order))
    at.map(agent)
    s = market.liquidity_volatility
    np.testing.assert_allclose(at.levels[[0, 20, 40]], [-2 * s, 0.0, 2 * s], atol=1e-12)
    sold = np.r_[0.0, np.cumsum(best_schedule(market, order))[:-1]]
    for t, seen in enumerate(agent.seen):
        np.testing.assert_allclose(seen.time_left, 1 - t / order.n_steps, rtol=1e-6)
        np.testing.assert_allclose(seen.inventory_left, 1 - sold[t] / order.shares, rtol=1e-4)
        np.testing.assert_allclose(seen.log_liquidity, at.levels, atol=1e-6)
        # Mean-one loadings: e^{eℓ − e²s²/2} with e = 1, −1/2 and, for the square root of the variance, −1/4.
        np.testing.assert_allclose(seen.relative_volume, np.exp(at.levels - s**2 / 2), rtol=1e-5)
        np.testing.assert_allclose(seen.relative_spread, np.exp(-at.levels / 2 - s**2 / 8), rtol=1e-5)
        assert (np.diff(seen.relative_volatility) < 0).all()
    assert agent.seen[0].transient_impact.max() == 0.0
    assert (agent.seen[5].transient_impact > 0).all()
    assert (agent.seen[5].price_move < 0).all()
    assert (agent.seen[5].last_participation > 0).all()


@pytest.mark.slow
def test_a_stress_reaches_the_states_but_not_the_levels() -> None:
    market, order, agent = get_preset("liquidity-collapse").market, Order(), Watching()
    at = states(OneAsset(market, order))
    at.map(agent)
    np.testing.assert_allclose(agent.seen[0].log_liquidity, at.levels, atol=1e-6)
    np.testing.assert_allclose(agent.seen[-1].log_liquidity, at.levels + np.log(0.2), atol=1e-6)


@pytest.mark.slow
def test_every_feature_of_the_market_can_be_switched_on(rich: dict) -> None:
    market, order = Market(**rich), Order(n_steps=6)
    assert np.isfinite(map_of("adaptive", market, order)).all()


def test_without_random_liquidity_there_is_one_level() -> None:
    preset = get_preset("classic")
    paces = map_of("adaptive", preset.market, preset.order)
    assert paces.shape == (1, 40)
    sold = best_schedule(preset.market, preset.order)
    left = preset.order.shares - np.r_[0.0, np.cumsum(sold)[:-1]]
    np.testing.assert_allclose(paces[0, :-1], (sold / (left / np.arange(40, 0, -1)))[:-1], rtol=1e-4)


def test_where_there_is_no_optimum_the_schedule_is_even() -> None:
    market, order = Market(**ENDLESS), Order()
    with pytest.raises(ValueError, match="no optimum"):
        best_schedule(market, order)
    at = states(OneAsset(market, order))
    assert at.schedule == "an even schedule"
    np.testing.assert_allclose([state.remaining[0] for state in at.states], np.arange(40, 0, -1) * 5000.0)


def test_nothing_left_has_no_pace() -> None:
    assert np.isnan(pace(np.zeros(2), np.zeros(2), 3)).all()
