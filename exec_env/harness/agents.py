"""What an agent is, and how one is found by name, by run folder or by import path."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import entry_points
from os.path import isdir
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from exec_env.base.errors import InputError
from exec_env.base.extras import importing
from exec_env.base.files import read_yaml
from exec_env.base.importing import imported
from exec_env.base.validation import listed, shown, unknown
from exec_env.envs.problem import Problem
from exec_env.envs.rollout import columns_of

GROUP = "exec_env.agents"
"""Entry points of this group give agents their names; any distribution can add to it."""
AGENTS = "names, run folders or agents"
"""What a list of agents is of."""
BEST, LAST = "best", "last"
"""Folders of a run: the agent as it was at its best check, and at its last."""


@runtime_checkable
class Agent(Protocol):
    """Anything that acts on observations. Baselines of one asset are built from (Market, Order).

    One with a memory has ``initial_state(n)``, the memory of ``n`` paths at arrival, and ``act(observations, state)``,
    which returns actions and the next state. One that acts on other entries of the observation than the problem's own,
    as on features, names them in ``names``. One with ``told(paths)`` is an oracle, which is told the paths.
    """

    action_mode: Any
    """The action mode its actions are meant in, a name or an object that the problem knows."""

    def act(self, observations: np.ndarray) -> np.ndarray:
        """Actions for a batch of observations. Shape: (n, entries) -> (n, ...)."""


@dataclass(frozen=True)
class Setup:
    """How a learner is going to be trained."""

    total_steps: int
    """Environment steps in all."""
    interval: int
    """Of these, steps between two checks."""
    num_envs: int
    """Environments side by side."""
    seed: int
    """Of weights and exploration."""
    device: str
    """Torch device of the networks."""


@runtime_checkable
class Learner(Agent, Protocol):
    """An agent that learns, and that a run folder can keep.

    Where what it minimises is not J, a method ``score(objective, shortfall) -> float`` ranks its checks: of arrays
    of shape (n_paths,), lower is better; where that takes other paths than the problem's own, they are drawn from
    ``drawn_from(problem)``. Where it does not fit every environment that has its action mode, a method
    ``check_env(env)`` refuses the others. What ``provenance`` has is kept in the run's configuration.
    """

    Config: type
    """Frozen dataclass of its hyper-parameters."""
    steps: int
    """Environment steps it has learned from."""

    @classmethod
    def build(cls, config: Any, head: Any, setup: Setup) -> Learner:
        """A fresh learner for an environment; ``head`` is an ``exec_env.harness.training.weights.Head``."""

    def learn(self, env: VectorEnv, steps: int, seed: int, report: Callable[[int, dict[str, float]], None]) -> None:
        """Learn from ``steps`` transitions, on paths that are a function of ``seed``."""

    def save(self, folder: Path) -> None:
        """Write what ``load`` needs to act."""

    @classmethod
    def load(cls, folder: Path) -> Learner:
        """Read what ``save`` wrote, running nothing that it contains."""

    def state_dict(self) -> dict[str, Any]:
        """What ``load_state_dict`` needs to go on learning: tensors and numbers only."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""


def require_same_step(env: VectorEnv) -> None:
    """Refuse an environment that ignores an action after each episode, which a learner would learn from.

    Raises:
        InputError: naming the mode and the one that is wanted.
    """
    mode = env.metadata.get("autoreset_mode")
    if mode != AutoresetMode.SAME_STEP:
        raise InputError(f"autoreset_mode = {getattr(mode, 'name', mode)}: must be SAME_STEP, as an option of make_vec")


def known_agents() -> dict[str, Any]:
    """Entry points of all agents that have a name."""
    return {point.name: point for point in entry_points(group=GROUP)}


def normalise(name: str) -> str:
    """Agent names are lower case with hyphens."""
    return name.strip().lower().replace("_", "-")


def agent_class(name: str) -> type[Any]:
    """The class behind a name.

    Raises:
        InputError: for an unknown name, with the nearest known one.
        MissingPackage: for one that needs an extra which is not installed.
    """
    known = known_agents()
    if normalise(name) not in known:
        raise InputError(unknown("agent", name, known))
    with importing(f"agent {normalise(name)!r}"):
        return known[normalise(name)].load()


def run_of(folder: str | Path) -> Path:
    """The run folder, of which ``folder`` may also be the part ``best`` or ``last``."""
    folder = Path(folder).resolve()
    return folder.parent if folder.name in (BEST, LAST) else folder


