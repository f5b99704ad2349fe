"""Whatever is put in: one of our errors or a number that is one; no traceback from inside, and no hang.

Fifteen inputs of each kind in `make test`, forty in `make long`; EXEC_ENV_FUZZ=300 tries two thousand in all. An
input that fails is named by kind and number, and is the same every time.
"""

import itertools
import json
import math
import os
import random
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import yaml
from tqdm import tqdm

import exec_env
from exec_env.base.errors import ExecEnvError, InputError
from exec_env.baselines.twap import TWAP
from exec_env.cli import evaluate as evaluate_command
from exec_env.cli import list as list_command
from exec_env.cli import live, schedule
from exec_env.data import ticks
from exec_env.data.market_file import UNITS, MarketFile, Parameter
from exec_env.data.tape import Tape
from exec_env.harness import evaluate
from exec_env.harness.jobs.tasks import is_finished, run_tasks, workers
from exec_env.harness.studies.experiment import Experiment, resolve, tasks
from exec_env.harness.studies.results import collect
from exec_env.harness.studies.stress_tests import stress
from exec_env.harness.training.hyperparameters import TrainConfig
from exec_env.harness.training.loop import build, resume
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.one_asset.live import LiveExecutor
from exec_env.one_asset.options import OPTIONS
from exec_env.one_asset.scenarios import scenarios
from tests.conftest import recorded_slices
from tests.faults.inputs import (
    VALUES,
    WORDS,
    copied,
    damaged,
    field_of,
    mutated,
    slices,
    snapshots,
    trades_and_quotes,
)

FEW, MANY = (int(os.environ.get("EXEC_ENV_FUZZ", n)) for n in (15, 40))
SECONDS = 20
ALLOWED = (ExecEnvError, gym.error.Error)
"""Gymnasium's own, of an id that it does not know, too."""


