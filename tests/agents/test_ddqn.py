"""Double DQN on Stable-Baselines3: its target by hand and beside the library's, exploration, rhythm, going on."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import DQN
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import VecNormalize

from exec_env.agents.ddqn import DDQN, DoubleDQN
from exec_env.agents.dqn import DQNConfig
from exec_env.envs.sb3 import SB3VecEnv
from exec_env.harness import evaluate
from tests.agents.problems import TWO_SLICES, made, nothing

SMALL: dict[str, Any] = {"n_steps": 5, "shares": 25_000.0}
TINY = DQNConfig(hidden=(8,), batch_size=16, update_every=16, warm_up=64, replay_size=400)
LEVELS = (0.0, 1.0, 2.0)


def table(cls: type[DQN], online: list[float], target: list[float], **kwargs: Any) -> DQN:
    """An algorithm whose action values do not depend on the observation, and that remembers one transition."""
    env = SB3VecEnv("AlmgrenChriss-v0", num_envs=1, levels=LEVELS)
    model = cls("MlpPolicy", env, gamma=0.5, policy_kwargs={"net_arch": []}, seed=0, device="cpu", **kwargs)
    with torch.no_grad():
        for network, values in ((model.q_net, online), (model.q_net_target, target)):
            for parameter in network.parameters():
                parameter.zero_()
            network.q_net[-1].bias.copy_(torch.tensor(values))
    assert model.replay_buffer is not None
    where = np.full((1, 10), 0.5, np.float32)
    model.replay_buffer.add(where, where, np.array([0]), np.array([1.0]), np.array([False]), [{}])
    model.set_logger(Logger(None, []))
    return model


def loss(model: DQN) -> float:
    """That of one gradient step."""
    model.train(gradient_steps=1, batch_size=4)
    return float(model.logger.name_to_value["train/loss"])


@pytest.mark.slow
def test_the_target_values_the_online_networks_choice_with_the_target_network() -> None:
    # The online network prefers action 1, worth 2 to the target network: 1 + 0.5 · 2 = 2, against 0.
    model = table(DoubleDQN, [0.0, 5.0, 1.0], [10.0, 2.0, 3.0], config=DQNConfig(huber_delta=100.0))
    assert loss(model) == pytest.approx(0.5 * 2.0**2)


def test_without_double_it_is_the_targets_own_maximum() -> None:
    # 1 + 0.5 · max(10, 2, 3) = 6.
    model = table(DoubleDQN, [0.0, 5.0, 1.0], [10.0, 2.0, 3.0], config=DQNConfig(huber_delta=100.0, double=False))
    assert loss(model) == pytest.approx(0.5 * 6.0**2)


def test_without_double_a_gradient_step_is_the_librarys_bit_by_bit() -> None:
    config = DQNConfig(huber_delta=1.0, double=False)
    ours = table(DoubleDQN, [0.0, 5.0, 1.0], [10.0, 2.0, 3.0], config=config)
    theirs = table(DQN, [0.0, 5.0, 1.0], [10.0, 2.0, 3.0])
    for _ in range(5):
        assert loss(ours) == pytest.approx(loss(theirs))
    for mine, other in zip(ours.q_net.parameters(), theirs.q_net.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_rewards_are_scaled_and_the_end_has_no_future() -> None:
    model = table(DoubleDQN, [0.0, 5.0, 1.0], [10.0, 2.0, 3.0], config=DQNConfig(reward_scale=3.0, huber_delta=100.0))
    assert loss(model) == pytest.approx(0.5 * (3.0 + 0.5 * 2.0) ** 2)
    model.replay_buffer.dones[:] = 1.0  # type: ignore[union-attr]
    assert loss(model) == pytest.approx(0.5 * 3.0**2, rel=1e-3)  # after one step of 1e-4


def test_it_plugs_in_on_its_own_and_under_normalisation() -> None:
    env = VecNormalize(SB3VecEnv("AlmgrenChriss-v0", num_envs=4, **SMALL))
    model = DoubleDQN("MlpPolicy", env, gamma=0.9, learning_starts=40, train_freq=1, seed=0, device="cpu")
    assert model.config.gamma == 0.9
    samples: list[Any] = []
    original = model.replay_buffer.sample  # type: ignore[union-attr]
    model.replay_buffer.sample = lambda n, env=None: samples.append(env) or original(n, env)  # type: ignore
    model.learn(100)
    assert samples
    assert all(given is env for given in samples)


def test_each_environment_explores_on_its_own() -> None:
    agent, _ = made(DDQN, TINY, **SMALL)
    observations = np.full((4000, 10), 0.5, np.float32)
    greedy = agent.act(observations)
    assert (greedy == greedy[0]).all()
    agent.model.exploration_rate = 0.4
    np.random.seed(0)  # noqa: NPY002  which the library draws from
    share = (agent.model.predict(observations)[0] != greedy).mean()
    expected = 0.4 * 10 / 11
    assert share == pytest.approx(expected, abs=3 * (expected * (1 - expected) / 4000) ** 0.5)
    agent.model.exploration_rate = 0.0
    np.testing.assert_array_equal(agent.model.predict(observations)[0], greedy)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("num_envs", "update_every", "updates"),
    [(16, 16, 36), (16, 64, 9), (32, 8, 18 * 4), (1, 16, 36), (24, 16, 2 * 24), (20, 16, 29)],
)
def test_updates_begin_after_the_warm_up_and_keep_to_the_nearest_rhythm(
    num_envs: int, update_every: int, updates: int
) -> None:
    config = DQNConfig(hidden=(4,), batch_size=4, update_every=update_every, warm_up=64, replay_size=400)
    agent, env = made(DDQN, config, steps=640, num_envs=num_envs, **SMALL)
    agent.learn(env, 640, 0, nothing)
    assert agent.model._n_updates == pytest.approx(updates, abs=2)


@pytest.mark.parametrize(("num_envs", "update_every"), [(16, 16), (16, 64), (64, 16)])
def test_the_target_network_follows_at_its_rate_for_each_update(num_envs: int, update_every: int) -> None:
    config = DQNConfig(hidden=(4,), update_every=update_every, warm_up=64, target_rate=0.25)
    agent, env = made(DDQN, config, steps=1280, num_envs=num_envs, **SMALL)
    model = agent.model
    with torch.no_grad():
        for network, value in ((model.q_net, 1.0), (model.q_net_target, 0.0)):
            for parameter in network.parameters():
                parameter.fill_(value)
    model.train = lambda *args, **kwargs: None  # the online network stays where it is
    agent.learn(env, 640, 0, nothing)
    part = next(model.q_net_target.parameters()).mean().item()
    assert part == pytest.approx(1 - 0.75 ** (640 / update_every), rel=1e-5)


def test_a_training_that_ends_before_the_first_update_is_refused() -> None:
    with pytest.raises(ValueError, match=r"DQNConfig\.warm_up = 20000: must be below the 640 steps of training"):
        made(DDQN, DQNConfig(), **SMALL)


@pytest.mark.parametrize("action", ["fraction", "shares", "participation"])
def test_a_continuous_action_is_refused_with_the_discrete_ones(action: str) -> None:
    with pytest.raises(ValueError, match=f"action '{action}': DDQN needs a discrete one, 'pace' or 'part"):
        made(DDQN, TINY, action, **SMALL)


def test_it_learns_in_the_other_discrete_mode() -> None:
    agent, env = made(DDQN, TINY, "participation-levels", **SMALL)
    agent.learn(env, 640, 0, nothing)
    assert agent.model._n_updates > 0
    evaluate([agent], episodes=20, **SMALL)


def test_a_state_that_was_kept_explores_from_the_first_step_on(tmp_path: Path) -> None:
    one, env = made(DDQN, TINY, **SMALL)
    one.learn(env, 320, 0, nothing)
    other, _ = made(DDQN, TINY, **SMALL)
    torch.save(one.state_dict(), tmp_path / "state.pt")
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert other.model.exploration_rate == one.model.exploration_rate == DQNConfig.epsilon_end
    assert other.model.replay_buffer.pos == one.model.replay_buffer.pos == 20
    for agent in (one, other):
        agent.learn(env, 320, 1, nothing)
    a, b = one.state_dict(), other.state_dict()
    assert all(torch.equal(a["policy"][k], b["policy"][k]) for k in a["policy"])
    assert all(torch.equal(a["replay"][k], b["replay"][k]) for k in a["replay"])


@pytest.mark.long
def test_on_a_two_slice_order_it_beats_twap_on_paths_it_has_never_seen() -> None:
    config = DQNConfig(
        hidden=(32,),
        batch_size=128,
        update_every=32,
        warm_up=500,
        learning_rate=3e-3,
        reward_scale=0.1,
        target_rate=0.05,
        multi_step=1,
    )
    agent, env = made(DDQN, config, steps=16_000, num_envs=32, **TWO_SLICES)
    agent.learn(env, 16_000, 0, nothing)
    result = evaluate([agent, "twap"], episodes=4000, seed=99, **TWO_SLICES).per_agent
    assert result.loc["ddqn", "diff_high"] < 0
