"""What the command lines share: options taken from the dataclasses of the Python API, and errors in one line."""

import dataclasses
import importlib.util
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from exec_env.base.errors import ExecEnvError, InputError
from exec_env.data.slices import Stamp
from exec_env.data.split import Part
from exec_env.data.tape import Fills
from exec_env.envs.registry import ENVIRONMENTS, get_spec
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.one_asset.options import make_problem
from exec_env.one_asset.presets import PRESETS


def parse(arguments: Any, argv: Sequence[str], doc: str | None, default: Any = None) -> Any:
    """Options from a dataclass of groups; their names stay out: --volatility, not --market.volatility."""
    kwargs = {} if default is None else {"default": default}
    description = f"{doc}\n{epilogue()}"
    return tyro.cli(arguments, args=argv, description=description, config=(tyro.conf.OmitArgPrefixes,), **kwargs)


@dataclass(frozen=True)
class TapeOptions:
    """A recorded market to use instead of a simulated one."""

    tape: Path | None = None
    """CSV file with columns time, mid, spread, volume and, if known, depth and levels of the book (which has a mid and
    a spread of its own)."""
    tape_columns: tuple[str, ...] = ()
    """Where the file has other names: OURS=COLUMN, or arithmetic such as "volume=(buys + sells) / price". Of the book's
    levels # is the number, in the file from 0 or 1: "bid_price_#=mid * (1 - bid_distance_#)", likewise bid_size_#,
    ask_price_# and ask_size_#. --columns of calibrate.py takes the same."""
    hours_per_day: float | None = None
    """Length of its trading day, the unit of time of every rate; 24 where trading never stops. By default that of
    --market, which it has to agree with, or else 6.5. [hour]"""
    tape_stamp: Stamp | None = None
    """Whether a row's volume is that from its time on (start, the default) or up to it (end)."""
    tape_split: float | None = None
    """Part of its rows that is for training, as 0.6; all averages are of these, and later rows are for evaluation."""
    tape_part: Part | None = None
    """Where it is split, the rows that are played; by default training rows by what trains or collects, evaluation rows
    by all that evaluates."""
    tape_purge: int | None = None
    """Rows between the two that nobody plays; by default as many as the order has slices."""
    fills: Fills = "impact"
    """What trades cost beyond the touch: by temporary impact, or by walking the book that the tape has."""

    def options(self) -> dict[str, Any]:
        """Options of ``make_problem``."""
        columns = named_columns(self.tape_columns, "--tape-columns")
        if self.tape is None and columns:
            raise InputError("--tape-columns: there is no --tape")
        options: dict[str, Any] = {
            name: getattr(self, name)
            for name in ("hours_per_day", "tape_stamp", "tape_split", "tape_part", "tape_purge")
        }
        options |= {"fills": None if self.fills == TapeOptions.fills else self.fills}
        options = {name: value for name, value in options.items() if value is not None}
        if self.tape is None:
            for name in options:
                raise InputError(f"--{name.replace('_', '-')}: there is no --tape")
            return {}
        return {"tape": str(self.tape.resolve()), "tape_columns": columns} | options


@dataclass(frozen=True)
class ProblemOptions:
    """The problem: any field of Market and Order replaces that of the preset."""

    preset: str = ""
    """Named problem to start from; by default the environment's."""
    randomise: tuple[str, ...] = ()
    """Every path plays a market of its own: "stress" (every regime, onset and severity random), "parameters" (half to
    twice), or NAME=LOW:HIGH for a field of Market, such as volatility=0.01:0.04."""
    market_file: Annotated[Path | None, tyro.conf.arg(name="market")] = None
    """A calibrated market to start from, as scripts/calibrate.py writes it (YAML)."""
    market: Market = field(default_factory=Market)
    order: Order = field(default_factory=Order)

    @classmethod
    def start(cls, argv: Sequence[str], default_env: str) -> "ProblemOptions":
        """What --env, --preset and --market name, so that --help shows its values as the defaults."""
        first = _first(argv, default_env)
        named = {"preset": first.preset} if first.preset else {}
        problem = make_problem(**(get_spec(first.env).options | named | {"market": first.market}))
        return cls(first.preset, (), first.market, problem.market, problem.order)

    def options(self, start: "ProblemOptions", argv: Sequence[str]) -> dict[str, Any]:
        """Options of ``make_problem``: the preset if named, and the fields that the command line names."""
        named = {a.partition("=")[0].lstrip("-").replace("-", "_") for a in argv if a.startswith("--")}
        changed: dict[str, Any] = {"preset": self.preset} if self.preset else {}
        if self.randomise:
            changed["randomise"] = list(self.randomise)
        if self.market_file is not None:
            changed["market"] = str(self.market_file.resolve())
        for part in ("market", "order"):
            ours, theirs = getattr(self, part), getattr(start, part)
            for f in dataclasses.fields(ours):
                if f.name in named or getattr(ours, f.name) != getattr(theirs, f.name):
                    changed[f.name] = getattr(ours, f.name)
        return changed


