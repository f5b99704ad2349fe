"""Batch-constrained Q-learning: choose among actions that a generative model finds likely (Fujimoto et al. 2019).

"Off-policy deep reinforcement learning without exploration".
One file, to be read from top to bottom: configuration, networks, losses, agent.
"""

from dataclasses import dataclass

import torch
from torch import nn

from exec_env.agents.offline import OfflineLearner, ValueConfig
from exec_env.agents.offline_networks import Batch, TwinCritic, mlp
from exec_env.base.validation import Count, NonNegative, Positive, Probability, check_fields

_LATENT = 2  # twice the size of an action, as in the paper


@dataclass(frozen=True)
class BCQConfig(ValueConfig):
    """Hyper-parameters of BCQ."""

    samples: Count = 10
    """Actions drawn from the generative model, of which the one with the highest value is taken."""
    perturbation: NonNegative = 0.05
    """Largest change Φ to a drawn action, in [-1, 1], by the perturbation network."""
    latent_clip: Positive = 0.5
    """Latents are drawn from a normal and clipped to this: the likely actions are in the middle."""
    minimum_weight: Probability = 0.75
    """Weight λ of the smaller of both values in a target; the larger one has the rest."""

    def __post_init__(self) -> None:
        check_fields(self)


class VAE(nn.Module):
    """Conditional variational auto-encoder of the dataset's actions given the state (Kingma & Welling 2014).

    It works on actions over their deviation in the dataset. On smaller ones the divergence would outweigh the error,
    and it would decode the mean action whatever the latent.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, n_observations: int, hidden: tuple[int, ...], latent_clip: float) -> None:
        super().__init__()
        self.latent_clip = latent_clip
        self.encoder = mlp(n_observations + 1, *hidden, 2 * _LATENT)
        self.decoder = mlp(n_observations + _LATENT, *hidden, 1)
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("std", torch.ones(()))

    def fit(self, actions: torch.Tensor) -> None:
        """Take mean and deviation of all ``actions``."""
        self.mean.copy_(actions.mean())
        self.std.copy_(actions.std(unbiased=False).clamp(min=1e-2))

    def encode(self, observations: torch.Tensor, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and log standard deviation of the latent. Shape: [B, D], [B, 1] -> [B, 2], [B, 2]."""
        pairs = torch.cat([observations, (actions - self.mean) / self.std], 1)
        mean, log_std = self.encoder(pairs).chunk(2, 1)
        return mean, log_std.clamp(-4, 15)

    def decode(self, observations: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
        """Actions. Shape: [B, D], [B, 2] -> [B, 1], in [-1, 1]."""
        actions = self.decoder(torch.cat([observations, latents], 1))
        return (self.mean + self.std * actions).clamp(-1, 1)

    def latents(self, n: int, generator: torch.Generator) -> torch.Tensor:
        """Latents to decode. Shape: [n, 2]."""
        latents = torch.randn(n, _LATENT, generator=generator).clamp(-self.latent_clip, self.latent_clip)
        return latents.to(self.mean.device)

    def loss(self, batch: Batch, noise: torch.Tensor) -> torch.Tensor:
        """Squared error, plus a quarter of the latent's divergence from a standard normal. Shape: [].

        In other words half of the divergence's mean over the latent's two dimensions, as in the paper's own code.

        Args:
            batch: transitions.
            noise: standard normals. [B, 2]

        Source: Fujimoto et al. (2019), equations 28 and 29.
        """
        mean, log_std = self.encode(batch.observations, batch.actions)
        decoded = self.decode(batch.observations, mean + log_std.exp() * noise)
        error = ((decoded - batch.actions) / self.std).square().mean()
        return error - 0.25 * (1 + 2 * log_std - mean**2 - (2 * log_std).exp()).mean()


def bcq_targets(batch: Batch, values: tuple[torch.Tensor, torch.Tensor], gamma: float, weight: float) -> torch.Tensor:
    """Targets r + γ (1 − terminated) max_i [λ min_j Q_j(s', a_i) + (1 − λ) max_j Q_j(s', a_i)]. Shape: [B].

    Args:
        batch: transitions.
        values: both values of each drawn action. [B, n]
        gamma: discount.
        weight: λ.

    Source: Fujimoto et al. (2019), equation 13.
    """
    mixed = weight * torch.min(*values) + (1 - weight) * torch.max(*values)
    return batch.rewards + gamma * (1 - batch.terminated) * mixed.max(1).values


class BCQ(OfflineLearner):
    """BCQ. See ``OfflineLearner`` for arguments.

    Acting, it decodes one fixed set of latents, so that its action is a function of the observation.
    """

    name, Config = "bcq", BCQConfig

    def make(self, n_observations: int) -> dict[str, nn.Module]:
        """See ``OfflineLearner``."""
        c = self.config
        self.vae = VAE(n_observations, c.hidden, c.latent_clip)
        self.critic = TwinCritic(n_observations, c.hidden)
        self._fixed = self.vae.latents(c.samples, torch.Generator().manual_seed(0))
        perturbation = mlp(n_observations + 1, *c.hidden, 1)
        return {"vae": self.vae, "perturbation": perturbation, "critic": self.critic}

    def prepare(self, data: Batch) -> None:
        """See ``OfflineLearner``."""
        self.vae.fit(data.actions)

    def policy(self, observations: torch.Tensor) -> torch.Tensor:
        """See ``OfflineLearner``."""
        n, samples = len(observations), self.config.samples
        repeated = observations.repeat_interleave(samples, 0)
        actions = self._perturbed(self.networks, repeated, self._fixed.to(self.device).repeat(n, 1))
        best = self.critic.first_value(repeated, actions).view(n, samples).argmax(1, keepdim=True)
        return actions.view(n, samples).gather(1, best)

    def update(self, batch: Batch, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """See ``OfflineLearner``."""
        c, vae = self.config, self.vae
        noise = torch.randn(len(batch.actions), _LATENT, generator=generator).to(self.device)
        losses = {"vae_loss": self.step("vae", vae.loss(batch, noise))}
        with torch.no_grad():
            repeated = batch.next_observations.repeat_interleave(c.samples, 0)
            actions = self._perturbed(self.targets, repeated, vae.latents(len(repeated), generator))
            first, second = (v.view(-1, c.samples) for v in self.targets["critic"](repeated, actions))
            targets = bcq_targets(batch, (first, second), c.gamma, c.minimum_weight)
        losses["loss"] = self.step("critic", self.critic.loss(batch, targets))
        actions = self._perturbed(self.networks, batch.observations, vae.latents(len(batch.actions), generator))
        value = self.critic.first_value(batch.observations, actions).mean()
        losses["value"] = -self.step("perturbation", -value)
        self.follow(c.target_rate, "perturbation", "critic")
        return losses

    def _perturbed(self, networks: nn.ModuleDict, observations: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
        """Decoded actions, perturbed. The generative model itself is always the latest. Shape: [B, 1]."""
        with torch.no_grad():
            actions = self.vae.decode(observations, latents)
        change = networks["perturbation"](torch.cat([observations, actions], 1)).tanh()
        return self.feasible((actions + self.config.perturbation * change).clamp(-1, 1), observations)
