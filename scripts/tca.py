"""What a real order cost, and of what: its fills against the market around them (transaction cost analysis).

The shortfall against the mid at arrival is split into delay, timing, impact, spread, concession, fees and what was not
filled; beside it are the slippage against VWAP and TWAP, and what agents would have paid on the same tape.

Fills are a file with columns time, price, size and, if known, side, fee and id; the tape is read as everywhere.

Examples:
  exec-env tca fills.csv --tape market.csv
  exec-env tca fills.csv --tape trades.csv quotes.csv --minutes 1 --side sell --shares 250000
      --decision-time "2026-01-05 09:30" --zone America/New_York
  exec-env tca fills.csv --tape market.csv --market market.yaml --agents twap almgren-chriss adaptive runs/dqn-1
      with the order's own impact told apart by a calibrated market, and what others would have done
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from exec_env.base.csv_files import write_csv
from exec_env.base.errors import InputError
from exec_env.base.files import free_folder, new_folder
from exec_env.cli.main import run
from exec_env.cli.options import (
    Maybe,
    Plain,
    ProblemOptions,
    Several,
    TapeOptions,
    named_columns,
    parse,
    refuse_existing,
)
from exec_env.data.executions import Executions
from exec_env.data.market_file import MarketFile
from exec_env.data.reading import Reading
from exec_env.harness.reports.tca_plot import draw
from exec_env.harness.tca import CostAnalysis, analyse, moment
from exec_env.one_asset.options import TapeOptions as PlayedTape


@dataclass(frozen=True)
class Options:
    """The fills, the order that they are of, and where the result goes."""

    fills: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="FILLS", help_behavior_hint="")]] = Path()
    """File of fills of one order."""
    fills_columns: Several[str] = ()
    """Where it has other names: OURS=COLUMN, of time, price, size, side, fee, id."""
    fills_zone: Maybe[str] = None
    """Zone of its times, where they name none, as America/New_York; by default the tape's --zone, or UTC."""
    decision_time: Maybe[str] = None
    """When the order was decided on, as "2026-01-05 09:30", in that zone; by default the first fill."""
    deadline: Maybe[str] = None
    """When it was to be done; by default the last fill."""
    decision_price: Maybe[float] = None
    """Price at arrival, where it was noted; by default the tape's mid at the start of that slice. [$]"""
    agents: Several[str] = ()
    """Baselines and run folders that play the same tape; by default twap, almgren-chriss and, with a calibrated market,
    adaptive."""
    out: Maybe[Path] = None
    """Folder to create; by default runs/tca-1, or the first number that is free."""


@dataclass(frozen=True)
class Arguments:
    """All options."""

    options: Plain[Options] = field(default_factory=Options)
    tape: TapeOptions = field(default_factory=TapeOptions)
    problem: ProblemOptions = field(default_factory=ProblemOptions)


def main(argv: Sequence[str]) -> None:
    """Parse, analyse, print, save."""
    start = ProblemOptions.start(argv, "AlmgrenChriss-v0")
    args = parse("tca", Arguments, argv, __doc__, Arguments(problem=start), names=False)
    options = args.options
    if options.fills == Path():
        raise InputError("name the file with the fills")
    if not args.tape.tape:
        raise InputError("--tape: name the market around the fills, as exec-env evaluate takes it")
    for name in ("split", "part", "purge", "fills"):
        if getattr(args.tape, name) != getattr(TapeOptions, name):
            raise InputError(f"--{name}: has no effect here: all of the tape is played, with fills by impact")
    refuse_existing(options.out)
    given = args.tape.options() | args.problem.options(start, argv)
    for name in ("n_steps", "slice_length", "start", "end"):
        if name in given:
            raise InputError(f"--{name.replace('_', '-')}: is that of the tape, from --decision-time to --deadline")
    size, side = given.pop("shares", None), given.pop("side", None)
    zone = options.fills_zone or args.tape.reading.zone
    fills = Executions.read(options.fills, named_columns(options.fills_columns, "--fills-columns"), Reading(zone=zone))
    file = MarketFile.load(given["market"]) if "market" in given else None
    tape = PlayedTape.taken_from(given).read(given.pop("tape"), file)
    agents = options.agents or ("twap", "almgren-chriss", *(("adaptive",) if file else ()))
    arrival, deadline = (
        None if text is None else moment(text, name, zone or "UTC")
        for name, text in (("--decision-time", options.decision_time), ("--deadline", options.deadline))
    )
    found = analyse(fills, tape, size, side, arrival, deadline, options.decision_price, agents, **given)
    print(found.table())
    folder = save(found, options.out or free_folder(Path("runs") / "tca"))
    print(f"components.csv, per_fill.csv, benchmarks.csv, alternatives.csv, tca.png: {folder}")


def save(found: CostAnalysis, folder: Path) -> Path:
    """Tables and the picture, in a new folder."""
    folder = new_folder(folder)
    components = found.components.rename("cost [$]").to_frame()
    components["cost [bps]"] = components["cost [$]"] * found.to_bps
    write_csv(components.rename_axis("component"), folder / "components.csv", index=True)
    write_csv(found.per_fill, folder / "per_fill.csv")
    write_csv(found.benchmarks.rename_axis("benchmark"), folder / "benchmarks.csv", index=True)
    write_csv(found.alternatives.rename_axis("agent"), folder / "alternatives.csv", index=True)
    draw(found, folder / "tca.png")
    return folder


if __name__ == "__main__":
    run(main)
