"""DQN: targets and loss by hand, schedules, a problem with a known answer, determinism."""

from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from torch import nn

from exec_env import ActionMode, Order
from exec_env.agents.dqn import DQN, DQNConfig, dqn_loss, q_network, td_targets
from exec_env.agents.replay import Batch
from exec_env.harness import evaluate
from exec_env.harness.agents import Setup
from exec_env.harness.training.weights import Head
from tests.agents.problems import TWO_SLICES, head_of


class Table(nn.Module):
    """Action values that are looked up: the observation is the number of the state."""

    def __init__(self, values: list[list[float]]) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.tensor(values))

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        return self.values[observations[:, 0].long()]


ONLINE = [[0.0, 5.0], [1.0, 3.0], [4.0, 2.0]]
TARGET = [[7.0, 7.0], [10.0, 2.0], [-1.0, 8.0]]
BATCH = Batch(
    observations=torch.tensor([[0.0], [0.0], [1.0]]),
    actions=torch.tensor([1, 0, 1]),
    rewards=torch.tensor([1.0, 2.0, 3.0]),
    next_observations=torch.tensor([[1.0], [2.0], [2.0]]),
    terminated=torch.tensor([0.0, 0.0, 1.0]),
)


def test_a_plain_target_takes_the_targets_own_maximum() -> None:
    # State 1: max(10, 2) = 10; state 2: max(−1, 8) = 8; the last one has ended.
    targets = td_targets(BATCH, Table(ONLINE), Table(TARGET), gamma=0.5, double=False)
    assert targets.tolist() == [1 + 0.5 * 10, 2 + 0.5 * 8, 3.0]


def test_a_double_target_values_the_online_networks_choice_with_the_target_network() -> None:
    # State 1: online prefers action 1, worth 2 there; state 2: online prefers action 0, worth −1.
    targets = td_targets(BATCH, Table(ONLINE), Table(TARGET), gamma=0.5, double=True)
    assert targets.tolist() == [1 + 0.5 * 2, 2 + 0.5 * -1, 3.0]


def test_the_loss_is_quadratic_for_small_errors_and_linear_for_large_ones() -> None:
    # Values 5, 0, 3 against 2, 1.5, 3: errors 3, −1.5, 0; Huber with delta 2: 2 (3 − 1), 1.125, 0.
    config = DQNConfig(gamma=0.5, multi_step=1, double=True, huber_delta=2.0)
    assert dqn_loss(BATCH, Table(ONLINE), Table(TARGET), config).item() == pytest.approx((4.0 + 1.125) / 3)


@pytest.mark.parametrize("double", [True, False])
def test_the_gradient_flows_through_the_online_values_of_the_actions_taken_alone(double: bool) -> None:
    online, target = Table(ONLINE), Table(TARGET)
    dqn_loss(BATCH, online, target, DQNConfig(gamma=0.5, multi_step=1, double=double, huber_delta=100.0)).backward()
    assert target.values.grad is None
    y0, y1 = (2.0, 1.5) if double else (6.0, 6.0)
    expected = [[(0.0 - y1) / 3, (5.0 - y0) / 3], [0.0, 0.0], [0.0, 0.0]]
    torch.testing.assert_close(online.values.grad, torch.tensor(expected))


def test_no_gradient_flows_through_the_target_even_when_it_is_the_online_network() -> None:
    online = Table(ONLINE)
    dqn_loss(BATCH, online, online, DQNConfig(gamma=0.5, multi_step=1, huber_delta=100.0)).backward()
    assert (online.values.grad[2] == 0).all()


def test_the_network_has_the_layers_that_were_asked_for() -> None:
    network = q_network(10, 11, (32, 16))
    assert [tuple(p.shape) for p in network.parameters()] == [(32, 10), (32,), (16, 32), (16,), (11, 16), (11,)]
    assert network(torch.zeros(5, 10)).shape == (5, 11)


def agent(total_steps: int = 100, seed: int = 0, **config: Any) -> DQN:
    head = Head(ActionMode("pace", (0.0, 1.0)), gym.spaces.Discrete(2), 1, ("a", "b", "c"))
    return DQN(DQNConfig(**({"hidden": (8,), "multi_step": 1} | config)), head, total_steps, seed)


