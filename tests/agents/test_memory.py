"""Learners with a memory: it counts, it begins empty on every path, and runs keep all of it."""

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from sb3_contrib import RecurrentPPO as ContribPPO
from stable_baselines3 import PPO as StablePPO
from stable_baselines3.common.vec_env import VecEnv, VecFrameStack

from exec_env import Market, Order, Paths
from exec_env.agents.ddqn import DDQN
from exec_env.agents.dqn import DQN, DQNConfig
from exec_env.agents.frames import nothing_seen, shifted
from exec_env.agents.pathwise import Pathwise, PathwiseConfig
from exec_env.agents.pathwise_gru import PathwiseGRU, PathwiseGRUConfig
from exec_env.agents.ppo import PPO, PPOConfig
from exec_env.agents.recurrent_ppo import RecurrentPPO, RecurrentPPOConfig
from exec_env.base.errors import InputError
from exec_env.envs.rollout import acting, totals
from exec_env.envs.sb3 import SB3Agent, SB3VecEnv
from exec_env.harness import TrainConfig, evaluate, train
from exec_env.harness.agents import agent_class, load_run
from exec_env.harness.training.loop import resume
from exec_env.harness.training.weights import Head
from exec_env.one_asset.live import LiveExecutor, Snapshot
from exec_env.one_asset.problem import OneAsset
from exec_env.one_asset.torch_market import TorchMarket
from tests.agents.problems import made, nothing
from tests.conftest import play

loop = importlib.import_module("exec_env.harness.training.loop")
SMALL: dict[str, Any] = {"n_steps": 5, "shares": 25_000.0}


@dataclass(frozen=True)
class Case:
    """A learner, small."""

    cls: Any
    config: Any
    action: str = "fraction"

    def scattered(self) -> Any:
        """Untrained ones hardly look at their memory, so that their weights are moved."""
        agent, _ = made(self.cls, self.config, self.action, **SMALL)
        rng = np.random.default_rng(0)
        with torch.no_grad():
            for weights in network(agent).parameters():
                weights += torch.as_tensor(rng.normal(0.0, 0.3, tuple(weights.shape)), dtype=weights.dtype)
        return agent


