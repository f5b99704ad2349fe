"""TorchRL: single environments by id, and the native vector environment in the modes that it takes."""

import warnings
from typing import Any

import gymnasium as gym
import pytest

import exec_env  # noqa: F401  registers the ids

with warnings.catch_warnings():  # of a foreign import
    warnings.simplefilter("ignore")
    torchrl = pytest.importorskip("torchrl", exc_type=ImportError)
    from torchrl.collectors import Collector
    from torchrl.envs import GymEnv, GymWrapper, check_env_specs

pytestmark = [pytest.mark.torchrl, pytest.mark.filterwarnings("default")]


@pytest.mark.parametrize("env_id", ["AlmgrenChriss-v0", "AlmgrenChrissContinuous-v0"])
def test_an_id_gives_an_environment_that_keeps_its_specifications(env_id: str) -> None:
    # It first asks with a keyword of its own, and goes on without only after a TypeError in Python's words.
    env = GymEnv(env_id, n_steps=5)
    env.set_seed(0)
    check_env_specs(env)
    assert env.observation_spec["observation"].shape == (10,)


def test_a_rollout_is_one_episode(whole: dict[str, Any]) -> None:
    env = GymEnv("AlmgrenChriss-v0", **whole)
    env.set_seed(0)
    played = env.rollout(100)
    assert played.batch_size == (5,)
    assert played["observation"][0, 0] == 1.0
    assert played["next", "terminated"].flatten().tolist() == [False] * 4 + [True]
    assert not played["next", "truncated"].any()
    assert env.rollout(100, break_when_any_done=False)["next", "done"].sum() == 20


@pytest.mark.parametrize("mode", ["DISABLED", "SAME_STEP"])
def test_the_native_environment_is_wrapped_in_both_modes_that_it_takes(mode: str, whole: dict[str, Any]) -> None:
    env = GymWrapper(gym.make_vec("AlmgrenChriss-v0", num_envs=3, autoreset_mode=mode, **whole))
    env.set_seed(0)
    check_env_specs(env)
    played = env.rollout(20, break_when_any_done=False)
    assert played.batch_size == (3, 20)
    assert played["next", "done"].sum() == 3 * 4
    began = played["observation"][:, ::5, 0]
    assert (began == 1.0).all()
    ended = played["next", "observation"][:, 4::5, :2]
    assert (ended == 0.0).all()


def test_gymnasiums_default_mode_is_refused_in_one_sentence_that_names_the_others(whole: dict[str, Any]) -> None:
    with pytest.raises(RuntimeError, match="must be one of SAME_STEP or DISABLED"):
        GymWrapper(gym.make_vec("AlmgrenChriss-v0", num_envs=3, **whole))


def test_a_collector_gathers_whole_episodes(whole: dict[str, Any]) -> None:
    env = GymWrapper(gym.make_vec("AlmgrenChriss-v0", num_envs=4, autoreset_mode="DISABLED", **whole))
    collector = Collector(env, None, frames_per_batch=80, total_frames=160)
    batches = list(collector)
    collector.shutdown()
    assert [batch["next", "done"].sum().item() for batch in batches] == [16, 16]
    assert all((batch["observation"][:, ::5, 0] == 1.0).all() for batch in batches)