def test_the_share_of_random_actions_falls_linearly_and_then_stays() -> None:
    learner = agent(epsilon_start=1.0, epsilon_end=0.1, exploration=0.2)
    seen = []
    for learner.steps in (0, 10, 20, 60, 100, 500):
        seen.append(learner.epsilon)
    assert seen == pytest.approx([1.0, 0.55, 0.1, 0.1, 0.1, 0.1])
    assert agent(exploration=0.0, epsilon_end=0.1).epsilon == pytest.approx(0.1)


def test_exploring_acts_at_random_as_often_as_epsilon_says() -> None:
    observations = np.zeros((4000, 3), np.float32)
    greedy = agent().act(observations[:1])[0]
    learner = agent(epsilon_start=0.4)
    share = (learner.explore(observations) != greedy).mean()
    assert share == pytest.approx(0.2, abs=3 * (0.2 * 0.8 / 4000) ** 0.5)
    never = agent(epsilon_start=0.0, epsilon_end=0.0)
    assert (never.explore(observations) == greedy).all()


def test_acting_is_greedy_and_a_function_of_the_observation_alone() -> None:
    learner = agent()
    observations = np.random.default_rng(0).standard_normal((50, 3)).astype(np.float32)
    actions = learner.act(observations)
    with torch.no_grad():
        values = learner.online(torch.from_numpy(observations))
    np.testing.assert_array_equal(actions, values.argmax(dim=1))
    learner.explore(observations)
    np.testing.assert_array_equal(learner.act(observations[::-1].copy())[::-1], actions)


