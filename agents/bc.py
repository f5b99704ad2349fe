"""Behaviour cloning: imitate the dataset's actions. The control that tells whether learning values added anything."""

from dataclasses import dataclass

import torch
from torch import nn

from exec_env.agents.offline import OfflineConfig, OfflineLearner
from exec_env.agents.offline_networks import Batch, mlp


@dataclass(frozen=True)
class BCConfig(OfflineConfig):
    """Hyper-parameters of behaviour cloning."""


class BC(OfflineLearner):
    """Behaviour cloning by least squares: it learns the mean action of each state. See ``OfflineLearner``."""

    name, Config = "bc", BCConfig

    def make(self, n_observations: int) -> dict[str, nn.Module]:
        """See ``OfflineLearner``."""
        self.actor = mlp(n_observations, *self.config.hidden, 1)
        return {"actor": self.actor}

    def policy(self, observations: torch.Tensor) -> torch.Tensor:
        """See ``OfflineLearner``."""
        return self.actor(observations).tanh()

    def update(self, batch: Batch, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """See ``OfflineLearner``."""
        loss = nn.functional.mse_loss(self.policy(batch.observations), batch.actions)
        return {"loss": self.step("actor", loss)}
