"""What the command lines share: options taken from the dataclasses of the Python API, and errors in one line."""

import dataclasses
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from os.path import isdir
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, TypeVar

import docstring_parser
import tyro

from exec_env.base.errors import InputError
from exec_env.base.plain_yaml import yaml_value
from exec_env.cli.texts import with_units
from exec_env.data.reading import Reading, Sides, TimeUnit
from exec_env.data.slices import Stamp
from exec_env.data.split import Part
from exec_env.data.tape import Fills
from exec_env.envs.factory import ONE_ASSET
from exec_env.envs.problem import Problem
from exec_env.envs.registry import ENVIRONMENTS, get_spec
from exec_env.envs.reward import Reward
from exec_env.harness.agents import agent_class, known_agents, normalise, run_of
from exec_env.harness.provenance import Own, config_of, own_problem
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.one_asset.information import Information
from exec_env.one_asset.options import make_problem
from exec_env.one_asset.presets import PRESETS

T = TypeVar("T")
_SAID = tyro.conf.arg(help_behavior_hint="")  # what holds where nothing is given stands in the help text

Maybe = Annotated[T | None, tyro.conf.DisallowNone, _SAID]
"""An option without a value of its own, whose help text says what holds then."""
Several = Annotated[tuple[T, ...], _SAID]
"""Any number of values, by default none."""
Name = Annotated[str, _SAID]
"""A name, by default none."""
Flag = Annotated[bool, tyro.conf.FlagCreatePairsOff, _SAID]
"""Something to switch on."""
Agents = tyro.conf.Positional[Annotated[tuple[str, ...], tyro.conf.arg(metavar="[AGENT ...]", help_behavior_hint="")]]
"""The agents that a command is about."""
Plain = Annotated[T, tyro.conf.arg(name="")]
"""A group of options without a heading of its own: those of the command."""
Group = Annotated[T, tyro.conf.arg(prefix_name=False)]
"""A group within a group, whose heading is its own name alone."""


def parse(
    command: str, arguments: Any, argv: Sequence[str], doc: str | None, default: Any = None, names: bool = True
) -> Any:
    """Options from a dataclass of groups, whose names are the headings of the help text and no part of an option.

    Args:
        command: what follows ``exec-env`` on the command line.
        arguments: the dataclass.
        argv: the command line.
        doc: what the help text begins with.
        default: an instance with the defaults; by default the dataclass's own.
        names: whether the help text lists environments and presets.
    """
    kwargs = {} if default is None else {"default": default}
    if {"-h", "--help"} & set(argv):
        join_lines(arguments if default is None else default)
    description = f"{doc}\n{epilogue()}" if names else doc
    config = (tyro.conf.OmitArgPrefixes,)
    if isinstance(default, ProblemOptions) or hasattr(default, "problem"):
        argv, _ = with_units(argv)  # ProblemOptions.options reads the texts
    return tyro.cli(arguments, prog=f"exec-env {command}", args=argv, description=description, config=config, **kwargs)


def join_lines(arguments: Any) -> None:
    """Let help texts be wrapped to the terminal's width, not where they are in the source."""
    cls = arguments if isinstance(arguments, type) else type(arguments)
    written = [docstring_parser.parse_from_object(base) for base in cls.__mro__ if dataclasses.is_dataclass(base)]
    texts = {param.arg_name: param.description for doc in reversed(written) for param in doc.params}
    for f in dataclasses.fields(cls):
        if text := texts.get(f.name):
            f.metadata = MappingProxyType({"help": " ".join(text.replace("``", "").split())} | dict(f.metadata))
        group = getattr(arguments, f.name, None) if f.default_factory is dataclasses.MISSING else f.default_factory()
        if dataclasses.is_dataclass(group):
            join_lines(group)


