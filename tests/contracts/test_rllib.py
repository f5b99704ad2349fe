"""RLlib: its runners collect whole episodes from single environments and from the native vector environment."""

import warnings
from typing import Any

import numpy as np
import pytest

import exec_env  # registers the ids

with warnings.catch_warnings():  # of a foreign import
    warnings.simplefilter("ignore")
    pytest.importorskip("ray.rllib", exc_type=ImportError)
    from ray.rllib.algorithms.ppo import PPOConfig
    from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

pytestmark = [pytest.mark.rllib, pytest.mark.filterwarnings("default")]

EPISODES, SLICES = 400, 5


def configured(options: dict[str, Any], mode: str, num_envs: int) -> Any:
    return (
        PPOConfig()
        .environment(f"{exec_env.__name__}:AlmgrenChriss-v0", env_config=options)
        .env_runners(num_env_runners=0, num_envs_per_env_runner=num_envs, gym_env_vectorize_mode=mode)
        .debugging(seed=0)
    )


@pytest.mark.parametrize("mode", ["sync", "vector_entry_point"])
def test_every_random_episode_is_whole(mode: str, whole: dict[str, Any]) -> None:
    runner = SingleAgentEnvRunner(config=configured(whole, mode, 8))
    episodes = runner.sample(num_episodes=EPISODES, random_actions=True)
    runner.stop()
    assert len(episodes) == EPISODES
    assert all(episode.is_terminated for episode in episodes)
    # The first entry of an observation is the share of time that is left.
    firsts = [float(episode.get_observations(0)[0]) for episode in episodes]
    assert firsts == [1.0] * EPISODES
    assert [len(episode) for episode in episodes] == [SLICES] * EPISODES
    ends = [episode.get_observations(-1)[1] for episode in episodes]
    np.testing.assert_array_equal(ends, np.zeros(EPISODES))  # nothing is left


def test_both_ways_play_the_same_paths_of_a_seed(whole: dict[str, Any]) -> None:
    firsts = []
    for mode in ("sync", "vector_entry_point"):
        runner = SingleAgentEnvRunner(config=configured(whole, mode, 4))
        firsts.append(np.sort([e.get_observations(0)[2] for e in runner.sample(num_episodes=4, random_actions=True)]))
        runner.stop()
    np.testing.assert_allclose(*firsts)


@pytest.mark.slow
def test_its_ppo_learns_from_the_native_environment(whole: dict[str, Any], ray_ready: None) -> None:
    config = configured(whole, "vector_entry_point", 8).training(
        train_batch_size_per_learner=160, minibatch_size=80, num_epochs=1
    )
    algorithm = config.build_algo()
    try:
        result = algorithm.train()
    finally:
        algorithm.stop()
    assert result["env_runners"]["episode_len_mean"] == SLICES
    assert np.isfinite(result["env_runners"]["episode_return_mean"])