def load_run(folder: str | Path) -> Learner:
    """The agent that a run folder holds: the best of its checks; ``RUN/last`` is the one that training ended with.

    Raises:
        InputError: when the folder holds none, or something that is none.
    """
    folder = Path(folder)
    if not (folder / "agent.yaml").exists() and (folder / BEST).is_dir():
        folder = folder / BEST
    elif not (folder / "agent.yaml").exists() and (folder / "config.yaml").exists():
        hint = f"; {folder / LAST} can be named instead" if (folder / LAST).is_dir() else ""
        raise InputError(f"{folder}: has no {BEST}/, the agent at its best check{hint}")
    described = read_yaml(folder / "agent.yaml")
    name = described.get("agent")
    if not isinstance(name, str):
        raise InputError(f"{folder / 'agent.yaml'}: has no field 'agent'")
    cls = agent_class(name)
    if not hasattr(cls, "load"):
        raise InputError(f"{folder / 'agent.yaml'}: agent {name!r} does not learn, so no run can hold it")
    return cls.load(folder)


def resolve(agent: str | Path | Agent, problem: Problem) -> tuple[str, Agent]:
    """A label and an agent for what the user named.

    Args:
        agent: an agent; a name such as ``"twap"``; a run folder; a class or ``"module:Class"``, built by
            ``Problem.build``: from (market, order), where there is one asset.
        problem: for baselines.

    Raises:
        InputError: for a name that stands for nothing, or an object that is no agent.
    """
    if not isinstance(agent, str | Path):
        if isinstance(agent, type):
            agent = _built(agent, problem)
        if not isinstance(agent, Agent):
            raise InputError(f"{shown(agent)} is no agent: it needs action_mode and act(observations)")
        return str(getattr(agent, "name", None) or type(agent).__name__.lower()), agent
    text, own = str(agent), problem.policies()
    if normalise(text) in own:
        return normalise(text), own[normalise(text)]()
    named = normalise(text) in known_agents()
    if not named and isdir(text):
        run, folder = run_of(text), Path(text).resolve()
        _check_units(run, problem)
        return run.name if run == folder else f"{run.name}/{folder.name}", load_run(folder)
    if ":" in text:
        found = imported(text, "agent")
        return text.partition(":")[2], resolve(found, problem)[1]
    if "/" in text:
        raise InputError(f"agent {text!r}: no such run folder")
    if own and not named:
        raise InputError(unknown("agent", text, (*own, *known_agents())))
    cls = agent_class(text)
    if hasattr(cls, "learn"):
        raise InputError(f"agent {text!r} has to be trained first: name its run folder instead")
    return normalise(text), _built(cls, problem)


def _built(baseline: type[Any], problem: Problem) -> Any:
    """A baseline for this problem, whose observation it is known to act on before it is built, which may take long."""
    if isinstance(getattr(baseline, "names", None), tuple):
        columns_of(baseline, problem)
    return problem.build(baseline)


def _check_units(run: Path, problem: Problem) -> None:
    """Refuse a problem that shows features of a tape in other units than those that a run has learned in.

    Raises:
        InputError: naming the feature, both units and the way out.
    """
    config = read_yaml(run / "config.yaml") if problem.recorded and (run / "config.yaml").is_file() else {}
    shown = (problem.provenance().get("tape") or {}).get("features", {}) if config else {}
    for name, learned in ((config.get("options") or {}).get("tape_features") or {}).items():
        then, now = ({k: of.get(k) for k in ("mean", "std")} for of in (learned, shown.get(name, learned)))
        if then != now:
            raise InputError(
                f"tape_features: {name}: {run.name} has learned with mean {then['mean']:g} and standard deviation "
                f"{then['std']:g}, here they are {now['mean']:g} and {now['std']:g}: take the run's, with "
                f"--tape-features {run}, or give column, mean and std"
            )


def resolve_all(agents: Iterable[str | Path | Agent], problem: Problem) -> dict[str, Agent]:
    """Agents by label; a label that comes up again gets a number.

    Raises:
        InputError: as ``resolve``, or when there is no agent.
    """
    found: dict[str, Agent] = {}
    for agent in listed("agents", AGENTS, agents):
        label, instance = resolve(agent, problem)
        number, unique = 2, label
        while unique in found:
            unique, number = f"{label}-{number}", number + 1
        found[unique] = instance
    if not found:
        raise InputError("no agents to evaluate: name at least one")
    return found
