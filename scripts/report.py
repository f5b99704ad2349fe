"""Write a report: one HTML page with results, cost components, learning curves, behaviour and example episodes.

Agents are run folders of trained agents, names of baselines (twap, vwap, pov, almgren-chriss ...), or module:Class
of your own, built from (market, order). Where no baseline is named, twap and adaptive are added, so that there is
something to compare with. The page loads nothing from anywhere: it opens offline and can be sent by mail.

Examples:
  exec-env report runs/dqn-1
  exec-env report runs/dqn-1 runs/dqn-2 twap static adaptive --out seeds.html
  exec-env report runs/dqn-1 --volatility 0.03 --side buy --episodes 100000 --out volatile.html
  exec-env report twap pov --tape market.csv --columns mid=price volume="buys + sells" --shares 5000
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from exec_env.base.files import new_file
from exec_env.cli.main import run
from exec_env.cli.options import Agents, Flag, Plain, ProblemOptions, TapeOptions, parse, problem_of_runs


@dataclass(frozen=True)
class Options:
    """What is reported, on what, and where the page goes."""

    agents: Agents = ()
    """Run folders, baseline names, or module:Class; any mix. Without a baseline, twap and adaptive are added."""
    env: str = "AlmgrenChriss-v0"
    """Environment id."""
    episodes: int = 20_000
    """Number of common paths."""
    seed: int = 0
    """Of the paths."""
    starts: Literal["random", "rolling"] = "random"
    """Where episodes of a recorded tape begin: at random rows, or evenly spread over all that fit."""
    out: Path = Path("report.html")
    """File to create; one that exists is refused."""
    quiet: Flag = False
    """Show no progress bar."""


@dataclass(frozen=True)
class Arguments:
    """All options."""

    options: Plain[Options] = field(default_factory=Options)
    tape: TapeOptions = field(default_factory=TapeOptions)
    problem: ProblemOptions = field(default_factory=ProblemOptions)


def main(argv: Sequence[str]) -> None:
    """Parse, evaluate, write, print."""
    own = problem_of_runs(argv)
    start = ProblemOptions.start(argv, Options.env, own)
    args = parse("report", Arguments, argv, __doc__, Arguments(problem=start))
    options = args.options
    overrides = (own.options if own else {}) | args.tape.options(own) | args.problem.options(start, argv)
    new_file(options.out)
    from exec_env.harness.reports.report import write_report

    evaluation = write_report(
        options.agents,
        options.out,
        own.env_id if own else options.env,
        episodes=options.episodes,
        seed=options.seed,
        starts=options.starts,
        progress=not options.quiet,
        **overrides,
    )
    print(evaluation.table())
    print(f"report: {options.out}")


if __name__ == "__main__":
    run(main)