@contextmanager
def in_time() -> Iterator[None]:
    def late(*_: Any) -> None:
        raise TimeoutError(f"more than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def numbers(result: Any) -> Iterator[float]:
    """Costs, prices, volumes, observations and rewards in what came out, which must be finite."""
    if hasattr(result, "per_path"):
        yield from result.per_path["objective"]
    elif isinstance(result, Tape):
        yield from itertools.chain(result.mid, result.spread, result.volume)
    elif isinstance(result, ticks.Slices):
        yield from result.frame[["mid", "spread", "volume"]].to_numpy().ravel()
    elif isinstance(result, tuple | list):
        for part in result:
            yield from np.ravel(part) if isinstance(part, np.ndarray) and part.dtype.kind == "f" else ()


# Kinds of inputs: each gives a call that may be refused.


class Inputs:
    """What all kinds start from."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.frame = folder, recorded_slices(40)
        self.many, self.one = gym.make_vec("AlmgrenChriss-v0", 2), gym.make("AlmgrenChriss-v0").unwrapped
        self.continuous = gym.make_vec("AlmgrenChrissContinuous-v0", 2)
        for env in (self.many, self.one, self.continuous):
            env.reset(seed=0)
        parameters = {name: Parameter(getattr(Market(), name)) for name in UNITS}
        MarketFile(parameters, 1 / 78, {"hours_per_day": 6.5}).save(folder / "market.yaml")
        (folder / "tape.csv").write_bytes(slices())
        for name, content in zip(("trades", "quotes"), trades_and_quotes(), strict=True):
            (folder / f"{name}.csv").write_bytes(content)
        self.experiment = {
            "cells": [{"env": "AlmgrenChriss-v0", "agents": ["dqn"], "options": {"n_steps": 4}, "label": "small"}],
            **{"seeds": [0, 1], "baselines": ["twap"], "evaluation": {"episodes": 10, "seed": 1}},
        }
        self._run()
        self._work()

    def _work(self) -> None:
        """What an experiment has finished: its baselines."""
        path = self.folder / "experiment.yaml"
        path.write_text(yaml.safe_dump(self.experiment | {"baselines": ["twap", "static"]}))
        self.tasks = [task for task in tasks(resolve(Experiment.read(path))) if "seed" not in task.arguments]
        with workers("off") as run, tqdm(disable=True) as bar:
            assert run_tasks(self.tasks, self.folder / "work", run, bar) == {}

    def _run(self) -> None:
        """A run folder as training leaves it, without any training."""
        config = TrainConfig(steps=64, num_envs=4, intervals=2, check_episodes=4)
        options = {"n_steps": 4, "shares": 20_000.0, "tape": str(self.folder / "tape.csv")}
        from exec_env.agents.dqn import DQNConfig

        agent = DQNConfig(hidden=(4,), warm_up=60)
        problem, learner = build("dqn", config, agent, options)
        run = self.folder / "run"
        learner.save(run / "best")
        described = {"agent": "dqn", "train": vars(config), "options": options} | problem.provenance()
        described |= {"agent_config": {k: list(v) if isinstance(v, tuple) else v for k, v in vars(agent).items()}}
        (run / "config.yaml").write_text(yaml.safe_dump(described))
        self.cost = float(evaluate([run], episodes=4, **options).per_path["objective"].sum())
        self.options = options

    def arguments(self, rng: random.Random) -> Callable[[], Any]:
        value, option = rng.choice(VALUES), rng.choice(sorted(OPTIONS))
        given: dict[str, Any] = {"episodes": 3} | {
            rng.choice(("seed", "starts", "n_examples", "progress", "optimum")): value
        }
        calls: list[Callable[[], Any]] = [
            lambda: gym.make("AlmgrenChriss-v0", **{option: value}).unwrapped.reset(seed=0),
            lambda: exec_env.make_vec("AlmgrenChriss-v0", 2, **{option: value}).reset(seed=0),
            lambda: evaluate(["twap"], episodes=3, **{option: value}),
            lambda: exec_env.bound("AlmgrenChrissClassic-v0", **{option: value}),
            lambda: exec_env.register("Fuzzed-v0", **{option: value}),
            lambda: exec_env.register("Fuzzed-v0", value),
            lambda: exec_env.register(value),
            lambda: exec_env.make_vec("AlmgrenChriss-v0", value),
            lambda: exec_env.make_vec(value, 2),
            lambda: exec_env.make_vec("AlmgrenChriss-v0", 2, wrappers=value),
            lambda: exec_env.make_vec("AlmgrenChriss-v0", 2, autoreset_mode=value),
            *(lambda env=env: env.reset(seed=value) for env in (self.many, self.one)),
            *(lambda env=env: env.reset(options=value) for env in (self.many, self.one)),
            *(lambda env=env: (env.reset(), env.step(value)) for env in (self.many, self.one, self.continuous)),
            lambda: (self.many.reset(), self.many.step([value, value])),
            lambda: self.many.reset(options={"reset_mask": value}),
            lambda: evaluate(value, episodes=3),
            lambda: evaluate([value], episodes=3),
            lambda: evaluate(["twap"], value, episodes=3),
            lambda: evaluate(["twap"], **given),
            lambda: stress(value, scenarios(["normal"]), episodes=3),
            lambda: stress(["twap"], value, episodes=3),
            lambda: scenarios(value),
            lambda: scenarios(["liquidity-collapse"], value),
            lambda: exec_env.bound(value),
            lambda: Market(**{field_of(rng, Market): value}),
            lambda: Order(**{field_of(rng, Order): value}),
            lambda: Tape.from_frame(self.frame, value),
            lambda: Tape.from_frame(self.frame, {"mid": value}),
            lambda: Tape.from_frame(self.frame, None, value),
        ]
        return rng.choice(calls)

    def commands(self, rng: random.Random) -> Callable[[], Any]:
        names = [name.replace("_", "-") for name in sorted(OPTIONS) if name not in ("tape", "market", "order")]
        words = [f"--{rng.choice(names)}", rng.choice(WORDS)]
        words += [f"--{rng.choice(names)}", rng.choice(WORDS)] * (rng.random() < 0.3) + [rng.choice(WORDS)] * (
            rng.random() < 0.2
        )
        out = str(self.folder / f"out-{rng.random()}")
        script, own = rng.choice(
            [
                (evaluate_command, ["twap", "--episodes", "3", "--quiet", "--out", out]),
                (evaluate_command, [rng.choice(WORDS), "--episodes", "3", "--quiet", "--out", out]),
                (schedule, ["twap", "--out", out]),
                (list_command, []),
            ]
        )
        return lambda: _exit(script.main, [*own, *words])

    def yaml(self, rng: random.Random) -> Callable[[], Any]:
        path = self.folder / "fuzzed.yaml"
        if rng.random() < 0.5:
            path.write_bytes(mutated(rng, (self.folder / "market.yaml").read_bytes()))
            return lambda: evaluate(["twap"], episodes=3, market=str(path))
        path.write_bytes(mutated(rng, yaml.safe_dump(self.experiment).encode()))
        return lambda: Experiment.read(path)

    def lines(self, rng: random.Random) -> Callable[[], Any]:
        content = mutated(rng, snapshots(6))

        def driven() -> None:
            order = LiveExecutor(TWAP(Market(), Order(n_steps=6)), Order(n_steps=6))
            live.drive(order, BytesIO(content), rng.random() < 0.5, lambda _: None)
            report = json.loads(json.dumps(order.report(), allow_nan=False))
            assert report["traded"] >= 0
            assert report["traded"] + report["left"] == pytest.approx(200_000)

        return driven

    def folders(self, rng: random.Random) -> Callable[[], Any]:
        run = copied(self.folder / "run", self.folder / "copy")
        what = damaged(rng, run)

        def played() -> Any:
            found = evaluate([run], episodes=4, **self.options)
            if "weights.pt" in what:
                assert float(found.per_path["objective"].sum()) == self.cost, what
            return found

        def read() -> None:
            with pytest.MonkeyPatch.context() as patch:  # a run of more steps is no fault, and takes its time
                patch.setattr("exec_env.harness.training.loop._loop", lambda *_: None)
                resume(run)

        return played if rng.random() < 0.7 else read

    def works(self, rng: random.Random) -> Callable[[], Any]:
        work = copied(self.folder / "work", self.folder / "copy")
        what = damaged(rng, work)

        def summed() -> None:
            assert all(is_finished(task, work) for task in self.tasks) or "gone" in what
            found = collect(self.tasks, work)["baselines"]
            if "npy" in what or "task.yaml" in what:  # tables and words are as they are read
                assert found["agent"].tolist() == ["twap", "static"]

        return summed

    def tables(self, rng: random.Random) -> Callable[[], Any]:
        name = rng.choice(("tape", "trades", "quotes"))
        path = self.folder / "fuzzed.csv"
        path.write_bytes(mutated(rng, (self.folder / f"{name}.csv").read_bytes()))
        if name == "tape":
            return rng.choice((lambda: Tape.read(path), lambda: ticks.read([path])))
        others = [self.folder / f"{other}.csv" for other in ("trades", "quotes") if other != name]
        return lambda: ticks.read([path, *others], clean=rng.random() < 0.5)


KINDS = ("arguments", "commands", "yaml", "lines", "folders", "works", "tables")


def _exit(main: Callable[[list[str]], None], argv: list[str]) -> None:
    """A command line, whose parser ends the process where it is refused."""
    try:
        main(argv)
    except SystemExit as error:
        if error.code == 2:
            raise InputError("the parser's") from None
        if error.code != 0:
            raise RuntimeError(f"exit status {error.code}") from None


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    return Inputs(tmp_path_factory.mktemp("inputs"))


def outcome(call: Callable[[], Any], which: str) -> str:
    """What comes of an input; one that is not refused as it should be fails by its number."""
    try:
        with in_time():
            result = call()
    except ALLOWED as error:
        assert len(str(error)) <= 3000, f"{which}: a message of {len(str(error))} characters"  # noqa: PT017
        return "refused"
    except Exception as error:
        raise AssertionError(f"{which}: {type(error).__name__}: {str(error)[:300]}") from error
    finally:
        exec_env.envs.registry.ENVIRONMENTS.pop("Fuzzed-v0", None)
        gym.registry.pop("Fuzzed-v0", None)
    assert all(math.isfinite(x) for x in numbers(result)), f"{which}: not finite"
    return "taken"


def try_all(inputs: Inputs, kind: str, count: int) -> Counter[str]:
    """What comes of the first ``count`` inputs of a kind."""
    call = getattr(inputs, kind)
    return Counter(outcome(call(random.Random(f"{kind} {n}")), f"{kind} {n}") for n in range(count))


@pytest.mark.long
def test_what_nothing_was_done_to_is_taken(inputs: Inputs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.faults.test_fuzz.mutated", lambda rng, content: content)
    monkeypatch.setattr("tests.faults.test_fuzz.damaged", lambda rng, folder: "weights.pt")
    for kind in ("yaml", "lines", "folders", "works", "tables"):
        assert try_all(inputs, kind, 4) == {"taken": 4}, kind


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")  # of a tensor among arrays
@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("kind", KINDS)
def test_no_input_brings_a_traceback_or_a_hang_or_a_number_that_is_none(kind: str, inputs: Inputs) -> None:
    assert try_all(inputs, kind, FEW).total() == FEW


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")
@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("kind", KINDS)
def test_nor_do_many_inputs(kind: str, inputs: Inputs) -> None:
    found = try_all(inputs, kind, MANY)
    assert found["taken"] > 0
    assert found["refused"] > 0 or kind == "lines", "a line that is refused is answered"
