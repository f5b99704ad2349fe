"""Drive an order live: snapshots in, child orders out, one JSON object per line.

  snapshot     {"time": "2026-01-05T09:30:00", "mid": 100.0, "spread": 0.05, "volume": 60000}
  child order  {"time": "2026-01-05T09:30:00", "side": "sell", "shares": 5000.0, "left": 200000.0}
  its fill     {"fill": 5000.0, "price": 99.97}

An agent that was trained with --tape-features needs them in every snapshot, as the tape's file has them:
"features": {"imbalance": 0.2}; they are seen in the run's units. A fill may also have "side" and "time". What is
refused (stale, out of order, not finite, of the wrong side) is answered with {"error": ..., "line": ...} and changes
nothing. At the end, and at Ctrl-C, comes a report of what was traded and what is left.

Examples:
  exec-env live twap --shares 10000 --n-steps 20 < snapshots.jsonl
  exec-env live runs/dqn-1 --assume-filled < snapshots.jsonl
"""

import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any

import tyro

from exec_env.base.errors import ExecEnvError, InputError
from exec_env.base.validation import shown
from exec_env.cli.main import run
from exec_env.cli.options import Flag, Maybe, Plain, ProblemOptions, parse, problem_of_runs, say_remarks
from exec_env.envs.registry import problem_of
from exec_env.harness.agents import resolve

_LONGEST = 2**16  # bytes of a line
_SIGNALS = (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))
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


def answer(live: Any, line: str | bytes, assume_filled: bool) -> dict[str, Any] | None:
    """What to say to one line of input; None for a fill that was taken.

    Raises:
        InputError: for a line that is refused; the executor is then as before.
    """
    try:
        text = line if isinstance(line, str) else line.decode("utf-8-sig")
        message = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_no_key_twice)
    except UnicodeDecodeError as error:
        raise InputError(f"not a JSON object: not UTF-8: {error.reason} at byte {error.start}") from None
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(f"not a JSON object: {error}") from None
    if not isinstance(message, dict):
        raise InputError(f"not a JSON object: {text.strip()[:80]}")
    if "fill" in message:
        live.filled(message)
        return None
    return live.answer(message, assume_filled)


def _no_constant(name: str) -> None:
    raise InputError(f"not a JSON object: {name} is no number of JSON")


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise InputError(f"not a JSON object: {shown(name)} comes twice")
        found[name] = value
    return found


class Stop(BaseException):
    """The order ends here, because somebody says so."""


@contextmanager
def stoppable() -> Iterator[Callable[[bool], None]]:
    """A signal to end waits for the line that is being answered, so that no fill is taken by half; a second does not.

    Gives a function that says whether a line is being answered.
    """
    busy, asked, before = False, 0, {}

    def stop(number: int, _: Any) -> None:
        nonlocal asked
        again, asked = asked, number
        if again or not busy:
            raise Stop(number)

    def working(now: bool) -> None:
        nonlocal busy
        busy = now
        if asked and not now:
            raise Stop(asked)

    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, stop) for number in _SIGNALS}
    try:
        yield working
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def lines(stream: Any) -> Iterator[str | bytes]:
    """The lines of a stream; of one that is too long the first part, which is no JSON."""
    while line := stream.readline(_LONGEST + 1):
        first = line
        while len(line) > _LONGEST and line[-1:] not in ("\n", b"\n"):
            line = stream.readline(_LONGEST + 1)
        yield first


def drive(live: Any, stream: Any, assume_filled: bool, working: Callable[[bool], None]) -> None:
    """Answer line by line until the order is done or the input ends."""
    for number, line in enumerate(lines(stream), 1):
        if not line.strip():
            continue
        working(True)
        try:
            if len(line) > _LONGEST:
                raise InputError(f"not a JSON object: a line of more than {_LONGEST:,} bytes")
            said = answer(live, line, assume_filled)
        except ExecEnvError as error:
            said = {"error": str(error), "line": number}
        if said is not None:
            print(json.dumps(said, allow_nan=False), flush=True)
        working(False)
        if live.done:
            break


def main(argv: Sequence[str]) -> None:
    """Drive an order; whatever ends it, the report says what was done."""
    own = problem_of_runs(argv)
    start = ProblemOptions.start(argv, _DEFAULT, own)
    args = parse("live", Arguments, argv, __doc__, Arguments(problem=start))
    options = (own.options if own else {}) | args.problem.options(start, argv)
    if args.options.hours_per_day is not None:
        options["hours_per_day"] = args.options.hours_per_day
    problem = problem_of(own.env_id if own else args.options.env, **options)
    _, agent = resolve(args.options.agent, problem)
    live = problem.live(agent)
    say_remarks(problem)
    stopped: int | None = None
    with stoppable() as working:
        try:
            drive(live, getattr(sys.stdin, "buffer", sys.stdin), args.options.assume_filled, working)
        except Stop as stop:
            stopped = stop.args[0]
        finally:
            _report(live)
    if stopped == signal.SIGINT:
        raise KeyboardInterrupt
    if stopped is not None:
        sys.exit(128 + stopped)


def _report(live: Any) -> None:
    """Say how the order stands; on stderr where nobody reads stdout any more."""
    text = json.dumps(live.report(), allow_nan=False)
    try:
        print(text, flush=True)
    except OSError:
        print(text, file=sys.stderr)
        raise


if __name__ == "__main__":
    run(main)
