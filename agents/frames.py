"""Frame stacking (Mnih et al. 2015): the last few observations side by side are the simplest memory."""

from collections.abc import Callable
from typing import Any

import numpy as np


def nothing_seen(n: int, frames: int, n_observations: int) -> np.ndarray:
    """What ``n`` paths have seen before their first slice: zeros. Shape: (n, frames × entries)."""
    return np.zeros((n, frames * n_observations), np.float32)


def shifted(seen: np.ndarray, observations: np.ndarray) -> np.ndarray:
    """The newest observations last, the oldest ones dropped. Shape: (n, frames × entries), (n, entries) -> the first.

    >>> shifted(np.array([[1.0, 2.0, 3.0]]), np.array([[4.0]]))
    array([[2., 3., 4.]])
    """
    return np.hstack([seen[:, observations.shape[1] :], observations])


class WithFrames:
    """Mixed into a learner that acts on the last ``frames`` of its configuration; one frame is no memory.

    With more, it has ``initial_state(n)`` as agents with a memory have, and ``act`` takes the frames before and also
    returns those with this one.
    """

    config: Any
    names: tuple[str, ...]
    initial_state: Callable[[int], Any]

    @property
    def frames(self) -> int:
        """Observations that are seen at once."""
        return int(getattr(self.config, "frames", 1))

    def remember(self) -> None:
        """Begin to be an agent with a memory, where there is one; which an agent is that has ``initial_state``."""
        if self.frames > 1:
            self.initial_state = self.before

    def before(self, n: int) -> np.ndarray:
        """What ``n`` paths have seen before their first slice. Shape: (n, frames × entries)."""
        return nothing_seen(n, self.frames, len(self.names))

    def greedy(self, seen: np.ndarray) -> np.ndarray:
        """Actions without exploration. Shape: (n, frames × entries) -> (n,) or (n, 1)."""
        raise NotImplementedError

    def act(self, observations: np.ndarray, state: Any = None) -> Any:
        """Actions without exploration; with several frames also what has been seen, for the next slice.

        Args:
            observations: of this slice. Shape: (n, entries).
            state: what was seen before, with several frames; by default nothing. Shape: (n, frames × entries).

        Shape:
            Actions (n,) or (n, 1).
        """
        if self.frames == 1:
            return self.greedy(observations)
        seen = shifted(self.before(len(observations)) if state is None else state, observations)
        return self.greedy(seen), seen
