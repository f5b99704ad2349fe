"""Control variates: sums along an agent's path whose mean is zero whatever the agent does.

Taken off a column of costs, they change no mean, but take away much of what it varies by. ``Problem.variates`` offers
them; ``exec_env.optimum.variates`` has those of one order in one asset.
"""

from typing import Any, Protocol

import numpy as np

from exec_env.market.paths import Paths


class Followed(Protocol):
    """Control variates along the paths of one agent."""

    def watch(self, t: int, before: Any, now: Any, fill: Any) -> None:
        """Take slice ``t`` of all paths in: the state before it, the slice, and what was done."""

    def sums(self) -> dict[str, np.ndarray]:
        """By name, for each path, in basis points of the arrival notional."""


class Drawn(Protocol):
    """Control variates on paths, before any agent."""

    def follow(self, names: tuple[str, ...]) -> Followed:
        """Those named, along the paths of one agent."""


class Variates(Protocol):
    """The control variates of a problem."""

    names: tuple[str, ...]
    """In the order in which they are added to each other: from the one that takes least time to the one that takes
    most. The last one is taken to know of rare events."""
    note: str
    """Why one is missing that other problems have; a sentence, or nothing."""

    best_bps: float
    """The best achievable value, where it is known beforehand, if roughly; else NaN."""

    def on(self, rng: np.random.Generator, paths: Paths, names: tuple[str, ...]) -> Drawn:
        """Those named, on the paths that ``rng``, which is used up, was to draw."""