LSTM = RecurrentPPOConfig(hidden=(8,), memory=6, rollout=7, batch_size=50, epochs=1)
VALUES = DQNConfig(hidden=(8,), batch_size=16, update_every=16, warm_up=64, replay_size=400, frames=3)
CASES = {
    "pathwise-gru": Case(PathwiseGRU, PathwiseGRUConfig(paths=16, hidden=(8,), memory=6)),
    "recurrent-ppo": Case(RecurrentPPO, LSTM),
    "recurrent-ppo, discrete": Case(RecurrentPPO, LSTM, "pace"),
    "dqn": Case(DQN, VALUES, "pace"),
    "ddqn": Case(DDQN, VALUES, "pace"),
    "ppo": Case(PPO, PPOConfig(hidden=(8,), rollout=7, batch_size=50, epochs=1, frames=3)),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def network(agent: Any) -> torch.nn.Module:
    return agent.model.policy if hasattr(agent, "model") else getattr(agent, "online", None) or agent.policy


def act_on(agent: Any) -> Callable[[np.ndarray], Any]:
    """What it does in a single environment, from one episode's first slice on."""
    memory = agent.initial_state(1)

    def act(observation: np.ndarray) -> Any:
        nonlocal memory
        actions, memory = agent.act(observation[None], memory)
        return actions[0]

    return act


@every_case
def test_what_was_seen_before_counts(case: Case) -> None:
    agent = case.scattered()
    rng = np.random.default_rng(0)
    before, now = rng.uniform(0.0, 1.0, (2, 50, 10)).astype(np.float32)
    _, state = agent.act(before, agent.initial_state(50))
    actions, _ = agent.act(now, state)
    assert (actions != agent.act(now, agent.initial_state(50))[0]).any()
    np.testing.assert_array_equal(actions, agent.act(now, state)[0])  # which it leaves as it was


@pytest.mark.usefixtures("same_stream")
@every_case
def test_evaluation_gives_what_it_does_by_hand_with_an_empty_memory_in_every_episode(case: Case) -> None:
    agent, env = case.scattered(), gym.make("AlmgrenChriss-v0", action=case.action, **SMALL)
    found = [play(env, act_on(agent), 3 if episode == 0 else None)[-1]["objective_bps"] for episode in range(6)]
    paths = evaluate([agent], episodes=6, seed=3, **SMALL).per_path
    np.testing.assert_allclose(paths["objective"], found, rtol=1e-5)


@every_case
def test_blocks_of_paths_cost_what_each_path_costs_alone(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = case.scattered()
    evaluation = importlib.import_module("exec_env.harness.evaluation")
    monkeypatch.setattr(evaluation, "BLOCK", 7)
    paths = evaluate([agent], episodes=18, seed=3, **SMALL)
    problem, alone = paths.problem, []
    for _, block in evaluation._blocks(problem, 18, 3, None):
        for e in range(block.n_paths):
            one = Paths(block.slices.map(lambda c, e=e: c[e : e + 1]), block.arrival_price[e : e + 1])
            act = acting(agent, 1, problem)
            alone.append(totals(act, one, problem, problem.actions(agent.action_mode))["objective"][0])
    np.testing.assert_allclose(paths.per_path["objective"], alone, rtol=1e-5)


@every_case
def test_live_it_decides_as_in_the_environment_on_the_same_snapshots(case: Case) -> None:
    env: Any = gym.make("AlmgrenChriss-v0", action=case.action, decay_noise=0.0, **SMALL).unwrapped
    agent = case.scattered()
    steps = play(env, act_on(agent), seed=5)
    live = LiveExecutor(agent, env.order, env.market)
    path, began = Paths.simulate(env.market, env.order, 1, seed=5).path(0), datetime(2026, 1, 5, 9, 30)
    for t, (now, step) in enumerate(zip(path, steps, strict=False)):
        snapshot = (step["mid"], 2 * now.half_spread, now.volume, now.log_liquidity)
        shares = live(Snapshot(began + t * timedelta(minutes=5), *snapshot))
        traded = step["shares"] - step["block"]
        if t < len(steps) - 1:
            assert shares == pytest.approx(traded, rel=1e-4)
        live.fill(traded, step["fill_price"])
    assert len(steps) > 2


# In run folders


def fit(name: str, run: Path, intervals: int = 3, **options: Any) -> Path:
    case = CASES[name]
    config = TrainConfig(steps=640 * intervals, intervals=intervals, num_envs=16, check_episodes=20, seed=1)
    train(name.partition(",")[0], run, config, case.config, action=case.action, **(SMALL | options))
    return run


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("name", CASES)
def test_a_run_that_was_stopped_goes_on_to_where_it_would_have_ended(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, calls = fit(name, tmp_path / "whole"), []
    original = loop.write_tensors

    def write(path: Path, tensors: Any) -> None:
        original(path, tensors)
        calls.append(path)
        if len(calls) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop, "write_tensors", write)
        with pytest.raises(KeyboardInterrupt):
            fit(name, tmp_path / "stopped")
    resume(tmp_path / "stopped")
    for file in ("best/weights.pt", "last/weights.pt", "best/agent.yaml", "checkpoint.pt"):
        assert (whole / file).read_bytes() == (tmp_path / "stopped" / file).read_bytes(), file
    agent = load_run(whole / "last")
    assert agent.config == CASES[name].config  # type: ignore[attr-defined]
    result = evaluate([whole], episodes=5, **SMALL)
    assert np.isfinite(result.per_path["objective"]).all()


def test_weights_of_another_memory_are_refused(tmp_path: Path) -> None:
    agent, _ = made(PathwiseGRU, PathwiseGRUConfig(paths=16, hidden=(8,), memory=6), **SMALL)
    agent.save(tmp_path)
    file = tmp_path / "agent.yaml"
    file.write_text(file.read_text().replace("memory: 6", "memory: 7"))
    with pytest.raises(InputError, match=r"weights\.pt: weights of another network"):
        PathwiseGRU.load(tmp_path)


# What is seen, by name


@pytest.mark.parametrize("cls", [Pathwise, PathwiseGRU])
def test_what_learned_on_another_observation_is_refused_by_name(cls: Any, tmp_path: Path) -> None:
    blind, seeing = OneAsset(order=Order(**SMALL), information="hidden"), OneAsset(order=Order(**SMALL))
    for learned, problem, missing in ((seeing, blind, "log_liquidity"), (blind, seeing, "nothing")):
        folder = tmp_path / missing
        cls(cls.Config(hidden=(4,)), Head.of(learned)).save(folder)
        agent = cls.load(folder)
        assert agent.names == learned.names
        acting(agent, 2, learned)
        with pytest.raises(InputError, match=f"acts on '{missing}', which is not in the observation of this problem"):
            acting(agent, 2, problem)


@pytest.mark.parametrize("cls", [Pathwise, PathwiseGRU])
def test_it_does_not_go_on_learning_on_another_observation(cls: Any) -> None:
    agent = cls(cls.Config(hidden=(4,)), Head.of(OneAsset(order=Order(**SMALL), information="hidden")))
    env: Any = gym.make_vec("AlmgrenChriss-v0", num_envs=2, autoreset_mode="SameStep", **SMALL)
    with pytest.raises(InputError, match=f"{cls.name}: acts on .*nothing.*, but this problem shows .*log_liquidity"):
        agent.learn(env, 10, 0, lambda steps, values: None)


def test_an_observation_without_the_time_that_is_left_is_refused() -> None:
    head = Head.of(OneAsset())
    other = Head(head.action_mode, head.space, head.n_steps, ("a", "b"))
    with pytest.raises(InputError, match="pathwise: needs 'time_left' in the observation, not a, b"):
        Pathwise(PathwiseConfig(), other)


def test_the_time_that_is_left_is_found_by_its_name() -> None:
    head = Head.of(OneAsset())
    turned = Head(head.action_mode, head.space, head.n_steps, head.names[::-1])
    seen = np.zeros((4, 10), np.float32)
    seen[:, -1] = np.array([1, 2, 4, 40]) / 40
    paces = Pathwise(PathwiseConfig(), turned).act(seen)[:, 0] * [1, 2, 4, 40]
    np.testing.assert_allclose(paces, 1.0, atol=0.1)


# The pathwise policy with a memory


def test_gradients_are_those_of_the_path_that_is_evaluated() -> None:
    """The market of tensors begins with an empty memory on every batch, as an evaluation does."""
    agent = CASES["pathwise-gru"].scattered()
    market, order = Market(), Order(**SMALL)
    paths, problem = Paths.simulate(market, order, 20, seed=1), OneAsset(market, order)
    tensors = TorchMarket(market, order)
    act = acting(agent, 20, problem)
    wanted = totals(act, paths, problem, problem.actions(agent.action_mode))["objective"]
    for _ in range(2):
        cost = tensors.costs(agent.policy.begin(20), tensors.load(paths), agent.action_mode).objective
        np.testing.assert_allclose(cost.detach().numpy(), wanted, rtol=1e-4)


def test_untrained_it_is_near_twap() -> None:
    agent, _ = made(PathwiseGRU, PathwiseGRUConfig(paths=16), **SMALL)
    seen = np.random.default_rng(0).uniform(0.0, 1.0, (200, 10)).astype(np.float32)
    left = np.random.default_rng(1).integers(1, 6, 200)
    seen[:, 0] = left / 5
    assert np.abs(agent.act(seen, agent.initial_state(200))[0][:, 0] * left - 1).max() < 0.2


# RecurrentPPO


def trained(action: str) -> tuple[Any, VecEnv]:
    agent, env = made(RecurrentPPO, LSTM, action, **SMALL)
    agent.learn(env, 224, 0, nothing)
    return agent, SB3VecEnv(env)


@pytest.mark.slow
@pytest.mark.parametrize("action", ["fraction", "pace"])
def test_an_exported_model_is_read_by_the_library_acts_alike_and_learns_on(action: str, tmp_path: Path) -> None:
    agent, env = trained(action)
    agent.save(tmp_path)
    for number, exported in enumerate((agent, RecurrentPPO.load(tmp_path))):
        model = ContribPPO.load(exported.export(tmp_path / f"model-{number}"), env=env, device="cpu")
        theirs = evaluate([SB3Agent(model)], episodes=20, **SMALL).per_path["objective"]
        np.testing.assert_array_equal(theirs, evaluate([agent], episodes=20, **SMALL).per_path["objective"])
    assert model.learn(112).num_timesteps >= 112


def test_an_even_sale_is_where_it_begins() -> None:
    agent, _ = made(RecurrentPPO, LSTM, "fraction", **SMALL)
    seen = np.random.default_rng(0).uniform(0.0, 1.0, (50, 10)).astype(np.float32)
    seen[:, 0] = np.arange(1, 51) % 5 / 5 + 0.2
    np.testing.assert_allclose(agent.act(seen)[0][:, 0] * np.rint(5 * seen[:, 0]), 1.0, rtol=0.05)


@pytest.mark.parametrize("action", ["fraction", "pace"])
def test_an_update_sees_what_was_collected_with_the_memories_of_then_and_fills_short_episodes_up(action: str) -> None:
    agent, env = made(RecurrentPPO, LSTM, action, **SMALL)
    model = agent.model
    model.train = lambda: None  # after what was collected nothing changes
    agent.learn(env, 112, 0, nothing)  # of 16 environments in their second episode of five slices
    data = next(model.rollout_buffer.get(112))
    seen = data.mask > 0.5
    assert not seen.all()
    actions = data.actions.long().flatten() if action == "pace" else data.actions
    _, log_prob, _ = model.policy.evaluate_actions(data.observations, actions, data.lstm_states, data.episode_starts)
    torch.testing.assert_close(log_prob[seen], data.old_log_prob[seen], rtol=0, atol=1e-4)
    log_prob[seen].sum().backward()
    moved = [weights.grad for weights in model.policy.parameters() if weights.grad is not None]
    assert len(moved) > 3
    assert all(gradient.isfinite().all() for gradient in moved)


def test_a_transition_that_would_be_left_alone_is_refused() -> None:
    with pytest.raises(InputError, match=r"RecurrentPPOConfig\.batch_size = 37: leaves one of the 112 transitions"):
        made(RecurrentPPO, RecurrentPPOConfig(rollout=7, batch_size=37), **SMALL)


def test_without_its_package_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "sb3_contrib" or "recurrent_ppo" in name]:
        monkeypatch.delitem(sys.modules, name)
    found = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "sb3_contrib" else found(name))
    monkeypatch.setitem(sys.modules, "sb3_contrib", None)
    said = r"agent 'recurrent-ppo': sb3_contrib is not installed: pip install 'exec-env\[recurrent\]'"
    with pytest.raises(InputError, match=said):
        agent_class("recurrent-ppo")