@dataclass(frozen=True)
class ReadingOptions(Reading):
    """How files of data are read; a format that their columns tell needs none of these."""

    format: Maybe[str] = None
    time_unit: Maybe[TimeUnit] = None
    time_format: Maybe[str] = None
    zone: Maybe[str] = None
    session: Maybe[str] = None
    separator: Maybe[str] = None
    decimal: Maybe[str] = None
    thousands: Maybe[str] = None
    header: Several[str] = ()
    symbol: Maybe[str] = None
    sides: Maybe[Sides] = None
    clean: Flag = False

    def read(self) -> Reading:
        """Without what is of command lines alone.

        Raises:
            InputError: as ``Reading``, which names fields as options have them but for their dashes.
        """
        return Reading(**self.named())


_OF_A_TAPE = ("columns", "stamp", "split", "part", "purge", "minutes", "reading")
"""Options that ``make_problem`` calls tape_columns and so on."""


@dataclass(frozen=True)
class TapeOptions:
    """A recorded market to use instead of a simulated one."""

    tape: Several[Path] = ()
    """Files, or patterns of names, as of exec-env calibrate: slices with columns time, mid, spread, volume and, if
    known, depth; books with volume, a row a slice; or ticks and bars, of which slices are made."""
    columns: Several[str] = ()
    """Where the file has other names: OURS=COLUMN, or arithmetic such as "volume=(buys + sells) / price". Of the book's
    levels # is the number, in the file from 0 or 1: "bid_price_#=mid * (1 - bid_distance_#)", likewise bid_size_#,
    ask_price_# and ask_size_#."""
    tape_features: Several[str] = ()
    """What else agents see of a slice: NAME=COLUMN, or arithmetic such as "imbalance=(bid_size - ask_size) / (bid_size
    + ask_size)"; in standard deviations from the mean of the training rows. A row's value must be known at its time. A
    run folder without = stands for its features, in its units."""
    hours_per_day: Maybe[float] = None
    """Length of the trading day, of the tape's or of who writes 5min and 2h, the unit of time of every rate; 24 where
    trading never stops. By default that of --market, which it has to agree with, or else 6.5. [hour]"""
    minutes: Maybe[float] = None
    """Length of slices that are made of ticks or bars, by default 5; also of books, which are rows else. [minute]"""
    stamp: Maybe[Stamp] = None
    """Whether a row's volume is that from its time on (start, the default) or up to it (end)."""
    split: Maybe[float] = None
    """Part of its rows that is for training, as 0.6; all averages are of these, and later rows are for evaluation."""
    part: Maybe[Part] = None
    """Where it is split, the rows that are played; by default training rows by what trains or collects, evaluation rows
    by all that evaluates."""
    purge: Maybe[int] = None
    """Rows between the two that nobody plays; by default as many as the order has slices."""
    reading: Group[ReadingOptions] = field(default_factory=ReadingOptions)
    fills: Fills = "impact"
    """What trades cost beyond the touch: by temporary impact, or by walking the book that the tape has."""

    def options(self, own: Own | None = None) -> dict[str, Any]:
        """Options of ``make_problem``; where the run's ``own`` problem has a tape, of that tape."""
        columns = named_columns(self.columns, "--columns")
        fills = None if self.fills == TapeOptions.fills else self.fills
        given: dict[str, Any] = {"columns": columns or None, "hours_per_day": self.hours_per_day, "fills": fills}
        given |= {name: getattr(self, name) for name in ("minutes", "stamp", "split", "part", "purge")}
        given |= {"tape_features": _features(self.tape_features) or None}
        given |= {"reading": self.reading.read().named() or None}
        given = {name: value for name, value in given.items() if value is not None}
        whole = {f"tape_{name}" if name in _OF_A_TAPE else name: value for name, value in given.items()}
        if not self.tape and own is not None and "tape" in own.options:
            return whole
        if not self.tape:
            for name in given:
                if name != "hours_per_day":
                    raise InputError(f"--{name.replace('_', '-')}: there is no --tape")
            return given
        paths = [str(path.resolve()) for path in self.tape]
        return {"tape": paths[0] if len(paths) == 1 else paths, "tape_columns": columns} | whole


