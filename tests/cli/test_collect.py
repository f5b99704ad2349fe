"""Tape from the command line, as a user does it."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exec_env.harness.offline.dataset import load

ROOT = Path(__file__).parents[2]
TINY = ["--n-steps", "4", "--shares", "20000", "--episodes", "30"]


def collect(*arguments: Any, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"NO_COLOR": "1", "COLUMNS": "100", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "scripts" / "collect.py"), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)


def test_a_mixture_is_recorded_under_a_free_name_and_said_to_be(tmp_path: Path) -> None:
    for version in (0, 1):
        done = collect("twap", "pov", "--noise", 0.2, 0, "--weights", 3, 1, "--side", "buy", *TINY, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "30 episodes, " in done.stdout
        assert f"exec-env train td3-bc --dataset datasets/mixture-v{version}" in done.stdout
        said = load(tmp_path / f"datasets/mixture-v{version}").provenance
        assert said["options"] == {"side": "buy", "n_steps": 4, "shares": 20_000.0}
        assert [(a["agent"], a["weight"], a["noise"]) for a in said["agents"]] == [("twap", 3, 0.2), ("pov", 1, 0)]


def test_the_same_command_records_the_same(tmp_path: Path) -> None:
    options = ["random", "--seed", 7, "--env", "AlmgrenChrissLiquidityCollapse-v0", *TINY, "--quiet"]
    for name in ("a-v0", "b-v0"):
        done = collect(*options, "--out", name, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
    one, other = load(tmp_path / "a-v0"), load(tmp_path / "b-v0")
    assert one.provenance == other.provenance
    np.testing.assert_array_equal(one.episodes.actions, other.episodes.actions)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no agents to record: name at least one, such as twap"),
        (["twop"], "unknown agent 'twop'; did you mean 'twap'?"),
        (["twap", "pov", "--noise", "1", "2", "3"], "--noise: 3 values for 2 agents: give one, or one each"),
        (["twap", "--noise", "-1"], "Member.noise = -1.0: must be in [0, 100]"),
        (["twap", "--out", "twap"], "twap: a dataset's name must be letters, digits, '-' and '_', and end in a"),
        (["twap", "--env", "AlmgrenChris-v0"], "unknown environment 'AlmgrenChris-v0'; did you mean"),
    ],
)
def test_what_is_refused_in_one_line(arguments: list[str], message: str, tmp_path: Path) -> None:
    done = collect(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {message}")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