# Frames


FRAMED = pytest.mark.parametrize("name", ["dqn", "ddqn", "ppo"])


def test_the_newest_observation_is_last_and_the_oldest_is_dropped() -> None:
    seen = nothing_seen(1, 3, 2)
    for t in (1.0, 2.0, 3.0, 4.0):
        seen = shifted(seen, np.array([[t, -t]], np.float32))
        if t == 2.0:
            assert seen.tolist() == [[0, 0, 1, -1, 2, -2]]
    assert seen.tolist() == [[2, -2, 3, -3, 4, -4]]


@FRAMED
def test_with_one_frame_there_is_no_memory(name: str) -> None:
    case = CASES[name]
    agent, _ = made(case.cls, replace(case.config, frames=1), case.action, **SMALL)
    seen = np.random.default_rng(0).uniform(0.0, 1.0, (4, 10)).astype(np.float32)
    assert not hasattr(agent, "initial_state")
    assert agent.act(seen).shape[0] == 4


@FRAMED
def test_training_sees_frames_of_the_episode_alone(name: str) -> None:
    case, kept = CASES[name], []
    agent, env = made(case.cls, case.config, case.action, **SMALL)
    if name == "dqn":
        add = agent.replay.add
        agent.replay.add = lambda seen, *more: (kept.append(seen), add(seen, *more))
    else:
        module = agent.model.policy if name == "ppo" else agent.model.policy.q_net
        forward = module.forward
        module.forward = lambda seen, *more: (kept.append(seen.numpy().copy()), forward(seen, *more))[1]
    agent.learn(env, 320, 0, nothing)
    time_left = np.concatenate([seen[:, [0, 10, 20]] for seen in kept])
    assert len(time_left) > 200
    oldest, middle, newest = np.rint(5 * time_left).T
    assert set(newest) >= {1, 2, 3, 4, 5}
    # Slices left count down within an episode; before its first slice nothing was seen.
    np.testing.assert_array_equal(middle[newest > 0], np.where(newest == 5, 0, newest + 1)[newest > 0])
    np.testing.assert_array_equal(oldest[newest > 0], np.where(newest >= 4, 0, newest + 2)[newest > 0])


