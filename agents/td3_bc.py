"""TD3+BC: a twin-critic actor that is held to the dataset's actions (Fujimoto & Gu 2021).

"A minimalist approach to offline reinforcement learning", on TD3 (Fujimoto, van Hoof & Meger 2018).
One file, to be read from top to bottom: configuration, losses, agent.
"""

from dataclasses import dataclass

import torch
from torch import nn

from exec_env.agents.offline import OfflineLearner, ValueConfig
from exec_env.agents.offline_networks import Batch, TwinCritic, mlp
from exec_env.base.validation import Count, NonNegative, Positive, check_fields


@dataclass(frozen=True)
class TD3BCConfig(ValueConfig):
    """Hyper-parameters of TD3+BC."""

    alpha: Positive = 2.5
    """Weight of the values against imitation, α: the actor maximises λ Q − (π(s) − a)² with λ = α / mean |Q|.

    It is not on the paper's scale: with ``baseline``, Q is what is left after nine tenths of it are taken away, so that
    mean |Q| is that much smaller and the same α weighs an action's part in it that much more. Nor is the rest the
    paper's, which discounts by 0.99, keeps its learning rate at 3e-4, and has 256 units a layer."""
    policy_delay: Count = 2
    """Updates of the critics for each of the actor and the targets."""
    target_noise: NonNegative = 0.2
    """Standard deviation of the noise on the target's action, in [-1, 1], which smooths values."""
    noise_clip: NonNegative = 0.5
    """Largest such noise."""

    def __post_init__(self) -> None:
        check_fields(self)


def td3_targets(batch: Batch, next_actions: torch.Tensor, critic: nn.Module, gamma: float) -> torch.Tensor:
    """Targets r + γ (1 − terminated) min(Q1, Q2)(s', a'). Shape: [B]."""
    return batch.rewards + gamma * (1 - batch.terminated) * torch.min(*critic(batch.next_observations, next_actions))


def actor_loss(actions: torch.Tensor, values: torch.Tensor, behaviour: torch.Tensor, alpha: float) -> torch.Tensor:
    """−λ mean Q + mean (π(s) − a)², λ = α / mean |Q|, which has no gradient. Shape: [].

    Where no value is different from zero, there is nothing to weigh, and λ is zero.

    Source: Fujimoto & Gu (2021), equations 4 and 5.
    """
    size = values.abs().mean().detach()
    weight = (alpha / size).where(size > 1e-9, 0.0)
    return -weight * values.mean() + nn.functional.mse_loss(actions, behaviour)


class TD3BC(OfflineLearner):
    """TD3+BC. See ``OfflineLearner`` for arguments."""

    name, Config = "td3-bc", TD3BCConfig

    def make(self, n_observations: int) -> dict[str, nn.Module]:
        """See ``OfflineLearner``."""
        hidden = self.config.hidden
        self.actor, self.critic = mlp(n_observations, *hidden, 1), TwinCritic(n_observations, hidden)
        return {"actor": self.actor, "critic": self.critic}

    def policy(self, observations: torch.Tensor) -> torch.Tensor:
        """See ``OfflineLearner``."""
        return self.actor(observations).tanh()

    def update(self, batch: Batch, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """See ``OfflineLearner``."""
        c = self.config
        with torch.no_grad():
            following = self.targets["actor"](batch.next_observations).tanh()
            noise = c.target_noise * torch.randn(following.shape, generator=generator).to(self.device)
            noise = noise.clamp(-c.noise_clip, c.noise_clip)
            following = self.feasible((following + noise).clamp(-1, 1), batch.next_observations)
            targets = td3_targets(batch, following, self.targets["critic"], c.gamma)
        losses = {"loss": self.step("critic", self.critic.loss(batch, targets))}
        if self.steps % c.policy_delay == 0:
            actions = self.policy(batch.observations)
            value = self.critic.first_value(batch.observations, self.feasible(actions, batch.observations))
            losses["actor_loss"] = self.step("actor", actor_loss(actions, value, batch.actions, c.alpha))
            losses["value"] = value.mean().detach()
            self.follow(c.target_rate, "actor", "critic")
        return losses
