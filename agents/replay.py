"""What learners in torch share: replay memory, schedules, and where tensors live."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch


def torch_device(name: str) -> torch.device:
    """The device of that name.

    Raises:
        ValueError: when torch does not know it, or this machine lacks it.
    """
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f"device = {name!r}: not to be had here: {str(error).splitlines()[0][:120]}") from None
    return device


def half_cosine(start: float) -> Callable[[float], float]:
    """A schedule that falls from ``start`` to zero along a half cosine, as a function of the part that is left.

    >>> [round(half_cosine(2.0)(left), 3) for left in (1.0, 0.5, 0.0)]
    [2.0, 1.0, 0.0]
    """
    return lambda left: start * 0.5 * (1 - math.cos(math.pi * left))


class Batch(NamedTuple):
    """Transitions; B is the batch size, D the size of an observation."""

    observations: torch.Tensor  # [B, D]
    actions: torch.Tensor  # [B]
    rewards: torch.Tensor  # [B]
    next_observations: torch.Tensor  # [B, D]
    terminated: torch.Tensor  # [B]


class Replay:
    """A ring of the last ``capacity`` transitions, sampled uniformly with replacement.

    Args:
        capacity: transitions kept.
        n_observations: size of an observation.
        device: where batches go.
    """

    def __init__(self, capacity: int, n_observations: int, device: torch.device) -> None:
        self.capacity, self.device = capacity, device
        self.size = self.position = 0
        # One row a transition: observation, next observation, action, reward, terminated.
        self.rows = torch.zeros(capacity, 2 * n_observations + 3)
        self._parts = [n_observations, n_observations, 1, 1, 1]

    def add(
        self,
        observations: np.ndarray,
        actions: np.ndarray,
        rewards: np.ndarray,
        next_observations: np.ndarray,
        terminated: np.ndarray,
    ) -> None:
        """Add a transition of every environment."""
        block = np.column_stack([observations, next_observations, actions, rewards, terminated])[-self.capacity :]
        where = (self.position + torch.arange(len(block))) % self.capacity
        self.rows[where] = torch.from_numpy(block.astype(np.float32))
        self.position = (self.position + len(block)) % self.capacity
        self.size = min(self.size + len(block), self.capacity)

    def sample(self, n: int, generator: torch.Generator) -> Batch:
        """``n`` transitions."""
        rows = self.rows[torch.randint(self.size, (n,), generator=generator)].to(self.device)
        observations, following, actions, rewards, terminated = rows.split(self._parts, dim=1)
        return Batch(observations, actions[:, 0].long(), rewards[:, 0], following, terminated[:, 0])

    def state_dict(self) -> dict[str, torch.Tensor | int]:
        """What ``load_state_dict`` needs."""
        return {"rows": self.rows[: self.size].clone(), "position": self.position}

    def load_state_dict(self, state: dict[str, torch.Tensor | int]) -> None:
        """Restore what ``state_dict`` returned."""
        rows, position = state["rows"], state["position"]
        if not isinstance(rows, torch.Tensor) or rows.shape[1:] != self.rows.shape[1:] or len(rows) > self.capacity:
            raise ValueError("the replay memory in the checkpoint has another shape")
        self.size, self.position = len(rows), int(position)
        self.rows[: self.size] = rows
