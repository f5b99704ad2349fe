"""The single environment: contract, accounts, seeds, mirror images."""

import copy
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from exec_env import ENVIRONMENTS
from exec_env.market.execution import COMPONENTS
from exec_env.market.paths import Paths
from exec_env.one_asset.actions import ACTION_MODES
from exec_env.optimum.schedule import best_schedule
from tests.conftest import play


def sampler(env: gym.Env, seed: int = 0) -> Any:
    env.action_space.seed(seed)
    return lambda _: env.action_space.sample()


@pytest.mark.slow
@pytest.mark.parametrize("action", ACTION_MODES)
@pytest.mark.parametrize("side", ["sell", "buy"])
def test_costs_sum_to_the_shortfall_in_every_mode_and_side(action: str, side: str, rich: dict) -> None:
    env = gym.make("AlmgrenChriss-v0", action=action, side=side, **rich).unwrapped
    sign = 1 if side == "sell" else -1
    for episode in range(5):
        steps = play(env, sampler(env, episode), seed=episode)
        shortfall = steps[-1]["shortfall_bps"]
        components = np.array([[s[name] for name in COMPONENTS] for s in steps])
        scale = np.abs(components).sum()
        assert components.sum() == pytest.approx(shortfall, rel=1e-9, abs=1e-9 * scale)
        shares = np.array([s["shares"] for s in steps])
        fills = np.array([s["fill_price"] for s in steps])
        cash = sign * (shares * (100.0 - fills)).sum() / (env.order.shares * 100.0) * 1e4
        assert cash == pytest.approx(shortfall, rel=1e-9, abs=1e-9 * scale)
        assert shares.sum() == pytest.approx(env.order.shares)


@pytest.mark.parametrize("reward", ["expected", "shortfall"])
def test_undiscounted_rewards_add_up_to_minus_the_cost_of_the_episode(reward: str, rich: dict) -> None:
    env = gym.make("AlmgrenChriss-v0", reward=reward, **rich).unwrapped
    steps = play(env, sampler(env), seed=1)
    risk = sum(s["risk"] for s in steps)
    cost = steps[-1]["objective_bps"] if reward == "expected" else steps[-1]["shortfall_bps"] + risk
    assert sum(s["reward"] for s in steps) == pytest.approx(-cost, rel=1e-9)


def test_shaping_charges_excess_and_changes_of_pace_but_is_no_part_of_the_objective() -> None:
    greedy = lambda _: 10  # noqa: E731
    plain, shaped = (
        play(gym.make("AlmgrenChriss-v0", shares=1e6, **kwargs), greedy, seed=0)
        for kwargs in ({}, {"violation_penalty": 10.0, "smoothness_penalty": 7.0})
    )
    assert shaped[-1]["objective_bps"] == plain[-1]["objective_bps"]
    volume = plain[0]["observation"]
    assert volume is not None
    first = plain[0]["reward"] - shaped[0]["reward"]
    env = gym.make("AlmgrenChriss-v0", shares=1e6).unwrapped
    observation, _ = env.reset(seed=0)
    market_volume = observation[4] * 5e6 / 78
    asked, cap = 6 * 1e6 / 40, 0.3 * market_volume
    assert asked > cap
    assert first == pytest.approx(10 * (asked - cap) / 1e6 + 7 * 0.3**2, rel=1e-5)


def test_a_buy_is_the_mirror_image_of_a_sell_path_by_path(rich: dict) -> None:
    runs = [
        play(env, sampler(env), seed=11)
        for side in ("sell", "buy")
        for env in [gym.make("AlmgrenChriss-v0", side=side, **rich).unwrapped]
    ]
    for sell, buy in zip(*runs, strict=True):
        assert buy["fill_price"] - 100.0 == pytest.approx(100.0 - sell["fill_price"], abs=1e-9)
        assert buy["mid"] - 100.0 == pytest.approx(100.0 - sell["mid"], abs=1e-9)
        assert buy["reward"] == sell["reward"]
        np.testing.assert_array_equal(buy["observation"], sell["observation"])
    assert runs[0][-1]["shortfall_bps"] == runs[1][-1]["shortfall_bps"]


def test_a_seller_is_filled_below_the_mid_and_a_buyer_above() -> None:
    for side, sign in (("sell", -1), ("buy", 1)):
        steps = play(gym.make("AlmgrenChriss-v0", side=side), lambda _: 4, seed=0)
        assert all(sign * (s["fill_price"] - s["mid"]) > 0 for s in steps)


def test_same_seed_same_bytes_in_recreated_environments() -> None:
    runs = []
    for _ in range(2):
        env = gym.make("AlmgrenChriss-v0").unwrapped
        runs.append([play(env, sampler(env), seed=3), play(env, sampler(env))])
    for first, again in zip(*runs, strict=True):
        assert [s["observation"].tobytes() for s in first] == [s["observation"].tobytes() for s in again]
        assert [s["reward"] for s in first] == [s["reward"] for s in again]


