"""Training: what a run folder holds, the same seed, going on, and what is refused."""

import functools
import importlib
import itertools
import os
import pickle
import random
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from exec_env.agents.ddqn import DoubleDQN
from exec_env.agents.dqn import DQN, DQNConfig
from exec_env.agents.ppo import PPOConfig, StablePPO
from exec_env.harness import TrainConfig, evaluate, train
from exec_env.harness.agents import load_run
from exec_env.harness.training.loop import child_seed, resume

module = importlib.import_module("exec_env.harness.training.loop")
CONFIG = {"steps": 1280, "num_envs": 16, "intervals": 4, "check_episodes": 50, "seed": 1}
AGENT = DQNConfig(hidden=(16,), batch_size=32, update_every=16, warm_up=64, replay_size=500)
# Rollouts of 7 slices in 16 environments fit no interval of 320 steps, which is the harder case.
LEARNERS: dict[str, Any] = {
    "dqn": AGENT,
    "ddqn": AGENT,
    "ppo": PPOConfig(hidden=(16,), rollout=7, batch_size=64, epochs=2),
}
STEPS = {"dqn": [320, 640, 960, 1280], "ddqn": [320, 640, 960, 1280], "ppo": [336, 672, 1008, 1344]}
every_learner = pytest.mark.parametrize("finished", LEARNERS, indirect=True)


def fit(run: Path, agent: str = "dqn", config: dict[str, Any] | None = None, **options: Any) -> Path:
    options = {"n_steps": 5, "shares": 2.5e4} | options
    train(agent, run, TrainConfig(**(CONFIG | (config or {}))), LEARNERS[agent], **options)
    return run


def flatten(state: Any) -> list[Any]:
    if isinstance(state, dict):
        return [leaf for key in sorted(state, key=str) for leaf in flatten(state[key])]
    if isinstance(state, list | tuple):
        return [leaf for part in state for leaf in flatten(part)]
    return [state.tolist() if isinstance(state, torch.Tensor) else state]


def assert_same_run(one: Path, other: Path) -> None:
    for file in ("best/weights.pt", "last/weights.pt", "best/agent.yaml", "last/agent.yaml"):
        assert (one / file).read_bytes() == (other / file).read_bytes(), file
    logs = [pd.read_csv(run / "progress.csv").drop(columns="seconds") for run in (one, other)]
    pd.testing.assert_frame_equal(*logs, check_exact=True)
    states = [torch.load(run / "checkpoint.pt", weights_only=True) for run in (one, other)]
    assert flatten(states[0]) == flatten(states[1])


