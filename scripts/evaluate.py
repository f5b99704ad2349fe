"""Evaluate agents on the same market paths: a table, CSV files and pictures.

Agents are names of baselines (twap, vwap, pov, almgren-chriss ...), run folders of trained agents, or
module:Class of your own, built from (market, order).

Examples:
  exec-env evaluate twap pov almgren-chriss runs/dqn-1
  exec-env evaluate twap almgren-chriss --risk-aversion 1e-5 --side buy --episodes 100000
  exec-env evaluate adaptive optimal --optimum
  exec-env evaluate adaptive optimal --optimum --certify 10000
  exec-env evaluate twap almgren-chriss --env AlmgrenChrissClassic-v0
  exec-env evaluate twap pov --tape market.csv --columns mid=price volume="buys + sells" --shares 5000
  exec-env evaluate twap runs/dqn-1 --tape book.csv --split 0.6 --fills book --shares 5000
      on rows after those for training, walking its book
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from exec_env.base.files import free_folder, new_folder
from exec_env.cli.main import run
from exec_env.cli.options import (
    Agents,
    Flag,
    Maybe,
    Plain,
    ProblemOptions,
    TapeOptions,
    parse,
    problem_of_runs,
    refuse_existing,
)
from exec_env.data.description import describe
from exec_env.envs.registry import problem_of
from exec_env.harness.evaluation import evaluate, for_evaluation
from exec_env.one_asset.problem import OneAsset


@dataclass(frozen=True)
class Options:
    """What is compared, on what, and where the result goes."""

    agents: Agents = ()
    """Baseline names, run folders, or module:Class; any mix."""
    env: str = "AlmgrenChriss-v0"
    """Environment id."""
    episodes: int = 10_000
    """Number of common paths."""
    seed: int = 0
    """Of the paths."""
    starts: Literal["random", "rolling"] = "random"
    """Where episodes of a recorded tape begin: at random rows, or evenly spread over all that fit."""
    out: Maybe[Path] = None
    """Folder to create; by default runs/evaluation-1, or the first number that is free."""
    optimum: Flag = False
    """Compute the best achievable value within the cap too, by dynamic programming, and a statistical interval for it;
    it takes seconds."""
    certify: Maybe[int] = None
    """Paths of that interval, which is then computed with or without --optimum; 0: none. By default 500."""
    quiet: Flag = False
    """Show no progress bar."""


@dataclass(frozen=True)
class Arguments:
    """All options."""

    options: Plain[Options] = field(default_factory=Options)
    tape: TapeOptions = field(default_factory=TapeOptions)
    problem: ProblemOptions = field(default_factory=ProblemOptions)


def main(argv: Sequence[str]) -> None:
    """Parse, evaluate, print, save."""
    own = problem_of_runs(argv)
    start = ProblemOptions.start(argv, Options.env, own)
    args = parse("evaluate", Arguments, argv, __doc__, Arguments(problem=start))
    options, env = args.options, own.env_id if own else args.options.env
    overrides = (own.options if own else {}) | args.tape.options(own) | args.problem.options(start, argv)
    if "tape" in overrides:
        problem = problem_of(env, **for_evaluation(env, overrides))
        if isinstance(problem, OneAsset) and problem.tape is not None:
            print(describe(problem.tape, problem.market, start.market, problem.file is not None))
    refuse_existing(options.out)
    if options.out is not None:  # whether it can be created is also known before the work
        new_folder(options.out).rmdir()
    evaluation = evaluate(
        options.agents,
        env,
        episodes=options.episodes,
        seed=options.seed,
        starts=options.starts,
        progress=not options.quiet,
        optimum=options.optimum,
        certify=options.certify,
        **overrides,
    )
    print(evaluation.table())
    folder = evaluation.save(options.out or free_folder(Path("runs") / "evaluation"))
    print(f"tables and pictures: {folder}")


if __name__ == "__main__":
    run(main)
