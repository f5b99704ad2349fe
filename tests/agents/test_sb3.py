"""What learners on Stable-Baselines3 share: schedules over a whole run, whole rollouts, reports, and export."""

import base64
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import DQN, PPO

from exec_env.agents import ppo
from exec_env.agents.ddqn import DDQN, DoubleDQN
from exec_env.agents.dqn import DQNConfig
from exec_env.agents.replay import half_cosine
from exec_env.envs.sb3 import SB3VecEnv
from exec_env.harness.agents import Learner, Setup
from tests.agents.problems import made, nothing

SMALL: dict[str, Any] = {"n_steps": 5, "shares": 25_000.0}
LEARNERS: dict[Any, Any] = {
    ppo.PPO: ppo.PPOConfig(hidden=(8,), rollout=7, batch_size=64, epochs=1),
    DDQN: DQNConfig(hidden=(8,), batch_size=16, update_every=16, warm_up=64, replay_size=400, exploration=0.5),
}
every_learner = pytest.mark.parametrize("cls", LEARNERS)
OBSERVATIONS = np.random.default_rng(0).uniform(0.0, 1.0, (500, 10)).astype(np.float32)


@pytest.mark.slow
@every_learner
def test_schedules_span_the_whole_run_although_it_is_cut_into_intervals(cls: Any) -> None:
    agent, env = made(cls, LEARNERS[cls], steps=1120, **SMALL)  # ten rollouts of PPO
    rates = []
    for interval in range(5):
        agent.learn(env, 224, interval, nothing)
        rates.append(agent.model.policy.optimizer.param_groups[0]["lr"])
    # The library sets the rate before an update, from what was collected by then.
    assert rates == pytest.approx(
        [half_cosine(agent.config.learning_rate)(1 - part) for part in (0.2, 0.4, 0.6, 0.8, 1.0)]
    )
    if cls is DDQN:
        assert agent.model.exploration_rate == DQNConfig.epsilon_end


def test_exploration_falls_over_its_part_of_the_whole_run() -> None:
    agent, env = made(DDQN, LEARNERS[DDQN], steps=1280, **SMALL)
    seen = []
    for interval in range(4):
        agent.learn(env, 320, interval, nothing)
        seen.append(agent.model.exploration_rate)
    assert seen == pytest.approx([0.525, 0.05, 0.05, 0.05])  # from 1 to 0.05 over half of the run


def test_what_a_rollout_overshoots_an_interval_is_taken_off_the_next_ones() -> None:
    agent, env = made(ppo.PPO, LEARNERS[ppo.PPO], steps=400, **SMALL)
    seen = []
    for interval in range(8):  # a rollout is 112 transitions
        agent.learn(env, 48, interval, nothing)
        seen.append(agent.steps)
    assert seen == [112, 112, 224, 224, 336, 336, 336, 448]


@pytest.mark.slow
@every_learner
def test_every_step_is_reported_once_and_so_is_what_the_library_logs(cls: Any) -> None:
    agent, env = made(cls, LEARNERS[cls], steps=1120, **SMALL)
    agent.log_interval = 1
    reported: list[int] = []
    logged: dict[str, float] = {}
    agent.learn(env, 1120, 0, lambda steps, values: (reported.append(steps), logged.update(values)))
    assert sum(reported) == agent.steps == 1120
    assert {"loss", "learning_rate", "ep_rew_mean", "ep_len_mean"} <= set(logged)
    assert all(type(value) is float for value in logged.values())


@every_learner
def test_what_it_is_built_and_trained_with_decides_everything(cls: Any) -> None:
    def learned(seed: int) -> dict[str, torch.Tensor]:
        torch.manual_seed(seed)  # the global generators have no say
        np.random.seed(seed)  # noqa: NPY002
        agent, env = made(cls, LEARNERS[cls], **SMALL)
        agent.learn(env, 224, 5, nothing)
        return agent.model.policy.state_dict()

    one, other = learned(0), learned(1)
    assert all(torch.equal(one[k], other[k]) for k in one)


@every_learner
def test_it_is_a_learner_whose_device_must_be_there(cls: Any) -> None:
    agent, _ = made(cls, LEARNERS[cls], **SMALL)
    assert isinstance(agent, Learner)
    with pytest.raises(ValueError, match="device = 'toaster': not to be had here") as caught:
        cls.build(LEARNERS[cls], agent.head, Setup(640, 640, 16, 0, "toaster"))
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cls", "load", "action"),
    [(ppo.PPO, PPO, "pace"), (ppo.PPO, PPO, "fraction"), (DDQN, DQN, "pace"), (DDQN, DoubleDQN, "pace")],
)
def test_an_exported_model_is_read_by_the_library_acts_alike_and_learns_on(
    cls: Any, load: Any, action: str, tmp_path: Path
) -> None:
    agent, env = made(cls, LEARNERS[cls], action, **SMALL)
    agent.learn(env, 320, 0, nothing)
    agent.save(tmp_path)
    rate = agent.model.learning_rate
    for number, exported in enumerate((agent, cls.load(tmp_path))):
        file = exported.export(tmp_path / f"model-{number}")
        assert file == tmp_path / f"model-{number}.zip"
        model = load.load(file, device="cpu")
        np.testing.assert_array_equal(model.predict(OBSERVATIONS, deterministic=True)[0], agent.act(OBSERVATIONS))
    assert agent.model.learning_rate is rate
    more = load.load(file, env=SB3VecEnv("AlmgrenChriss-v0", num_envs=16, action=action, **SMALL), device="cpu")
    assert more.learn(224).num_timesteps >= 224


@every_learner
def test_an_exported_model_of_a_discrete_action_names_nothing_of_ours(cls: Any, tmp_path: Path) -> None:
    agent, env = made(cls, LEARNERS[cls], **SMALL)
    agent.learn(env, 224, 0, nothing)
    with zipfile.ZipFile(agent.export(tmp_path / "model.zip")) as archive:
        data = json.loads(archive.read("data"))
    pickles = [
        base64.b64decode(v[":serialized:"]) for v in data.values() if isinstance(v, dict) and ":serialized:" in v
    ]
    assert len(pickles) > 3
    assert not any(b"agents" in text or b"exec_env" in text for text in pickles)


@every_learner
def test_an_export_overwrites_nothing(cls: Any, tmp_path: Path) -> None:
    agent, _ = made(cls, LEARNERS[cls], **SMALL)
    (tmp_path / "model.zip").write_text("mine")
    for path in (tmp_path / "model.zip", tmp_path / "model"):
        with pytest.raises(ValueError, match=r"model\.zip exists: choose another file"):
            agent.export(path)
    with pytest.raises(ValueError, match="nowhere: no such folder"):
        agent.export(tmp_path / "nowhere" / "model.zip")
    assert (tmp_path / "model.zip").read_text() == "mine"
