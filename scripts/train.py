"""Train an agent; everything is kept in a run folder.

Examples:
  exec-env train dqn                                   default problem, about two minutes
  exec-env train dqn --run runs/fast --steps 1000000   a shorter run, in a folder of your choice
  exec-env train dqn --side buy --shares 400000        any field of Market and Order is an option
  exec-env train dqn --tape market.csv --split 0.6 --shares 5000
                                                       on a recorded market, its first 60 % of rows
  exec-env train ppo --env AlmgrenChrissContinuous-v0  an agent of Stable-Baselines3, on a continuous action
  exec-env train dqn --randomise stress                every path under a stress of its own, or none
  exec-env train ppo --randomise parameters volatility=0.01:0.06
                                                       every path in a market drawn from ranges
  exec-env train td3-bc --dataset datasets/twap-v0     offline, from episodes of exec-env collect
  exec-env train --resume runs/dqn-1                   go on with a run that was interrupted

Defaults of training and agent are those tuned for the environment. The run folder keeps the agent
as it was at its best check and as it ended (RUN/last). Offline learners (bc, bcq, td3-bc) count gradient updates as
steps, and the last check as the best, unless --select simulator.

Then compare it with the baselines:
  exec-env evaluate twap pov almgren-chriss runs/dqn-1
"""

import functools
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from exec_env.base.errors import InputError
from exec_env.base.files import free_folder, read_yaml
from exec_env.base.validation import unknown
from exec_env.cli.main import run
from exec_env.cli.options import (
    Flag,
    Maybe,
    Plain,
    ProblemOptions,
    RewardOptions,
    TapeOptions,
    learners,
    named_env,
    parse,
    problem_arguments,
)
from exec_env.envs.registry import problem_of
from exec_env.harness.agents import known_agents, normalise
from exec_env.harness.training.hyperparameters import TrainConfig, settings
from exec_env.harness.training.loop import resume, train
from exec_env.one_asset.actions import ActionMode
from exec_env.one_asset.problem import OneAsset

_TEACHES = """
Options of an agent, and its own defaults of training:
  exec-env train dqn --help

Agents that learn:
"""


@dataclass(frozen=True)
class Options:
    """Where the run is kept."""

    run: Maybe[Path] = None
    """Folder to create; by default runs/AGENT-1, or the first number that is free."""
    resume: Maybe[Path] = None
    """Run folder to go on with; every other option is then taken from it."""
    quiet: Flag = False
    """Show no progress bar."""
    action: Maybe[str] = None
    """Action mode; by default the environment's."""


Agent = tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="AGENT", help_behavior_hint="")]]


@dataclass(frozen=True)
class AnyAgent:
    """Options of a command line that names no agent."""

    agent: Agent = ""
    """An agent that learns, named first; its options follow."""
    options: Plain[Options] = field(default_factory=Options)
    training: TrainConfig = field(default_factory=TrainConfig)


_FEW = 100  # updates
_LITTLE = ": that is little; take more steps, or a shorter warm-up"


def main(argv: Sequence[str]) -> None:
    """Parse, train, say where the result is."""
    name = argv[0] if argv and not argv[0].startswith("-") else None
    if name is not None and normalise(name) not in learners():
        raise InputError(unknown("learning agent", name, learners()))
    rest = argv[1:] if name else argv
    if name is None:
        folder, work, quiet = _go_on(argv)
    else:
        folder, work, quiet = _begin(normalise(name), rest)
    try:
        work(progress=not quiet)
    except KeyboardInterrupt:
        if folder.exists():
            print(f"go on with: exec-env train --resume {folder}", file=sys.stderr)
        raise
    config = read_yaml(folder / "config.yaml")
    for note in config.get("notes", []):
        print(note)
    summary = read_yaml(folder / "summary.yaml")
    if "updates" in summary:
        little = _LITTLE if summary["updates"] < _FEW else ""
        print(f"{summary['updates']:,} updates in {summary['steps']:,} steps{little}")
    print(f"run folder: {folder}")
    same = problem_arguments(rest) if name else ""
    problem = problem_of(config["train"]["env"])
    others = "twap pov almgren-chriss" if isinstance(problem, OneAsset) else " ".join(problem.suggested())
    print(f"compare it: exec-env evaluate {others} {shlex.quote(str(folder))}{same}")


def _go_on(argv: Sequence[str]) -> tuple[Path, Callable[..., Any], bool]:
    """Help, or a run to go on with: its folder, the work, and whether to be quiet."""
    known = learners()
    named = {a.partition("=")[0] for a in argv if a.startswith("-")}
    if not named & {"--resume", "-h", "--help"}:
        if later := [a for a in argv if normalise(a) in known]:
            raise InputError(f"name the agent first: exec-env train {later[0]} ..., because the options depend on it")
        raise InputError(f"name an agent to train: {', '.join(known)}; or --resume a run")
    others = sorted(named - {"--resume", "--quiet", "-h", "--help"})
    if others:
        raise _alone(others[0])
    every = known_agents()
    needs = {name: ", ".join(every[name].extras) or "nothing more" for name in known}
    width = max(map(len, needs))
    listed = "".join(f"  {name:{width}} needs {extra}\n" for name, extra in needs.items())
    options = parse("train", AnyAgent, argv, f"{__doc__}{_TEACHES}{listed}").options
    return options.resume, functools.partial(resume, options.resume), options.quiet


def _begin(agent: str, argv: Sequence[str]) -> tuple[Path, Callable[..., Any], bool]:
    """A new run: its folder, the work, and whether to be quiet."""
    start, env = ProblemOptions.start(argv, TrainConfig.env), named_env(argv, TrainConfig.env)
    train_settings, agent_settings = settings(agent, env)
    headed: Any = Annotated[type(agent_settings), tyro.conf.arg(name=f"agent {agent}")]
    parts: list[tuple[str, Any, Any]] = [
        ("options", Plain[Options], Options()),
        ("training", TrainConfig, train_settings),
        ("learner", headed, agent_settings),
        ("reward", RewardOptions, RewardOptions()),
        ("tape", TapeOptions, TapeOptions()),
        ("problem", ProblemOptions, start),
    ]
    arguments: Any = make_dataclass("Arguments", [(name, kind, field(default=value)) for name, kind, value in parts])
    args: Any = parse(f"train {agent}", arguments, argv, __doc__, arguments())
    if args.options.resume is not None:
        raise _alone(agent)
    options = args.tape.options() | args.problem.options(start, argv) | args.reward.options()
    if args.options.action is not None:
        options["action"] = ActionMode(args.options.action).name
    folder = args.options.run or free_folder(Path("runs") / agent)
    work = functools.partial(train, agent, folder, args.training, args.learner, **options)
    return folder, work, args.options.quiet


def _alone(other: str) -> InputError:
    return InputError(f"--resume goes with --quiet only, not with {other}: the run keeps its options")


if __name__ == "__main__":
    run(main)
