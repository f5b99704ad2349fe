"""Tape from the command line, as a user does it."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exec_env.cli import collect
from exec_env.harness.offline.dataset import load

ROOT = Path(__file__).parents[2]
TINY = ["--n-steps", "4", "--shares", "20000", "--episodes", "30"]


@pytest.mark.slow
def test_a_mixture_is_recorded_under_a_free_name_and_said_to_be(
    tmp_path: Path, call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for version in (0, 1):
        status, said, err = call(collect, "twap", "pov", "--noise", 0.2, 0, "--weights", 3, 1, "--side", "buy", *TINY)
        assert status == 0, err
        assert "30 episodes, " in said
        assert f"exec-env train td3-bc --dataset datasets/mixture-v{version}" in said
        said = load(tmp_path / f"datasets/mixture-v{version}").provenance
        assert said["options"] == {"side": "buy", "n_steps": 4, "shares": 20_000.0}
        assert [(a["agent"], a["weight"], a["noise"]) for a in said["agents"]] == [("twap", 3, 0.2), ("pov", 1, 0)]


@pytest.mark.slow
def test_the_same_command_records_the_same_in_another_process(tmp_path: Path, call: Callable[..., Any]) -> None:
    options = ["random", "--seed", 7, "--env", "AlmgrenChrissLiquidityCollapse-v0", *TINY, "--quiet"]
    status, _, err = call(collect, *options, "--out", tmp_path / "a-v0")
    assert (status, err) == (0, "")
    environment = os.environ | {"NO_COLOR": "1", "COLUMNS": "100", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "scripts" / "collect.py"), *map(str, options), "--out", "b-v0"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    one, other = load(tmp_path / "a-v0"), load(tmp_path / "b-v0")
    assert one.provenance == other.provenance
    np.testing.assert_array_equal(one.episodes.actions, other.episodes.actions)


@pytest.mark.slow
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
def test_what_is_refused_in_one_line(
    arguments: list[str], message: str, tmp_path: Path, call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    status, _, err = call(collect, *arguments)
    assert status == 2
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
