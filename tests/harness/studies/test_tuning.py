"""Tuning: an outcome that depends on the settings alone, and settings that are refused by name."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from optuna.trial import TrialState
from tqdm import tqdm

from exec_env.agents.dqn import DQNConfig
from exec_env.base.errors import Interrupted
from exec_env.harness.jobs.tasks import Failure, Result, Run, workers
from exec_env.harness.studies import tuning as module
from exec_env.harness.studies.tuning import Settings, open_study, propose, ranked, read_study, report, tune
from exec_env.harness.training.hyperparameters import TrainConfig

SEARCH = {
    "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
    "hidden": {"choices": [[4], [8, 8]]},
    "batch_size": {"low": 8, "high": 64},
    "num_envs": {"choices": [16, 32]},
}
TINY: dict[str, Any] = {
    "options": {"n_steps": 4, "shares": 20_000.0},
    "train": {"steps": 640, "num_envs": 16, "intervals": 2, "check_episodes": 20},
    "agent_fields": {"hidden": [8, 8], "warm_up": 32, "batch_size": 16, "update_every": 16},
}


def settings(**changed: Any) -> Settings:
    return Settings.resolve("dqn", "AlmgrenChriss-v0", **(TINY | {"search": SEARCH, "batch": 3} | changed))


def study(folder: Path, run: Run, trials: int = 8, **changed: Any) -> list[tuple[Any, ...]]:
    """Run a study; number, state, value and parameters of its trials."""
    open_study(folder, settings(**changed), trials)
    with tqdm(disable=True) as bar:
        return [(t.number, t.state, t.value, t.params) for t in tune(folder, run, bar)]


def quick(tasks: Any) -> Iterator[Any]:
    """Results by formula instead of training: best near a learning rate of 0.001 and a batch of 32."""
    for task in tasks:
        config = task.arguments["agent_config"]
        value = abs(config["learning_rate"] - 1e-3) * 1e3 + abs(config["batch_size"] - 32) / 32
        summary = {"objective": 18.0, "gap_percent": value, "seconds": 1.0}
        yield task, Result("", {"summary.yaml": json.dumps(summary).encode()})


@pytest.fixture
def here() -> Iterator[Run]:
    with workers("off") as run:
        yield run


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that was begun; not to be changed."""
    folder = tmp_path_factory.mktemp("studies") / "begun"
    open_study(folder, settings(), 5)
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Any, ...]]:
    """The trials of a study that nothing interrupted."""
    return study(tmp_path_factory.mktemp("studies") / "whole", quick)


@pytest.mark.long
def test_an_interrupted_study_ends_as_one_that_was_not(tmp_path: Path, whole: list[tuple[Any, ...]]) -> None:
    done: list[str] = []

    def interrupted(tasks: Any) -> Iterator[Any]:
        for task, result in quick(tasks):
            if len(done) in stops:
                stops.remove(len(done))
                raise KeyboardInterrupt
            done.append(task.key)
            yield task, result

    stops = [0, 1, 3, 5]  # before, within and between batches of three
    for _ in range(4):
        with pytest.raises(KeyboardInterrupt):
            study(tmp_path / "cut", interrupted)
    assert study(tmp_path / "cut", interrupted) == whole
    assert len(done) == len(set(done)) == 8


@pytest.mark.slow
def test_a_study_that_goes_on_to_more_trials_ends_as_one_that_had_them_from_the_start(
    tmp_path: Path, whole: list[tuple[Any, ...]]
) -> None:
    study(tmp_path / "grown", quick, trials=4)
    assert study(tmp_path / "grown", quick) == whole
    assert read_study(tmp_path / "grown")[1] == 8


@pytest.mark.slow
def test_a_finished_study_runs_nothing_again(tmp_path: Path) -> None:
    whole = study(tmp_path / "study", quick)
    assert study(tmp_path / "study", lambda tasks: pytest.fail("ran")) == whole  # type: ignore[arg-type]


@pytest.mark.long
def test_real_training_gives_the_same_study_on_ray_and_in_one_process(
    tmp_path: Path, here: Run, ray_ready: None
) -> None:
    ours = study(tmp_path / "here", here, trials=3, seeds=2)
    with workers(memory=0.1) as run:
        assert study(tmp_path / "ray", run, trials=3, seeds=2) == ours
    assert len({value for _, _, value, _ in ours}) > 1
    runs = sorted(str(p.relative_to(tmp_path / "here" / "trials")) for p in (tmp_path / "here").glob("trials/*/*"))
    assert runs == [f"trial-{n:04}/seed-{s}" for n in range(3) for s in (1000, 1001)]


