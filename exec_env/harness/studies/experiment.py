"""An experiment as data: which agents learn on which environments, over which seeds, and how all are evaluated."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any

import gymnasium as gym
import numpy as np

from exec_env.base.csv_files import csv_text
from exec_env.base.errors import InputError
from exec_env.base.files import read_yaml
from exec_env.base.validation import Bounds, Count, check_fields, from_mapping, unknown
from exec_env.envs.registry import get_spec
from exec_env.envs.reward import Reward
from exec_env.harness.agents import agent_class, known_agents, normalise
from exec_env.harness.evaluation import evaluate
from exec_env.harness.inputs import inputs_of
from exec_env.harness.jobs import training_task
from exec_env.harness.jobs.tasks import Result, Task, plain
from exec_env.harness.metrics import REFERENCE
from exec_env.harness.training.hyperparameters import settings

_HOW = {"action", "levels"} | {"reward" if f.name == "kind" else f.name for f in fields(Reward)}
"""Options that change how an agent acts and learns, but not the problem that it is evaluated on."""


@dataclass(frozen=True)
class Evaluation:
    """The common paths."""

    episodes: Count = 100_000
    """Number of paths."""
    seed: Annotated[int, Bounds(low=0)] = 12345
    """Of the paths."""

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class Cell:
    """Agents that learn on an environment with the same options."""

    env: str
    """Environment id."""
    agents: tuple[str, ...]
    """Names of learners."""
    options: dict[str, Any] = field(default_factory=dict)
    """Of the environment: ``action``, or any field of Market and Order."""
    label: str = ""
    """What the problem is called in tables and figures; by default the id. Cells of one problem share it."""

    def __post_init__(self) -> None:
        check_fields(self)
        object.__setattr__(self, "agents", tuple(map(normalise, self.agents)))
        object.__setattr__(self, "label", self.label or self.env)
        get_spec(self.env)
        if not self.agents:
            raise InputError(f"Cell {self.label!r}: has no agents")
        learners = [name for name in known_agents() if hasattr(agent_class(name), "learn")]
        for agent in self.agents:
            if agent not in learners:
                raise InputError(f"Cell {self.label!r}: {unknown('learning agent', agent, learners)}")
        if "/" in self.label or self.label.startswith("."):
            raise InputError(f"Cell.label = {self.label!r}: must have no '/', nor begin with '.': it names a folder")
        gym.make(self.env, **self.options).close()  # the environment itself says what it refuses

    @property
    def problem(self) -> dict[str, Any]:
        """The problem that agents are evaluated on: environment and options of ``evaluate``."""
        return {"env": self.env, "options": {k: v for k, v in self.options.items() if k not in _HOW}}


@dataclass(frozen=True)
class Experiment:
    """All cells, seeds, and what the agents are compared with."""

    cells: tuple[Cell, ...]
    seeds: tuple[Annotated[int, Bounds(low=0)], ...] = (0, 1, 2, 3, 4)
    """Of training runs; each cell's agents learn once with each."""
    baselines: tuple[str, ...] = (REFERENCE, "static", "adaptive", "almgren-chriss")
    """Names of agents that do not learn, evaluated on the same paths."""
    evaluation: Evaluation = field(default_factory=Evaluation)

    def __post_init__(self) -> None:
        check_fields(self)
        object.__setattr__(self, "baselines", tuple(map(normalise, self.baselines)))
        if len(set(self.baselines)) < len(self.baselines):
            raise InputError(f"Experiment.baselines = {self.baselines!r}: must all be different")
        if REFERENCE not in self.baselines:
            raise InputError(f"Experiment.baselines = {self.baselines!r}: must hold {REFERENCE!r}, the reference")
        for name in self.baselines:
            if hasattr(agent_class(name), "learn"):
                raise InputError(f"Experiment.baselines: {name!r} learns, so it belongs into a cell")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise InputError(f"Experiment.seeds = {self.seeds!r}: must be at least one, and all different")
        problems: dict[str, Any] = {}
        pairs: set[tuple[str, str]] = set()
        for cell in self.cells:
            if problems.setdefault(cell.label, cell.problem) != cell.problem:
                raise InputError(f"Experiment.cells: two problems are called {cell.label!r}; give each its own label")
            for agent in cell.agents:
                if (cell.label, agent) in pairs:
                    raise InputError(f"Experiment.cells: {agent!r} comes twice on {cell.label!r}")
                pairs.add((cell.label, agent))

    @classmethod
    def read(cls, path: Path) -> "Experiment":
        """Read an experiment from a YAML file.

        Raises:
            InputError: naming the file, the field, the value and what is allowed.
        """
        values, where = read_yaml(path), str(path)
        cells = values.get("cells")
        if not isinstance(cells, list) or not cells:
            raise InputError(f"{where}: cells = {cells!r}: must be a list of at least one")
        evaluation = from_mapping(Evaluation, values.get("evaluation", {}), where)
        built = tuple(from_mapping(Cell, cell, where) for cell in cells)
        return from_mapping(cls, values | {"cells": built, "evaluation": evaluation}, where)


