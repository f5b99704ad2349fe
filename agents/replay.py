"""What learners in torch share: replay memory, returns of several slices, and schedules."""

import math
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from exec_env.base.errors import InputError


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


class MultiStep:
    """Turns transitions of one slice into transitions of ``n`` slices, each in its turn.

    The n-slice return lets the value of what comes later arrive n times sooner (Sutton 1988; as part of DQN, Hessel et
    al. 2018). It counts what was done in between as if it had been best, exploration included.

    Args:
        n: slices.
        gamma: discount of each.
    """

    def __init__(self, n: int, gamma: float) -> None:
        self.gamma, self._last = gamma, deque[tuple[np.ndarray, ...]](maxlen=n)

    def __call__(self, *transition: np.ndarray) -> tuple[np.ndarray, ...] | None:
        """Take a transition of every environment; give that of n slices which it completes, if any.

        Both are (observations, actions, rewards, next observations, terminated) as ``Replay.add`` takes them.
        """
        self._last.append(transition)
        if len(self._last) < self._last.maxlen:  # type: ignore[operator]
            return None
        _, _, total, following, over = transition
        for _, _, reward, then, ended in list(self._last)[-2::-1]:
            total = reward + np.where(ended, 0.0, self.gamma * total)
            following = np.where(ended[:, None], then, following)
            over = over | ended
        observations, actions, *_ = self._last[0]
        return observations, actions, total, following, over


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
            raise InputError("the replay memory in the checkpoint has another shape")
        self.size, self.position = len(rows), int(position)
        self.rows[: self.size] = rows
