"""What run folders say of how their agents were trained, beside what they are evaluated on."""

from pathlib import Path
from typing import Any

import pandas as pd

from exec_env.base.files import read_yaml
from exec_env.harness.agents import run_of
from exec_env.one_asset.problem import Problem


def about_training(agent: Any, problem: Problem, env_id: str, overrides: dict[str, Any]) -> list[str]:
    """Notes where a run folder's agent was trained on another problem than it is evaluated on, or on the same rows."""
    if not isinstance(agent, str | Path):
        return []
    run = run_of(agent)
    config = run / "config.yaml"
    if not config.is_file():
        return []
    described = read_yaml(config)
    trained = (described.get("train") or {}).get("env"), described.get("options") or {}
    shaping = ("reward", "violation_penalty", "smoothness_penalty", "action", "levels")
    options = {k: v for k, v in trained[1].items() if k not in (*shaping, "tape_part")}
    notes = seen(agent, problem)
    if (trained[0], options) == (env_id, {k: v for k, v in overrides.items() if k != "tape_part"}):
        return notes
    given = ", ".join(f"{k}={v}" for k, v in options.items() if k != "tape_columns")
    return [*notes, f"{run.name} was trained on {trained[0]}{' with ' + given if given else ''}"]


def looked_ahead(problem: Problem) -> list[str]:
    """A note where the market file is calibrated on the time of the rows that a split keeps for evaluation."""
    recording, file = problem.recording, problem.file
    if recording is None or recording.split is None or file is None or file.period is None:
        return []
    begin, end = recording.split.rows("evaluation")
    first, last = (pd.to_datetime(recording.time[row], utc=True) for row in (begin, end - 1))
    if file.period[1] < first or file.period[0] > last:
        return []
    return [
        f"the market file is calibrated on data of {file.period[0]} to {file.period[1]}, so it has seen the time of "
        f"rows {begin + 1} to {end}, which are for evaluation; calibrate.py --split makes one of training rows alone"
    ]


def seen(agent: Any, problem: Problem) -> list[str]:
    """A note where a run folder's agent was trained on rows of the recording that it is evaluated on."""
    if not isinstance(agent, str | Path) or problem.recording is None:
        return []
    config = run_of(agent) / "config.yaml"
    tape = read_yaml(config).get("tape") if config.is_file() else None
    if not isinstance(tape, dict) or tape.get("prices_sha256") != problem.recording.prices_sha256:
        return []
    (begin, end), (first, after) = tape["rows"], problem.recording.rows
    both = max(begin, first), min(end, after)
    if both[0] >= both[1]:
        return []
    return [
        f"{run_of(agent).name} was trained on rows {begin + 1} to {end} of this recording, of which {both[0] + 1} to "
        f"{both[1]} are evaluated here: it has seen them, and may do worse on new ones"
    ]
