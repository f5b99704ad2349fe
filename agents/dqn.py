"""Deep Q-network (Mnih et al. 2015), with Double-Q targets (van Hasselt et al. 2016) as an option.

One file, to be read from top to bottom: configuration, network, loss, agent.
"""

import copy
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from torch import nn

from exec_env.agents.frames import WithFrames, shifted
from exec_env.agents.replay import Batch, MultiStep, Replay, half_cosine
from exec_env.base.errors import InputError
from exec_env.base.validation import Count, Positive, Probability, check_fields
from exec_env.harness.agents import Setup, require_same_step
from exec_env.harness.training.weights import Head, load_weights, save_weights, weights_must_fit
from exec_env.one_asset.torch_market import torch_device


@dataclass(frozen=True)
class DQNConfig:
    """Hyper-parameters of DQN."""

    hidden: tuple[Count, ...] = (64, 64)
    """Width of each hidden layer."""
    double: bool = True
    """Choose the next action with the online network and value it with the target network."""
    gamma: Probability = 1.0
    """Discount; an execution is short and ends, so none is needed."""
    multi_step: Count = 5
    """Slices whose rewards a target adds up before it trusts the network."""
    learning_rate: Positive = 2e-3
    """Adam's step size at the start; it falls to zero along a half cosine."""
    batch_size: Count = 512
    """Transitions in an update."""
    update_every: Count = 128
    """Transitions collected between two updates."""
    replay_size: Count = 1_000_000
    """Transitions remembered."""
    warm_up: Count = 20_000
    """Transitions collected before the first update."""
    target_rate: Probability = 0.01
    """Share of the online network that enters the target network at each update."""
    epsilon_start: Probability = 1.0
    """Share of random actions at the start."""
    epsilon_end: Probability = 0.05
    """Share of random actions from ``exploration`` on."""
    exploration: Probability = 0.2
    """Part of training in which the share of random actions falls."""
    reward_scale: Positive = 1.0
    """Rewards [bps] are multiplied by this before learning."""
    huber_delta: Positive = 10.0
    """Error [bps, scaled] beyond which the loss grows linearly. Far above a slice's usual cost: a small one makes
    values medians, which miss the rare, dear closing block, and the agent then leaves shares for it."""
    max_gradient_norm: Positive = 10.0
    """Gradients are scaled down to this norm."""
    frames: Count = 1
    """Observations that are seen at once: that of the slice and, with more than one, the last ones before it, which
    take as many times the room in the replay memory."""

    def __post_init__(self) -> None:
        check_fields(self)

    def check_warm_up(self, total_steps: int) -> None:
        """Refuse a training that ends before the first update.

        Raises:
            InputError: when it does.
        """
        if total_steps <= self.warm_up:
            raise InputError(f"DQNConfig.warm_up = {self.warm_up}: must be below the {total_steps} steps of training")


def q_network(n_observations: int, n_actions: int, hidden: tuple[int, ...]) -> nn.Sequential:
    """Multi-layer perceptron from observations [B, D] to action values [B, A]."""
    sizes = (n_observations, *hidden)
    layers: list[nn.Module] = []
    for n_in, n_out in itertools.pairwise(sizes):
        layers += [nn.Linear(n_in, n_out), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], n_actions))


def td_targets(batch: Batch, online: nn.Module, target: nn.Module, gamma: float, double: bool) -> torch.Tensor:
    """Targets r + γ (1 − terminated) max_a Q(s', a); γ to the n where transitions span n slices. Shape: [B]."""
    with torch.no_grad():
        values = target(batch.next_observations)  # [B, A]
        chosen = (online(batch.next_observations) if double else values).argmax(dim=1, keepdim=True)  # [B, 1]
        return batch.rewards + gamma * (1 - batch.terminated) * values.gather(1, chosen)[:, 0]


def dqn_loss(batch: Batch, online: nn.Module, target: nn.Module, config: DQNConfig) -> torch.Tensor:
    """Huber loss of the action values against their targets. Shape: []."""
    values = online(batch.observations).gather(1, batch.actions[:, None])[:, 0]  # [B]
    targets = td_targets(batch, online, target, config.gamma**config.multi_step, config.double)  # [B]
    return nn.functional.huber_loss(values, targets, delta=config.huber_delta)


