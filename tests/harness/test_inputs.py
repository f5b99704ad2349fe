"""Work that goes on, goes on with the files that it began with."""

import re
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from tqdm import tqdm

from exec_env.agents.bc import BCConfig
from exec_env.agents.dqn import DQNConfig
from exec_env.base.errors import InputError
from exec_env.base.inputs import refuse_changed
from exec_env.data.market_file import UNITS, MarketFile, Parameter
from exec_env.harness.jobs.tasks import Result, Task, is_finished, run_tasks, workers
from exec_env.harness.offline import dataset
from exec_env.harness.offline.collect import record
from exec_env.harness.studies.experiment import Experiment, resolve, tasks
from exec_env.harness.studies.tuning import Settings, open_study
from exec_env.harness.training.hyperparameters import TrainConfig
from exec_env.harness.training.loop import resume, train
from exec_env.market.market import Market

ORDER: dict[str, Any] = {"n_steps": 4, "shares": 20_000.0}
SMALL = TrainConfig(steps=64, num_envs=4, intervals=2, check_episodes=4)
AGENT = DQNConfig(hidden=(4,), warm_up=16, batch_size=8)
CHANGED = r"has changed since {since}: sha256 ([0-9a-f]{{12}}) then, (?!\1)[0-9a-f]{{12}} now; put the old "


def told(what: str, file: Path, since: str = "the run began") -> str:
    return f"{what} {re.escape(str(file))}: {CHANGED.format(since=since)}"


def later(tape: Path) -> None:
    """Another market under the same name: one price differs in its last digit."""
    frame = pd.read_csv(tape)
    frame.loc[60, "mid"] += 1e-4
    frame.to_csv(tape, index=False)


def market_file(path: Path, **changed: Any) -> Path:
    parameters = {name: Parameter(changed.get(name, getattr(Market(), name))) for name in UNITS}
    MarketFile(parameters, 1 / 78).save(path)
    return path


def test_what_was_not_kept_is_not_compared() -> None:
    now = {"tape": {"file": "a.csv", "sha256": "f" * 64}}
    for was in (None, {}, {"tape": None}, {"tape": {"name": "a"}}, {"market": None}, {"tape": {"sha256": "f" * 64}}):
        refuse_changed(was, now, "the run began", "put the old one back")


@pytest.mark.slow
@pytest.mark.parametrize("of_old", [False, True])
def test_a_run_does_not_go_on_with_another_tape_or_market(of_old: bool, tmp_path: Path, tape_csv: Path) -> None:
    market, run = market_file(tmp_path / "mine.yaml"), tmp_path / "run"
    train("dqn", run, SMALL, AGENT, tape=tape_csv, market=str(market), **ORDER)
    if of_old:  # which kept the tape's checksum and a copy of the market file
        described = yaml.safe_load((run / "config.yaml").read_text())
        del described["inputs"]
        (run / "config.yaml").write_text(yaml.safe_dump(described))
    resume(run)
    was = market.read_text()
    market_file(market, volatility=0.021)
    with pytest.raises(InputError, match=told("market", market)) as raised:
        resume(run)
    assert f"{run / 'market.yaml'} is a copy" in str(raised.value)
    market.write_text(was + "# a remark changes nothing\n")
    resume(run)
    later(tape_csv)
    with pytest.raises(InputError, match=told("tape", tape_csv)):
        resume(run)


@pytest.mark.slow
def test_a_run_does_not_go_on_with_another_dataset_even_before_its_first_checkpoint(tmp_path: Path) -> None:
    folder, run = tmp_path / "twap-v0", tmp_path / "run"
    dataset.save(record(["twap"], episodes=8, seed=0, **ORDER), folder)
    train("bc", run, SMALL, BCConfig(dataset=str(folder), hidden=(4,)), **ORDER)
    resume(run)
    shutil.rmtree(folder)
    dataset.save(record(["twap"], episodes=8, seed=1, **ORDER), folder)
    for file in ("progress.csv", "checkpoint.pt"):
        with pytest.raises(InputError, match=told("dataset", folder)):
            resume(run)
        (run / file).unlink()


def test_a_study_does_not_go_on_with_another_tape(tmp_path: Path, tape_csv: Path) -> None:
    wanted = Settings.resolve(
        *("dqn", "AlmgrenChriss-v0", ORDER | {"tape": str(tape_csv)}),
        train={"steps": 64, "num_envs": 4, "intervals": 2, "check_episodes": 4},
        agent_fields={"hidden": [4], "warm_up": 16, "batch_size": 8},
        search={"learning_rate": {"low": 1e-4, "high": 1e-2}},
    )
    assert open_study(tmp_path / "study", wanted, 2) == 2
    assert open_study(tmp_path / "study", wanted, 3) == 3
    later(tape_csv)
    with pytest.raises(InputError, match=told("tape", tape_csv, "the study began")):
        open_study(tmp_path / "study", wanted, 3)


def done(**_: Any) -> Result:
    return Result("done", {"file": b"1"})


@pytest.mark.slow
def test_finished_tasks_of_another_tape_are_not_taken_for_todays(tmp_path: Path, tape_csv: Path) -> None:
    cell = {"env": "AlmgrenChriss-v0", "agents": ["dqn"], "options": ORDER | {"tape": str(tape_csv)}, "label": "mine"}
    path = tmp_path / "experiment.yaml"
    path.write_text(yaml.safe_dump({"cells": [cell], "seeds": [0], "baselines": ["twap"]}))

    def first() -> Task:
        task = tasks(resolve(Experiment.read(path)))[0]
        return Task(task.key, done, task.arguments, task.inputs)

    with workers("off") as run, tqdm(disable=True) as bar:
        assert run_tasks([first()], tmp_path / "work", run, bar) == {}
    assert is_finished(first(), tmp_path / "work")
    later(tape_csv)
    kept = tmp_path / "work" / first().key
    with pytest.raises(InputError, match=told("tape", tape_csv, f"{kept} was made")):
        is_finished(first(), tmp_path / "work")


def test_an_experiment_without_files_is_described_as_before(tmp_path: Path) -> None:
    cell = {"env": "AlmgrenChriss-v0", "agents": ["dqn"], "options": ORDER}
    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump({"cells": [cell], "seeds": [0], "baselines": ["twap"]}))
    configs = resolve(Experiment.read(tmp_path / "experiment.yaml"))
    assert "inputs" not in configs["problems"]["AlmgrenChriss-v0"]
    assert "inputs" not in tasks(configs)[0].described()
