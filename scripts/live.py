"""Drive an order live: snapshots in, child orders out, one JSON object per line.

  snapshot     {"time": "2026-01-05T09:30:00", "mid": 100.0, "spread": 0.05, "volume": 60000}
  child order  {"time": "2026-01-05T09:30:00", "side": "sell", "shares": 5000.0, "left": 200000.0}
  its fill     {"fill": 5000.0, "price": 99.97}

What is refused (stale, out of order, not finite) is answered with {"error": ...} and changes nothing. At the end comes
a report of what was traded and what is left.

Examples:
  exec-env live twap --shares 10000 --n-steps 20 < snapshots.jsonl
  exec-env live runs/dqn-1 --assume-filled < snapshots.jsonl
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import tyro

from exec_env.base.errors import ExecEnvError, InputError
from exec_env.cli.main import run
from exec_env.cli.options import Flag, Maybe, Plain, ProblemOptions, parse, problem_of_runs, say_remarks
from exec_env.envs.registry import problem_of
from exec_env.harness.agents import resolve

_DEFAULT = "AlmgrenChriss-v0"


@dataclass(frozen=True)
class Options:
    """Who drives, and how fills are known."""

    agent: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="AGENT")]] = "twap"
    """Baseline name, run folder, or module:Class."""
    env: str = _DEFAULT
    """Environment id."""
    assume_filled: Flag = False
    """Take each child order as filled at once at the touch, instead of reading fills."""
    hours_per_day: Maybe[float] = None
    """Length of the trading day, which turns slice length into seconds; by default that of the tape or of
    --market, or else 6.5.
    [hour]"""


@dataclass(frozen=True)
class Arguments:
    """All options."""

    options: Plain[Options] = field(default_factory=Options)
    problem: ProblemOptions = field(default_factory=ProblemOptions)


def answer(live: Any, line: str, assume_filled: bool) -> dict[str, Any] | None:
    """What to say to one line of input; None for a fill that was taken.

    Raises:
        InputError: for a line that is refused; the executor is then as before.
    """
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"not a JSON object: {error}") from None
    if not isinstance(message, dict):
        raise InputError(f"not a JSON object: {line.strip()[:80]}")
    if "fill" in message:
        live.fill(message["fill"], message.get("price"))
        return None
    return live.answer(message, assume_filled)


def main(argv: Sequence[str]) -> None:
    """Answer line by line until the order is done or the input ends."""
    own = problem_of_runs(argv)
    start = ProblemOptions.start(argv, _DEFAULT, own)
    args = parse("live", Arguments, argv, __doc__, Arguments(problem=start))
    options = (own.options if own else {}) | args.problem.options(start, argv)
    problem = problem_of(own.env_id if own else args.options.env, **options)
    _, agent = resolve(args.options.agent, problem)
    live = problem.live(agent, args.options.hours_per_day)
    say_remarks(problem)
    for line in sys.stdin:
        if not line.strip():
            continue
        try:
            said = answer(live, line, args.options.assume_filled)
        except ExecEnvError as error:
            said = {"error": str(error)}
        if said is not None:
            print(json.dumps(said), flush=True)
        if live.done:
            break
    print(json.dumps(live.report()), flush=True)


if __name__ == "__main__":
    run(main)