@dataclass(frozen=True)
class RewardOptions:
    """What a slice pays."""

    reward: str = "expected"
    """"expected" leaves out the martingale part of the price, "shortfall" includes it; module:function is a reward of
    your own, from a fill to what the slice pays [$]."""
    violation_penalty: float = Reward.violation_penalty
    """Shaping: price of asking for more than the cap allows. [bps per order size asked in excess]"""
    smoothness_penalty: float = Reward.smoothness_penalty
    """Shaping: price of changing participation. [bps per squared change of participation]"""

    def options(self) -> dict[str, Any]:
        """Options of ``make_problem``: those that differ from the defaults."""
        return {name: value for name, value in vars(self).items() if value != getattr(RewardOptions, name)}


@dataclass(frozen=True)
class ProblemOptions:
    """The problem: any field of Market and Order replaces the preset's; impact that is not given follows σ S0 / V.

    Numbers may have units: 250k, 1.2m or 4%adv (of the daily volume) shares; 5min, 2h or 1d (a session); 1.8%; 3bps.
    """

    preset: Name = ""
    """Named problem to start from; by default the environment's."""
    randomise: Several[str] = ()
    """Every path plays a market of its own: "stress" (every regime, onset and severity random), "parameters" (half to
    twice), or NAME=LOW:HIGH for a field of Market, such as volatility=0.01:0.04; a field that is drawn moves alone."""
    information: Maybe[Information] = None
    """What agents see of a slice before they trade; "hidden": its spread and the volume of the slice before, but no
    liquidity; "filtered": and what these say of liquidity. By default the environment's, "full": all of it."""
    market_file: Annotated[Maybe[Path], tyro.conf.arg(name="market")] = None
    """A calibrated market to start from, as exec-env calibrate writes it (YAML)."""
    arrival: Annotated[Maybe[str], tyro.conf.arg(name="start")] = None
    """When the order arrives, as 09:30: slices are then shown by the clock."""
    deadline: Annotated[Maybe[str], tyro.conf.arg(name="end")] = None
    """When it has to be done, as 15:30: with --n-steps or --slice-length, the other of the two follows."""
    set: Several[str] = ()
    """Any other option of the problem, as NAME=VALUE: of a problem of your own, or reward=module:function."""
    market: Group[Market] = field(default_factory=Market)
    order: Group[Order] = field(default_factory=Order)

    @classmethod
    def start(cls, argv: Sequence[str], default_env: str, own: Own | None = None) -> "ProblemOptions":
        """What --env, --preset and --market name, or else ``own``, so that --help shows its values as the defaults."""
        first = _first(argv, default_env)
        spec = get_spec(own.env_id if own else first.env)
        if spec.problem != ONE_ASSET:
            return cls(first.preset)
        named = {"preset": first.preset} if first.preset else {}
        problem = make_problem(**(spec.options | (own.options if own else named | {"market": first.market})))
        return cls(first.preset, market_file=first.market, market=problem.market, order=problem.order)

    def options(self, start: "ProblemOptions", argv: Sequence[str]) -> dict[str, Any]:
        """Options of ``make_problem``: the preset if named, and the fields that the command line names."""
        argv, texts = with_units(argv)
        named = {a.partition("=")[0].lstrip("-").replace("-", "_") for a in argv if a.startswith("--")}
        changed: dict[str, Any] = {"preset": self.preset} if self.preset else {}
        if self.randomise:
            changed["randomise"] = list(self.randomise)
        if self.information is not None:
            changed["information"] = self.information
        if self.market_file is not None:
            changed["market"] = str(self.market_file.resolve())
        for text in self.set:
            name, equals, value = text.partition("=")
            if not equals or not name.strip().isidentifier():
                raise InputError(f"--set {text!r}: must read NAME=VALUE")
            changed[name.strip()] = yaml_value(value, f"--set {name}")
        for part in ("market", "order"):
            ours, theirs = getattr(self, part), getattr(start, part)
            for f in dataclasses.fields(ours):
                if f.name in named or getattr(ours, f.name) != getattr(theirs, f.name):
                    changed[f.name] = getattr(ours, f.name)
        times = {"start": self.arrival, "end": self.deadline}
        return changed | texts | {name: text for name, text in times.items() if text is not None}


