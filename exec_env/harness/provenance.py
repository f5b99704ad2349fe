"""What run folders say of how their agents were trained, beside what they are evaluated on."""

from pathlib import Path
from typing import Any

from exec_env.base.files import read_yaml
from exec_env.envs.problem import Problem
from exec_env.harness.agents import run_of

PART = "tape_part"
"""Option that training and evaluation may differ in."""


def config_of(agent: Any) -> dict[str, Any]:
    """The configuration of the run folder that ``agent`` names; empty where it names none."""
    if not isinstance(agent, str | Path):
        return {}
    config = run_of(agent) / "config.yaml"
    return read_yaml(config) if config.is_file() else {}


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
    given = ", ".join(f"{k}={v}" for k, v in own.items() if k != "tape_columns")
    return [*notes, f"{run_of(agent).name} was trained on {trained[0]}{' with ' + given if given else ''}"]


def seen(agent: Any, problem: Problem) -> list[str]:
    """Notes where a run folder's agent was trained on the data that it is evaluated on."""
    config = config_of(agent)
    return problem.seen_by(run_of(agent).name, config) if config else []
