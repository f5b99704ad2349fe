"""Experiments as data, and their results: what is kept, summed up, and checked against its configuration."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from tqdm import tqdm

from exec_env.harness import evaluate
from exec_env.harness.jobs.tasks import run_tasks, workers
from exec_env.harness.studies import experiment
from exec_env.harness.studies import results as module
from exec_env.harness.studies.experiment import Experiment, chosen, resolve, tasks
from exec_env.harness.studies.results import (
    collect,
    interquartile_mean,
    mismatches,
    overall,
    refuse_others,
    summarise,
    write,
)
from exec_env.harness.training.hyperparameters import settings

TRAIN = {"steps": 640, "num_envs": 16, "intervals": 2, "check_episodes": 20}
AGENT = {"hidden": [8], "warm_up": 32, "batch_size": 16, "update_every": 16}
PROBLEM = {"n_steps": 4, "shares": 20_000, "risk_aversion": 1e-4}  # TWAP is far from the best
TINY: dict[str, Any] = {
    "cells": [
        {"env": "AlmgrenChriss-v0", "agents": ["dqn"], "options": PROBLEM},
        {"env": "AlmgrenChrissClassic-v0", "agents": ["dqn"], "options": PROBLEM | {"action": "pace"}, "label": "Calm"},
    ],
    "seeds": [0, 7],
    "baselines": ["twap", "static"],
    "evaluation": {"episodes": 200, "seed": 5},
}


def tiny_settings(agent: str, env: str, train: dict[str, Any] | None = None) -> Any:
    return settings(agent, env, TRAIN | (train or {}), AGENT)


def written(path: Path, **changed: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(TINY | changed))
    return path


@pytest.fixture(autouse=True, scope="module")
def tiny() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "settings", tiny_settings)
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``work`` and ``results`` of the tiny experiment; not to be changed."""
    folder = tmp_path_factory.mktemp("experiment")
    configs = resolve(Experiment.read(written(folder / "results" / "experiment.yaml")))
    every = tasks(configs)
    with workers("off") as run, tqdm(disable=True) as bar:
        assert run_tasks(every, folder / "work", run, bar) == {}
    write(folder / "results", configs, collect(every, folder / "work"), {"python": "3.11"})
    return folder


@pytest.fixture
def results(finished: Path, tmp_path: Path) -> Path:
    """A copy of the results, to be spoilt."""
    return Path(shutil.copytree(finished / "results", tmp_path / "results"))


# What is kept and written


@pytest.mark.long
def test_every_run_keeps_its_agent_and_its_evaluation(finished: Path) -> None:
    kept = finished / "work" / "Calm" / "dqn" / "seed-7"
    assert {str(p.relative_to(kept)) for p in kept.rglob("*") if p.is_file()} == {
        *("task.yaml", "config.yaml", "summary.yaml", "progress.csv", "best/agent.yaml", "best/weights.pt"),
        *("evaluation.csv", "objective.npy"),
    }
    found = evaluate([kept, "twap"], "AlmgrenChrissClassic-v0", episodes=200, seed=5, **PROBLEM).per_agent
    row = pd.read_csv(finished / "results" / "runs.csv").set_index(["env", "agent", "seed"]).loc[("Calm", "dqn", 7)]
    assert row["objective_mean"] == pytest.approx(found.loc["seed-7", "objective_mean"], rel=1e-6)
    assert row["diff"] == pytest.approx(found.loc["seed-7", "diff"], rel=1e-5)
    assert row["gap_closed_percent"] == pytest.approx(found.loc["seed-7", "gap_closed_percent"], rel=1e-5)


@pytest.mark.slow
def test_results_are_tables_figures_and_the_configuration_that_made_them(finished: Path) -> None:
    names = {p.name for p in (finished / "results").iterdir()}
    tables = {f"{name}.csv" for name in ("runs", "baselines", "curves", "summary", "overall")}
    assert names == tables | {"experiment.yaml", "configs.yaml", "gaps.png", "learning_curves.png"}
    runs = pd.read_csv(finished / "results" / "runs.csv")
    assert runs[["env", "agent", "seed"]].to_numpy().tolist() == [
        *(["AlmgrenChriss-v0", "dqn", 0], ["AlmgrenChriss-v0", "dqn", 7]),
        *(["Calm", "dqn", 0], ["Calm", "dqn", 7]),
    ]
    assert (runs["steps"] == 640).all()
    assert (runs["seconds"] > 0).all()
    configs = yaml.safe_load((finished / "results" / "configs.yaml").read_text())
    calm = configs["problems"]["Calm"]
    assert (calm["env"], calm["options"]) == ("AlmgrenChrissClassic-v0", PROBLEM)
    assert calm["agents"]["dqn"]["options"] == PROBLEM | {"action": "pace"}
    assert calm["agents"]["dqn"]["train"]["steps"] == 640
    assert "seed" not in calm["agents"]["dqn"]["train"]
    assert calm["agents"]["dqn"]["agent"]["hidden"] == [8]


