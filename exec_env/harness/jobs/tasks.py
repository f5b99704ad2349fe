"""Independent tasks, in this process or on Ray, with the same results; each is kept as it comes and never runs twice.

A task is a plain function of plain arguments. What it returns goes to the one process that started it, which keeps it
in a folder of its own; so workers need no shared file system, and an interruption loses only what was not finished.
"""

import logging
import os
import shutil
import socket
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from tqdm import tqdm

from exec_env.base import release
from exec_env.base.errors import InputError, NoBound
from exec_env.base.files import read_yaml, write_bytes, write_yaml
from exec_env.base.inputs import Inputs, refuse_changed
from exec_env.base.validation import require, require_count

_GIB = 2**30
_INSTALL = "pip install 'exec-env[ray]'"


@dataclass(frozen=True)
class Result:
    """What a task returns; small, because it travels between machines whole."""

    summary: str
    """One line for the progress bar."""
    files: dict[str, bytes] = field(default_factory=dict)
    """Contents by name; a name may have folders, as in ``best/weights.pt``."""


@dataclass(frozen=True)
class Failure:
    """Why a task has no result."""

    reason: str
    refused: bool
    """The arguments are at fault (an InputError), or the problem (a NoBound), so the task would fail again; else it was
    the machine, or a bug."""
    trace: str = field(default="", compare=False)
    """Where the bug is: its traceback, from whatever machine; empty where there is none."""


@dataclass(frozen=True)
class Task:
    """A call that can be made anywhere."""

    key: str
    """Its name, and that of its folder; may have folders, as in ``AlmgrenChriss-v0/dqn/seed-0``."""
    work: Callable[..., Result]
    """A function that workers can import."""
    arguments: dict[str, Any]
    """Its keyword arguments: plain values, as YAML keeps them."""
    inputs: Inputs = field(default_factory=dict)
    """Files that these name, by checksum."""

    def described(self) -> dict[str, Any]:
        """What is to be done, as it is kept beside the result."""
        what = {"work": f"{self.work.__module__}:{self.work.__name__}", "arguments": plain(self.arguments)}
        return what | ({"inputs": plain(self.inputs)} if self.inputs else {})


Run = Callable[[Sequence[Task]], Iterator[tuple[Task, Result | Failure]]]
"""Runs tasks, and yields each with what came of it as soon as it is there."""


def run_tasks(tasks: Sequence[Task], folder: Path, run: Run, bar: tqdm) -> dict[str, Failure]:
    """Run the tasks that are not finished yet, and keep each result in ``folder / task.key`` as it comes.

    Args:
        tasks: what is to be done; keys differ.
        folder: where results are kept, whole or not at all.
        run: from ``workers``.
        bar: advances by one per task.

    Returns:
        The tasks that failed, by key. The traceback of a bug is written to stderr too, as it comes.

    Raises:
        InputError: before anything runs, when a finished task was another one than it is now.
    """
    waiting = [task for task in tasks if not is_finished(task, folder)]
    bar.update(len(tasks) - len(waiting))
    failures = {}
    for task, outcome in run(waiting):
        if isinstance(outcome, Failure):
            failures[task.key] = outcome
            if outcome.trace:
                tqdm.write(f"{task.key}:\n{outcome.trace}", file=sys.stderr)
        else:
            _keep(task, outcome, folder)
        bar.set_postfix_str(outcome.summary if isinstance(outcome, Result) else f"{task.key} failed", refresh=False)
        bar.update()
    return failures


def is_finished(task: Task, folder: Path) -> bool:
    """Whether the result of a task is there.

    Raises:
        InputError: naming the task and the argument, when what is there was made from other arguments.
    """
    kept = folder / task.key
    if not kept.exists():
        return False
    was = read_yaml(kept / "task.yaml")
    now = task.described()
    then, today = ({k: of.get(k) for k in ("work", "arguments")} for of in (was, now))
    changed = difference(then, today)
    if changed:
        raise InputError(f"{kept}: made with {changed}; remove that folder, or choose another one for the work")
    way_out = "put the old file back, remove that folder, or choose another one for the work"
    refuse_changed(was.get("inputs"), task.inputs, f"{kept} was made", way_out)
    return True


def _keep(task: Task, result: Result, folder: Path) -> None:
    """Write beside the place, then rename: a kill in between leaves nothing that looks finished."""
    kept = folder / task.key
    partial_folder = kept.with_name(kept.name + ".partial")
    shutil.rmtree(partial_folder, ignore_errors=True)
    for name, content in result.files.items():
        write_bytes(partial_folder / name, content)
    made_with = {"summary": result.summary, "exec_env": release.VERSION}
    write_yaml(partial_folder / "task.yaml", task.described() | made_with)
    os.rename(partial_folder, kept)


