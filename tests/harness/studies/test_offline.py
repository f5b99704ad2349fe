"""The study of offline learning: what is compared with what, its intervals, and the command line."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from exec_env.cli import collect, offline
from exec_env.cli.main import run
from exec_env.harness import evaluate
from exec_env.harness.agents import load_run
from exec_env.harness.offline import dataset
from exec_env.harness.studies import offline as offline_study
from exec_env.harness.studies.offline import Study, baseline, behaviour, findings, split, summarise, tasks

EVALUATION = {"episodes": 300, "seed": 4}
ENV = "AlmgrenChrissContinuous-v0"
TINY = Study(
    learners=("bc", "td3-bc,hidden=[8]"), noises=(0.4,), seeds=(1,), episodes=20, updates=20, evaluation_episodes=50
)


def test_a_learner_may_have_settings_of_its_own() -> None:
    assert split("TD3_BC,alpha=40,hidden=[8]") == ("td3-bc", {"alpha": 40, "hidden": [8]})
    assert split("bc,hidden=[64,64],learning_rate=1e-4") == ("bc", {"hidden": [64, 64], "learning_rate": 1e-4})
    assert split("td3-bc,baseline=false, alpha = 2.5") == ("td3-bc", {"baseline": False, "alpha": 2.5})
    for text, message in (
        ("dqn", "'dqn' does not learn from a dataset"),
        ("twap", "'twap' does not learn from a dataset"),
        ("td3-bc,alpha", "'alpha' must read FIELD=VALUE"),
        ("td3-bc,alfa=1", "unknown field of TD3BCConfig 'alfa'; did you mean 'alpha'"),
        ("td3-bc,hidden=[64", r"'\[64' is no value"),
        ("td3-bc,alpha=1,alpha=2", "alpha is given twice"),
        ("td3-bc,alpha=much", "must be a finite number > 0"),
        ("td3-bc,dataset=datasets", "dataset is for the study to say"),
        ("td3-bc,select=last", "select is for the study to say"),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            split(text)
        assert str(caught.value).startswith(f"learner {text!r}: ")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"learners": ("bcq",)}, r"Study\.learners = \('bcq',\): must hold 'bc', the control"),
        ({"seeds": (0, 0)}, r"Study\.seeds = \(0, 0\): must be at least one, and all different"),
        ({"noises": (-0.1,)}, r"Study\.noises = \(-0\.1,\): must be in \[0, 100\]"),
    ],
)
def test_a_study_that_makes_no_sense(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Study(**fields)


@pytest.mark.slow
def test_every_learner_has_a_task_per_noise_and_seed_with_the_published_protocol() -> None:
    made = {task.key: task.arguments for task in tasks(Study(noises=(0.0, 0.4), seeds=(0, 1)))}
    assert len(made) == 6 + 2 + 2 * 3 * 2
    arguments = made["noise-0.4/td3-bc/seed-1"]
    assert (arguments["episodes"], arguments["train"]["steps"]) == (1000, 10_000)
    assert (arguments["agent_config"]["batch_size"], arguments["agent_config"]["alpha"]) == (256, 2.5)


def read(content: bytes, path: Path) -> np.ndarray:
    path.write_bytes(content)
    return np.load(path)


@pytest.mark.slow
def test_schedules_and_the_policy_that_is_learned_from_are_judged_on_the_same_paths(tmp_path: Path) -> None:
    twap = evaluate(["twap"], ENV, **EVALUATION).per_path["objective"]
    for result in (baseline("ac-neutral", ENV, EVALUATION), behaviour(0.0, ENV, EVALUATION)):
        # Without risk aversion Almgren-Chriss is TWAP.
        np.testing.assert_allclose(read(result.files["objective.npy"], tmp_path / "a.npy"), twap, rtol=1e-4)
    averse = read(baseline("ac-averse", ENV, EVALUATION).files["objective.npy"], tmp_path / "a.npy")
    assert averse.mean() < twap.mean() - 1
    noisy = read(behaviour(0.8, ENV, EVALUATION).files["objective.npy"], tmp_path / "a.npy")
    assert noisy.mean() > twap.mean() + 1


COLUMNS = ("objective", "gap_percent", "diff_twap", "diff_behaviour", "diff_bc")
EXACT = {f"{name}_se": 0.0 for name in COLUMNS}


def test_the_error_of_the_evaluation_is_part_of_an_interval_and_does_not_shrink_with_seeds() -> None:
    rows = [
        {"noise": 0.4, "agent": "td3-bc", "seed": seed, "check": "last"}
        | dict.fromkeys(COLUMNS, -2.0 + seed % 2)
        | dict.fromkeys(EXACT, 0.5)
        for seed in range(8)
    ]
    table = summarise(pd.DataFrame(rows)).iloc[0]
    seeds = 2.364624 * (2 / 7 / 8) ** 0.5  # t with seven degrees of freedom; eight values half above and half below
    assert table["diff_bc_high"] - table["diff_bc"] == pytest.approx((seeds**2 + (1.959964 * 0.5) ** 2) ** 0.5)


def test_one_seed_has_no_interval_and_nothing_is_found() -> None:
    one: Any = {"noise": 0.4, "agent": "td3-bc", "seed": 0, "check": "last"} | dict.fromkeys(COLUMNS, -9.0) | EXACT
    table = summarise(pd.DataFrame([one]))
    assert table["diff_bc_high"].isna().all()
    said = findings(table)
    assert "td3-bc: no interval with one seed, so that it cannot be told from BC" in said
    assert not any("nowhere" in sentence for sentence in said)


@pytest.mark.slow
def test_a_run_keeps_the_command_that_records_its_dataset_again(tmp_path: Path) -> None:
    (task,) = (t for t in tasks(TINY) if "td3-bc" in t.key)
    for name, content in task.work(**task.arguments).files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    described = yaml.safe_load((tmp_path / "config.yaml").read_text())
    program, command, *arguments = described["agent_config"]["dataset"].split()
    assert (program, command) == ("exec-env", "collect")
    collect.main([*arguments, "--quiet", "--out", str(tmp_path / "again-v0")])
    assert dataset.load(tmp_path / "again-v0").provenance == described["dataset"]
    for part in (tmp_path, tmp_path / "last"):
        assert load_run(part).config.dataset == described["agent_config"]["dataset"]
    assert "/exec-env-" not in (tmp_path / "config.yaml").read_text()


def test_intervals_are_students_over_seeds() -> None:
    rows = [
        {"noise": 0.4, "agent": agent, "seed": seed, "check": "last"} | dict.fromkeys(COLUMNS, value) | EXACT
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


@pytest.mark.long
@pytest.mark.usefixtures("undrawn")
def test_the_command_line_leaves_tables_a_picture_and_runs_and_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(offline_study, "BASELINES", ("twap", "ac-averse"))
    arguments = ["--noises", "0.4", "--seeds", "0", "1", "--learners", "bc", "td3-bc,alpha=9", "--episodes", "20"]
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
    runs = pd.read_csv(tmp_path / "out/runs.csv").set_index(["agent", "check", "seed"])
    assert len(runs) == 8
    folder = tmp_path / "work/noise-0.4/td3-bc,alpha=9/seed-0"
    found = evaluate([folder / "last", "twap"], ENV, episodes=150, seed=Study.evaluation_seed).per_agent
    row = runs.loc[("td3-bc,alpha=9", "last", 0)]
    assert row["objective"] == pytest.approx(found.loc["seed-0/last", "objective_mean"], rel=1e-6)
    assert row["objective_se"] > row["diff_twap_se"] > 0  # on the same paths
    assert row["diff_twap"] == pytest.approx(found.loc["seed-0/last", "diff"], abs=1e-5)
    assert load_run(folder).config.alpha == 9
    monkeypatch.setattr(offline_study.training_task, "training", None)  # nothing is left to do
    assert called()[0] == 0
    status, said = called("--updates", "30")
    assert (status, "study.yaml: results made with updates = 20, now 30" in said) == (2, True)
