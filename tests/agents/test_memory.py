"""Learners with a memory: it counts, it begins empty on every path, and runs keep all of it."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from exec_env import Market, Order, Paths
from exec_env.agents.pathwise import Pathwise, PathwiseConfig
from exec_env.agents.pathwise_gru import PathwiseGRU, PathwiseGRUConfig
from exec_env.base.errors import InputError
from exec_env.envs.rollout import acting, totals
from exec_env.harness import TrainConfig, evaluate, train
from exec_env.harness.agents import load_run
from exec_env.harness.training.loop import resume
from exec_env.harness.training.weights import Head
from exec_env.one_asset.live import LiveExecutor, Snapshot
from exec_env.one_asset.problem import OneAsset
from exec_env.one_asset.torch_market import TorchMarket
from tests.agents.problems import made
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


CASES = {"pathwise-gru": Case(PathwiseGRU, PathwiseGRUConfig(paths=16, hidden=(8,), memory=6))}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def network(agent: Any) -> torch.nn.Module:
    return next(n for n in (getattr(agent, "policy", None), getattr(agent, "online", None)) if n is not None)


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
    train(case.cls.name, run, config, case.config, action=case.action, **(SMALL | options))
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
