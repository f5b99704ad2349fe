"""CleanRL's way: one file, one loop over a vector environment of Gymnasium, here the native one as it is made."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Categorical

import exec_env  # noqa: F401  registers the ids

pytestmark = pytest.mark.cleanrl


def test_a_random_policy_counts_the_first_step_of_every_episode(whole: dict[str, Any]) -> None:
    n, envs = 8, gym.make_vec("AlmgrenChriss-v0", num_envs=8, **whole)
    observations, _ = envs.reset(seed=0)
    envs.action_space.seed(0)
    resets = np.zeros(n, bool)
    firsts, steps, ends, rewards_of_resets = 0, 0, 0, []
    for _ in range(6 * 50):
        following, rewards, terminated, truncated, _ = envs.step(envs.action_space.sample())
        firsts += int((observations[~resets, 0] == 1.0).sum())
        steps += int((~resets).sum())
        ends += int((terminated | truncated).sum())
        rewards_of_resets += rewards[resets].tolist()
        assert (following[resets, 0] == 1.0).all()  # the step after an end begins the next episode
        assert not terminated[resets].any()
        observations, resets = following, terminated | truncated
    assert (firsts, steps, ends) == (n * 50, n * 50 * 5, n * 50)
    assert set(rewards_of_resets) == {0.0}


def ppo(envs: gym.vector.VectorEnv, updates: int, rollout: int = 36, gamma: float = 1.0, lam: float = 0.95) -> Any:
    """PPO in one loop. A step that only begins an episode is no transition: it is left out of losses and advantages."""
    torch.manual_seed(0)
    size, n_actions, n = envs.single_observation_space.shape[0], envs.single_action_space.n, envs.num_envs
    actor = nn.Sequential(nn.Linear(size, 32), nn.Tanh(), nn.Linear(32, n_actions))
    critic = nn.Sequential(nn.Linear(size, 32), nn.Tanh(), nn.Linear(32, 1))
    parameters = [*actor.parameters(), *critic.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=3e-3)
    observed, begins = torch.as_tensor(envs.reset(seed=0)[0]), torch.zeros(n)
    costs, counted = [], 0
    for _ in range(updates):
        seen, actions, logs, values, rewards, ends, real = ([] for _ in range(7))
        for _ in range(rollout):
            with torch.no_grad():
                policy = Categorical(logits=actor(observed))
                action = policy.sample()
                logs.append(policy.log_prob(action))
                values.append(critic(observed)[:, 0])
            following, reward, terminated, truncated, _ = envs.step(action.numpy())
            seen.append(observed)
            actions.append(action)
            rewards.append(torch.as_tensor(reward, dtype=torch.float32))
            real.append(1.0 - begins)
            ends.append(torch.as_tensor(terminated | truncated, dtype=torch.float32))
            observed, begins = torch.as_tensor(following), ends[-1]
        advantage, advantages = torch.zeros(n), []
        after = critic(observed)[:, 0].detach()
        for t in reversed(range(rollout)):
            delta = rewards[t] + gamma * after * (1 - ends[t]) - values[t]
            advantage = real[t] * (delta + gamma * lam * (1 - ends[t]) * advantage)
            after = values[t]
            advantages.append(advantage)
        A, mask = torch.stack(advantages[::-1]).flatten(), torch.stack(real).flatten().bool()
        x, a, old = torch.cat(seen)[mask], torch.cat(actions)[mask], torch.cat(logs)[mask]
        target = (A + torch.cat(values))[mask]
        A = (A[mask] - A[mask].mean()) / (A[mask].std() + 1e-8)
        for _ in range(4):
            ratio = (Categorical(logits=actor(x)).log_prob(a) - old).exp()
            gain = torch.minimum(ratio * A, ratio.clamp(0.8, 1.2) * A).mean()
            loss = (critic(x)[:, 0] - target).square().mean() - 100.0 * gain
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        costs.append(-float(torch.stack(rewards).sum() / torch.stack(ends).sum()))
        counted += int(mask.sum())
    return actor, costs, counted


def test_its_ppo_learns_on_the_native_environment_as_it_is_made(whole: dict[str, Any]) -> None:
    """The order is cheap to sell and dear to hold, so that selling fast is much better than at random."""
    dear: dict[str, Any] = {"shares": 10_000.0, "slice_length": 0.1, "temporary_impact": 1e-6}
    envs = gym.make_vec("AlmgrenChriss-v0", num_envs=64, **whole | dear)
    _, costs, counted = ppo(envs, updates=25)
    assert counted == 25 * 64 * 30  # of 36 steps 6 only begin an episode
    assert np.mean(costs[-3:]) < 0.9 * np.mean(costs[:3])