@dataclass(frozen=True)
class WorkerOptions:
    """Where tasks run; results are the same everywhere."""

    ray: Maybe[str] = None
    """Address of a Ray cluster, whose nodes have the same exec_env installed; "off": one task at a time, in this
    process. By default a Ray of this machine's own, if Ray is installed."""
    memory: float = 1.0
    """What a task may need, for Ray to plan with [GiB]."""


def problem_arguments(argv: Sequence[str]) -> str:
    """What of a command line says which problem it is, to be said again to another script.

    >>> problem_arguments(["--market", "a market.yaml", "--steps", "9", "--columns", "mid=a", "volume=b + c"])
    " --market 'a market.yaml' --columns mid=a 'volume=b + c'"
    """
    parts = (Market, Order, TapeOptions, Reading, ProblemOptions)
    ours = {"env", "start", "end", *(f.name for part in parts for f in dataclasses.fields(part))}
    found, inside = [], False
    for argument in argv:
        if argument.startswith("--"):
            inside = argument.partition("=")[0].lstrip("-").replace("-", "_") in ours - {"part", "order", "reading"}
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


def _features(texts: Sequence[str]) -> dict[str, Any]:
    """``tape_features``, of texts NAME=COLUMN and of run folders; a column after a run's is seen in the run's units.

    Raises:
        InputError: for a text that is neither.
    """
    found: dict[str, Any] = {}
    for text in texts:
        if "=" in text:
            for name, column in named_columns([text], "--tape-features").items():
                found[name] = {**found[name], "column": column} if isinstance(found.get(name), dict) else column
            continue
        kept = (config_of(text).get("options") or {}).get("tape_features")
        if not isinstance(kept, dict):
            raise InputError(
                f"--tape-features {text!r}: must read NAME=COLUMN, or be the folder of a run that has some"
            )
        found |= kept
    return found


def problem_of_runs(argv: Sequence[str]) -> Own | None:
    """The problem of the run folders that a command line names, unless an option names another; said on stderr.

    Raises:
        InputError: where the runs have different problems.
    """
    if any(a.partition("=")[0] in ("--env", "--preset", "--market", "--tape") for a in argv):
        return None
    known = known_agents()
    runs = [a for a in argv if not a.startswith("-") and normalise(a) not in known and isdir(a)]
    for run in runs:
        kept = any((Path(run) / part).exists() for part in ("agent.yaml", "best"))
        if kept and not (run_of(run) / "config.yaml").is_file():
            print(f"{run}: has no config.yaml, so that it is not known what it was trained on", file=sys.stderr)
    own = own_problem(runs)
    if own is not None:
        others = "--env, --preset, --market or --tape name another"
        print(f"problem: that of {own.run}, {own}, and what this command line changes; {others}", file=sys.stderr)
    return own


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


def say_remarks(problem: Problem) -> None:
    """Print on stderr what has to be known of a problem, where no table of the command says it."""
    for remark in problem.remarks():
        print(f"note: {remark}", file=sys.stderr)


def refuse_existing(out: Path | None) -> None:
    """Refuse a folder for results that exists already, before the work is done rather than after it."""
    if out is not None and out.exists():
        raise InputError(f"--out {out} exists: choose another folder, so that nothing is overwritten")


def epilogue() -> str:
    """Names that options take."""
    width = max(map(len, (*ENVIRONMENTS, *PRESETS)))
    environments = "\n".join(f"  {name:{width}}  {spec.description}" for name, spec in ENVIRONMENTS.items())
    presets = "\n".join(f"  {name:{width}}  {preset.description}" for name, preset in PRESETS.items())
    return f"environments:\n{environments}\n\npresets:\n{presets}"


def learners() -> list[str]:
    """Names of the agents that learn. Our own are not imported to find out, because that takes seconds."""
    folders = {"exec_env.agents": True, "exec_env.baselines": False}

    def learns(point: Any) -> bool:
        known = folders.get(point.module.rpartition(".")[0])
        return hasattr(agent_class(point.name), "learn") if known is None else known

    return sorted(name for name, point in known_agents().items() if learns(point))
