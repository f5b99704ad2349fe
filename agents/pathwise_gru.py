"""The pathwise policy with a memory: a gated recurrent unit (Cho et al. 2014) over what was seen.

Trained as ``exec_env.agents.pathwise`` is, by gradients through the market and, from slice to slice, the memory.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from exec_env.agents.pathwise import Paces, PathwiseConfig, PathwiseLearner
from exec_env.base.validation import Count
from exec_env.one_asset.torch_market import Policy


@dataclass(frozen=True)
class PathwiseGRUConfig(PathwiseConfig):
    """Hyper-parameters of the pathwise policy with a memory.

    It minimises ``objective``, not a reward, so that shaping of rewards is refused. It trades fractions of what is left
    whatever the action mode is, and draws its own paths: neither --action nor --num-envs makes a difference to it.
    """

    memory: Count = 32
    """Numbers that are carried from slice to slice."""


class RememberedPaces(Paces):
    """From observations [B, D] and memory [B, M] to fractions of what is left [B] and the next memory [B, M].

    The layers of ``Paces`` take the observation and the memory, this observation being in it, side by side.

    Args:
        n_observations: entries of an observation, D.
        memory: size of the memory, M.
        hidden: as of ``Paces``, like the rest.
        n_steps: likewise.
        time_left: likewise.
    """

    def __init__(self, n_observations: int, memory: int, hidden: tuple[int, ...], n_steps: int, time_left: int) -> None:
        super().__init__(n_observations + memory, hidden, n_steps, time_left)
        self.memory = nn.GRUCell(n_observations, memory)

    def forward(self, observations: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # type: ignore[override]
        """Fractions, which may be above one: the market clips them; and the next memory."""
        state = self.memory(observations, state)
        return super().forward(torch.cat([observations, state], 1)), state

    def begin(self, n: int) -> Policy:
        """See ``Paces``; the memory is empty at first."""
        state = self.memory.weight_hh.new_zeros(n, self.memory.hidden_size)

        def policy(observations: torch.Tensor) -> torch.Tensor:
            nonlocal state
            fractions, state = self(observations, state)
            return fractions

        return policy


class PathwiseGRU(PathwiseLearner):
    """The pathwise policy with a memory. See ``PathwiseLearner`` for arguments."""

    name, Config = "pathwise-gru", PathwiseGRUConfig

    def network(self, time_left: int) -> Paces:
        """See ``PathwiseLearner``."""
        c = self.config
        return RememberedPaces(len(self.names), c.memory, c.hidden, self.head.n_steps, time_left)

    def initial_state(self, n: int) -> np.ndarray:
        """The memory of ``n`` paths at arrival: nothing. Shape: (n, M)."""
        return np.zeros((n, self.config.memory), np.float32)

    def act(self, observations: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Fractions of what is left, and the next memory. Shape: (n, D), (n, M) -> (n, 1), (n, M)."""
        with torch.no_grad():
            fractions, after = self.policy(self.tensor(observations), self.tensor(state))
        return fractions.clamp(max=1.0)[:, None].cpu().numpy(), after.cpu().numpy()