@pytest.mark.slow
def test_the_first_trial_is_the_settings_as_they_are_and_later_ones_get_better(tmp_path: Path) -> None:
    found = study(tmp_path / "study", quick, trials=30)
    assert found[0][3] == {
        "learning_rate": DQNConfig.learning_rate,
        "hidden": "[8, 8]",
        "batch_size": 16,
        "num_envs": 16,
    }
    values = [value for _, _, value, _ in found]
    assert min(values[15:]) < min(values[1:15])
    assert len({str(params) for *_, params in found}) > 25


@pytest.mark.slow
def test_proposals_are_a_function_of_seed_and_what_was_told() -> None:
    assert propose(settings(), [], 4) == propose(settings(), [], 4)
    assert propose(settings(), [], 4)[:2] == propose(settings(), [], 2)
    assert propose(settings(), [], 4) != propose(settings(seed=1), [], 4)


@pytest.mark.slow
def test_a_trial_whose_settings_are_refused_has_failed_and_the_study_goes_on(tmp_path: Path, here: Run) -> None:
    search = {"warm_up": {"choices": [32, 100_000]}}
    study(tmp_path / "study", here, trials=6, search=search)
    with tqdm(disable=True) as bar:
        trials = tune(tmp_path / "study", here, bar)
    failed = [t for t in trials if t.state == TrialState.FAIL]
    assert {t.params["warm_up"] for t in failed} == {100_000}
    assert {t.params["warm_up"] for t in ranked(trials)} == {32}
    assert f"{len(failed)} failed; the last: DQNConfig.warm_up = 100000: must be below" in report(
        tmp_path / "study", trials
    )


@pytest.mark.slow
def test_a_run_that_a_machine_let_fail_stops_the_study_and_is_tried_again(
    tmp_path: Path, whole: list[tuple[Any, ...]]
) -> None:
    def unlucky(tasks: Any) -> Iterator[Any]:
        for task, result in quick(tasks):
            yield task, Failure("node died", refused=False) if task.key.startswith("trial-0001") else result

    with pytest.raises(Interrupted, match=r"trial-0001/seed-1000 failed, --resume tries again: node died"):
        study(tmp_path / "study", unlucky)
    assert study(tmp_path / "study", quick) == whole


@pytest.mark.slow
def test_a_run_with_a_bug_is_no_failed_trial_but_shows_its_traceback(tmp_path: Path) -> None:
    def buggy(tasks: Any) -> Iterator[Any]:
        for task, result in quick(tasks):
            bug = Failure("TypeError: oops", refused=False, trace='File "mine.py", line 3')
            yield task, bug if task.key.startswith("trial-0001") else result

    with pytest.raises(RuntimeError, match=r'oops\nFile "mine\.py", line 3'):
        study(tmp_path / "study", buggy)