@pytest.mark.slow
def test_results_match_their_configuration_until_one_of_them_changes(results: Path) -> None:
    assert mismatches(results) == []


def change_runs(folder: Path, how: Any) -> None:
    how(pd.read_csv(folder / "runs.csv")).to_csv(folder / "runs.csv", index=False)


@pytest.mark.slow
def test_a_mismatch_is_named(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pristine = (results / "runs.csv").read_bytes()
    change_runs(results, lambda t: t[1:])
    assert mismatches(results) == ["runs.csv: has no row for AlmgrenChriss-v0/dqn/0, of 1"]
    (results / "runs.csv").write_bytes(pristine)
    change_runs(results, lambda t: t.assign(gap_percent=t["gap_percent"] * 1.01))
    assert [text.split(":")[0] for text in mismatches(results)] == ["summary.csv", "overall.csv"]
    (results / "runs.csv").write_bytes(pristine)
    (results / "overall.csv").rename(results / "other.csv")
    assert mismatches(results) == ["overall.csv: is missing"]
    (results / "other.csv").rename(results / "overall.csv")
    monkeypatch.setattr(experiment, "settings", lambda *a: settings("dqn", a[1], TRAIN, AGENT | {"gamma": 0.5}))
    assert mismatches(results) == [
        "configs.yaml: results were made with problems.AlmgrenChriss-v0.agents.dqn.agent.gamma = 1.0, now 0.5"
    ]


@pytest.mark.slow
def test_a_changed_experiment_does_not_match(results: Path) -> None:
    written(results / "experiment.yaml", seeds=[0, 1])
    assert mismatches(results) == ["configs.yaml: results were made with seeds = [0, 7], now [0, 1]"]
    (results / "configs.yaml").unlink()
    with pytest.raises(ValueError, match=r"configs\.yaml: no such file"):
        mismatches(results)


@pytest.mark.slow
def test_results_of_another_configuration_are_not_replaced_by_accident(results: Path) -> None:
    refuse_others(results, resolve(Experiment.read(results / "experiment.yaml")))
    with pytest.raises(ValueError, match=r"train\.steps = 640, now 960; --replace them, or choose another --out"):
        refuse_others(results, resolve(Experiment.read(results / "experiment.yaml"), steps=960))


@pytest.mark.long
def test_a_table_that_there_is_no_more_is_removed(finished: Path, results: Path) -> None:
    configs = resolve(Experiment.read(written(results / "experiment.yaml", cells=TINY["cells"][:1])))
    write(results, configs, collect(tasks(configs), finished / "work"))
    assert not (results / "overall.csv").exists()
    assert mismatches(results) == []


# Statistics


def test_the_interquartile_mean_leaves_a_quarter_out_at_each_end() -> None:
    assert interquartile_mean(np.array([100.0, 2.0, 3.0, 4.0, -100.0])) == 3.0
    assert interquartile_mean(np.array([1.0, 3.0])) == 2.0
    assert interquartile_mean(np.arange(8.0)) == 3.5


def table(**gaps: list[float]) -> pd.DataFrame:
    rows = [
        {"env": env, "agent": "a", "seed": seed, "gap_percent": gap, "gap_closed_percent": 100 - gap}
        for env, values in gaps.items()
        for seed, gap in enumerate(values)
    ]
    return pd.DataFrame(rows).assign(objective_mean=1.0, objective_se=0.1, steps=10, seconds=2.0)


def test_the_interval_is_around_the_mean_and_narrows_with_seeds() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for n in (20, 320):
        row = summarise(table(one=rng.normal(3.0, 1.0, n).tolist())).iloc[0]
        assert row["gap_percent_low"] < row["gap_percent_iqm"] < row["gap_percent_high"]
        assert row["gap_percent_min"] < row["gap_percent_mean"] < row["gap_percent_max"]
        widths.append(row["gap_percent_high"] - row["gap_percent_low"])
    assert widths[1] < 0.5 * widths[0]  # a quarter, as the square root of the sample size


@pytest.mark.long
def test_the_interval_of_five_seeds_covers_the_truth_as_often_as_its_docstring_says() -> None:
    rng = np.random.default_rng(1)
    intervals = np.array([module._interval([rng.standard_normal(5)]) for _ in range(60)])
    covered = ((intervals[:, 0] < 0) & (intervals[:, 1] > 0)).mean()
    assert abs(covered - 0.9) < 3 * (0.9 * 0.1 / 60) ** 0.5


def test_a_single_seed_has_no_interval() -> None:
    row = summarise(table(one=[3.0])).iloc[0]
    assert np.isnan(row["gap_percent_low"])
    assert row["gap_percent_iqm"] == 3.0


def test_overall_resamples_within_problems_so_their_difference_is_no_noise() -> None:
    row = overall(table(easy=[1.0] * 4, hard=[9.0] * 4)).iloc[0]
    assert (row["gap_percent_low"], row["gap_percent_iqm"], row["gap_percent_high"]) == (5.0, 5.0, 5.0)
    assert (row["envs"], row["runs"]) == (2, 8)


def test_overall_is_over_problems_that_every_agent_learned() -> None:
    both = pd.concat([table(one=[1.0, 2.0], two=[3.0, 4.0]), table(one=[5.0, 6.0]).assign(agent="b")])
    assert overall(both).empty
    assert overall(table(one=[1.0, 2.0])).empty
    both = pd.concat([both, table(two=[7.0, 8.0]).assign(agent="b")])
    assert overall(both)["agent"].tolist() == ["a", "b"]


def test_no_bound_means_no_gap_but_no_error() -> None:
    gone = table(one=[1.0, 2.0]).assign(gap_percent=np.nan, gap_closed_percent=np.nan)
    assert np.isnan(summarise(gone)["gap_percent_iqm"].item())
    assert overall(gone).empty


# Experiments


def test_tasks_are_baselines_first_and_then_every_agent_with_every_seed(tmp_path: Path) -> None:
    every = tasks(resolve(Experiment.read(written(tmp_path / "e.yaml"))))
    assert [task.key for task in every] == [
        *("AlmgrenChriss-v0/twap", "AlmgrenChriss-v0/static", "Calm/twap", "Calm/static"),
        *("AlmgrenChriss-v0/dqn/seed-0", "AlmgrenChriss-v0/dqn/seed-7", "Calm/dqn/seed-0", "Calm/dqn/seed-7"),
    ]
    assert [t.key for t in chosen(every, ["Calm", "dqn"])] == ["Calm/dqn/seed-0", "Calm/dqn/seed-7"]
    assert [t.key for t in chosen(every, ["static"])] == ["AlmgrenChriss-v0/static", "Calm/static"]
    assert chosen(every, []) == every
    with pytest.raises(ValueError, match="--only: unknown agent or environment 'dqm'; did you mean 'dqn'"):
        chosen(every, ["dqm"])


CELL = TINY["cells"][0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"cells": []}, r"cells = \[\]: must be a list of at least one"),
        ({"cells": [{"env": "AlmgrenChriss-v0"}]}, "agents"),
        ({"cells": [CELL | {"agents": []}]}, "Cell 'AlmgrenChriss-v0': has no agents"),
        ({"cells": [CELL | {"agents": ["dqm"]}]}, "unknown learning agent 'dqm'; did you mean 'dqn'"),
        ({"cells": [CELL | {"agents": ["twap"]}]}, "unknown learning agent 'twap'"),
        ({"cells": [CELL | {"env": "AlmgrenChris-v0"}]}, "unknown environment 'AlmgrenChris-v0'"),
        ({"cells": [CELL | {"options": {"shares": -1}}]}, r"Order\.shares = -1"),
        ({"cells": [CELL | {"options": {"sharse": 1}}]}, "sharse"),
        ({"cells": [CELL | {"label": "a/b"}]}, "must have no '/'"),
        ({"cells": [CELL, CELL]}, "'dqn' comes twice on 'AlmgrenChriss-v0'"),
        ({"cells": [CELL, CELL | {"options": {}}]}, "two problems are called 'AlmgrenChriss-v0'"),
        ({"seeds": []}, "must be at least one, and all different"),
        ({"seeds": [1, 1]}, "must be at least one, and all different"),
        ({"seeds": [-1]}, r"Experiment\.seeds"),
        ({"baselines": ["static"]}, "must hold 'twap', the reference"),
        ({"baselines": ["twap", "dqn"]}, "'dqn' learns, so it belongs into a cell"),
        ({"baselines": ["twap", "statc"]}, "unknown agent 'statc'; did you mean 'static'"),
        ({"evaluation": {"episodes": 0}}, r"Evaluation\.episodes = 0: must be a whole number >= 1"),
        ({"repeats": 3}, "unknown field of Experiment 'repeats'"),
    ],
)
def test_an_experiment_that_cannot_be_is_refused_in_one_sentence(
    tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as error:
        Experiment.read(written(tmp_path / "experiment.yaml", **changed))
    assert "\n" not in str(error.value)
