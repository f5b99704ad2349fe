"""A recurrent model of sb3-contrib is an agent with a memory, wherever agents go."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from exec_env import Market, Order, Paths
from exec_env.envs.sb3 import SB3Agent, SB3VecEnv
from exec_env.harness import evaluate
from exec_env.harness.reports.report import write_report
from exec_env.harness.studies.stress_tests import stress
from exec_env.one_asset.behaviour import states
from exec_env.one_asset.live import LiveExecutor, Snapshot
from exec_env.one_asset.problem import OneAsset
from tests.conftest import play

contrib = pytest.importorskip("sb3_contrib")
from stable_baselines3.common.vec_env import VecNormalize  # noqa: E402

pytestmark = pytest.mark.stable_baselines3

SMALL: dict[str, Any] = {"n_steps": 5, "shares": 25_000.0}


def trained(env: Any) -> Any:
    model = contrib.RecurrentPPO("MlpLstmPolicy", env, n_steps=8, batch_size=32, seed=0, device="cpu")
    return model.learn(64)


@pytest.fixture(scope="module")
def model() -> Any:
    """After few steps its actions hardly differ, so that they are made to depend on its memory."""
    made = trained(SB3VecEnv("AlmgrenChrissContinuous-v0", num_envs=4, **SMALL))
    rng = np.random.default_rng(0)
    import torch

    with torch.no_grad():
        for name, weights in made.policy.named_parameters():
            if name.startswith(("lstm_actor", "action_net", "mlp_extractor.policy")):
                weights += torch.as_tensor(rng.normal(0.0, 0.3, tuple(weights.shape)), dtype=weights.dtype)
        made.policy.action_net.bias += 0.4
    return made


def by_hand(
    model: Any, episodes: int, seed: int, seen: Callable[[np.ndarray], np.ndarray] = lambda o: o
) -> list[float]:
    """Objective of each episode of a single environment, stepped as the library's own documents say."""
    env, found = gym.make("AlmgrenChrissContinuous-v0", **SMALL), []
    observation, _ = env.reset(seed=seed)
    for _ in range(episodes):
        state, over = None, False
        first = np.ones(1, bool)
        while not over:
            actions, state = model.predict(
                seen(observation[None]), state=state, episode_start=first, deterministic=True
            )
            observation, _, over, _, info = env.step(actions[0])
            first = np.zeros(1, bool)
        found.append(info["objective_bps"])
        observation, _ = env.reset()
    return found


@pytest.mark.usefixtures("same_stream")
def test_evaluation_gives_what_the_model_does_by_hand_on_the_same_paths(model: Any) -> None:
    paths = evaluate([SB3Agent(model)], "AlmgrenChrissContinuous-v0", episodes=12, seed=3, **SMALL).per_path
    np.testing.assert_allclose(paths["objective"], by_hand(model, 12, 3), rtol=1e-5)


def test_its_memory_counts(model: Any) -> None:
    agent = SB3Agent(model)
    observations = np.random.default_rng(0).normal(size=(3, 10)).astype(np.float32)
    actions, state = agent.act(observations, agent.initial_state(3))
    np.testing.assert_array_equal(actions, agent.act(observations)[0])  # none is an empty one
    assert not np.array_equal(agent.act(observations, state)[0], actions)
    assert [entry.shape for entry in state] == [(1, 3, 256)] * 2


@pytest.mark.usefixtures("same_stream")
def test_a_model_that_normalises_sees_normalised_observations_with_a_memory_too() -> None:
    env = VecNormalize(SB3VecEnv("AlmgrenChrissContinuous-v0", num_envs=4, **SMALL))
    model = trained(env)
    paths = evaluate([SB3Agent(model)], "AlmgrenChrissContinuous-v0", episodes=6, seed=3, **SMALL).per_path
    np.testing.assert_allclose(paths["objective"], by_hand(model, 6, 3, env.normalize_obs), rtol=1e-5)


def test_it_is_stressed_like_any_agent(model: Any) -> None:
    rows = stress([SB3Agent(model), "twap"], episodes=20, **SMALL).table.reset_index()
    own = rows[rows["agent"] == "recurrentppo"]
    assert len(own) > 3
    assert np.isfinite(own["objective_mean"]).all()


def test_its_map_asks_it_with_an_empty_memory_in_every_slice(model: Any) -> None:
    problem = OneAsset(Market(), Order(**SMALL))
    agent = SB3Agent(model)
    paces = states(problem, 3).map(agent)

    class Forgetful:
        action_mode = agent.action_mode

        def act(self, observations: np.ndarray) -> np.ndarray:
            return agent.act(observations)[0]

    assert paces.shape == (3, 5)
    np.testing.assert_array_equal(paces, states(problem, 3).map(Forgetful()))


@pytest.mark.slow
def test_a_page_is_written_about_it(model: Any, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    write_report([SB3Agent(model)], page, episodes=50, **SMALL)
    assert "recurrentppo" in page.read_text()


def test_live_it_decides_as_in_the_environment_on_the_same_snapshots(model: Any) -> None:
    env: Any = gym.make("AlmgrenChrissContinuous-v0", decay_noise=0.0, **SMALL).unwrapped
    agent = SB3Agent(model)
    memory = agent.initial_state(1)

    def act(observation: np.ndarray) -> np.ndarray:
        nonlocal memory
        actions, memory = agent.act(observation[None], memory)
        return actions[0]

    steps = play(env, act, seed=5)
    live = LiveExecutor(agent, env.order, env.market)
    path, began = Paths.simulate(env.market, env.order, 1, seed=5).path(0), datetime(2026, 1, 5, 9, 30)
    for t, (now, step) in enumerate(zip(path, steps, strict=False)):
        mid, spread, liquidity = step["mid"], 2 * now.half_spread, now.log_liquidity
        shares = live(Snapshot(began + t * timedelta(minutes=5), mid, spread, now.volume, liquidity))
        traded = step["shares"] - step["block"]
        if t < len(steps) - 1:
            assert shares == pytest.approx(traded, rel=1e-4)
        live.fill(traded, step["fill_price"])
    assert len(steps) > 2