@pytest.mark.slow
def test_the_report_has_tables_a_picture_and_a_section_for_the_agents_file(tmp_path: Path) -> None:
    study(tmp_path / "study", quick, trials=12)
    with tqdm(disable=True) as bar:
        trials = tune(tmp_path / "study", quick, bar)
    text = report(tmp_path / "study", trials)
    best = ranked(trials)[0]
    assert f"best of 12 trials, gap_percent {best.value:.4g} on validation paths" in text
    assert "importance: " in text
    assert len(pd.read_csv(tmp_path / "study" / "trials.csv")) == 12
    assert (tmp_path / "study" / "trials.png").read_bytes().startswith(b"\x89PNG")
    section = yaml.safe_load((tmp_path / "study" / "best.yaml").read_text())["AlmgrenChriss-v0"]
    assert set(section) == {"train", "agent"}
    assert section["agent"]["learning_rate"] == best.params["learning_rate"]
    assert section["agent"]["hidden"] in ([4], [8, 8])
    assert TrainConfig(**section["train"]).num_envs == best.params["num_envs"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"batch": 4}, r"study\.yaml: the study was begun with batch = 3, now 4"),
        ({"seed": 1}, r"begun with seed = 0, now 1"),
        ({"options": {"n_steps": 5, "shares": 20_000.0}}, r"begun with options\.n_steps = 4, now 5"),
        ({"train": TINY["train"] | {"steps": 960}}, r"begun with train\.steps = 640, now 960"),
        ({"search": {"gamma": {"low": 0.9, "high": 1.0}}}, r"begun with search\.learning_rate = .*, now without"),
    ],
)
def test_other_settings_are_refused_by_name(begun: Path, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        open_study(begun, settings(**changed), 5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"options": {"action": "foo"}}, "unknown action 'foo'"),
        ({"options": {"num_envs": 3}}, "unexpected keyword argument 'num_envs'"),
        ({"agent_fields": {"warm_up": 20_000}}, "warm_up = 20000: must be below the 640 steps of training"),
        ({"train": TINY["train"] | {"stop_gap": 1.0}, "options": {"randomise": "parameters"}}, "there is no bound"),
    ],
)
def test_settings_that_let_every_trial_fail_are_refused_and_leave_no_folder(
    tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        open_study(tmp_path / "study", settings(**changed), 5)
    assert not (tmp_path / "study").exists()


def test_settings_are_kept_where_the_search_leads_away_from_what_is_refused(tmp_path: Path) -> None:
    search = {"warm_up": {"choices": [16, 32]}}
    assert open_study(tmp_path / "study", settings(agent_fields={"warm_up": 20_000}, search=search)) == 20


@pytest.mark.slow
def test_a_study_never_gets_fewer_trials(tmp_path: Path) -> None:
    for trials, now in ((3, 3), (1, 3), (None, 3), (4, 4)):
        assert open_study(tmp_path / "study", settings(), trials) == now
        assert read_study(tmp_path / "study")[1] == now


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("settings"), r"study\.yaml: has no field 'settings'"),
        (lambda s: s.update(trials="abc"), r"study\.yaml: trials = 'abc': must be a whole number >= 1"),
        (lambda s: s.update(settings=3), r"study\.yaml: expected fields of Settings, found int"),
        (lambda s: s["settings"].update(options=3), r"study\.yaml: Settings\.options = 3: must be a mapping"),
        (lambda s: s["settings"].update(agent="twap"), r"study\.yaml: agent 'twap' does not learn"),
    ],
)
def test_a_spoilt_study_is_refused_in_one_sentence(begun: Path, tmp_path: Path, change: Any, message: str) -> None:
    path = Path(shutil.copytree(begun, tmp_path / "study")) / "study.yaml"
    described = yaml.safe_load(path.read_text())
    change(described)
    path.write_text(yaml.safe_dump(described))
    for attempt in (lambda: read_study(path.parent), lambda: open_study(path.parent, settings())):
        with pytest.raises(ValueError, match=message) as error:
            attempt()
        assert "\n" not in str(error.value)


@pytest.mark.slow
def test_a_spoilt_database_is_refused_in_one_sentence(tmp_path: Path) -> None:
    open_study(tmp_path / "study", settings())
    (tmp_path / "study" / "study.db").write_text("garbage " * 1000)
    with pytest.raises(ValueError, match=r"study\.db: spoilt, or no database of a study") as error:
        study(tmp_path / "study", quick)
    assert "\n" not in str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("search", "message"),
    [
        ({"learning_rat": {"low": 0.1, "high": 1}}, "unknown field of dqn or TrainConfig 'learning_rat'; did you mean"),
        ({"seed": {"choices": [1]}}, "unknown field of dqn or TrainConfig 'seed'"),
        ({"gamma": {"low": 1.0, "high": 0.9}}, r"gamma = \{'low': 1.0, 'high': 0.9\}: low must be below high"),
        ({"gamma": {"low": 0.9, "high": 1.5}}, r"search: gamma: DQNConfig\.gamma = 1\.5: must be in \[0, 1\]"),
        ({"gamma": {"low": 0.0, "high": 1.0, "log": True}}, "log must be true or false, and true only for a low above"),
        ({"gamma": {"low": 0.0, "high": "1e0"}}, "'1e0' must be a finite number"),
        ({"gamma": [0.0, 1.0]}, r"must be \{low, high\}, \{low, high, log\} or \{choices\}"),
        ({"gamma": {"low": 0.0}}, r"must be \{low, high\}"),
        ({"gamma": {"choices": []}}, "choices must be a list of at least one"),
        ({"batch_size": {"low": 8, "high": 64.5}}, r"64\.5 must be a whole number"),
        ({"hidden": {"choices": [[8], [0]]}}, r"search: hidden: DQNConfig\.hidden = \[0\]"),
        ({"steps": {"choices": [16]}}, r"search: steps: TrainConfig\.steps = 16: must be at least"),
    ],
)
def test_a_search_space_that_cannot_be_is_refused_in_one_sentence(search: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        settings(search=search)
    assert "\n" not in str(error.value)


def test_an_agent_without_a_search_space_says_where_to_put_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "search_space", lambda _: {})
    with pytest.raises(ValueError, match="agent 'dqn': has no search space; name a file with --search"):
        settings(search=None)
