"""Every registered environment: Gymnasium's checker, both ways of making it, copies, pictures."""

import copy
import pickle
import warnings
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

from exec_env import ENVIRONMENTS, PRESETS, Market
from exec_env.envs.factory import ONE_ASSET
from exec_env.envs.registry import get_spec
from exec_env.envs.vector import ExecutionVectorEnv

KINDS = ("AlmgrenChriss-v0", "AlmgrenChrissContinuous-v0", "AlmgrenChrissLiquidityCollapse-v0")
"""Paces and fractions, without and with a stress: the others differ in numbers of the market alone."""

ONE_ASSET_IDS = [env_id for env_id, row in ENVIRONMENTS.items() if row.problem == ONE_ASSET]

every_id = pytest.mark.parametrize("env_id", ENVIRONMENTS)
every_kind = pytest.mark.parametrize(
    "env_id", [pytest.param(env_id, marks=() if env_id in KINDS else pytest.mark.long) for env_id in ENVIRONMENTS]
)


def steps(env: Any, n: int) -> list[tuple[bytes, float]]:
    """What ``n`` actions of the environment's own seeded sampler lead to."""
    env.action_space.seed(1)
    out = []
    for _ in range(n):
        observation, reward, terminated, *_ = env.step(env.action_space.sample())
        out.append((observation.tobytes(), reward))
        if terminated:
            env.reset()
    return out


@pytest.mark.slow
@every_kind
def test_it_passes_gymnasiums_checker_without_a_warning(env_id: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gym.make(env_id).unwrapped)
        check_env(gym.make(env_id, render_mode="rgb_array", reward="shortfall", side="buy").unwrapped)


@pytest.mark.parametrize("env_id", ONE_ASSET_IDS)
def test_its_row_says_what_it_is(env_id: str) -> None:
    spec, env = ENVIRONMENTS[env_id], gym.make(env_id).unwrapped
    assert env.mode.name == spec.options.get("action", "pace")
    changed = {name: value for name, value in spec.options.items() if hasattr(Market, name)}
    assert env.market == replace(PRESETS[spec.options["preset"]].market, **changed)
    assert env.order == PRESETS[spec.options["preset"]].order
    assert spec.description
    assert get_spec(f"exec_env:{env_id}") is spec


@every_id
def test_it_can_be_made_by_module_and_id(env_id: str) -> None:
    by_module, by_id = gym.make(f"exec_env:{env_id}"), gym.make(env_id)
    np.testing.assert_array_equal(by_module.reset(seed=0)[0], by_id.reset(seed=0)[0])
    assert steps(by_module, 50) == steps(by_id, 50)


@every_id
def test_make_vec_gives_the_native_environment_and_says_how_it_resets(env_id: str) -> None:
    env = gym.make_vec(env_id, num_envs=3)
    assert isinstance(env.unwrapped, ExecutionVectorEnv)
    assert env.num_envs == 3
    assert env.metadata["autoreset_mode"] is env.unwrapped.autoreset_mode is AutoresetMode.NEXT_STEP
    assert env.single_action_space == gym.make(env_id).action_space
    assert env.single_observation_space == gym.make(env_id).observation_space
    other = gym.make_vec(env_id, num_envs=3, autoreset_mode=AutoresetMode.SAME_STEP)
    assert other.metadata["autoreset_mode"] is other.unwrapped.autoreset_mode is AutoresetMode.SAME_STEP
    assert env.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP


@pytest.mark.slow
@every_id
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_a_copy_made_in_the_middle_of_an_episode_goes_on_alike(env_id: str, duplicate: Any) -> None:
    env = gym.make(env_id).unwrapped
    env.reset(seed=3)
    steps(env, 7)
    twin = duplicate(env)
    assert steps(env, 90) == steps(twin, 90)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_a_copy_of_a_vector_environment_goes_on_alike(duplicate: Any) -> None:
    env = gym.make_vec("AlmgrenChriss-v0", num_envs=3).unwrapped
    env.reset(seed=3)
    env.step(np.full(3, 4))
    twin = duplicate(env)
    for t in range(200):
        ours, theirs = (e.step(np.full(3, t % 11)) for e in (env, twin))
        np.testing.assert_array_equal(ours[0], theirs[0])
        np.testing.assert_array_equal(ours[1], theirs[1])


@pytest.mark.slow
@every_kind
def test_the_picture_changes_as_the_episode_goes_on(env_id: str) -> None:
    env = gym.make(env_id, render_mode="rgb_array")
    env.reset(seed=0)
    pictures = [env.render()]
    for _ in range(2):
        env.step(env.action_space.sample())
        pictures.append(env.render())
    for picture in pictures:
        assert picture.shape == (600, 800, 3)
        assert picture.dtype == np.uint8
        assert picture.std() > 0
    assert not np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[1], pictures[2])


@pytest.mark.slow
def test_a_finished_episode_can_still_be_drawn() -> None:
    env = gym.make("AlmgrenChriss-v0", render_mode="rgb_array", n_steps=3)
    env.reset(seed=0)
    for _ in range(3):
        *_, terminated, _, _ = env.step(4)
    assert terminated
    assert env.render().shape == (600, 800, 3)


def test_render_without_a_mode_warns_and_draws_nothing() -> None:
    env = gym.make("AlmgrenChriss-v0").unwrapped
    env.reset(seed=0)
    with pytest.warns(UserWarning, match="rgb_array"):
        assert env.render() is None