@dataclass(frozen=True)
class WorkerOptions:
    """Where tasks run; results are the same everywhere."""

    ray: str | None = None
    """Address of a Ray cluster, whose nodes have the same exec_env installed; "off": one task at a time, in this
    process. By default a Ray of this machine's own, if Ray is installed."""
    memory: float = 1.0
    """What a task may need, for Ray to plan with [GiB]."""


def problem_arguments(argv: Sequence[str]) -> str:
    """What of a command line says which problem it is, to be said again to another script.

    >>> problem_arguments(["--market", "a market.yaml", "--steps", "9", "--tape-columns", "mid=a", "volume=b + c"])
    " --market 'a market.yaml' --tape-columns mid=a 'volume=b + c'"
    """
    ours = {"env", *(f.name for part in (Market, Order, TapeOptions, ProblemOptions) for f in dataclasses.fields(part))}
    found, inside = [], False
    for argument in argv:
        if argument.startswith("--"):
            inside = argument.partition("=")[0].lstrip("-").replace("-", "_") in ours - {"tape_part", "order"}
        if inside:
            found.append(argument)
    return "".join(f" {shlex.quote(argument)}" for argument in found)


def named_columns(texts: Sequence[str], option: str) -> dict[str, str]:
    """Our name -> the file's column, of texts OURS=COLUMN.

    Raises:
        InputError: naming the option and the text that does not read so.
    """
    columns = {}
    for text in texts:
        ours, equals, theirs = text.partition("=")
        if not equals or not theirs:
            raise InputError(f"{option} {text!r}: must read OURS=COLUMN")
        columns[ours.strip()] = theirs.strip()
    return columns


def require_package(name: str, extra: str) -> None:
    """Say how to install a package that only some command lines need, before any work is done.

    Raises:
        InputError: when it is not installed.
    """
    if importlib.util.find_spec(name) is None:
        raise InputError(f"{name} is not installed: pip install 'exec-env[{extra}]'")


@dataclass(frozen=True)
class _First:
    env: str
    preset: str = ""
    market: Path | None = None


def _first(argv: Sequence[str], default_env: str) -> _First:
    """The options that decide the defaults of the others."""
    named = [a for a in argv if a not in ("-h", "--help")]
    return tyro.cli(_First, args=named, default=_First(default_env), return_unknown_args=True)[0]


def named_env(argv: Sequence[str], default_env: str) -> str:
    """The environment that --env names.

    Raises:
        InputError: when there is none of that name.
    """
    env = _first(argv, default_env).env
    get_spec(env)
    return env


def refuse_existing(out: Path | None) -> None:
    """Refuse a folder for results that exists already, before the work is done rather than after it."""
    if out is not None and out.exists():
        raise InputError(f"--out {out} exists: choose another folder, so that nothing is overwritten")


def epilogue() -> str:
    """Names that options take."""
    environments = "\n".join(f"  {name:28} {spec.description}" for name, spec in ENVIRONMENTS.items())
    presets = "\n".join(f"  {name:28} {preset.description}" for name, preset in PRESETS.items())
    return f"environments:\n{environments}\n\npresets:\n{presets}"


def run(main: Callable[[Sequence[str]], None]) -> None:
    """Run a command line: what the user can mend is one line on stderr and exit status 2; else there is a traceback."""
    sys.path.append(os.getcwd())  # for agents of the user's own, named as module:Class
    try:
        main(sys.argv[1:])
    except ExecEnvError as error:
        if os.environ.get("EXEC_ENV_TRACEBACK"):  # for those who look for where it comes from
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
