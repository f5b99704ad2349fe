"""Parts of offline learners: data as tensors, the action as networks see it, and networks."""

import itertools
from typing import NamedTuple

import torch
from torch import nn

from exec_env.one_asset.observation import Observation

_TIME_LEFT, INVENTORY = map(Observation._fields.index, ("time_left", "inventory_left"))


class Batch(NamedTuple):
    """Transitions; B is the batch size, D the size of an observation."""

    observations: torch.Tensor  # [B, D], standardised
    actions: torch.Tensor  # [B, 1], in [-1, 1]
    rewards: torch.Tensor  # [B] [bps]
    next_observations: torch.Tensor  # [B, D], standardised
    terminated: torch.Tensor  # [B]


class Paces(nn.Module):
    """The action as networks see it: in [-1, 1], for the paces that the dataset is about.

    The fraction of what is left grows from 1/N at the start to 1 at the end, so that one size of noise, and one
    weight of imitation, would be far too much for the first slices and nothing for the last ones. A pace, the
    fraction times the slices left, is 1 all the way where selling is even.
    """

    centre: torch.Tensor
    half_width: torch.Tensor

    def __init__(self, n_steps: int) -> None:
        super().__init__()
        self.n_steps = n_steps
        self.register_buffer("centre", torch.ones(()))
        self.register_buffer("half_width", torch.ones(()))

    def fit(self, fractions: torch.Tensor, observations: torch.Tensor, reach: float, narrowest: float) -> None:
        """Take the range from actions [M, 1] and what was seen [M, D]: their mean ± ``reach`` deviations, above 0."""
        paces = fractions * self._slices_left(observations)
        mean, half = paces.mean(), (reach * paces.std(unbiased=False)).clamp(min=narrowest)
        low, high = (mean - half).clamp(min=0.0), mean + half
        self.centre.copy_((low + high) / 2)
        self.half_width.copy_((high - low) / 2)

    def encode(self, fractions: torch.Tensor, observations: torch.Tensor) -> torch.Tensor:
        """From fractions of what is left [B, 1] and observations as they are seen [B, D]. Shape: [B, 1]."""
        return self._mapped(fractions, observations).clamp(-1.0, 1.0)

    def clipped(self, fractions: torch.Tensor, observations: torch.Tensor) -> float:
        """Share of actions [M, 1] out of range, which ``encode`` takes for its ends. [%]"""
        return 100 * float((self._mapped(fractions, observations).abs() > 1 + 1e-6).float().mean())

    def _mapped(self, fractions: torch.Tensor, observations: torch.Tensor) -> torch.Tensor:
        return (fractions * self._slices_left(observations) - self.centre) / self.half_width

    def decode(self, actions: torch.Tensor, observations: torch.Tensor) -> torch.Tensor:
        """The other way round; never more than all that is left. Shape: [B, 1]."""
        paces = self.centre + self.half_width * actions
        return (paces / self._slices_left(observations)).clamp(0.0, 1.0)

    def _slices_left(self, observations: torch.Tensor) -> torch.Tensor:
        return (observations[:, _TIME_LEFT, None] * self.n_steps).round().clamp(min=1.0)


class Standardise(nn.Module):
    """Observations less their mean, over their standard deviation in the dataset (Fujimoto & Gu 2021, section 5)."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("std", torch.ones(size))

    def fit(self, observations: torch.Tensor) -> None:
        """Take mean and deviation of ``observations`` [M, D].

        Of an entry that never changes nothing is known: its deviation is taken for infinite, or nearly, because it has
        to be undone. A policy that meets other values of it elsewhere sees them as zero.
        """
        self.mean.copy_(observations.mean(0))
        spread = observations.amax(0) > observations.amin(0)
        self.std.copy_((observations.std(0, unbiased=False) + 1e-3).where(spread, torch.tensor(1e30)))

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """Shape: [B, D] -> [B, D]."""
        return (observations - self.mean) / self.std

    def undo(self, standardised: torch.Tensor) -> torch.Tensor:
        """The other way round. Shape: [B, D] -> [B, D]."""
        return standardised * self.std + self.mean


def mlp(*sizes: int) -> nn.Sequential:
    """Multi-layer perceptron with ReLU between its layers; ``sizes`` are those of its input, layers and output."""
    layers: list[nn.Module] = []
    for n_in, n_out in itertools.pairwise(sizes):
        layers += [nn.Linear(n_in, n_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class TwinCritic(nn.Module):
    """Two action values, of which the smaller one guards against taking errors for gains (Fujimoto et al. 2018)."""

    def __init__(self, n_observations: int, hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.first, self.second = (mlp(n_observations + 1, *hidden, 1) for _ in range(2))

    def forward(self, observations: torch.Tensor, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Both values. Shape: [B, D], [B, 1] -> [B], [B]."""
        pairs = torch.cat([observations, actions], 1)
        return self.first(pairs)[:, 0], self.second(pairs)[:, 0]

    def first_value(self, observations: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """The first value alone, which actors climb. Shape: [B, D], [B, 1] -> [B]."""
        return self.first(torch.cat([observations, actions], 1))[:, 0]

    def loss(self, batch: Batch, targets: torch.Tensor) -> torch.Tensor:
        """Sum of both mean squared errors. Shape: []."""
        first, second = self(batch.observations, batch.actions)
        return nn.functional.mse_loss(first, targets) + nn.functional.mse_loss(second, targets)
