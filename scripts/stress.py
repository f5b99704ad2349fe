"""Put agents under stress: every agent in every regime, tables, CSV files and a heat map.

Within a regime all agents play the same paths. The bound of a regime is that of an oracle who knows when it comes.
Agents are named as for exec-env evaluate; baselines are built from the market without stress, because nobody told them.
Those of --told take part once more, built from the market under stress.

Regimes: normal, liquidity-collapse (liquidity × 0.2), volatility-spike (× 3), impact-regime-shift (temporary and
permanent × 3), liquidity-shocks (to a third, twice a day, recovering), extreme-shock (liquidity × 0.1), and
regime-switching (a poor regime, liquidity × 0.3 and volatility × 2, comes and goes).

Examples:
  exec-env stress                              baselines in every regime
  exec-env stress twap adaptive runs/dqn-1         agents of your choice
  exec-env stress --onset 0.2 --onset-end 0.8  a stress that comes at a random moment
  exec-env stress --regimes liquidity-collapse --severity 0.5 0.2 0.1 0.05
                                               liquidity drops by 50, 80, 90 and 95 %
  exec-env stress runs/pathwise-1 runs/pathwise-2 --randomise stress --optimum
                                               and on paths as an agent was trained on with --randomise
  exec-env stress twap pov --tape market.csv --shares 5000
                                               a recorded market, its slices multiplied
  exec-env stress twap runs/pathwise-1 --risk-aversion 1e-5 --side buy --out runs/stressed
                                               any field of Market and Order
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from exec_env.base.errors import InputError, NoBound
from exec_env.base.files import free_folder, new_folder
from exec_env.cli.main import run
from exec_env.cli.options import (
    Agents,
    Flag,
    Maybe,
    Plain,
    ProblemOptions,
    Several,
    TapeOptions,
    parse,
    problem_of_runs,
    refuse_existing,
)
from exec_env.envs.problem import Problem
from exec_env.envs.registry import problem_of
from exec_env.harness.agents import resolve
from exec_env.harness.evaluation import for_evaluation
from exec_env.harness.studies.stress_tests import stress

_SWEPT = {
    "stress": "--regimes",
    "stress_factor": "--severity",
    "stress_onset": "--onset",
    "stress_onset_end": "--onset-end",
    "regime_rate": "--regimes",
    "regime_liquidity": "--severity",
}


@dataclass(frozen=True)
class Options:
    """Who is put under which stress, and where the result goes."""

    agents: Agents = ("twap", "pov", "almgren-chriss", "static", "adaptive")
    """Baseline names, run folders, or module:Class; any mix. By default twap, pov, almgren-chriss, static, adaptive."""
    told: tuple[str, ...] = ("adaptive",)
    """Baselines that take part once more and know the stress: how often it comes and, if fixed, when."""
    env: str = "AlmgrenChriss-v0"
    """Environment id."""
    regimes: Several[str] = ()
    """Regimes; see above. By default all."""
    severity: Several[float] = ()
    """Factors to sweep, of whatever the regimes of --regimes multiply; by default each regime's own. What is severe
    for liquidity, below 1, is calm for volatility and impact."""
    onset: Maybe[float] = None
    """Part of the horizon after which a stress begins; by default half-way, and liquidity-shocks from the start."""
    onset_end: Maybe[float] = None
    """The onset is random, uniform between --onset, or its default, and this."""
    episodes: int = 10_000
    """Number of common paths of each regime."""
    seed: int = 0
    """Of the paths."""
    starts: Literal["random", "rolling"] = "random"
    """Where episodes of a recorded tape begin: at random rows, or evenly spread over all that fit."""
    out: Maybe[Path] = None
    """Folder to create; by default runs/stress-1, or the first number that is free."""
    optimum: Flag = False
    """Compute the best achievable value within the cap in each regime too; it takes seconds for each."""
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
    args = parse("stress", Arguments, argv, __doc__, Arguments(problem=start))
    options = args.options
    named: dict[str, Any] = args.tape.options(own) | args.problem.options(start, argv)
    env, overrides = (own.env_id, own.options | named) if own else (options.env, named)
    for name, instead in _SWEPT.items():
        if name in named:
            raise InputError(f"--{name.replace('_', '-')}: is what this command line varies; use {instead}")
    if options.severity and not any(a.partition("=")[0] == "--regimes" for a in argv):
        raise InputError("--severity: needs --regimes, because what is severe for one is calm for another")
    overrides = {k: v for k, v in overrides.items() if k not in _SWEPT}
    problem = problem_of(env, **for_evaluation(env, overrides))
    agents, told = _that_can_be(options, problem, argv)
    among = problem.scenarios(options.regimes or None, options.severity, options.onset, options.onset_end)
    refuse_existing(options.out)
    if options.out is not None:  # whether it can be created is also known before the work
        new_folder(options.out).rmdir()
    found = stress(
        agents,
        among,
        env,
        episodes=options.episodes,
        seed=options.seed,
        starts=options.starts,
        told=told,
        optimum=options.optimum,
        progress=not options.quiet,
        **overrides,
    )
    print(found.text())
    folder = found.save(options.out or free_folder(Path("runs") / "stress"))
    print(f"tables and pictures: {folder}")


def _that_can_be(options: Options, problem: Problem, argv: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Agents and those of --told; of the ones that nobody named, only those that this market has."""
    named = {"agents": options.agents != Options.agents, "told": any(a.partition("=")[0] == "--told" for a in argv)}
    kept, refused = {part: tuple(getattr(options, part)) for part in named}, dict[str, str]()
    for name in dict.fromkeys(name for part, own in named.items() if not own for name in kept[part]):
        try:
            resolve(name, problem)
        except (InputError, NoBound) as error:
            refused[name] = str(error)
            print(f"{name} left out: {error}", file=sys.stderr)
    for part, own in named.items():
        kept[part] = kept[part] if own else tuple(name for name in kept[part] if name not in refused)
    return kept["agents"] or problem.suggested(), kept["told"]


if __name__ == "__main__":
    run(main)
