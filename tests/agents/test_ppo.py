"""PPO: the log-normal policy, untrained and in its densities, and learning to beat TWAP."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.distributions import Normal

from exec_env.agents.ppo import PPO, LogNormal, PPOConfig
from exec_env.harness import evaluate
from exec_env.one_asset.actions import ACTION_MODES, ActionMode
from exec_env.one_asset.observation import Observation
from tests.agents.problems import TWO_SLICES, made, nothing

TINY = PPOConfig(hidden=(8,), rollout=5, batch_size=32, epochs=2)
SMALL: dict[str, Any] = {"n_steps": 5, "shares": 25_000.0}


def seen(slices_left: np.ndarray, n_steps: int) -> np.ndarray:
    """Random observations with so many slices left."""
    observations = np.random.default_rng(0).standard_normal((len(slices_left), 10)).astype(np.float32)
    observations[:, Observation._fields.index("time_left")] = slices_left / n_steps
    return observations


@pytest.mark.parametrize("n_steps", [2, 40, 2000])
def test_untrained_it_sells_evenly_a_fraction_of_what_is_left(n_steps: int) -> None:
    agent, _ = made(PPO, TINY, "fraction", n_steps=n_steps)
    left = np.unique(np.linspace(1, n_steps, 40).astype(int))
    paces = agent.act(seen(left, n_steps))[:, 0] * left
    np.testing.assert_allclose(paces, 1.0, rtol=0.05)


@pytest.mark.parametrize(("action", "even"), [("shares", 25_000.0 / 5), ("participation", 0.1 / 3)])
def test_untrained_it_is_near_an_even_sale_in_other_continuous_modes(action: str, even: float) -> None:
    agent, _ = made(PPO, TINY, action, max_participation=0.1, **SMALL)
    np.testing.assert_allclose(agent.act(seen(np.arange(1, 6), 5))[:, 0], even, rtol=0.05)


def test_densities_are_those_of_the_logarithm() -> None:
    mean, log_std = torch.tensor([[-3.0], [0.5]]), torch.tensor([-1.0])
    policy = LogNormal(1).proba_distribution(mean, log_std)
    normal = Normal(mean, log_std.exp())
    for action in (torch.tensor([[0.02], [0.9]]), torch.tensor([[0.2], [3.0]])):
        torch.testing.assert_close(policy.log_prob(action), normal.log_prob(action.log())[:, 0])
    torch.testing.assert_close(policy.entropy(), normal.entropy()[:, 0])
    torch.testing.assert_close(policy.get_actions(deterministic=True), mean.exp())


def test_samples_have_the_median_and_the_spread_they_should() -> None:
    torch.manual_seed(0)
    sample = LogNormal(1).proba_distribution(torch.full((4000, 1), -2.0), torch.tensor([-1.0])).sample()
    assert (sample > 0).all()
    # A share of 1/2 below the median, within three standard errors.
    assert (sample < np.exp(-2.0)).float().mean().item() == pytest.approx(0.5, abs=3 * 0.5 / 4000**0.5)
    assert sample.log().std().item() == pytest.approx(np.exp(-1.0), rel=3 / 8000**0.5)


def test_the_agent_plays_the_median_clipped_to_the_space() -> None:
    agent, env = made(PPO, PPOConfig(hidden=(8,), log_std=2.0), "fraction", **SMALL)
    observations = seen(np.arange(1, 6), 5)
    policy = agent.model.policy
    with torch.no_grad():
        policy.action_net.bias += 1.0  # e times an even sale: all of what is left in the last two slices
        median = policy.get_distribution(torch.from_numpy(observations)).mode().numpy()
    assert (median > 1).any()
    np.testing.assert_allclose(agent.act(observations), np.minimum(median, 1.0))
    torch.manual_seed(0)
    explored = np.concatenate([agent.model.predict(observations)[0] for _ in range(50)])
    assert all(env.single_action_space.contains(action) for action in explored)
    assert (explored == 1.0).any()
    assert len(np.unique(explored)) > 100


def test_after_the_last_slice_the_policy_is_still_finite() -> None:
    agent, _ = made(PPO, TINY, "fraction", **SMALL)
    assert np.isfinite(agent.act(seen(np.zeros(3), 5))).all()


@pytest.mark.slow
@pytest.mark.parametrize("action", ACTION_MODES)
def test_it_learns_in_every_action_mode_and_is_saved_and_loaded(action: str, tmp_path: Any) -> None:
    agent, env = made(PPO, TINY, action, steps=320, **SMALL)
    before = {k: v.clone() for k, v in agent.model.policy.state_dict().items()}
    agent.learn(env, 320, 0, nothing)
    assert agent.steps == 320
    assert all(not torch.equal(v, before[k]) for k, v in agent.model.policy.state_dict().items())
    agent.save(tmp_path)
    loaded, observations = PPO.load(tmp_path), seen(np.arange(1, 6), 5)
    np.testing.assert_array_equal(loaded.act(observations), agent.act(observations))
    assert loaded.action_mode == ActionMode(action)
    evaluate([loaded], episodes=20, **SMALL)


@pytest.mark.slow
@pytest.mark.parametrize(("rollout", "num_envs"), [(1, 1), (1, 3), (40, 1), (7, 2)])
def test_it_learns_with_few_environments_and_short_rollouts(rollout: int, num_envs: int, tmp_path: Any) -> None:
    config = PPOConfig(hidden=(4,), rollout=rollout, epochs=1)
    agent, env = made(PPO, config, steps=42, num_envs=num_envs, **SMALL)
    agent.learn(env, 42, 0, nothing)
    agent.save(tmp_path)
    assert PPO.load(tmp_path).config == config


def test_a_gradient_step_needs_two_transitions() -> None:
    with pytest.raises(ValueError, match=r"PPOConfig\.batch_size = 1: must be a whole number >= 2"):
        PPOConfig(batch_size=1)


def test_learning_that_diverges_is_said_in_one_sentence() -> None:
    config = PPOConfig(hidden=(8,), rollout=5, learning_rate=1e4, max_gradient_norm=1e9)
    agent, env = made(PPO, config, "fraction", steps=6400, **SMALL)
    with pytest.raises(ValueError, match=r"ppo: learning diverged after \d+ steps; try a smaller") as caught:
        agent.learn(env, 6400, 0, nothing)
    assert "\n" not in str(caught.value)


@pytest.mark.long
@pytest.mark.parametrize("action", ["pace", "fraction"])
def test_on_a_two_slice_order_it_beats_twap_on_paths_it_has_never_seen(action: str) -> None:
    config = PPOConfig(hidden=(32,), rollout=8, batch_size=256, epochs=5, learning_rate=1e-2, log_std=-1.0)
    agent, env = made(PPO, config, action, steps=16_000, num_envs=64, **TWO_SLICES)
    agent.learn(env, 16_000, 0, nothing)
    table = evaluate([agent, "twap"], episodes=4000, seed=99, **TWO_SLICES).per_agent
    assert table.loc["ppo", "diff_high"] < 0