@pytest.fixture(scope="module")
def run_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A run of each agent from beginning to end; not to be changed."""
    return functools.cache(lambda agent: fit(tmp_path_factory.mktemp("runs") / agent, agent))


@pytest.fixture
def finished(run_of: Callable[[str], Path], request: pytest.FixtureRequest) -> Path:
    """One of them, by default of DQN; the folder has the agent's name."""
    return run_of(getattr(request, "param", "dqn"))


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A copy of it, to be spoilt."""
    return Path(shutil.copytree(finished, tmp_path / "copied"))


@pytest.mark.slow
@every_learner
def test_a_run_folder_holds_configuration_weights_log_and_picture(finished: Path) -> None:
    names = {p.name for p in finished.iterdir()}
    assert names == {
        "config.yaml",
        "best",
        "last",
        "summary.yaml",
        "checkpoint.pt",
        "progress.csv",
        "tensorboard",
        "learning_curve.png",
    }
    described = yaml.safe_load((finished / "config.yaml").read_text())
    assert described["agent"] == finished.name
    assert described["train"] == asdict(TrainConfig()) | CONFIG
    assert described["options"] == {"n_steps": 5, "shares": 25_000.0}
    assert described["agent_config"]["hidden"] == [16]
    assert set(described["made_with"]) >= {"python", "torch", "exec-env"}
    assert len(list((finished / "tensorboard").iterdir())) == 1
    assert (finished / "learning_curve.png").read_bytes().startswith(b"\x89PNG")


@every_learner
def test_the_log_has_a_row_per_interval(finished: Path) -> None:
    log = pd.read_csv(finished / "progress.csv")
    assert log["interval"].tolist() == [1, 2, 3, 4]
    # Whole rollouts overshoot an interval, but no more after four than after one.
    assert log["steps"].tolist() == STEPS[finished.name]
    assert log["twap"].nunique() == 1
    assert log["gap_percent"].notna().all()
    assert log["seconds"].is_monotonic_increasing


@pytest.mark.slow
@pytest.mark.usefixtures("same_stream")
@every_learner
def test_the_log_and_an_evaluation_agree_on_the_trained_agent(finished: Path) -> None:
    logged = pd.read_csv(finished / "progress.csv")["objective"]
    seed = child_seed(1, 2)
    agents = [finished, finished / "last", "twap"]
    table = evaluate(agents, episodes=50, seed=seed, n_steps=5, shares=2.5e4).per_agent
    assert table.loc[finished.name, "objective_mean"] == pytest.approx(logged.min(), rel=1e-6)
    assert table.loc[f"{finished.name}/last", "objective_mean"] == pytest.approx(logged.iloc[-1], rel=1e-6)
    assert table.loc["twap", "objective_mean"] == pytest.approx(
        pd.read_csv(finished / "progress.csv")["twap"].iloc[-1], rel=1e-6
    )


def test_the_summary_names_the_best_check(finished: Path) -> None:
    log, summary = pd.read_csv(finished / "progress.csv"), yaml.safe_load((finished / "summary.yaml").read_text())
    best = log.loc[log["objective"].idxmin()]
    assert summary["best_interval"] == best["interval"]
    assert summary["objective"] == pytest.approx(best["objective"], rel=1e-6)
    assert summary["gap_percent"] == pytest.approx(best["gap_percent"], rel=1e-6)
    assert (summary["intervals"], summary["steps"]) == (4, 1280)


@pytest.mark.slow
def test_training_stops_at_the_gap_that_is_enough_and_stays_stopped(finished: Path, tmp_path: Path) -> None:
    gaps = pd.read_csv(finished / "progress.csv")["gap_percent"]
    enough = float(gaps.iloc[:2].min()) + 1e-3
    run = fit(tmp_path / "run", config={"stop_gap": enough})
    first = int((gaps <= enough).argmax()) + 1
    assert len(pd.read_csv(run / "progress.csv")) == first < 4
    assert resume(run).steps == 320 * first


@pytest.mark.slow
def test_training_stops_when_it_has_not_improved_for_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = iter([9.0, 7.0, 8.0, 7.5])
    monkeypatch.setattr(module._Check, "__call__", lambda self, learner: {"objective": next(values)})
    run = fit(tmp_path / "run", config={"patience": 1}, max_participation=None)
    summary = yaml.safe_load((run / "summary.yaml").read_text())
    assert (summary["intervals"], summary["best_interval"], summary["objective"]) == (3, 2, 7.0)


@pytest.mark.slow
@pytest.mark.parametrize("what", ["objective", "score"])
def test_learning_that_diverged_is_said_and_leaves_the_best_agent(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = iter([9.0, float("nan")])
    monkeypatch.setattr(module._Check, "__call__", lambda self, learner: {"objective": 9.0, what: next(values)})
    with pytest.raises(ValueError, match=f"the {what} is nan after 640 steps: learning diverged"):
        fit(tmp_path / "run")
    assert load_run(tmp_path / "run").n_actions == 11


@pytest.mark.long
@every_learner
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(finished: Path, tmp_path: Path) -> None:
    np.random.seed(5)  # noqa: NPY002  the global generators are nobody's business
    torch.manual_seed(5)
    assert_same_run(finished, fit(tmp_path / "again", finished.name))
    other = fit(tmp_path / "other", finished.name, {"seed": 2})
    assert (finished / "last/weights.pt").read_bytes() != (other / "last/weights.pt").read_bytes()


@pytest.mark.long
@pytest.mark.parametrize("agent", LEARNERS)
def test_training_and_loading_leave_the_global_generators_and_threads_alone(agent: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    threads, before = torch.get_num_threads(), torch.get_rng_state()
    state, plain = np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    load_run(fit(tmp_path / "run", agent, {"steps": 256, "intervals": 1, "threads": 2}))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    assert random.getstate() == plain


def interrupt(monkeypatch: pytest.MonkeyPatch, where: Any, name: str, call: int, after: bool) -> None:
    """Raise in the given call of a function, before or after it does its work."""
    original, calls = getattr(where, name), []

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        calls.append(name)
        if len(calls) == call and not after:
            raise KeyboardInterrupt
        result = original(*args, **kwargs)
        if len(calls) == call:
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(where, name, interrupted)


_WHERE = {"dqn": (DQN, "update", 40), "ddqn": (DoubleDQN, "train", 40), "ppo": (StablePPO, "train", 7)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("finished", "where", "name", "call", "after", "rows"),
    [
        *(
            pytest.param(*case, marks=pytest.mark.long if case[0] == "ppo" else (), id=f"{case[0]} {when}")
            for agent in LEARNERS
            for case, when in (
                ((agent, module, "write_tensors", 2, True, 2), "after one"),
                ((agent, *_WHERE[agent], True, 2), "between two"),
            )
        ),
        pytest.param("dqn", module, "write_tensors", 3, False, 3, id="before one, with weights already saved"),
        pytest.param("dqn", module._Check, "__call__", 1, False, None, id="before the first"),
    ],
    indirect=["finished"],
)
def test_a_run_interrupted_around_a_checkpoint_goes_on_and_ends_as_one_that_was_not(
    where: Any,
    name: str,
    call: int,
    after: bool,
    rows: int | None,
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        interrupt(patch, where, name, call, after)
        with pytest.raises(KeyboardInterrupt):
            fit(tmp_path / "run", finished.name)
    log = tmp_path / "run" / "progress.csv"
    assert (len(pd.read_csv(log)) if rows else log.exists()) == (rows or False)
    learner = resume(tmp_path / "run")
    assert learner.steps == STEPS[finished.name][-1]
    assert_same_run(finished, tmp_path / "run")
    assert (tmp_path / "run" / "learning_curve.png").exists()


@pytest.mark.slow
@every_learner
def test_going_on_with_a_finished_run_changes_nothing(finished: Path, copied: Path) -> None:
    resume(copied)
    assert_same_run(finished, copied)


def test_an_existing_folder_is_refused_and_left_as_it_was(copied: Path) -> None:
    before = {p.name: p.read_bytes() for p in copied.iterdir() if p.is_file()}
    with pytest.raises(ValueError, match="copied exists: choose another folder, so that nothing is overwritten"):
        fit(copied)
    assert {p.name: p.read_bytes() for p in copied.iterdir() if p.is_file()} == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("agent", "kwargs", "message"),
    [
        ("dqnn", {}, "unknown agent 'dqnn'; did you mean 'dqn'"),
        ("twap", {}, "agent 'twap' does not learn; evaluate it as it is"),
        ("dqn", {"shares": 0}, r"Order\.shares = 0: must be"),
        ("dqn", {"sharse": 1}, "unexpected keyword argument 'sharse'; did you mean 'shares'"),
        ("dqn", {"action": "fraction"}, "action 'fraction': DQN needs a discrete one"),
        ("ddqn", {"action": "fraction"}, "action 'fraction': DDQN needs a discrete one"),
        (
            "dqn",
            {"config": TrainConfig(**CONFIG), "agent_config": DQNConfig()},
            "warm_up = 20000: must be below the 1280",
        ),
        ("ddqn", {"config": TrainConfig(**CONFIG), "agent_config": DQNConfig()}, "warm_up = 20000: must be below the"),
        ("dqn", {"reward": "profit"}, "'profit': must be 'expected' or 'shortfall'"),
        ("dqn", {"violation_penalty": -1.0}, "violation_penalty = -1.0: must be"),
        ("dqn", {"levels": {0.5, 1.0}}, "option 'levels': a set cannot be kept in a run folder"),
        ("dqn", {"reward": lambda fill: 0.0}, "reward = .*lambda.*: cannot be kept in a file; define it by name"),
        ("dqn", {"config": TrainConfig(device="toaster")}, "toaster"),
        (
            "dqn",
            {"config": TrainConfig(**CONFIG, stop_gap=1.0), "randomise": "parameters"},
            r"TrainConfig\.stop_gap = 1\.0: there is no bound: every path has a market of its own",
        ),
        (
            "dqn",
            {"config": TrainConfig(**CONFIG, stop_gap=1.0), "signal": 10.0},
            r"TrainConfig\.stop_gap = 1\.0: needs a bound above 0, not -.* bps",
        ),
    ],
)
def test_a_run_that_cannot_begin_is_refused_and_leaves_no_folder(
    agent: str, kwargs: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        train(agent, tmp_path / "run", **({"config": TrainConfig(**CONFIG), "agent_config": AGENT} | kwargs))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"steps": 0}, r"TrainConfig\.steps = 0: must be .*>= 1"),
        ({"seed": -1}, r"TrainConfig\.seed = -1: must be .*>= 0"),
        ({"env": "Almgren-v0"}, "unknown environment 'Almgren-v0'; did you mean"),
        ({"device": 3}, r"TrainConfig\.device = 3: must be a str"),
    ],
)
def test_an_impossible_training_configuration_is_refused(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainConfig(**fields)


@pytest.mark.slow
def test_options_of_the_environment_reach_training_and_are_kept(tmp_path: Path) -> None:
    run = fit(
        tmp_path / "run",
        config={"steps": 128, "intervals": 1},
        levels=(0.0, 1.0, 2.0),
        reward="shortfall",
        side="buy",
        max_participation=None,
    )
    options = yaml.safe_load((run / "config.yaml").read_text())["options"]
    assert options["levels"] == [0.0, 1.0, 2.0]
    assert options["max_participation"] is None
    assert options["reward"] == "shortfall"
    assert load_run(run).n_actions == 3
    resume(run)


@pytest.mark.slow
def test_training_on_a_tape_has_no_bound_and_can_be_evaluated(tmp_path: Path, tape_csv: Path) -> None:
    run = fit(tmp_path / "run", config={"steps": 128, "intervals": 2}, tape=tape_csv)
    assert "gap_percent" not in pd.read_csv(run / "progress.csv")
    table = evaluate([run], episodes=5, tape=tape_csv, n_steps=5, shares=2.5e4).per_agent
    assert np.isfinite(table["objective_mean"]).all()


def edit(path: Path, change: Callable[[dict], Any]) -> None:
    values = yaml.safe_load(path.read_text())
    change(values)
    path.write_text(yaml.safe_dump(values))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("train"), r"config\.yaml: has no field 'train'"),
        (lambda c: c["train"].update(stepz=3), r"config\.yaml: unknown field of TrainConfig 'stepz'"),
        (lambda c: c["train"].update(steps="many"), r"config\.yaml: TrainConfig\.steps = 'many'"),
        (lambda c: c["agent_config"].update(gamma=2.0), r"config\.yaml: DQNConfig\.gamma = 2\.0: must be in \[0, 1\]"),
        (lambda c: c.update(options=[1]), r"config\.yaml: expected options of the environment, found list"),
        (lambda c: c["options"].update(sharse=3), "unexpected keyword argument 'sharse'"),
        (lambda c: c["options"].update(num_envs=3), "unexpected keyword argument 'num_envs'"),
        (lambda c: c["options"].update(wrappers=[1]), "unexpected keyword argument 'wrappers'"),
        (lambda c: c["options"].update(max_episode_steps=3), "unexpected keyword argument 'max_episode_steps'"),
        (lambda c: c["options"].update({3: 4}), r"config\.yaml: options: 3: must be a name"),
        (lambda c: c["options"].update(action=["pace"]), r"unknown action \['pace'\]"),
        (lambda c: c.update(agent="dqnn"), "unknown agent 'dqnn'"),
        (lambda c: c.update(agent="twap"), "agent 'twap' does not learn"),
        (lambda c: c["agent_config"].update(hidden=[17]), r"checkpoint\.pt: does not fit this run"),
        (lambda c: c["agent_config"].update(replay_size=100), r"checkpoint\.pt: does not fit this run"),
    ],
)
def test_a_run_whose_configuration_does_not_fit_is_not_gone_on_with(
    change: Callable[[dict], Any], message: str, copied: Path
) -> None:
    edit(copied / "config.yaml", change)
    with pytest.raises(ValueError, match=message) as caught:
        resume(copied)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_no_run_is_not_gone_on_with(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"config\.yaml: no such file; is .* a run folder\?"):
        resume(tmp_path)


class Malicious:
    """Runs a command when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.slow