def test_unseeded_episodes_and_unseeded_environments_differ() -> None:
    env = gym.make("AlmgrenChriss-v0")
    first, second = env.reset()[0], env.reset()[0]
    other = gym.make("AlmgrenChriss-v0").reset()[0]
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_path_e_does_not_depend_on_what_the_agent_did_before() -> None:
    hasty, slow = gym.make("AlmgrenChriss-v0"), gym.make("AlmgrenChriss-v0")
    play(hasty, lambda _: 10, seed=5)
    play(slow, lambda _: 0, seed=5)
    np.testing.assert_array_equal(hasty.reset()[0], slow.reset()[0])
    slow.reset()
    hasty.reset()
    a, b = play(hasty, lambda _: 4), play(slow, lambda _: 4)
    assert [s["reward"] for s in a] == [s["reward"] for s in b]


def test_episode_e_is_path_e_of_the_tape_with_that_seed() -> None:
    env = gym.make("AlmgrenChriss-v0").unwrapped
    paths = Paths.simulate(env.market, env.order, 70, seed=9)
    for e in range(70):
        observation, _ = env.reset(seed=9 if e == 0 else None)
        assert observation[2] == np.float32(paths.slices.log_liquidity[e, 0])


def test_the_episode_ends_when_all_is_sold_or_at_the_horizon() -> None:
    env = gym.make("AlmgrenChrissContinuous-v0", max_participation=None)
    steps = play(env, lambda _: np.array([1.0]), seed=0)
    assert len(steps) == 1
    steps = play(env, lambda _: np.array([0.0]), seed=0)
    assert len(steps) == 40
    assert steps[-1]["block"] == steps[-1]["shares"] == 200_000
    assert not any(s["terminated"] for s in steps[:-1])


def test_waiting_for_the_closing_block_is_dearer_than_twap() -> None:
    env = gym.make("AlmgrenChriss-v0")
    waiting, twap = (play(env, lambda _, a=a: a, seed=0)[-1]["objective_bps"] for a in (0, 4))
    assert waiting > 10 * twap


def test_stepping_after_the_end_or_before_the_first_reset_is_an_error() -> None:
    env = gym.make("AlmgrenChriss-v0").unwrapped
    with pytest.raises(gym.error.ResetNeeded, match="call reset"):
        env.step(4)
    play(env, lambda _: 4, seed=0)
    with pytest.raises(gym.error.ResetNeeded, match="the episode is over: call reset"):
        env.step(4)


def test_an_action_outside_the_space_is_refused_and_leaves_the_episode_as_it_was() -> None:
    env = gym.make("AlmgrenChriss-v0").unwrapped
    env.reset(seed=0)
    with pytest.raises(ValueError, match="action 'pace': 11 is outside the space, an integer in 0 .. 10"):
        env.step(11)
    after_error = env.step(4)
    env.reset(seed=0)
    assert env.step(4)[1] == after_error[1]


@pytest.mark.parametrize("env_id", ENVIRONMENTS)
def test_rewards_are_plain_finite_floats_and_observations_stay_in_the_space(env_id: str) -> None:
    env = gym.make(env_id).unwrapped
    for seed in range(3):
        for step in play(env, sampler(env, seed), seed=seed):
            assert type(step["reward"]) is float
            assert np.isfinite(step["reward"])
            assert env.observation_space.contains(step["observation"])


def test_a_copied_environment_goes_on_as_the_original_does() -> None:
    env = gym.make("AlmgrenChriss-v0").unwrapped
    env.reset(seed=0)
    env.step(4)
    twin = copy.deepcopy(env)
    for _ in range(39):
        ours, theirs = env.step(4), twin.step(4)
        assert ours[1] == theirs[1]
    np.testing.assert_array_equal(env.reset()[0], twin.reset()[0])


def test_in_the_classic_market_the_optimal_schedule_costs_its_closed_form() -> None:
    env = gym.make("AlmgrenChrissClassic-v0", action="shares").unwrapped
    market, order = env.market, env.order
    trades = best_schedule(market, order)
    env.reset(seed=0)
    objective = None
    for v in trades:
        *_, info = env.step(np.array([v]))
        objective = info.get("objective_bps")
    held = order.shares - np.cumsum(trades)
    eta_tilde = market.temporary_impact - market.permanent_impact * order.slice_length / 2
    cost = (
        market.permanent_impact * order.shares**2 / 2
        + market.half_spread * 1e-4 * market.arrival_price * order.shares
        + eta_tilde / order.slice_length * (trades**2).sum()
        + order.risk_aversion * 4.0 * order.slice_length * (held**2).sum()
    )
    assert objective == pytest.approx(cost / (order.shares * 100) * 1e4, rel=1e-9)


@pytest.mark.parametrize("kwargs", [{}, {"action": "participation-levels"}])
def test_a_preset_brings_its_own_action_levels(kwargs: dict) -> None:
    env = gym.make("AlmgrenChriss-v0", preset="participation-notebook", **kwargs).unwrapped
    assert env.action_space.n == 7
    assert (
        gym.make_vec("AlmgrenChriss-v0", num_envs=2, preset="participation-notebook", **kwargs).single_action_space.n
        == 7
    )
    own = gym.make("AlmgrenChriss-v0", preset="participation-notebook", action="pace")
    assert own.action_space.n == 11


@pytest.mark.parametrize("cap", [0.01, 0.3, 0.35, 0.7, 0.9])
def test_every_corner_of_the_space_is_taken_and_trades_just_the_cap(cap: float) -> None:
    env = gym.make("AlmgrenChriss-v0", action="participation", max_participation=cap, shares=5e6).unwrapped
    env.reset(seed=0)
    for action in (env.action_space.high, np.array([cap])):
        info = env.step(action)[-1]
        assert not info["clipped"]
