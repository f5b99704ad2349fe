"""Observations as arrays: a problem's own entries, and features that the user adds to them."""

from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from exec_env.base.errors import InputError
from exec_env.base.namespace import namespace
from exec_env.envs.problem import FAR, Problem

Feature = Callable[[Any], Any]
"""From a NamedTuple of the problem's own entries (columns, float32) to one more column."""


def check_features(features: Mapping[str, Feature] | None, names: Sequence[str]) -> Mapping[str, Feature]:
    """Features by name; an InputError for what is none, and for a name that an entry has already."""
    if features is None:
        return {}
    if not isinstance(features, Mapping):
        raise InputError(f"features = {features!r}: must be a mapping of names to functions of what is seen")
    for name, feature in features.items():
        if not isinstance(name, str) or not name.isidentifier() or name in names:
            raise InputError(f"features: {name!r} must be a name that no entry has; there are {', '.join(names)}")
        if not callable(feature):
            raise InputError(f"features: {name} = {feature!r}: must be a function of what is seen")
    return dict(features)


class Sight:
    """What is seen of a problem, as arrays.

    Attributes:
        names: of all entries, features last.
        space: Gymnasium space of one observation.
    """

    def __init__(self, problem: Problem) -> None:
        self._problem, self._features = problem, dict(problem.features)
        self._own = (*problem.names, *problem.recorded)
        self.names = (*self._own, *self._features)
        self.space = problem.space()
        self.renewed = problem.renewed
        if self._features:
            entries: Any = namedtuple("Entries", self._own)  # type: ignore[misc]
            self._entries = entries
            self._first = len(self._own)
            self.renewed = self._renewed
            more = np.full(len(self._features), FAR, np.float32)
            self.space = gym.spaces.Box(np.r_[self.space.low, -more], np.r_[self.space.high, more], dtype=np.float32)

    def stack(self, state: Any, seen: Any, left: Any, n: int) -> Any:
        """Observations of ``n`` paths as one fresh array or tensor. Shape: (n, entries), float32 if an array."""
        entries = self.checked(self._problem.observe(state, seen, left))
        out = stack(entries, n)
        return self._with_features(out) if self._features else out

    def checked(self, entries: Sequence[Any]) -> Sequence[Any]:
        """The problem's entries, as many as it has names.

        Raises:
            InputError: for another number of them.
        """
        if len(entries) != len(self._own):
            raise InputError(f"observe: returned {len(entries)} entries, but there are {len(self._own)} names")
        return entries

    def __reduce__(self) -> Any:
        return Sight, (self._problem,)  # made anew: the type of its entries has no import path

    def _with_features(self, out: Any) -> Any:
        columns = self._entries(*out.T)
        added = [self._column(name, feature(columns), out) for name, feature in self._features.items()]
        if hasattr(out, "new_full"):
            return namespace(out).stack([*columns, *added], 1)
        return np.stack([*columns, *added]).T

    def _renewed(self, observation: np.ndarray, state: Any, now: Any, left: int) -> np.ndarray:
        own = observation[: self._first]
        self._problem.renewed(own, state, now, left)
        entries = self._entries(*own)
        for i, (name, feature) in enumerate(self._features.items(), self._first):
            observation[i] = self._column(name, feature(entries), own[:1])[0]
        return observation

    @staticmethod
    def _column(name: str, value: Any, like: Any) -> Any:
        """A feature's values as a column in single precision."""
        if hasattr(like, "new_full"):
            return like.new_zeros(len(like)) + value
        column = np.broadcast_to(np.asarray(value, np.float32), len(like))
        if not np.isfinite(column).all():
            raise InputError(f"features: {name} = {column[~np.isfinite(column)][0]}: must be finite")
        return column


def stack(entries: Sequence[Any], n: int) -> Any:
    """Entries of ``n`` observations side by side. Shape: (n, number of entries), float32 if an array."""
    like = next((e for e in entries if hasattr(e, "new_full")), None)
    if like is not None:
        columns = [e if hasattr(e, "expand") else like.new_full((), e) for e in entries]
        return namespace(like).stack([c.expand(n) for c in columns], 1)
    out = np.empty((len(entries), n), np.float32)
    for row, entry in zip(out, entries, strict=True):
        row[...] = entry
    return out.T
