"""The study of offline learning: what is compared with what, its intervals, and the command line."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from exec_env.harness import evaluate, offline_study
from exec_env.harness.agent import load_run
from exec_env.harness.offline_study import Study, baseline, behaviour, findings, split, summarise, tasks
from scripts import offline
from scripts.cli import run

EVALUATION = {"episodes": 300, "seed": 4}
ENV = "AlmgrenChrissContinuous-v0"


def test_a_learner_may_have_settings_of_its_own() -> None:
    assert split("TD3_BC,alpha=40,hidden=[8]") == ("td3-bc", {"alpha": 40, "hidden": [8]})
    for text, message in (
        ("dqn", "'dqn' does not learn from a dataset"),
        ("twap", "'twap' does not learn from a dataset"),
        ("td3-bc,alpha", "'alpha' must read FIELD=VALUE"),
        ("td3-bc,alfa=1", "unknown field of TD3BCConfig 'alfa'; did you mean 'alpha'"),
    ):
        with pytest.raises(ValueError, match=message):
            split(text)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"learners": ("bcq",)}, r"Study\.learners = \('bcq',\): must hold 'bc', the control"),
        ({"seeds": (0, 0)}, r"Study\.seeds = \(0, 0\): must be at least one, and all different"),
        ({"noises": (-0.1,)}, r"Study\.noises = \(-0\.1,\): must be a finite number >= 0"),
    ],
)
def test_a_study_that_makes_no_sense(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Study(**fields)


def test_every_learner_has_a_task_per_noise_and_seed_with_the_published_protocol() -> None:
    made = {task.key: task.arguments for task in tasks(Study(noises=(0.0, 0.4), seeds=(0, 1)))}
    assert len(made) == 6 + 2 + 2 * 3 * 2
    arguments = made["noise-0.4/td3-bc/seed-1"]
    assert (arguments["episodes"], arguments["train"]["steps"]) == (1000, 10_000)
    assert (arguments["agent_config"]["batch_size"], arguments["agent_config"]["alpha"]) == (256, 2.5)


def read(content: bytes, path: Path) -> np.ndarray:
    path.write_bytes(content)
    return np.load(path)


def test_schedules_and_the_policy_that_is_learned_from_are_judged_on_the_same_paths(tmp_path: Path) -> None:
    twap = evaluate(["twap"], ENV, **EVALUATION).per_path["objective"]
    for result in (baseline("ac-neutral", ENV, EVALUATION), behaviour(0.0, ENV, EVALUATION)):
        # Without risk aversion Almgren-Chriss is TWAP.
        np.testing.assert_allclose(read(result.files["objective.npy"], tmp_path / "a.npy"), twap, rtol=1e-4)
    averse = read(baseline("ac-averse", ENV, EVALUATION).files["objective.npy"], tmp_path / "a.npy")
    assert averse.mean() < twap.mean() - 1
    noisy = read(behaviour(0.8, ENV, EVALUATION).files["objective.npy"], tmp_path / "a.npy")
    assert noisy.mean() > twap.mean() + 1


def test_intervals_are_students_over_seeds() -> None:
    columns = ("objective", "gap_percent", "diff_twap", "diff_behaviour", "diff_bc")
    rows = [
        {"noise": 0.4, "agent": agent, "seed": seed, "check": "last"} | dict.fromkeys(columns, value)
        for agent, values in (("bc", (0.0, 0.0, 0.0)), ("td3-bc", (-1.0, -2.0, -3.0)), ("bcq", (-1.0, 1.0, 3.0)))
        for seed, value in enumerate(values)
    ]
    table = summarise(pd.DataFrame(rows)).set_index("agent")
    half = 4.302653 / 3**0.5  # t with two degrees of freedom, and a deviation of one
    assert table.loc["td3-bc", "diff_bc"] == -2.0
    assert table.loc["td3-bc", "diff_bc_high"] == pytest.approx(-2 + half, abs=1e-5)
    said = findings(table.reset_index())
    assert "td3-bc: nowhere better than BC" in said
    narrow = table.reset_index().assign(diff_bc_high=-0.1, diff_twap_low=0.1)
    assert "td3-bc: better than BC at noise 0.4" in findings(narrow)
    assert "bcq: nowhere better than TWAP; worse at 0.4" in findings(narrow)


@pytest.mark.slow
def test_the_command_line_leaves_tables_a_picture_and_runs_and_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(offline_study, "BASELINES", ("twap", "ac-averse"))
    arguments = ["--noises", "0.4", "--seeds", "0", "--learners", "bc", "td3-bc,alpha=9", "--episodes", "20"]
    arguments += ["--updates", "20", "--evaluation-episodes", "150", "--ray", "off", "--quiet"]
    arguments += ["--work", str(tmp_path / "work"), "--out", str(tmp_path / "out")]

    def called(*more: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["offline.py", *arguments, *more])
        try:
            run(offline.main)
        except SystemExit as error:
            return int(error.code or 0), capsys.readouterr().err
        return 0, capsys.readouterr().out

    status, said = called()
    assert status == 0, said
    assert "bc: nowhere better than its behaviour policy" in said
    files = {p.name for p in (tmp_path / "out").iterdir()}
    assert files == {"baselines.csv", "runs.csv", "summary.csv", "offline.png", "study.yaml"}
    runs = pd.read_csv(tmp_path / "out/runs.csv").set_index(["agent", "check"])
    assert len(runs) == 4
    folder = tmp_path / "work/noise-0.4/td3-bc,alpha=9/seed-0"
    found = evaluate([folder / "last", "twap"], ENV, episodes=150, seed=Study.evaluation_seed).per_agent
    row = runs.loc[("td3-bc,alpha=9", "last")]
    assert row["objective"] == pytest.approx(found.loc["seed-0/last", "objective_mean"], rel=1e-6)
    assert row["diff_twap"] == pytest.approx(found.loc["seed-0/last", "diff"], abs=1e-5)
    assert load_run(folder).config.alpha == 9
    monkeypatch.setattr(offline_study.training_task, "training", None)  # nothing is left to do
    assert called()[0] == 0
    status, said = called("--updates", "30")
    assert (status, "study.yaml: results made with updates = 20, now 30" in said) == (2, True)
