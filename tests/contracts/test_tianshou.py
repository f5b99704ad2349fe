"""Tianshou: its collector gathers whole episodes from single environments."""

import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import exec_env  # noqa: F401  registers the ids

with warnings.catch_warnings():  # of a foreign import
    warnings.simplefilter("ignore")
    pytest.importorskip("tianshou", exc_type=ImportError)
    from tianshou.data import Collector, VectorReplayBuffer
    from tianshou.env import DummyVectorEnv
    from tianshou.policy.base import RandomActionPolicy

pytestmark = [pytest.mark.tianshou, pytest.mark.filterwarnings("default")]

SLICES = 5


def test_its_collector_gathers_whole_episodes(whole: dict[str, Any]) -> None:
    def make() -> Any:
        return gym.make("AlmgrenChriss-v0", **whole)

    envs = DummyVectorEnv([make for _ in range(4)])
    envs.seed(0)
    buffer = VectorReplayBuffer(1000, 4)
    collector = Collector(RandomActionPolicy(make().action_space), envs, buffer)
    collector.reset()
    gathered = collector.collect(n_episode=40, random=True)
    assert gathered.n_collected_episodes == 40
    assert gathered.n_collected_steps == 40 * SLICES
    assert (np.asarray(gathered.lens) == SLICES).all()
    steps, _ = buffer.sample(0)  # all of them
    assert steps.terminated.sum() == 40
    assert not steps.truncated.any()
    assert (steps.obs[:, 0] == 1.0).sum() == 40
    assert (steps.obs_next[steps.terminated, 1] == 0.0).all()
