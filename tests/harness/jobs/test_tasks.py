"""Tasks: the same results in one process and on Ray, kept once, whatever is interrupted, fails or dies."""

import itertools
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tqdm import tqdm

from exec_env.base import release
from exec_env.base.errors import InputError
from exec_env.harness.jobs import tasks as module
from exec_env.harness.jobs.tasks import Failure, Result, Run, Task, difference, is_finished, run_tasks, workers

QUIET: Any = {"disable": True}


def square(number: int, log: str, seconds: float = 0.0) -> Result:
    """A task that leaves a trace each time it is done."""
    with open(log, "a") as file:
        file.write(f"{number}\n")
    time.sleep(seconds)
    return Result(f"{number}² done", {"square.txt": f"{number**2}".encode(), "deep/er/number.bin": bytes([number])})


def fragile(how: str, log: str) -> Result:
    """A task that fails the first time, or always."""
    with open(log, "a") as file:
        file.write(f"{how}\n")
    times = Path(log).read_text().split().count(how)
    if how == "refused":
        raise InputError("shares = -1: must be\na finite number > 0")
    if how == "broken" or (how == "flaky" and times == 1):
        raise RuntimeError("no luck")
    if how == "dies" and times == 1:
        os._exit(1)
    return Result(f"{how} done")


def squares(log: Path, n: int = 6, **more: Any) -> list[Task]:
    log.touch()
    return [Task(f"group/task-{i}", square, {"number": i, "log": str(log)} | more) for i in range(n)]


def fragiles(log: Path, *how: str) -> list[Task]:
    return [Task(name, fragile, {"how": name, "log": str(log)}) for name in how]


def done(log: Path) -> Counter[str]:
    return Counter(log.read_text().split())


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def here() -> Iterator[Run]:
    with workers("off") as run:
        yield run


@pytest.fixture
def on_ray(ray_ready: None) -> Iterator[Run]:
    with workers(memory=0.1) as run:
        yield run


# In one process


def test_results_are_kept_in_a_folder_per_task_with_what_made_them(tmp_path: Path, here: Run) -> None:
    with tqdm(total=6, **QUIET) as bar:
        assert run_tasks(squares(tmp_path / "log"), tmp_path / "work", here, bar) == {}
    kept = tmp_path / "work" / "group" / "task-3"
    assert (kept / "square.txt").read_bytes() == b"9"
    assert (kept / "deep" / "er" / "number.bin").read_bytes() == b"\x03"
    described = yaml.safe_load((kept / "task.yaml").read_text())
    assert described["work"].endswith("test_tasks:square")
    assert described["arguments"] == {"number": 3, "log": str(tmp_path / "log")}
    assert described["summary"] == "3² done"


def test_a_finished_task_never_runs_again(tmp_path: Path, here: Run) -> None:
    for _ in range(2):
        with tqdm(total=6, file=sys.stderr) as bar:
            run_tasks(squares(tmp_path / "log"), tmp_path / "work", here, bar)
            assert bar.n == 6
    assert set(done(tmp_path / "log").values()) == {1}


def test_an_interruption_loses_only_what_was_not_finished(tmp_path: Path, here: Run) -> None:
    def interrupted(tasks: Any) -> Any:
        yield from itertools.islice(here(tasks), 3)
        raise KeyboardInterrupt

    every = squares(tmp_path / "log")
    with tqdm(**QUIET) as bar, pytest.raises(KeyboardInterrupt):
        run_tasks(every, tmp_path / "work", interrupted, bar)
    assert [is_finished(task, tmp_path / "work") for task in every] == [True] * 3 + [False] * 3
    run_tasks(every, tmp_path / "work", here, bar)
    assert all(is_finished(task, tmp_path / "work") for task in every)
    assert set(done(tmp_path / "log").values()) == {1}


