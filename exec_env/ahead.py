"""Paths made ahead for many sub-environments, in large batches and on all processors."""

import functools
import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from exec_env.execution import Slice
from exec_env.tape import Source

_BATCH = 4
"""Paths drawn at once for a sub-environment: long enough for NumPy to work without Python's lock."""


_CHUNK = 256
"""Sub-environments whose batches are shaped at once, at most."""


_FEW = 128
"""Sub-environments that are worth a thread."""


_N_THREADS = os.cpu_count() or 1
"""More threads than processors would only fight for Python's lock."""


_KEPT = 2**25 - 2**16
"""Size of an array after which glibc keeps freed memory; just below its upper limit. [bytes]"""


@functools.cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_N_THREADS, thread_name_prefix="exec_env-paths")


class PathsAhead:
    """One endless sequence of paths per sub-environment, each a pure function of its own generator.

    Every sub-environment holds two batches, the one it plays and the next one. Shaping a few paths costs as much as
    shaping thousands, so when one sub-environment wants its next batch, all are made that are not there yet. When
    and beside which others a batch is made changes nothing in it.
    """

    def __init__(self, source: Source, n_envs: int, n_steps: int) -> None:
        self._source, self._n_envs, self._n_steps = source, n_envs, n_steps
        self._rngs: list[np.random.Generator] = []
        # The random numbers of a slice lie side by side in memory, because sub-environments are at different slices;
        # what is the same number in every slice is kept once.
        self._records = np.empty((n_envs, 2, _BATCH, n_steps, 0))
        self._constants: list[float | None] = []
        self._prices = np.empty((n_envs, 2, _BATCH))
        self._ready = np.zeros(n_envs, bool)  # whether the batch that is not played is full
        self._half = np.ones(n_envs, np.int64)  # the batch that is played
        self._path = np.full(n_envs, _BATCH - 1)  # the path of it that is played
        self._first = np.zeros(n_envs, np.int64)  # where its first slice is among all records
        # glibc returns freed memory to the system at once, and every batch would pay for getting it back page by
        # page (a third of its time), until a program has freed one array of this size. Elsewhere this does nothing.
        np.empty(_KEPT, np.uint8)

    def seed(self, rngs: Sequence[np.random.Generator]) -> None:
        """Begin new sequences where the generator is a new one."""
        same = [new is old for new, old in zip(rngs, self._rngs, strict=True)] if self._rngs else False
        self._ready &= same
        self._path = np.where(same, self._path, _BATCH - 1)
        self._rngs = list(rngs)

    def advance(self, which: np.ndarray) -> np.ndarray:
        """Go on to the next path in ``which``; returns the arrival prices there."""
        self._path[which] += 1
        used_up = which[self._path[which] == _BATCH]
        if used_up.size:
            if not self._ready[used_up].all():
                self._make_batches()
            self._half[used_up] = 1 - self._half[used_up]
            self._path[used_up] = 0
            self._ready[used_up] = False
        path = (which * 2 + self._half[which]) * _BATCH + self._path[which]
        self._first[which] = path * self._n_steps
        return self._prices.reshape(-1)[path]

    def at(self, t: np.ndarray, which: np.ndarray | None = None) -> Slice:
        """Slice ``t`` of the path that is played, everywhere or in ``which``; columns of the shape of ``t``."""
        index = t + (self._first if which is None else self._first[which])
        # Copied once, because every use of columns that do not lie side by side would take twice the time.
        columns = iter(self._records.reshape(-1, self._records.shape[-1]).take(index, axis=0).T.copy())
        return Slice(*(next(columns) if c is None else c for c in self._constants))

    def _make_batches(self) -> None:
        """Make the batches that are wanting, some at a time so that what is shaped stays in the processor's cache."""
        wanting = np.flatnonzero(~self._ready)
        if not self._constants:
            self._make(wanting[:1])
            wanting = wanting[1:]
        if wanting.size:
            # Chunks of one size, and as many for each thread.
            workers = min(_N_THREADS, math.ceil(wanting.size / _FEW))
            chunks = np.array_split(wanting, workers * math.ceil(wanting.size / (workers * _CHUNK)))
            list((_threads().map if workers > 1 else map)(self._make, chunks))

    def _make(self, which: np.ndarray) -> None:
        """Make a batch for some; chunks touch different rows, so threads can make them side by side."""
        tape = self._source.sample([self._rngs[i] for i in which], _BATCH)
        if not self._constants:
            self._constants = [None if any(c.strides) else float(c.flat[0]) for c in tape.slices]
            n_random = self._constants.count(None)
            self._records = np.empty((self._n_envs, 2, _BATCH, self._n_steps, n_random))
        random = [c for c, constant in zip(tape.slices, self._constants, strict=True) if constant is None]
        halves = 1 - self._half[which]
        for i, column in enumerate(random):
            self._records[..., i][which, halves] = column.reshape(-1, _BATCH, self._n_steps)
        self._prices[which, halves] = tape.arrival_price.reshape(-1, _BATCH)
        self._ready[which] = True