@contextmanager
def workers(where: str | None = None, memory: float = 1.0, attempts: int = 3) -> Iterator[Run]:
    """Where tasks run: on a local Ray, on a Ray cluster, or in this process.

    Args:
        where: None for a Ray of this machine's own if Ray is installed, else this process; the address of a cluster,
            whose nodes have the same version of exec_env installed; ``"off"`` for this process.
        memory: what a task needs. [GiB]
        attempts: how often a task is tried whose node, worker process or code fails. An InputError is final at once.

    Raises:
        InputError: for a Ray that is asked for but missing or not reached, or has no node with enough memory.
    """
    require_count(attempts=attempts)
    require(0.0, open_low=True, memory=memory)
    if where == "off":
        yield partial(_in_this_process, attempts=attempts)
        return
    try:
        import ray
    except ImportError:
        if where is not None:
            raise InputError(f"--ray {where}: Ray is not installed; {_INSTALL}, or use --ray off") from None
        print(f"one task at a time, because Ray is not installed; for one per core: {_INSTALL}", file=sys.stderr)
        yield partial(_in_this_process, attempts=attempts)
        return
    _start_ray(ray, where)
    try:
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        most = max((node.get("memory", 0) for node in nodes if node.get("CPU", 0) >= 1), default=0) / _GIB
        if most < memory:
            raise InputError(f"memory = {memory:g} GiB: no node has as much beside a CPU; the largest has {most:.1f}")
        yield partial(_on_ray, memory=memory, attempts=attempts)
    finally:
        ray.shutdown()


def _start_ray(ray: Any, where: str | None) -> None:
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if where is None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        # Workers import this checkout, whatever is installed. Results are small, so their store can be.
        code = os.pathsep.join(filter(None, (str(Path(release.__file__).parents[2]), os.environ.get("PYTHONPATH"))))
        options |= {"include_dashboard": False, "object_store_memory": _GIB // 4}
        options |= {"runtime_env": {"env_vars": {"PYTHONPATH": code}}}
    elif where != "auto":
        _require_listener(where)
    try:
        ray.init(address=where or "local", **options)
    except (ConnectionError, RuntimeError, OSError, ValueError) as error:  # what Ray says of addresses and clusters
        raise InputError(f"--ray {where or '(local)'}: {_one_line(error)}") from None


def _require_listener(where: str) -> None:
    """Refuse an address at which nobody listens; Ray itself would try for minutes."""
    host, colon, port = where.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        raise InputError(f"--ray {where}: must be HOST:PORT, auto or off")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        raise InputError(f"--ray {where}: {_one_line(error)}") from None


def _in_this_process(tasks: Sequence[Task], attempts: int) -> Iterator[tuple[Task, Result | Failure]]:
    for task in tasks:
        yield task, _do(task, attempts, release.VERSION)


def _on_ray(tasks: Sequence[Task], memory: float, attempts: int) -> Iterator[tuple[Task, Result | Failure]]:
    import ray

    needs: Any = {"num_cpus": 1, "memory": memory * _GIB, "max_retries": attempts - 1}
    remote = ray.remote(**needs)(_do)
    pending = {remote.remote(task, attempts, release.VERSION): task for task in tasks}
    while pending:
        done = ray.wait(list(pending), num_returns=1)[0][0]
        task = pending.pop(done)
        try:
            outcome = ray.get(done)
        except Exception as error:  # the last attempt's node or worker died: Ray has an error for each way
            outcome = Failure(_one_line(error), refused=False)
        yield task, outcome


def _do(task: Task, attempts: int, version: str) -> Result | Failure:
    """Do a task, wherever this is; whatever it raises, the other tasks go on."""
    if version != release.VERSION:
        reason = f"the worker has exec_env {release.VERSION}, not {version}: install the same on every node"
        return Failure(reason, refused=False)
    for _ in range(attempts):
        try:
            return task.work(**task.arguments)
        except (InputError, NoBound) as error:
            return Failure(" ".join(str(error).split()), refused=True)
        except Exception as error:  # a bug or a machine at its end: the other tasks go on, and the report says where
            failure = Failure(_one_line(error), refused=False, trace="".join(traceback.format_exception(error)))
    return failure


def plain(values: Any) -> Any:
    """Values as YAML gives them back: tuples become lists."""
    return yaml.safe_load(yaml.safe_dump(values, sort_keys=False))


def difference(was: Any, now: Any, name: str = "") -> str:
    """The first field in which two plain values differ, in words; empty when there is none.

    >>> difference({"train": {"steps": 10}, "seed": 0}, {"train": {"steps": 20}, "seed": 0})
    'train.steps = 10, now 20'
    """
    if was == now:
        return ""
    if not isinstance(was, dict) or not isinstance(now, dict):
        return f"{name} = {was!r}, now {now!r}"
    key = next(k for k in was | now if k not in was or k not in now or was[k] != now[k])
    inner = f"{name}.{key}" if name else str(key)
    if key not in now:
        return f"{inner} = {was[key]!r}, now without"
    if key not in was:
        return f"no {inner}, now {now[key]!r}"
    return difference(was[key], now[key], inner)


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