@every_learner
def test_going_on_with_a_run_runs_nothing_that_it_contains(copied: Path, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    for dump in (torch.save, pickle.dump):
        with (copied / "checkpoint.pt").open("wb") as file:
            dump({"intervals": 1, "learner": Malicious(marker)}, file)
        with pytest.raises(ValueError, match=r"checkpoint\.pt: corrupt, or not a file of weights"):
            resume(copied)
    text = (copied / "config.yaml").read_text()
    (copied / "config.yaml").write_text(f"{text}\nx: !!python/object/apply:os.system ['touch {marker}']\n")
    with pytest.raises(ValueError, match=r"config\.yaml: not a configuration"):
        resume(copied)
    assert not marker.exists()


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"intervals": 1},
        {"intervals": "two", "learner": {}},
        {"intervals": 1, "learner": {}},
        {"intervals": 1, "learner": [1]},
    ],
)
def test_a_checkpoint_of_something_else_is_refused(state: dict, copied: Path) -> None:
    torch.save(state, copied / "checkpoint.pt")
    with pytest.raises(ValueError, match=r"checkpoint\.pt: does not fit this run"):
        resume(copied)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("finished", "spoil"),
    [
        ("ddqn", lambda s: s["replay"].pop("dones")),
        ("ddqn", lambda s: s["replay"].update(rewards=s["replay"]["rewards"][:, :1])),
        ("ddqn", lambda s: s["replay"].update(rewards=[1.0])),
        ("ddqn", lambda s: s.update(position=10**6)),
        ("ddqn", lambda s: s.update(full=not s["full"])),
        ("ppo", lambda s: s["counters"].pop("num_timesteps")),
        ("ppo", lambda s: s["counters"].update(num_timesteps="many")),
        ("ppo", lambda s: s.pop("due")),
        ("ppo", lambda s: s["policy"].pop("value_net.bias")),
        ("ppo", lambda s: s["optimiser"]["param_groups"].pop()),
    ],
    indirect=["finished"],
)
def test_a_checkpoint_that_lacks_something_or_has_another_shape_is_refused(spoil: Any, copied: Path) -> None:
    state = torch.load(copied / "checkpoint.pt", weights_only=True)
    spoil(state["learner"])
    torch.save(state, copied / "checkpoint.pt")
    with pytest.raises(ValueError, match=r"checkpoint\.pt: does not fit this run") as caught:
        resume(copied)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize(("one", "other"), list(itertools.permutations(LEARNERS, 2)))
