"""What run folders say of how their agents were trained, beside what they are evaluated on."""

from collections.abc import Iterable
from os.path import isfile
from pathlib import Path
from typing import Any, NamedTuple

from exec_env.base.errors import InputError
from exec_env.base.files import read_yaml
from exec_env.envs.problem import Problem
from exec_env.envs.registry import problem_of
from exec_env.harness.agents import run_of

PART = "tape_part"
"""Option that training and evaluation may differ in."""
_SEEN = ("features", "tape_features")
_LENGTHY = ("tape_columns", "tape_features")


def config_of(agent: Any) -> dict[str, Any]:
    """The configuration of the run folder that ``agent`` names; empty where it names none."""
    if not isinstance(agent, str | Path):
        return {}
    config = run_of(agent) / "config.yaml"
    return read_yaml(config) if isfile(config) else {}


def about_training(agent: Any, problem: Problem, env_id: str, options: dict[str, Any]) -> list[str]:
    """Notes where a run folder's agent was trained on another problem than it is evaluated on, or on the same data."""
    config = config_of(agent)
    if not config:
        return []
    trained = (config.get("train") or {}).get("env"), config.get("options") or {}
    own = {k: v for k, v in trained[1].items() if k not in (*problem.training_only, PART)}
    notes = seen(agent, problem)
    if (trained[0], own) == (env_id, {k: v for k, v in options.items() if k != PART}):
        return notes
    given = ", ".join(f"{k}={v}" for k, v in own.items() if k not in _LENGTHY)
    return [*notes, f"{run_of(agent).name} was trained on {trained[0]}{' with ' + given if given else ''}"]


def seen(agent: Any, problem: Problem) -> list[str]:
    """Notes where a run folder's agent was trained on the data that it is evaluated on."""
    config = config_of(agent)
    return problem.seen_by(run_of(agent).name, config) if config else []


class Own(NamedTuple):
    """The problem that runs were trained on."""

    run: str
    """Name of the first of them."""
    env_id: str
    options: dict[str, Any]

    def __str__(self) -> str:
        """In words."""
        options = ", ".join(f"{k}={v}" for k, v in self.options.items() if k not in _LENGTHY)
        return f"{self.env_id}{' with ' + options if options else ''}"


def own_problem(agents: Iterable[Any]) -> Own | None:
    """The problem of the run folders among ``agents``; None where there are none.

    How a run was trained (action mode, reward, randomised markets, part of a tape) is no part of the problem.

    Raises:
        InputError: where two of them were trained on different problems, naming both.
    """
    found: Own | None = None
    for agent in agents:
        config = config_of(agent)
        env_id = (config.get("train") or {}).get("env")
        if not isinstance(env_id, str):
            continue
        training = (*problem_of(env_id).training_only, PART, "randomise")
        options = {k: v for k, v in (config.get("options") or {}).items() if k not in training}
        own = Own(run_of(agent).name, env_id, options)
        for name in _SEEN:
            if found is not None and own[1] == found[1] and name in {**own.options, **found.options}:
                # What an agent sees is no part of the problem; each takes the entries that it knows.
                both = (own.options.get(name) or {}) | (found.options.get(name) or {})
                own, found = (Own(of.run, of.env_id, of.options | {name: both}) for of in (own, found))
        if found is not None and own[1:] != found[1:]:
            raise InputError(
                f"{found.run} was trained on {found}, and {own.run} on {own}: name the problem that all are to play, "
                "with --env, --preset, --market or --tape"
            )
        found = found or own
    return found
