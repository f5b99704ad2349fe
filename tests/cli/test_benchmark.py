"""The benchmark's command line: what it prints and keeps."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from exec_env.cli import benchmark

SMALL = ["--num-envs", 2, "--env-steps", 100, "--repeats", 1]


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_a_part_of_the_benchmark_prints_and_keeps_its_table(tmp_path: Path, call: Callable[..., Any]) -> None:
    status, said, err = call(benchmark, "--only", "environments", *SMALL, "--out", tmp_path / "out")
    assert status == 0, err
    assert "of CartPole's speed" in said
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"environments.csv", "speed.png"}
    assert (pd.read_csv(tmp_path / "out" / "environments.csv")["ns"] > 0).all()


@pytest.mark.long
def test_the_benchmark_prints_and_keeps_tables_and_a_picture(tmp_path: Path, call: Callable[..., Any]) -> None:
    small = [*SMALL, "--paths", 8, "--episodes", 10, "--ppo-steps", 512]
    status, said, err = call(benchmark, *small, "--out", tmp_path / "out")
    assert status == 0, err
    assert "of CartPole's speed" in said
    assert "PPO, 10 epochs" in said
    tables = {file.stem: pd.read_csv(file) for file in (tmp_path / "out").glob("*.csv")}
    assert set(tables) == {"environments", "torch", "evaluation", "learning", "solvers"}
    expected = ["single, random actions", "vector, random actions", "vector, TWAP"]
    assert list(tables["environments"]["what"]) == expected
    for table in tables.values():
        assert (table.select_dtypes("number").fillna(1.0) >= 0).all(axis=None)
    assert (tables["environments"]["ns"] > 0).all()
    assert tables["evaluation"]["agents"].item() == 8
    assert (tmp_path / "out" / "speed.png").stat().st_size > 10_000
