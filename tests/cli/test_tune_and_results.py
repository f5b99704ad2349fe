"""The command lines that run many trainings, in this process and as a user runs them."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from exec_env.cli import results, tune
from exec_env.harness.jobs import tasks
from exec_env.harness.studies import experiment
from exec_env.harness.training.hyperparameters import settings

PROBLEM = ["--n-steps", "4", "--shares", "20000"]
STEPS = ["--steps", "21000"]
SEARCH = "learning_rate: {low: 0.0001, high: 0.01, log: true}\nhidden: {choices: [[8], [16]]}\n"
CELLS = [{"env": "AlmgrenChriss-v0", "agents": ["dqn"], "options": {"n_steps": 4, "shares": 20_000}}]


@pytest.fixture
def search(tmp_path: Path) -> Path:
    (tmp_path / "search.yaml").write_text(SEARCH)
    return tmp_path / "search.yaml"


@pytest.fixture
def small_training(monkeypatch: pytest.MonkeyPatch) -> None:
    train = {"steps": 640, "num_envs": 16, "intervals": 2, "check_episodes": 20}
    agent = {"hidden": [8], "warm_up": 32, "batch_size": 16, "update_every": 16}
    monkeypatch.setattr(experiment, "settings", lambda a, e, t=None: settings(a, e, train | (t or {}), agent))


def write_experiment(folder: Path, **changed: Any) -> Path:
    values = {"cells": CELLS, "seeds": [0, 1], "baselines": ["twap"], "evaluation": {"episodes": 50, "seed": 3}}
    folder.mkdir(exist_ok=True)
    (folder / "experiment.yaml").write_text(yaml.safe_dump(values | changed))
    return folder / "experiment.yaml"


@pytest.mark.long
@pytest.mark.usefixtures("undrawn")
def test_a_study_goes_on_and_says_what_was_found(tmp_path: Path, search: Path, call: Callable[..., Any]) -> None:
    study = tmp_path / "study"
    common = [*PROBLEM, *STEPS, "--search", search, "--study", study, "--ray", "off", "--quiet", "--batch", "2"]
    status, out, err = call(tune, "dqn", "--trials", 2, *common)
    assert status == 0, err
    assert "best of 2 trials, gap_percent" in out
    assert f"study: {study}; its best.yaml" in out
    status, out, err = call(tune, "--resume", study, "--trials", "3", "--ray", "off")
    assert status == 0, err
    assert "best of 3 trials" in out
    assert "3/3" in err
    assert {"study.yaml", "study.db", "trials", "trials.csv", "trials.png", "best.yaml"} == {
        p.name for p in study.iterdir()
    }
    status, _, err = call(tune, "dqn", "--trials", 3, *common, "--batch", "3")
    assert (status, err.split(":")[0]) == (2, "error")
    assert "study.yaml: the study was begun with batch = 2, now 3" in err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        (tune, [], "name an agent to tune, or --resume a study"),
        (tune, ["dqm"], "unknown agent 'dqm'; did you mean 'dqn'"),
        (tune, ["dqn", "--trials", "0"], "trials = 0: must be a whole number >= 1"),
        (
            tune,
            ["dqn", "--resume", "{tmp}"],
            "--ray, --memory, --quiet only, not with dqn",
        ),
        (tune, ["--resume", "{tmp}", "--batch", "3"], "not with --batch"),
        (tune, ["--resume", "{tmp}"], "{tmp}/study.yaml: no such file; is {tmp} a study folder?"),
        (tune, ["dqn", "--action", "foo"], "unknown action 'foo'"),
        (tune, ["dqn", "--steps", "10000"], "warm_up = 20000: must be below the"),
        (tune, ["dqn", "--search", "{tmp}/none.yaml"], "{tmp}/none.yaml: no such file"),
        (tune, ["dqn", "--search", "{tmp}/search.yaml", "--study", "{tmp}"], "{tmp} exists: choose another folder"),
        (tune, ["twap", "--search", "{tmp}/search.yaml"], "agent 'twap' does not learn"),
        (results, ["{tmp}/none.yaml"], "{tmp}/none.yaml: no such file"),
    ],
)
def test_what_the_user_can_mend_is_one_line_and_exit_status_two(
    script: Any,
    arguments: list[str],
    message: str,
    tmp_path: Path,
    search: Path,
    call: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    status, _, err = call(script, *(text.format(tmp=tmp_path) for text in arguments))
    assert status == 2
    assert message.format(tmp=tmp_path) in err
    assert err.startswith("error: ")
    assert len(err.strip().split("\n")) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["search.yaml"]


@pytest.mark.parametrize(("script", "package", "extra"), [(tune, "optuna", "tune"), (results, "arch", "results")])
def test_a_package_that_is_not_installed_is_named_with_how_to_install_it(
    script: Any, package: str, extra: str, call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    status, _, err = call(script)
    assert (status, err) == (2, f"error: {package} is not installed: pip install 'exec-env[{extra}]'\n")


@pytest.mark.long
@pytest.mark.usefixtures("undrawn")
def test_results_are_written_when_every_task_is_finished_and_not_before(
    tmp_path: Path, small_training: None, call: Callable[..., Any]
) -> None:
    out = tmp_path / "results"
    common = [write_experiment(out), "--work", tmp_path / "work", "--out", out, "--ray", "off", "--quiet"]
    status, said, err = call(results, *common, "--only", "twap")
    assert status == 0, err
    assert "results are written when these are too: AlmgrenChriss-v0/dqn/seed-0, AlmgrenChriss-v0/dqn/seed-1" in said
    assert [p.name for p in out.iterdir()] == ["experiment.yaml"]
    status, said, err = call(results, *common)
    assert status == 0, err
    assert f"{out}/summary.csv" in said
    assert len(pd.read_csv(out / "runs.csv")) == 2
    before = {p: p.read_bytes() for p in out.iterdir()}
    assert call(results, *common)[0] == 0  # nothing is trained again, so nothing changes
    assert {p: p.read_bytes() for p in out.iterdir()} == before

    status, _, err = call(results, *common, "--steps", "960")
    assert status == 2
    assert "train.steps = 640, now 960; --replace them, or choose another --out" in err
    status, _, err = call(results, *common, "--steps", "960", "--replace")
    assert status == 2
    assert "dqn/seed-0: made with arguments.config.train.steps = 640, now 960; remove that folder" in err


@pytest.mark.long
def test_a_failing_task_is_listed_at_the_end_and_the_others_are_kept(
    tmp_path: Path, small_training: None, call: Callable[..., Any]
) -> None:
    cells = [*CELLS, {"env": "AlmgrenChrissContinuous-v0", "agents": ["dqn"]}]
    path = write_experiment(tmp_path / "results", cells=cells)
    status, _, err = call(results, path, "--work", tmp_path / "work", "--out", path.parent, "--ray", "off", "--quiet")
    assert status == 1
    assert "failed: AlmgrenChrissContinuous-v0/dqn/seed-1: action 'fraction': " in err
    assert "2 of 6 tasks failed; the others are kept" in err
    assert (tmp_path / "work" / "AlmgrenChriss-v0" / "dqn" / "seed-1" / "task.yaml").exists()
    assert not (path.parent / "runs.csv").exists()


@pytest.mark.slow
def test_help_teaches_by_examples_and_units(call: Callable[..., Any]) -> None:
    for script, texts in (
        (tune, ["Examples:", "--resume", "--batch", "[shares]", "{low: 0.0001", "[GiB]"]),
        (results, ["Examples:", "--only", "--replace", "[GiB]", "cells"]),
    ):
        status, out, _ = call(script, "--help")
        assert status == 0
        for text in texts:
            assert text in out, text


@pytest.mark.slow
def test_without_ray_installed_both_say_how_to_install_it(
    tmp_path: Path, small_training: None, call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    path = write_experiment(tmp_path / "results")
    common = [path, "--work", tmp_path / "work", "--out", path.parent, "--quiet"]
    status, _, err = call(results, *common, "--ray", "10.0.0.5:6379")
    assert (status, "pip install 'exec-env[ray]'" in err) == (2, True)
    status, _, err = call(results, *common, "--only", "twap")
    assert (status, err.count("\n")) == (0, 1)
    assert tasks._INSTALL in err