def test_a_result_that_was_half_written_counts_for_nothing(
    tmp_path: Path, here: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = squares(tmp_path / "log", 1)
    with monkeypatch.context() as patch, tqdm(**QUIET) as bar:
        patch.setattr(module, "write_yaml", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run_tasks(every, tmp_path / "work", here, bar)
    assert not is_finished(every[0], tmp_path / "work")
    run_tasks(every, tmp_path / "work", here, bar)
    assert [p.name for p in (tmp_path / "work" / "group").iterdir()] == ["task-0"]


def test_a_finished_task_with_other_arguments_is_refused_by_name_before_anything_runs(
    tmp_path: Path, here: Run
) -> None:
    with tqdm(**QUIET) as bar:
        run_tasks(squares(tmp_path / "log", 2), tmp_path / "work", here, bar)
        message = r"group/task-0: made with no arguments\.seconds, now 0\.5; remove that folder"
        with pytest.raises(ValueError, match=message):
            run_tasks(squares(tmp_path / "log", 3, seconds=0.5), tmp_path / "work", here, bar)
    assert len(done(tmp_path / "log")) == 2


def test_a_difference_names_the_field_and_both_values() -> None:
    assert difference({"a": {"b": [1]}}, {"a": {"b": [2]}}) == "a.b = [1], now [2]"
    assert difference({"a": 1}, {}) == "a = 1, now without"
    assert difference({}, {"a": {"b": 1}}) == "no a, now {'b': 1}"
    assert difference({"a": 1}, {"a": 1}) == ""


def test_a_failing_task_is_reported_and_the_others_go_on(tmp_path: Path, here: Run) -> None:
    every = fragiles(tmp_path / "log", "refused", "broken", "flaky", "fine")
    with tqdm(total=4, **QUIET) as bar:
        failures = run_tasks(every, tmp_path / "work", here, bar)
    assert failures == {
        "refused": Failure("shares = -1: must be a finite number > 0", refused=True),
        "broken": Failure("RuntimeError: no luck", refused=False),
    }
    assert failures["refused"].trace == ""
    assert "test_tasks.py" in failures["broken"].trace
    assert done(tmp_path / "log") == {"refused": 1, "broken": 3, "flaky": 2, "fine": 1}
    assert [is_finished(task, tmp_path / "work") for task in every] == [False, False, True, True]


def test_a_worker_with_another_version_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (task,) = squares(tmp_path / "log", 1)
    version = release.VERSION
    monkeypatch.setattr(release, "VERSION", "0.0.1")
    outcome = module._do(task, 3, version)
    assert outcome == Failure(
        f"the worker has exec_env 0.0.1, not {version}: install the same on every node", refused=False
    )
    assert not done(tmp_path / "log")


# Without Ray


def test_without_ray_an_address_is_an_error_that_says_how_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(
        ValueError, match=r"--ray 10\.0\.0\.5:6379: Ray is not installed; pip install 'exec-env\[ray\]'"
    ):
        workers("10.0.0.5:6379").__enter__()


def test_without_ray_the_default_is_one_process_and_a_notice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with workers() as run, tqdm(**QUIET) as bar:
        assert run_tasks(squares(tmp_path / "log", 2), tmp_path / "work", run, bar) == {}
    assert "pip install 'exec-env[ray]'" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "value"), [("attempts", 0), ("memory", 0.0)])
def test_numbers_that_cannot_be_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} = {value}: must be"):
        workers("off", **{name: value}).__enter__()  # type: ignore[arg-type]


# On Ray


@pytest.mark.long
def test_ray_gives_the_results_of_one_process(tmp_path: Path, here: Run, on_ray: Run) -> None:
    with tqdm(**QUIET) as bar:
        for name, run in (("here", here), ("ray", on_ray)):
            assert run_tasks(squares(tmp_path / "log"), tmp_path / name, run, bar) == {}
    assert contents(tmp_path / "ray") == contents(tmp_path / "here")


@pytest.mark.long
def test_on_ray_failures_are_as_in_one_process_and_a_dead_worker_is_replaced(tmp_path: Path, on_ray: Run) -> None:
    every = fragiles(tmp_path / "log", "refused", "broken", "flaky", "dies", "fine")
    with tqdm(**QUIET) as bar:
        failures = run_tasks(every, tmp_path / "work", on_ray, bar)
    assert failures == {
        "refused": Failure("shares = -1: must be a finite number > 0", refused=True),
        "broken": Failure("RuntimeError: no luck", refused=False),
    }
    assert failures["refused"].trace == ""
    assert "test_tasks.py" in failures["broken"].trace
    assert done(tmp_path / "log") == {"refused": 1, "broken": 3, "flaky": 2, "dies": 2, "fine": 1}