def resolve(experiment: Experiment, steps: int | None = None) -> dict[str, Any]:
    """Everything that results depend on but the code, as plain values: hyper-parameters are looked up and filled in.

    Args:
        experiment: what to resolve.
        steps: of training, in place of each agent's own; for a trial run.
    """
    problems: dict[str, Any] = {}
    for cell in experiment.cells:
        inputs = inputs_of(cell.env, cell.problem["options"])
        row = problems.setdefault(cell.label, cell.problem | ({"inputs": inputs} if inputs else {}) | {"agents": {}})
        for agent in cell.agents:
            train, config = settings(agent, cell.env, None if steps is None else {"steps": steps})
            resolved = {k: v for k, v in asdict(train).items() if k not in ("seed", "env")}
            row["agents"][agent] = {"options": cell.options, "train": resolved, "agent": asdict(config)}
    whole = {
        "seeds": experiment.seeds,
        "baselines": experiment.baselines,
        "evaluation": asdict(experiment.evaluation),
        "problems": problems,
    }
    return plain(whole)


def tasks(configs: dict[str, Any]) -> list[Task]:
    """A task per baseline and problem, then one per problem, agent and seed.

    Args:
        configs: from ``resolve``.
    """
    made = []
    for label, problem in configs["problems"].items():
        common = {"env": problem["env"], "problem": problem["options"], "evaluation": configs["evaluation"]}
        inputs = problem.get("inputs", {})
        for name in configs["baselines"]:
            made.append(Task(f"{label}/{name}", evaluate_baseline, {"agent": name} | common, inputs))
    for label, problem in configs["problems"].items():
        common = {"env": problem["env"], "problem": problem["options"], "evaluation": configs["evaluation"]}
        inputs = problem.get("inputs", {})
        for agent, own in problem["agents"].items():
            for seed in configs["seeds"]:
                arguments = {"agent": agent, "seed": seed, "config": own} | common
                made.append(Task(f"{label}/{agent}/seed-{seed}", train_and_evaluate, arguments, inputs))
    return made


def chosen(every: Sequence[Task], words: Sequence[str]) -> list[Task]:
    """The tasks of the agents and problems that ``words`` name; all agents, or problems, where none is named.

    Raises:
        InputError: for a word that names nothing.
    """
    labels, agents = {task.key.split("/")[0] for task in every}, {task.key.split("/")[1] for task in every}
    for word in words:
        if word not in labels | agents:
            raise InputError(f"--only: {unknown('agent or environment', word, labels | agents)}")
    wanted = [labels & set(words) or labels, agents & set(words) or agents]
    return [
        task for task in every if all(part in ours for part, ours in zip(task.key.split("/"), wanted, strict=False))
    ]


def evaluate_baseline(agent: str, env: str, problem: dict[str, Any], evaluation: dict[str, Any]) -> Result:
    """An agent that does not learn, on the common paths; see ``_evaluated`` for the files."""
    said, files = _evaluated(agent, env, problem, evaluation)
    return Result(f"{env} {agent}: {said}", files)


def train_and_evaluate(
    agent: str, env: str, seed: int, config: dict[str, Any], problem: dict[str, Any], evaluation: dict[str, Any]
) -> Result:
    """Train, then evaluate on the common paths; the run's files are returned with those of ``_evaluated``."""
    train = config["train"] | {"env": env, "seed": seed}
    with training_task.training(agent, train, config["agent"], config["options"]) as run:
        said, files = _evaluated(run, env, problem, evaluation)
        seconds = training_task.summary(run)["seconds"]
        return Result(f"{env} {agent} seed {seed}: {said}, {seconds:.0f} s", training_task.files(run) | files)


def _evaluated(agent: str | Path, env: str, problem: dict[str, Any], evaluation: dict[str, Any]) -> tuple[str, dict]:
    """A few words, and ``evaluation.csv`` (one row) with ``objective.npy``: what J is the mean of, path by path.

    That is the objective less its control variates. [bps, float32]
    """
    found = evaluate([agent], env, n_examples=0, **evaluation, **problem)
    row = found.per_agent.reset_index(drop=True).assign(bound_bps=found.bound_bps)
    row = row.drop(columns=[*row.columns[row.columns.str.match("diff|behind")], "gap_closed_percent", "win_rate"])
    (estimate,) = found.estimates.values()
    objective = estimate.values.astype(np.float32)
    gap = row["gap_percent"][0]
    said = f"J {row['objective_mean'][0]:.2f} bps" + (f", gap {gap:+.2f} %" if np.isfinite(gap) else "")
    return said, {"evaluation.csv": csv_text(row).encode(), "objective.npy": _npy(objective)}


def _npy(array: np.ndarray) -> bytes:
    from io import BytesIO

    buffer = BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()
