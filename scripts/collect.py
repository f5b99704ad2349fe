"""Record episodes as a dataset for offline learning, in Minari's format.

Agents are names of baselines, run folders of trained agents, module:Class of your own, or random (paces uniform on
[0, 2]). Several make a mixture: each episode is played by one of them. Actions are recorded as fractions of what is
left, whatever mode an agent acts in; noise is in multiples of selling evenly what is left.

Examples:
  exec-env collect twap --noise 0.4                     1000 episodes of TWAP with exploration noise
  exec-env collect twap pov runs/ppo-1 --weights 2 1 1  a mixture, half of it TWAP
  exec-env collect twap random --noise 0.2 0 --episodes 20000 --seed 1 --out datasets/mixture-v0
  exec-env collect almgren-chriss --noise 0.3 --side buy --volatility 0.03

Then learn from it:
  exec-env train td3-bc --dataset datasets/twap-v0

In Minari itself, with MINARI_DATASETS_PATH=datasets:
  minari.load_dataset("twap-v0")
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from exec_env.base.errors import InputError
from exec_env.cli.main import run
from exec_env.cli.options import (
    Agents,
    Flag,
    Maybe,
    Plain,
    ProblemOptions,
    RewardOptions,
    TapeOptions,
    parse,
    say_remarks,
)
from exec_env.envs.registry import problem_of
from exec_env.harness.offline import dataset
from exec_env.harness.offline.collect import Member, record


@dataclass(frozen=True)
class Options:
    """Who plays, on what, and where the dataset goes."""

    agents: Agents = ()
    """Baseline names, run folders, module:Class, or random; any mix."""
    noise: tuple[float, ...] = (0.0,)
    """Standard deviation of Gaussian noise on what is traded, in multiples of selling evenly what is left: one for
    all agents, or one each."""
    weights: tuple[float, ...] = (1.0,)
    """Shares of the episodes, of any sum: one for all agents, or one each."""
    env: str = "AlmgrenChrissContinuous-v0"
    """Environment id."""
    episodes: int = 1000
    """Number of episodes."""
    seed: int = 0
    """Of paths, of who plays, and of the noise."""
    out: Maybe[Path] = None
    """Folder to create; its name is the dataset's and ends in a version. By default datasets/AGENT-v0, or the first
    version that is free."""
    quiet: Flag = False
    """Show no progress bar."""


@dataclass(frozen=True)
class Arguments:
    """All options."""

    options: Plain[Options] = field(default_factory=Options)
    reward: RewardOptions = field(default_factory=RewardOptions)
    tape: TapeOptions = field(default_factory=TapeOptions)
    problem: ProblemOptions = field(default_factory=ProblemOptions)


def main(argv: Sequence[str]) -> None:
    """Parse, record, write, and read again."""
    start = ProblemOptions.start(argv, Options.env)
    args = parse("collect", Arguments, argv, __doc__, Arguments(problem=start))
    options = args.options
    if not options.agents:
        raise InputError("no agents to record: name at least one, such as twap")
    each = {}
    for name in ("noise", "weights"):
        given = getattr(options, name)
        if len(given) not in (1, len(options.agents)):
            raise InputError(f"--{name}: {len(given)} values for {len(options.agents)} agents: give one, or one each")
        each[name] = given * len(options.agents) if len(given) == 1 else given
    mixture = [Member(*of) for of in zip(options.agents, each["weights"], each["noise"], strict=True)]
    dataset.require_packages()
    out = dataset.check_name(options.out or _free(options.agents))
    env_options = args.tape.options() | args.problem.options(start, argv) | args.reward.options()
    say_remarks(problem_of(options.env, **env_options))
    recorded = record(mixture, options.env, options.episodes, options.seed, not options.quiet, **env_options)
    episodes = dataset.load(dataset.save(recorded, out)).episodes
    returns, steps = episodes.returns, int(episodes.lengths.sum())
    print(f"{len(episodes):,} episodes, {steps:,} steps, return {returns.mean():.2f} ± {returns.std():.2f} bps")
    print(f"dataset: {out}\nlearn from it: exec-env train td3-bc --dataset {out}")


def _free(agents: Sequence[str]) -> Path:
    """``datasets/AGENT-v0``, or the first version that is free."""
    name = "mixture" if len(agents) > 1 else "".join(c if c.isalnum() else "-" for c in Path(agents[0]).name)
    number = 0
    while (folder := Path("datasets") / f"{name}-v{number}").exists():
        number += 1
    return folder


if __name__ == "__main__":
    run(main)
