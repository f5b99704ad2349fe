"""Write a run's agent as a model of Stable-Baselines3, for its own tools and for further training.

Examples:
  exec-env export runs/ppo-1 ppo.zip            the agent at its best check
  exec-env export runs/ppo-1/last ppo-last.zip  the agent that training ended with

Then, in Python:
  from stable_baselines3 import PPO                            DQN for a run of ddqn; for one of recurrent-ppo
                                                               RecurrentPPO, from sb3_contrib
  model = PPO.load("ppo.zip", env=SB3VecEnv("AlmgrenChriss-v0"))

The file carries pickles, as all of that format do: only load such files from people you trust. Agents that are not
on Stable-Baselines3 cannot be exported.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from exec_env.base.errors import InputError
from exec_env.cli.main import run
from exec_env.cli.options import parse
from exec_env.harness.agents import load_run


@dataclass(frozen=True)
class Arguments:
    """What is written, and where to."""

    run: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="RUN")]]
    """Run folder of ppo, recurrent-ppo or ddqn."""
    file: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="FILE")]]
    """File to create; .zip is added where it has no ending."""


def main(argv: Sequence[str]) -> None:
    """Parse, load, write."""
    args = parse("export", Arguments, argv, __doc__, names=False)
    agent = load_run(args.run)
    if not hasattr(agent, "export"):
        raise InputError(f"{args.run}: its agent, a {type(agent).__name__}, is not on Stable-Baselines3")
    print(f"model: {agent.export(args.file)}")


if __name__ == "__main__":
    run(main)