class DQN(WithFrames):
    """DQN for a discrete action mode.

    Args:
        config: hyper-parameters.
        head: how its outputs become actions.
        total_steps: environment steps that the schedules of learning rate and exploration span.
        seed: of weights, exploration and replay.
        device: torch device of the networks.
        n_observations: size of an observation, D.

    Raises:
        InputError: for a continuous action mode.
    """

    Config = DQNConfig

    def __init__(
        self,
        config: DQNConfig,
        head: Head,
        total_steps: int = 1,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        if not head.is_discrete:
            raise InputError(f"action {head.mode_name!r}: DQN needs a discrete one, such as 'pace'")
        self.config, self.head, self.total_steps, self.device = config, head, total_steps, torch_device(device)
        self.action_mode, self.names = head.action_mode, head.names
        self.n_actions, n_observations = int(head.space.n), config.frames * len(head.names)  # type: ignore[attr-defined]
        self.remember()
        init, sampling = np.random.SeedSequence(seed).generate_state(2).tolist()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(init)
            self.online = q_network(n_observations, self.n_actions, config.hidden).to(self.device)
        self.target = copy.deepcopy(self.online).requires_grad_(False)
        self.optimiser = torch.optim.Adam(self.online.parameters(), lr=config.learning_rate, fused=True)
        self.replay = Replay(config.replay_size, n_observations, self.device)
        self.generator = torch.Generator().manual_seed(sampling)
        self.steps = self.updates = 0

    @classmethod
    def build(cls, config: DQNConfig, head: Head, setup: Setup) -> "DQN":
        """A fresh agent for an environment.

        Raises:
            InputError: for a continuous action mode, or a training that ends before the first update.
        """
        config.check_warm_up(setup.total_steps)
        return cls(config, head, setup.total_steps, setup.seed, setup.device)

    @property
    def progress(self) -> float:
        """Part of training that is done, in [0, 1]."""
        return min(self.steps / self.total_steps, 1.0)

    @property
    def epsilon(self) -> float:
        """Share of random actions now."""
        c = self.config
        part = min(self.progress / c.exploration, 1.0) if c.exploration > 0 else 1.0
        return c.epsilon_start + (c.epsilon_end - c.epsilon_start) * part

    def greedy(self, seen: np.ndarray) -> np.ndarray:
        """Greedy actions. Shape: (n, D) -> (n,)."""
        with torch.no_grad():
            values = self.online(torch.as_tensor(np.ascontiguousarray(seen), device=self.device))
        return values.argmax(dim=1).cpu().numpy()

    def explore(self, seen: np.ndarray) -> np.ndarray:
        """Greedy actions, but random ones with probability ε. Shape: (n, D) -> (n,)."""
        n = len(seen)
        at_random = torch.rand(n, generator=self.generator) < self.epsilon
        random = torch.randint(self.n_actions, (n,), generator=self.generator)
        return np.where(at_random.numpy(), random.numpy(), self.greedy(seen))

    def learn(self, env: VectorEnv, steps: int, seed: int, report: Callable[[int, dict[str, float]], None]) -> None:
        """Collect ``steps`` transitions from ``env``, which resets in the same step, and learn from them.

        Args:
            env: native vector environment with discrete actions.
            steps: transitions to collect.
            seed: of the environment's paths.
            report: called with the transitions just collected and what there is to log.
        """
        require_same_step(env)
        c, n = self.config, env.num_envs
        observations, _ = env.reset(seed=seed)
        seen = shifted(self.before(n), observations)
        losses: list[torch.Tensor] = []
        whole = MultiStep(c.multi_step, c.gamma)
        for _ in range(-(-steps // n)):
            actions = self.explore(seen)
            following, rewards, terminated, _, infos = env.step(actions)
            last = after = shifted(seen, following)
            if terminated.any():
                last = after.copy()
                last[terminated] = shifted(seen[terminated], np.stack(infos["final_obs"][terminated]))
                after[terminated] = shifted(self.before(int(terminated.sum())), following[terminated])
            longer = whole(seen, actions, c.reward_scale * rewards, last, terminated)
            if longer is not None:
                self.replay.add(*longer)
            seen = after
            self.steps += n
            while (
                self.replay.size and self.steps >= c.warm_up and self.updates * c.update_every < self.steps - c.warm_up
            ):
                losses.append(self.update())
            if len(losses) >= 100:
                report(0, {"loss": float(torch.stack(losses).mean()), "epsilon": self.epsilon})
                losses.clear()
            report(n, {})

    def update(self) -> torch.Tensor:
        """One gradient step on a batch from the replay memory; returns the loss. Shape: []."""
        c = self.config
        for group in self.optimiser.param_groups:
            group["lr"] = half_cosine(c.learning_rate)(1 - self.progress)
        loss = dqn_loss(self.replay.sample(c.batch_size, self.generator), self.online, self.target, c)
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.online.parameters(), c.max_gradient_norm)
        self.optimiser.step()
        with torch.no_grad():
            torch._foreach_lerp_(list(self.target.parameters()), list(self.online.parameters()), c.target_rate)
        self.updates += 1
        return loss.detach()

    def save(self, folder: Path) -> None:
        """Write all that acting needs; see ``exec_env.harness.training.weights``."""
        save_weights(folder, "dqn", self.head, self.config, self.online.state_dict())

    @classmethod
    def load(cls, folder: Path) -> "DQN":
        """Read what ``save`` wrote; nothing in it is run.

        Raises:
            InputError: naming the file and what is wrong with it.
        """
        config, head, weights = load_weights(folder, DQNConfig)
        agent = cls(config, head)
        with weights_must_fit(folder):
            agent.online.load_state_dict(weights)
        return agent

    def state_dict(self) -> dict[str, Any]:
        """Everything that going on needs: networks, optimiser, replay memory, generator and counters."""
        return {
            "online": self.online.state_dict(),
            "target": self.target.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "replay": self.replay.state_dict(),
            "generator": self.generator.get_state(),
            "steps": self.steps,
            "updates": self.updates,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned.

        Raises:
            KeyError, RuntimeError, ValueError: when it is of another agent.
        """
        self.online.load_state_dict(state["online"])
        self.target.load_state_dict(state["target"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.replay.load_state_dict(state["replay"])
        self.generator.set_state(state["generator"])
        self.steps, self.updates = int(state["steps"]), int(state["updates"])