class Toy:
    """Two steps. At the start, action 0 pays 1 and leads to A, action 1 pays nothing and leads to B. In A nothing
    pays; in B action 1 pays 5. Resets in the same step, as the native vector environment does.
    """

    metadata: ClassVar = {"autoreset_mode": AutoresetMode.SAME_STEP}
    num_envs = 8
    start, a, b, end = np.eye(4, 3, dtype=np.float32)  # the end looks like nothing

    def reset(self, seed: int | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        self.state = np.zeros(self.num_envs, int)
        return self._observation(), {}

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        rewards = np.where(self.state == 0, 1.0 * (actions == 0), 5.0 * (self.state == 2) * (actions == 1))
        terminated = self.state > 0
        self.state = np.where(terminated, 0, 1 + actions)
        final = np.full(self.num_envs, None, dtype=object)
        for i in np.flatnonzero(terminated):
            final[i] = self.end
        infos = {"final_obs": final} if terminated.any() else {}
        return self._observation(), rewards, terminated, np.zeros(self.num_envs, bool), infos

    def _observation(self) -> np.ndarray:
        return np.stack([self.start, self.a, self.b])[self.state]


LEARNS: dict[str, Any] = {
    "hidden": (32,),
    "learning_rate": 1e-2,
    "batch_size": 64,
    "update_every": 8,
    "warm_up": 64,
    "target_rate": 0.1,
    "exploration": 1.0,
    "epsilon_end": 0.2,
}


def learned(double: bool = True, seed: int = 0) -> DQN:
    learner = agent(total_steps=4000, seed=seed, double=double, **LEARNS)
    learner.learn(Toy(), 3000, 0, lambda steps, values: None)
    return learner


@pytest.mark.slow
@pytest.mark.parametrize("double", [True, False])
def test_it_learns_to_give_up_a_reward_now_for_a_larger_one_later(double: bool) -> None:
    learner = learned(double)
    with torch.no_grad():
        values = learner.online(torch.from_numpy(np.stack([Toy.start, Toy.a, Toy.b])))
    torch.testing.assert_close(values, torch.tensor([[1.0, 5.0], [0.0, 0.0], [0.0, 5.0]]), atol=0.1, rtol=0.0)
    assert learner.act(np.stack([Toy.start, Toy.b])).tolist() == [1, 1]


@pytest.mark.long
def test_the_same_seed_learns_the_same_bytes_and_another_seed_others() -> None:
    one, again, other = (learned(seed=s).online.state_dict() for s in (0, 0, 1))
    assert all(torch.equal(one[k], again[k]) for k in one)
    assert not any(torch.equal(one[k], other[k]) for k in one)


def test_updates_begin_after_the_warm_up_and_keep_to_their_rhythm() -> None:
    learner = agent(total_steps=1000, warm_up=100, update_every=50, batch_size=4)
    counts = []
    original = learner.update
    learner.update = lambda: (counts.append(learner.steps), original())[1]  # type: ignore[method-assign]
    learner.learn(Toy(), 400, 0, lambda steps, values: None)
    assert counts == [104, 152, 208, 256, 304, 352]
    assert learner.updates == 6
    assert learner.steps == 400


def test_every_step_is_reported_once() -> None:
    reported, logged = [], []
    learner = agent(total_steps=2000, warm_up=8, update_every=8, batch_size=4)
    learner.learn(Toy(), 1000, 0, lambda steps, values: (reported.append(steps), logged.append(values)))
    assert sum(reported) == 1000
    assert any({"loss", "epsilon"} <= set(values) for values in logged)


def test_the_target_network_follows_at_its_rate() -> None:
    learner = agent(warm_up=8, update_every=8, batch_size=4, target_rate=0.25, total_steps=10**9)
    before = [p.clone() for p in learner.target.parameters()]
    learner.learn(Toy(), 16, 0, lambda steps, values: None)
    assert learner.updates == 1
    for old, target, online in zip(before, learner.target.parameters(), learner.online.parameters(), strict=True):
        torch.testing.assert_close(target, old + 0.25 * (online - old))
        assert not target.requires_grad


def test_the_learning_rate_falls_to_zero_along_a_half_cosine() -> None:
    learner = agent(learning_rate=0.01, batch_size=4)
    learner.learn(Toy(), 8, 0, lambda steps, values: None)
    rates = []
    for learner.steps in (0, 50, 100):
        learner.update()
        rates.append(learner.optimiser.param_groups[0]["lr"])
    assert rates == pytest.approx([0.01, 0.005, 0.0])


@pytest.mark.slow
def test_a_state_that_was_kept_goes_on_bit_by_bit_and_holds_tensors_and_plain_numbers_only(tmp_path: Path) -> None:
    one, other = learned(), agent(total_steps=4000, seed=9, **LEARNS)
    torch.save(one.state_dict(), tmp_path / "state.pt")
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for learner in (one, other):
        learner.learn(Toy(), 160, 1, lambda steps, values: None)
    a, b = one.online.state_dict(), other.online.state_dict()
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert (one.steps, one.updates) == (other.steps, other.updates)


def test_the_state_of_another_network_is_refused() -> None:
    with pytest.raises(RuntimeError, match="size mismatch"):
        agent(hidden=(9,)).load_state_dict(agent().state_dict())


def test_a_continuous_action_is_refused_with_the_discrete_ones() -> None:
    with pytest.raises(ValueError, match="action 'fraction': DQN needs a discrete one, such as 'pace'"):
        DQN.build(
            DQNConfig(),
            head_of(ActionMode("fraction"), Order(n_steps=40)),
            Setup(100_000, 100_000, 1, 0, "cpu"),
        )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"gamma": 1.1}, r"DQNConfig\.gamma = 1\.1: must be in \[0, 1\]"),
        ({"learning_rate": 0.0}, r"DQNConfig\.learning_rate = 0\.0: must be a finite number > 0"),
        ({"batch_size": 0}, r"DQNConfig\.batch_size = 0: must be .*>= 1"),
        ({"hidden": 64}, r"DQNConfig\.hidden = 64: must be a sequence"),
        ({"hidden": (64, 0)}, r"DQNConfig\.hidden = \(64, 0\): must be"),
        ({"double": "yes"}, r"DQNConfig\.double = 'yes': must be a bool"),
    ],
)
def test_an_impossible_hyper_parameter_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DQNConfig(**fields)


def test_without_a_hidden_layer_the_values_are_linear() -> None:
    network = q_network(3, 2, DQNConfig(hidden=()).hidden)
    assert [tuple(p.shape) for p in network.parameters()] == [(2, 3), (2,)]


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
    )
    learner = DQN(config, head_of(ActionMode("pace"), Order()), total_steps=16_000)
    env = gym.make_vec("AlmgrenChriss-v0", num_envs=32, autoreset_mode="SameStep", **TWO_SLICES)
    learner.learn(env, 16_000, 0, lambda steps, values: None)
    table = evaluate([learner, "twap"], episodes=4000, seed=99, **TWO_SLICES).per_agent
    assert table.loc["dqn", "diff_high"] < 0