def test_what_ended_an_episode_follows_its_own_frames() -> None:
    agent, env = made(DQN, VALUES, "pace", **SMALL)
    agent.learn(env, 320, 0, nothing)
    rows = agent.replay.rows[: agent.replay.size]
    following, over = rows[:, 30:60], rows[:, -1] > 0
    assert over.any()
    np.testing.assert_allclose(following[over][:, 10] - following[over][:, 20], 0.2, rtol=1e-5)
    np.testing.assert_array_equal(following[over][:, 20] == 0, following[over][:, 10] < 0.21)


def test_the_pace_of_several_frames_is_that_of_the_newest() -> None:
    agent, _ = made(PPO, CASES["ppo"].config, "fraction", **SMALL)
    seen = np.random.default_rng(0).uniform(0.0, 1.0, (50, 10)).astype(np.float32)
    left = np.arange(50) % 5 + 1
    seen[:, 0] = left / 5
    state = np.random.default_rng(1).uniform(0.0, 1.0, (50, 30)).astype(np.float32)
    np.testing.assert_allclose(agent.act(seen, state)[0][:, 0] * left, 1.0, rtol=0.1)


@pytest.mark.slow
def test_an_exported_model_acts_on_frames_as_the_library_stacks_them(tmp_path: Path) -> None:
    case = CASES["ppo"]
    agent, env = made(case.cls, case.config, case.action, **SMALL)
    agent.learn(env, 320, 0, nothing)
    model = StablePPO.load(agent.export(tmp_path / "model"), device="cpu")
    stacked, act = VecFrameStack(SB3VecEnv(env), 3), act_on(agent)
    seen = stacked.reset()
    for _ in range(4):
        actions = model.predict(seen, deterministic=True)[0]
        np.testing.assert_allclose(actions[:1], [act(seen[0, -10:])], rtol=1e-6)
        seen, _, dones, _ = stacked.step(actions)
        if dones[0]:
            break
