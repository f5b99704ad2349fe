"""Commands that are killed at any moment leave nothing corrupt, and end afterwards as if they had been left alone.

One moment of each in `make long`, on one process; EXEC_ENV_KILLS=N tries N of each, with Ray too.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import yaml

from exec_env.base.csv_files import read_csv
from exec_env.base.files import read_array, read_tensors, read_yaml
from exec_env.calibration import simulate
from exec_env.harness.offline import dataset
from exec_env.market.market import Market

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("EXEC_ENV_KILLS", "0"))
SMALL = ["--n-steps", "4", "--shares", "20000"]
EXPERIMENT = {
    "cells": [{"env": "AlmgrenChriss-v0", "agents": ["pathwise"], "options": {"n_steps": 4, "shares": 20_000}}],
    **{"seeds": [0, 1], "baselines": ["twap"], "evaluation": {"episodes": 50, "seed": 3}},
}
SEARCH = "learning_rate: {low: 0.0001, high: 0.01, log: true}\n"
READERS: dict[str, Callable[[Path], object]] = {
    **{".yaml": read_yaml, ".csv": read_csv, ".npy": read_array, ".pt": read_tensors}
}


@dataclass(frozen=True)
class Command:
    """A command line, run in a folder of its own."""

    name: str
    arguments: tuple[str, ...]
    begun: str = ""
    """Of a result that is whole and cannot be made twice: its name."""

    def run(self, folder: Path) -> subprocess.Popen[str]:
        """Begin it; it ends by itself."""
        command = [sys.executable, "-m", "exec_env", self.name, *self.arguments]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, cwd=folder, env=environment, text=True, start_new_session=True, **pipes)  # type: ignore[call-overload,no-any-return]

    def finish(self, folder: Path) -> None:
        """Run it to its end, unless it has ended."""
        if self.begun and (folder / self.begun).exists():
            return
        process = self.run(folder)
        _, err = process.communicate(timeout=1800)
        assert process.returncode == 0, err


def commands() -> list[Command]:
    found = [
        Command("calibrate", ("trades.csv", "quotes.csv", "--quiet"), "market.yaml"),
        Command("collect", ("twap", *SMALL, "--episodes", "3000", "--out", "data-v0", "--quiet"), "data-v0"),
    ]
    for where in (("--ray", "off"), ())[: 2 if KILLS else 1]:
        found.append(Command("results", ("experiment.yaml", "--steps", "36000", "--work", "work", "--quiet", *where)))
        search = ("pathwise", "--trials", "3", "--steps", "36000", "--batch", "2", "--search", "search.yaml")
        found.append(Command("tune", (*search, *SMALL, "--study", "study", "--quiet", *where)))
    return found


def results(folder: Path) -> dict[str, object]:
    """What was found, but for the time it took; and of every file that is no half one, that it can be read."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if ".partial" in name or not path.is_file() or path.suffix not in READERS or "data-v0" in name:
            continue
        content = READERS[path.suffix](path)
        if isinstance(content, pd.DataFrame):
            found[name] = content.drop(columns="seconds", errors="ignore").to_csv()
        elif path.name in ("market.yaml", "best.yaml", "configs.yaml"):
            found[name] = yaml.safe_dump(content)
    if (folder / "data-v0").exists():
        found["data-v0"] = dataset.load(folder / "data-v0").provenance["sha256"]
    return found


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the commands read."""
    folder = tmp_path_factory.mktemp("start")
    sessions = zip(*simulate.sessions(Market(temporary_impact=1e-6), 5, 0), strict=True)
    for name, parts in zip(("quotes", "trades"), sessions, strict=True):
        frame = pd.concat(parts)
        frame.assign(time=pd.to_datetime(frame["time"])).to_csv(folder / f"{name}.csv", index=False)
    (folder / "experiment.yaml").write_text(yaml.safe_dump(EXPERIMENT))
    (folder / "search.yaml").write_text(SEARCH)
    return folder


def end(process: subprocess.Popen[str]) -> None:
    """Kill the command alone, as the system does that runs out of memory, and see what it began end."""
    process.send_signal(signal.SIGKILL)
    process.communicate()
    if "results" in process.args or "tune" in process.args:  # type: ignore[operator]
        time.sleep(3)  # Ray notices by itself; what is left in its session is ours to end
        left = subprocess.run(["pgrep", "-s", str(process.pid)], capture_output=True, text=True, check=False).stdout
        for pid in left.split():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)


@pytest.mark.long
@pytest.mark.parametrize("command", commands(), ids=lambda c: f"{c.name} {'' if '--ray' in c.arguments else 'default'}")
def test_a_command_that_is_killed_leaves_nothing_corrupt_and_ends_as_one_that_was_not(
    command: Command, start: Path, tmp_path: Path
) -> None:
    whole = shutil.copytree(start, tmp_path / "whole")
    began = time.monotonic()
    command.finish(whole)
    seconds, expected = time.monotonic() - began, results(whole)
    rng, wanted, cut = random.Random(f"{command.name} {command.arguments}"), max(KILLS, 1), 0
    for number in range(4 * wanted):
        if cut == wanted:
            break
        folder = shutil.copytree(start, tmp_path / str(number))
        process, began, moment = command.run(folder), time.monotonic(), seconds * rng.uniform(0.3, 1.0)
        try:
            process.communicate(timeout=moment)
            seconds = time.monotonic() - began  # it was faster this time, and ended before
        except subprocess.TimeoutExpired:
            cut += 1
            end(process)
        results(folder)
        command.finish(folder)
        assert results(folder) == expected, f"killed after {moment:.2f} of {seconds:.2f} s"
        shutil.rmtree(folder)
    assert cut == wanted
    print(f"{command.name}: killed {cut} times, in {seconds:.1f} s at most")
