"""Train an agent; everything is kept in a run folder.

Examples:
  python scripts/train.py dqn                                  default problem, about two minutes
  python scripts/train.py dqn --run runs/fast --steps 1000000  a shorter run, in a folder of your choice
  python scripts/train.py dqn --side buy --shares 400000       any field of Market and Order is an option
  python scripts/train.py dqn --tape market.csv --tape-split 0.6 --shares 5000
                                                               on a recorded market, its first 60 % of rows
  python scripts/train.py ppo --env AlmgrenChrissContinuous-v0 an agent of Stable-Baselines3, on a continuous action
  python scripts/train.py dqn --randomise stress               every path under a stress of its own, or none
  python scripts/train.py ppo --randomise parameters volatility=0.01:0.06
                                                               every path in a market drawn from ranges
  python scripts/train.py td3-bc --dataset datasets/twap-v0    offline, from episodes of scripts/collect.py
  python scripts/train.py --resume runs/dqn-1                  go on with a run that was interrupted

Defaults of training and agent are those tuned for the environment: agents/AGENT.yaml. The run folder keeps the agent
as it was at its best check and as it ended (RUN/last). Offline learners (bc, bcq, td3-bc) count gradient updates as
steps, and the last check as the best, unless --select simulator.

Then compare it with the baselines:
  python scripts/evaluate.py twap pov almgren-chriss runs/dqn-1
"""

import functools
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, make_dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from exec_env.base.errors import InputError
from exec_env.base.files import free_folder, read_yaml
from exec_env.base.validation import unknown
from exec_env.cli.options import ProblemOptions, TapeOptions, named_env, parse, problem_arguments, run
from exec_env.envs.reward import Reward
from exec_env.harness.agents import agent_class, known_agents
from exec_env.harness.training.hyperparameters import TrainConfig, settings
from exec_env.harness.training.loop import resume, train
from exec_env.one_asset.actions import ActionMode


@dataclass(frozen=True)
class Options:
    """Where the run is kept."""

    run: Path | None = None
    """Folder to create; by default runs/AGENT-1, or the first number that is free."""
    resume: Path | None = None
    """Run folder to go on with; every other option is then taken from it."""
    quiet: bool = False
    """Show no progress bar."""
    action: str | None = None
    """Action mode; by default the environment's."""


def learners() -> list[str]:
    """Names of the agents that learn."""
    return sorted(name for name in known_agents() if hasattr(agent_class(name), "learn"))


def main(argv: Sequence[str]) -> None:
    """Parse, train, say where the result is."""
    name = argv[0] if argv and not argv[0].startswith("-") else None
    if name is not None and name not in learners():
        raise InputError(unknown("learning agent", name, learners()))
    rest = argv[1:] if name else argv
    start, env = ProblemOptions.start(rest, TrainConfig.env), named_env(rest, TrainConfig.env)
    train_settings, agent_settings = settings(name or learners()[0], env)
    arguments: Any = make_dataclass(
        "Arguments",
        [
            (
                "agent",
                Annotated[str, tyro.conf.Positional, tyro.conf.arg(help=f"One of: {', '.join(learners())}.")],
                "",
            ),
            ("options", Options, field(default_factory=Options)),
            ("train", TrainConfig, field(default=train_settings)),
            ("learner", type(agent_settings), field(default=agent_settings)),
            ("reward", Reward, field(default_factory=Reward)),
            ("tape", TapeOptions, field(default_factory=TapeOptions)),
            ("problem", ProblemOptions, start),
        ],
    )
    args: Any = parse(arguments, argv, __doc__)
    if args.agent and not name:
        raise InputError(f"name the agent first: train.py {args.agent} ..., because the other options depend on it")
    if args.options.resume is not None:
        others = [a for a in argv if a.startswith("--") and a.partition("=")[0] not in ("--resume", "--quiet")]
        if name or others:
            raise InputError(
                f"--resume goes with --quiet only, not with {name or others[0]}: the run keeps its options"
            )
        folder = args.options.resume
        work = functools.partial(resume, folder)
    elif not args.agent:
        raise InputError(f"name an agent to train: {', '.join(learners())}; or --resume a run")
    else:
        options = args.tape.options() | args.problem.options(start, argv)
        options |= {
            "reward" if k == "kind" else k: v for k, v in asdict(args.reward).items() if v != getattr(Reward, k)
        }
        if args.options.action is not None:
            options["action"] = ActionMode(args.options.action).name
        folder = args.options.run or free_folder(Path("runs") / args.agent)
        work = functools.partial(train, args.agent, folder, args.train, args.learner, **options)
    try:
        work(progress=not args.options.quiet)
    except KeyboardInterrupt:
        if folder.exists():
            print(f"go on with: python scripts/train.py --resume {folder}", file=sys.stderr)
        raise
    for note in read_yaml(folder / "config.yaml").get("notes", []):
        print(note)
    print(f"run folder: {folder}")
    same = "" if args.options.resume is not None else problem_arguments(rest)
    print(f"compare it: python scripts/evaluate.py twap pov almgren-chriss {folder}{same}")


if __name__ == "__main__":
    run(main)
