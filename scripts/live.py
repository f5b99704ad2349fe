"""Drive an order live: snapshots in, child orders out, one JSON object per line.

  snapshot     {"time": "2026-01-05T09:30:00", "mid": 100.0, "spread": 0.05, "volume": 60000}
  child order  {"child": 1, "time": "2026-01-05T09:30:00", "until": "2026-01-05T09:35:00", "side": "sell",
                "shares": 5000.0, "left": 200000.0, "participation": 0.083}
  its fill     {"fill": 5000.0, "price": 99.97}

A child order is for the slice from "time" until "until"; "participation" is its share of the slice's volume, and
"limit" its limit price where --limit-price is given. With --lot-size it is whole lots.

A fill ends its child order, and what is left of it is asked for again. {"fill": 200, "price": 99.97, "more": true}
leaves it open: later child orders then ask for nothing that it may still be filled with. {"cancelled": true} ends it. A
fill names an earlier child order as "child": 3; with the venue's "id" it counts once, however often it is told. A fill
may also have "side" and "time". One of the other side, of less than nothing, or of more than was asked for is refused.

An agent that was trained with --tape-features needs them in every snapshot, as the tape's file has them:
"features": {"imbalance": 0.2}; they are seen in the run's units. What is refused (stale, out of order, not finite) is
answered with {"error": ..., "line": ...} and changes nothing. At the end, and at Ctrl-C, comes a report of what was
traded and what is left.

With --state FILE all that was taken is in that file before it is answered. After a crash the same command goes on from
there, its first line being {"resumed": ...}. Send the last snapshot again and what came after it, or the whole input: a
snapshot that was taken gets the child order that it had, under the same number, and its fills count once.

Examples:
  exec-env live twap --shares 10000 --n-steps 20 < snapshots.jsonl
  exec-env live adaptive --shares 10000 --lot-size 100 --limit-price 2 --tick-size 0.01 --state order.json
  exec-env live runs/dqn-1 --assume-filled < snapshots.jsonl
  exec-env live runs/dqn-1 --replay market.csv
"""

import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from exec_env.base.errors import ExecEnvError, InputError
from exec_env.base.files import held, read_json, write_json
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
    limit_price: Maybe[str] = None
    """Limit price of child orders: bps beyond the touch, as 2, below zero on our side of it; touch, what a market order
    gets; mid; or join, the quotes of our own side. Rounded to --tick-size, a sell down and a buy up, so that rounding
    never makes it rest."""
    state: Maybe[Path] = None
    """File of the order's state, written whole after every line; where it exists, the order goes on from there."""
    replay: Maybe[Path] = None
    """A recorded market to rehearse on instead of reading snapshots, as of --tape elsewhere: fills are those that an
    environment on it gives."""
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
    if "fill" in message or "cancelled" in message:
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


class Kept:
    """The state of an order in a file: written whole after every line, before the line is answered.

    Args:
        path: the file.
        live: the executor, which goes on from there where the file exists.
        settings: what the order was begun with, in plain values; another command line is refused.

    Raises:
        InputError: for a file that is no state, or that of another order.
    """

    def __init__(self, path: Path, live: Any, settings: dict[str, Any]) -> None:
        self._path, self._live, self._settings, self.resumed = path, live, settings, path.exists()
        self._saved = 0
        if not self.resumed:
            self.save()
            return
        found = read_json(path, "the state of an order")
        if set(found) != {"settings", "events"} or not isinstance(found["settings"], dict):
            raise InputError(f"{path}: not the state of an order")
        for name, value in found["settings"].items():
            if name not in settings or settings[name] != value:
                raise InputError(
                    f"{path}: that order has {name} = {shown(value)}, not {shown(settings.get(name))}: say what it was "
                    "begun with, or name another file"
                )
        try:
            live.resume(found["events"])
        except (ExecEnvError, TypeError, KeyError, AttributeError) as error:
            raise InputError(f"{path}: not the state of an order: {error}") from None
        self._saved = len(live.events)

    def save(self) -> None:
        """Write what is new."""
        if not self._saved or len(self._live.events) > self._saved:
            write_json(self._path, {"settings": self._settings, "events": self._live.events})
            self._saved = len(self._live.events)


def drive(
    live: Any,
    stream: Any,
    assume_filled: bool,
    working: Callable[[bool], None],
    save: Callable[[], None] = lambda: None,
) -> None:
    """Answer line by line until the order is done or the input ends; ``save`` is called before each answer."""
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
        save()
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
    given = args.options
    options = (own.options if own else {}) | args.problem.options(start, argv)
    if given.replay is not None:
        for name in ("state", "assume_filled"):
            if getattr(given, name):
                raise InputError(f"--{name.replace('_', '-')}: beside --replay, whose fills are the environment's")
        options["tape"] = str(given.replay.resolve())
    if given.hours_per_day is not None:
        options["hours_per_day"] = given.hours_per_day
    problem = problem_of(own.env_id if own else given.env, **options)
    _, agent = resolve(given.agent, problem)
    if given.replay is not None:
        live, steps = problem.rehearse(agent, limit_price=given.limit_price)
    else:
        live = problem.live(agent, limit_price=given.limit_price)
        if given.assume_filled and live.limit_price is not None and not live.limit_price.trades:
            raise InputError(f"--limit-price {given.limit_price}: such an order rests, and --assume-filled is at once")
    say_remarks(problem)
    stopped: int | None = None
    with ExitStack() as stack:
        save: Callable[[], None] = lambda: None  # noqa: E731
        if given.state is not None:
            stack.enter_context(held(given.state))
            kept = Kept(given.state, live, _settings(given, problem))
            save = kept.save
        working = stack.enter_context(stoppable())
        try:
            if given.state is not None and kept.resumed:
                print(json.dumps({"resumed": live.report() | {"child": len(live.children)}}), flush=True)
            if given.replay is not None:
                for step in steps:
                    print(json.dumps(step, allow_nan=False), flush=True)
            elif not live.done:
                drive(live, getattr(sys.stdin, "buffer", sys.stdin), given.assume_filled, working, save)
        except Stop as stop:
            stopped = stop.args[0]
        finally:
            _report(live)
    if stopped == signal.SIGINT:
        raise KeyboardInterrupt
    if stopped is not None:
        sys.exit(128 + stopped)


def _settings(given: Options, problem: Any) -> dict[str, Any]:
    """What an order was begun with, in plain values."""
    named = {name: getattr(given, name) for name in ("agent", "assume_filled", "limit_price", "hours_per_day")}
    fields = {f"{part}.{name}": value for part, of in problem.parameters().items() for name, value in of.items()}
    settings: dict[str, Any] = json.loads(json.dumps(named | fields))  # as the file has them: lists for tuples
    return settings


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
