"""Paths made ahead for many sub-environments: in batches, and where that pays in a process of their own."""

import math
import mmap
import os
import pickle
import subprocess
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, Pipe
from typing import Any

import numpy as np

from exec_env.market.paths import Paths, Source, columns_of, with_columns

_BATCH = 4
"""Paths drawn at once for a sub-environment."""


_CHUNK = 256
"""Sub-environments whose batches are shaped at once, at most, so that they stay in the processor's cache."""


_MANY = 1024
"""Sub-environments that are worth a helper: a process that takes a second to start, and 100 MB."""


_KEPT = 2**25 - 2**16
"""Size of an array after which glibc keeps freed memory; just below its upper limit. [bytes]"""


class PathsAhead:
    """One endless sequence of paths per sub-environment, each a pure function of its own generator.

    Every sub-environment holds two batches, the one it plays and the next one. Shaping a few paths costs as much as
    shaping thousands, so when one sub-environment wants its next batch, all are made that are not there yet. When,
    where and beside which others a batch is made changes nothing in it.

    With many sub-environments, from the third batch on a helper, a process of its own, makes the next batches while
    this one steps, which takes about as long. Threads could not: NumPy holds Python's lock between its operations,
    and handing it over takes longer than they do.
    """

    def __init__(self, source: Source, n_envs: int, n_steps: int) -> None:
        self._batches = _Batches(source, n_envs, n_steps)
        self._ready = np.zeros(n_envs, bool)  # whether the batch that is not played is full
        self._half = np.ones(n_envs, np.int64)  # the batch that is played
        self._path = np.full(n_envs, _BATCH - 1)  # the path of it that is played
        self._first = np.zeros(n_envs, np.int64)  # where its first slice is among all records
        self._times = 0  # how often batches were made here
        self._alone = n_envs < _MANY or not can_have_helper()
        self._helper: _Helper | None = None
        self._ordered = np.zeros(0, np.int64)  # whose batches the helper is making

    @property
    def seeded(self) -> bool:
        """Whether there are generators."""
        return bool(self._batches.rngs)

    def seed(self, rngs: dict[int, np.random.Generator]) -> None:
        """Begin new sequences in some sub-environments; the first time, in all of them."""
        with self._whole():
            self._collect()
            which = np.fromiter(rngs, np.int64)
            self._ready[which] = False
            self._path[which] = _BATCH - 1
            self._batches.rngs.update(rngs)
            if self._helper is not None and self._helper.begun:
                self._helper.call("seed", rngs)

    def advance(self, which: np.ndarray) -> np.ndarray:
        """Go on to the next path in ``which``; returns the arrival prices there."""
        self._path[which] += 1
        used_up = which[self._path[which] == _BATCH]
        if used_up.size:
            with self._whole():
                self._fill(used_up)
                self._half[used_up] = 1 - self._half[used_up]
                self._path[used_up] = 0
                self._ready[used_up] = False
                # A few at once would cost the helper nearly as much as many.
                self._order(at_least=len(self._ready) // 2)
        path = (which * 2 + self._half[which]) * _BATCH + self._path[which]
        self._first[which] = path * self._batches.n_steps
        return self._batches.prices.reshape(-1, *self._batches.prices.shape[3:])[path]

    def at(self, t: np.ndarray, which: np.ndarray | None = None) -> Any:
        """Slice ``t`` of the path that is played, everywhere or in ``which``; columns (len(t), ...)."""
        return self._batches.at(t + (self._first if which is None else self._first[which]))

    def forget(self) -> None:
        """End the helper and drop all sequences: before the next path there must be new generators."""
        if self._helper is not None:
            self._helper.end()
        self._helper, self._ordered, self._times = None, self._ordered[:0], 0
        self._batches.rngs = {}
        self._ready[:] = False
        self._path[:] = _BATCH - 1

    def retire(self) -> None:
        """End the helper and go on without it, as before a copy."""
        if self._helper is None:
            return
        with self._whole():
            self._collect()
            if self._helper.begun:
                self._batches.rngs = self._helper.call("leave")
                self._batches.move(self._batches.records.copy(), self._batches.prices.copy())
            self._helper.end()
            self._helper, self._times = None, 0

    def __getstate__(self) -> dict[str, Any]:
        self.retire()
        return self.__dict__

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """What is interrupted in between, as by Ctrl-C, leaves nothing that could be played on by mistake."""
        try:
            yield
        except BaseException:
            self.forget()
            raise

    def _fill(self, wanted: np.ndarray) -> None:
        """See to it that the next batches of ``wanted`` are there."""
        if not self._ready[wanted].all():
            self._collect()
        if not self._ready[wanted].all():
            self._order(at_least=1)
            self._collect()
        if not self._ready[wanted].all():
            missing = np.flatnonzero(~self._ready)
            self._batches.make(missing, 1 - self._half[missing])
            self._ready[missing] = True
            self._times += 1

    def _order(self, at_least: int) -> None:
        """Have the helper make the batches that are not there, once enough of them are missing."""
        if self._alone or self._times < 2:
            return
        try:
            if self._helper is None:
                self._helper = _Helper()
                _HELPED.add(self)
            if not self._helper.begun:
                if not self._helper.done():  # it is still starting
                    return
                self._helper.begin(self._batches)
        except (RuntimeError, OSError):  # it cannot be had here, or cannot draw the paths of this problem
            self._helper, self._alone = None, True
            return
        if self._ordered.size and self._helper.done():
            self._collect()
        missing = np.flatnonzero(~self._ready)
        if not self._ordered.size and missing.size >= at_least:
            self._ordered = missing
            self._helper.send(("make", missing, 1 - self._half[missing]))

    def _collect(self) -> None:
        """Wait for what was ordered."""
        if self._helper is not None and self._ordered.size:
            self._helper.receive()
            self._ready[self._ordered] = True
            self._ordered = self._ordered[:0]


class _Batches:
    """Two batches of paths for each sub-environment, and what makes them."""

    def __init__(self, source: Source, n_envs: int, n_steps: int) -> None:
        self.source, self.n_envs, self.n_steps = source, n_envs, n_steps
        self.rngs: dict[int, np.random.Generator] = {}
        # The random numbers of a slice lie side by side in memory, because sub-environments are at different slices;
        # what is the same number in every slice is kept once.
        self.constants: list[float | None] = []
        self.shapes: list[tuple[int, ...]] = []  # trailing axes of the columns that are random
        self.slices: Any = None  # of the kind that is drawn; any of them will do
        self.move(np.empty((n_envs, 2, _BATCH, n_steps, 0)), np.empty((n_envs, 2, _BATCH)))
        # glibc returns freed memory to the system at once, and every batch would pay for getting it back page by
        # page (a third of its time), until a program has freed one array of this size. Elsewhere this does nothing.
        np.empty(_KEPT, np.uint8)

    def move(self, records: np.ndarray, prices: np.ndarray) -> None:
        """Keep the batches in other arrays."""
        self.records, self.prices = records, prices

    def make(self, which: np.ndarray, halves: np.ndarray) -> None:
        """Make a batch for some."""
        for chunk in np.array_split(np.arange(which.size), math.ceil(which.size / _CHUNK)):
            self._make(which[chunk], halves[chunk])

    def at(self, index: np.ndarray) -> Any:
        """Slices by their places among all records."""
        # Copied, because every use of columns that do not lie side by side would take twice the time.
        numbers = self.records.reshape(-1, self.records.shape[-1]).take(index, axis=0).T.copy()
        columns = iter(numbers) if not any(self.shapes) else self._columns(numbers)
        return with_columns(self.slices, [next(columns) if c is None else c for c in self.constants])

    def _columns(self, numbers: np.ndarray) -> Iterator[np.ndarray]:
        """Columns with their trailing axes, which are kept one number after the other."""
        first = 0
        for shape in self.shapes:
            size = math.prod(shape)
            yield numbers[first : first + size].T.reshape(-1, *shape) if shape else numbers[first]
            first += size

    def _make(self, which: np.ndarray, halves: np.ndarray) -> None:
        paths = self.source.sample([self.rngs[i] for i in which.tolist()], _BATCH)
        columns = columns_of(paths.slices)
        if not self.constants:
            self._measure(paths, columns)
        random = [c for c, constant in zip(columns, self.constants, strict=True) if constant is None]
        first = 0
        for column, shape in zip(random, self.shapes, strict=True):
            if shape:
                size = math.prod(shape)
                self.records[..., first : first + size][which, halves] = column.reshape(-1, _BATCH, self.n_steps, size)
                first += size
            else:
                self.records[..., first][which, halves] = column.reshape(-1, _BATCH, self.n_steps)
                first += 1
        self.prices[which, halves] = paths.arrival_price.reshape(-1, _BATCH, *self.prices.shape[3:])

    def _measure(self, paths: Paths, columns: tuple[np.ndarray, ...]) -> None:
        """Make room for records, once it is known what is random and what is the same number in every slice."""
        self.constants = [None if any(c.strides) else float(c.flat[0]) for c in columns]
        self.shapes = [c.shape[2:] for c, constant in zip(columns, self.constants, strict=True) if constant is None]
        self.slices = with_columns(paths.slices, [0.0] * len(columns))
        n_random = sum(math.prod(shape) for shape in self.shapes)
        self.records = np.empty((*self.records.shape[:-1], n_random))
        if paths.arrival_price.ndim > 1:
            self.prices = np.empty((*self.prices.shape, *paths.arrival_price.shape[1:]))


class _Helper:
    """A process that makes batches, in memory that both share; it ends when nobody is there to talk to.

    Raises:
        RuntimeError: when it has ended by itself.
    """

    def __init__(self) -> None:
        self.begun = False
        self._link, theirs = Pipe()
        self._memory = os.memfd_create("exec_env-paths")  # has no name that could outlive the two
        command = (
            "import sys; from multiprocessing.connection import Connection; "
            f"link = Connection({theirs.fileno()}); sys.path[:] = link.recv(); "
            f"from exec_env.envs.paths_ahead import _serve; _serve(link, {self._memory})"
        )
        # Not ``multiprocessing``: its new processes run the main module again, so that it would have to expect that.
        # A process group of its own, because Ctrl-C is for this process.
        process = subprocess.Popen(
            [sys.executable, "-c", command], pass_fds=[theirs.fileno(), self._memory], process_group=0
        )
        theirs.close()
        self.end = weakref.finalize(self, _end, self._link, process, self._memory)
        self.send(sys.path)

    def begin(self, batches: _Batches) -> None:
        """Hand over the generators once the helper has started, and share the memory of the batches."""
        self.receive()
        described = (batches.constants, batches.shapes, batches.slices)
        try:
            message = pickle.dumps(
                (batches.source, batches.rngs, described, batches.records.shape, batches.prices.shape)
            )
        except (pickle.PicklingError, AttributeError, TypeError) as error:  # of a function without an import path, say
            raise RuntimeError(f"what draws the paths cannot be handed to another process: {error}") from None
        os.ftruncate(self._memory, 8 * (batches.records.size + batches.prices.size))
        records, prices = _shared(self._memory, batches.records.shape, batches.prices.shape)
        records[...], prices[...] = batches.records, batches.prices
        self.send(message)
        self.receive()  # it has what it needs
        batches.move(records, prices)
        self.begun = True

    def done(self) -> bool:
        """Whether there is an answer to receive."""
        return self._link.poll()

    def send(self, message: Any) -> None:
        try:
            self._link.send(message)
        except OSError:
            raise RuntimeError(_GONE) from None

    def receive(self) -> Any:
        try:
            return self._link.recv()
        except (EOFError, OSError):
            raise RuntimeError(_GONE) from None

    def call(self, *message: Any) -> Any:
        self.send(message)
        return self.receive()


_GONE = "the process that makes paths ahead has ended by itself: reset the environment to go on"

_HELPED: "weakref.WeakSet[PathsAhead]" = weakref.WeakSet()


def _retire_all() -> None:
    for paths in list(_HELPED):
        with suppress(RuntimeError):  # its helper has ended by itself
            paths.retire()


if hasattr(os, "register_at_fork"):
    # Neither parent nor child could tell whose batches the helper makes.
    os.register_at_fork(before=_retire_all)


def can_have_helper() -> bool:
    """Whether there is memory to share, a Python to start, a processor to spare, and no EXEC_ENV_HELPER=0."""
    possible = hasattr(os, "memfd_create") and bool(sys.executable) and not getattr(sys, "frozen", False)
    return possible and len(os.sched_getaffinity(0)) > 1 and os.environ.get("EXEC_ENV_HELPER") != "0"


def _end(link: Connection, process: "subprocess.Popen[bytes]", memory: int) -> None:
    link.close()
    os.close(memory)
    process.wait()


def _shared(memory: int, shape: tuple[int, ...], prices: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Records and arrival prices of these shapes, in shared memory."""
    numbers = np.frombuffer(mmap.mmap(memory, 0))
    size = math.prod(shape)
    return numbers[:size].reshape(shape), numbers[size : size + math.prod(prices)].reshape(prices)


def _serve(link: Connection, memory: int) -> None:
    """What the helper does."""
    with suppress(EOFError, OSError):  # when nobody is there any more
        link.send("ready")
        try:
            source, rngs, described, shape, prices = pickle.loads(link.recv())
        except Exception:  # a class of the main module, say, which this process does not run
            return  # and the other side goes on alone
        link.send("begun")
        batches = _Batches(source, shape[0], shape[3])
        batches.rngs = rngs
        batches.constants, batches.shapes, batches.slices = described
        batches.move(*_shared(memory, shape, prices))
        while True:
            what, *arguments = link.recv()
            answer = None
            if what == "make":
                batches.make(*arguments)
            elif what == "seed":
                batches.rngs.update(*arguments)
            else:
                answer = batches.rngs
            link.send(answer)