def test_the_checkpoint_and_the_weights_of_another_agent_are_refused(
    one: str, other: str, run_of: Callable[[str], Path], tmp_path: Path
) -> None:
    run, foreign = Path(shutil.copytree(run_of(one), tmp_path / "run")), run_of(other)
    shutil.copy(foreign / "best/weights.pt", run / "best/weights.pt")
    with pytest.raises(ValueError, match=r"run/best/weights\.pt: weights of another network") as caught:
        load_run(run)
    assert "\n" not in str(caught.value)
    shutil.copy(foreign / "checkpoint.pt", run / "checkpoint.pt")
    with pytest.raises(ValueError, match=r"run/checkpoint\.pt: does not fit this run"):
        resume(run)


@pytest.mark.slow
@pytest.mark.parametrize(
    "content",
    ["", "nonsense\n1\n", None, "interval,steps,seconds\n1,320,1\n", "interval,steps,objective,seconds\n1,320,x,1\n"],
)
def test_a_run_whose_log_was_lost_or_spoilt_is_not_gone_on_with(content: str | None, copied: Path) -> None:
    log = copied / "progress.csv"
    log.unlink() if content is None else log.write_text(content)
    with pytest.raises(ValueError, match=r"progress\.csv"):
        resume(copied)


def test_seeds_of_different_purposes_and_neighbouring_seeds_do_not_meet() -> None:
    seeds = {child_seed(s, *stream) for s in range(50) for stream in ((1, 0), (1, 1), (2,))}
    assert len(seeds) == 150
    assert all(0 <= s < 2**63 for s in seeds)
    assert child_seed(0, 1, 0) == child_seed(0, 1, 0)


@pytest.mark.parametrize(
    "agent", [pytest.param(agent, marks=pytest.mark.slow if agent == "dqn" else pytest.mark.long) for agent in LEARNERS]
)
def test_any_learner_trains_on_markets_drawn_for_each_path_and_goes_on(agent: str, tmp_path: Path) -> None:
    run = fit(tmp_path / "run", agent, randomise=["stress", "volatility=0.01:0.04"])
    assert yaml.safe_load((run / "config.yaml").read_text())["options"]["randomise"][0] == "stress"
    assert "gap_percent" not in pd.read_csv(run / "progress.csv")
    cut = Path(shutil.copytree(run, tmp_path / "cut"))
    plain = fit(tmp_path / "plain", agent)
    assert (plain / "best/weights.pt").read_bytes() != (run / "best/weights.pt").read_bytes()
    resume(cut)
    assert_same_run(run, cut)
    small = {"n_steps": 5, "shares": 2.5e4}
    both = evaluate(["twap", run], episodes=50, randomise=["stress", "volatility=0.01:0.04"], **small)
    assert not any("was trained on" in note for note in both.notes)
    assert any("was trained on" in note for note in evaluate([run], episodes=5, **small).notes)
