"""Search for hyper-parameters of an agent on an environment; everything is kept in a study folder.

The search space is data: the section "search" of agents/AGENT.yaml, or a file of your own, such as
  learning_rate: {low: 0.0001, high: 0.01, log: true}
  hidden: {choices: [[64, 64], [128, 128]]}

Trials are judged on the validation paths of training, never on those of evaluation. The same command, or --resume,
goes on after an interruption; the outcome is the same, and the same on any number of workers.

Examples:
  exec-env tune dqn --trials 40 --study runs/tune-dqn
  exec-env tune ppo --env AlmgrenChrissContinuous-v0 --trials 40 --seeds 3 --steps 500000
  exec-env tune --resume runs/tune-dqn --trials 80  on with it, to 80 trials
  exec-env tune dqn --ray 10.0.0.5:6379 --batch 16  on a Ray cluster that is there already
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro
from tqdm import tqdm

from exec_env.base.errors import InputError
from exec_env.base.extras import require_packages
from exec_env.base.files import free_folder, read_yaml
from exec_env.base.validation import require_count
from exec_env.cli.main import run
from exec_env.cli.options import Flag, Maybe, Plain, ProblemOptions, WorkerOptions, parse, say_remarks
from exec_env.envs.registry import problem_of
from exec_env.harness.jobs.tasks import workers
from exec_env.harness.training.loop import TrainConfig


@dataclass(frozen=True)
class Options:
    """What is tuned, how long, and where it is kept."""

    agent: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="AGENT", help_behavior_hint="")]] = ""
    """Name of an agent that learns."""
    env: str = TrainConfig.env
    """Environment id."""
    trials: Maybe[int] = None
    """Trials in all; 20 by default. An old study can go on to more, never to fewer."""
    study: Maybe[Path] = None
    """Folder of the study; by default runs/tune-AGENT-1, or the first number that is free."""
    resume: Maybe[Path] = None
    """Study folder to go on with; every setting is then taken from it."""
    steps: Maybe[int] = None
    """Environment steps of each training run; by default the agent's own."""
    search: Maybe[Path] = None
    """YAML file with a search space; by default the agent's own."""
    action: Maybe[str] = None
    """Action mode; by default the environment's."""
    seeds: int = 1
    """Training runs of a trial; their mean counts."""
    batch: int = 4
    """Trials that are chosen together and can run side by side: as many as workers, at most a quarter of all."""
    seed: int = 0
    """Of the search."""
    quiet: Flag = False
    """Show no progress bar."""


@dataclass(frozen=True)
class Arguments:
    """All options."""

    options: Plain[Options] = field(default_factory=Options)
    workers: WorkerOptions = field(default_factory=WorkerOptions)
    problem: ProblemOptions = field(default_factory=ProblemOptions)


def main(argv: Sequence[str]) -> None:
    """Search, then say what was found."""
    require_packages("optuna")
    from exec_env.harness.studies.tuning import Settings, open_study, read_study, report, tune

    start = ProblemOptions.start(argv, TrainConfig.env)
    args = parse("tune", Arguments, argv, __doc__, Arguments(problem=start))
    options = args.options
    if options.trials is not None:
        require_count(trials=options.trials)
    if options.resume is not None:
        free = ("--resume", "--trials", "--ray", "--memory", "--quiet")
        others = [a for a in argv if a.startswith("--") and a.partition("=")[0] not in free]
        if options.agent or others:
            given = options.agent or others[0]
            raise InputError(
                f"--resume goes with {', '.join(free[1:])} only, not with {given}: the study keeps its own"
            )
        folder = options.resume
        wanted, _ = read_study(folder)
    elif not options.agent:
        raise InputError("name an agent to tune, or --resume a study")
    else:
        problem: dict[str, Any] = args.problem.options(start, argv)
        if options.action is not None:
            problem["action"] = options.action
        say_remarks(problem_of(options.env, **problem))
        wanted = Settings.resolve(
            options.agent,
            options.env,
            problem,
            None if options.steps is None else {"steps": options.steps},
            search=None if options.search is None else read_yaml(options.search),
            seeds=options.seeds,
            batch=options.batch,
            seed=options.seed,
        )
        folder = options.study or free_folder(Path("runs") / f"tune-{wanted.agent}")
    trials = open_study(folder, wanted, options.trials)
    with (
        workers(args.workers.ray, args.workers.memory) as run_on,
        tqdm(total=trials * wanted.seeds, unit=" runs", desc="tune", disable=options.quiet) as bar,
    ):
        found = tune(folder, run_on, bar)
    print(report(folder, found))
    print(f"study: {folder}; its best.yaml is a section for the agent's YAML file")


if __name__ == "__main__":
    run(main)