@pytest.mark.long
def test_ctrl_c_on_ray_keeps_what_is_finished_and_the_same_tasks_go_on(
    tmp_path: Path, ray_ready: None, here: Run
) -> None:
    work, every = tmp_path / "work", squares(tmp_path / "log", 8, seconds=0.5)
    program = f"""
from pathlib import Path
from tqdm import tqdm
from exec_env.harness.jobs.tasks import run_tasks, workers
from exec_env.cli.main import run
from tests.harness.jobs.test_tasks import squares

def main(_):
    with workers(memory=0.1) as on_ray, tqdm(disable=True) as bar:
        run_tasks(squares(Path({str(tmp_path / "log")!r}), 8, seconds=0.5), Path({str(work)!r}), on_ray, bar)

run(main)
"""
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)
    began = time.monotonic()
    while not any(is_finished(task, work) for task in every) and time.monotonic() - began < 60:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    # Ray's own processes may log a line of theirs as they end, "[2026-... task_manager.cc:1545: ...".
    ours = [line for line in err.splitlines() if not re.match(r"\[.*\.cc:\d+: ", line)]
    assert (process.returncode, ours) == (130, ["interrupted"])
    kept = {task.key for task in every if is_finished(task, work)}
    assert 0 < len(kept) < 8
    began_then = done(tmp_path / "log")
    with tqdm(disable=True) as bar:
        run_tasks(every, work, here, bar)
    again = done(tmp_path / "log") - began_then
    assert {f"group/task-{i}" for i in again} == {task.key for task in every} - kept


@pytest.mark.long
def test_a_node_that_is_killed_half_way_costs_no_result_and_doubles_none(
    tmp_path: Path, ray_ready: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray.cluster_utils import Cluster

    kept: Counter[str] = Counter()
    left: list[int] = []
    keep = module._keep
    monkeypatch.setattr(module, "_keep", lambda task, *rest: (kept.update([task.key]), keep(task, *rest)))
    every, work = squares(tmp_path / "log", 10, seconds=0.5), tmp_path / "work"
    needs = {"num_cpus": 1, "memory": 2**30, "object_store_memory": 2**27}
    cluster = Cluster(initialize_head=True, head_node_args=needs | {"include_dashboard": False})

    def kill(node: Any) -> None:
        while kept.total() < len(every) // 2:
            time.sleep(0.02)
        cluster.remove_node(node, allow_graceful=False)
        left.append(len(every) - kept.total())

    try:
        killer = threading.Thread(target=kill, args=(cluster.add_node(**needs),), daemon=True)
        cluster.wait_for_nodes()
        with workers(cluster.address, memory=0.5) as run, tqdm(**QUIET) as bar:
            killer.start()
            assert run_tasks(every, work, run, bar) == {}
            killer.join()
    finally:
        cluster.shutdown()
    assert left[0] > 0  # it died before the end
    assert kept == {task.key: 1 for task in every}
    before = done(tmp_path / "log")
    with workers("off") as run:
        run_tasks(every, work, run, bar)
    assert done(tmp_path / "log") == before


def test_memory_that_no_node_has_beside_a_cpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [{"CPU": 2.0, "memory": 4.0 * 2**30}, {"memory": 64.0 * 2**30}]
    monkeypatch.setattr(module, "_start_ray", lambda *_: None)
    monkeypatch.setattr("ray.nodes", lambda: [{"Alive": True, "Resources": node} for node in nodes])
    workers(memory=4.0).__enter__()
    with pytest.raises(ValueError, match=r"memory = 5 GiB: no node has as much beside a CPU; the largest has 4\.0"):
        workers(memory=5.0).__enter__()


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("127.0.0.1:1", "ConnectionRefusedError"),
        ("here", "must be HOST:PORT, auto or off"),
    ],
)
def test_a_cluster_that_is_not_there_is_one_sentence_at_once(where: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"--ray {where}: {message}"):
        workers(where).__enter__()
