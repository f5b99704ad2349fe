"""Train every agent of an experiment on every environment over seeds, evaluate all on the same paths, sum up.

Finished tasks are kept under --work and never run again, so the same command goes on after an interruption. When all
are finished, tables and figures are written into --out, together with the configuration that made them.

Examples:
  exec-env results                              everything in results/experiment.yaml
  exec-env results --only dqn AlmgrenChriss-v0  a part of it
  exec-env results --steps 50000 --work runs/trial --out runs/trial-results
                                                a quick look with less training
  exec-env results --ray 10.0.0.5:6379          on a Ray cluster that is there already
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from tqdm import tqdm

from exec_env.base.extras import require_packages
from exec_env.base.files import read_yaml
from exec_env.cli.main import run
from exec_env.cli.options import Flag, Maybe, Plain, Several, WorkerOptions, parse
from exec_env.harness.jobs.tasks import is_finished, run_tasks, workers
from exec_env.harness.studies.experiment import Experiment, chosen, resolve, tasks
from exec_env.harness.studies.results import collect, refuse_others, write


@dataclass(frozen=True)
class Options:
    """What is run, and where it is kept."""

    experiment: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="FILE")]] = Path("results/experiment.yaml")
    """YAML file: cells (env, agents, options, label), seeds, baselines, evaluation."""
    only: Several[str] = ()
    """Agents and environments to run now; the others are left for later."""
    steps: Maybe[int] = None
    """Environment steps of every training, for a trial run; by default each agent's own."""
    work: Path = Path("runs/results")
    """Folder that keeps finished tasks."""
    out: Path = Path("results")
    """Folder that tables and figures are written to."""
    replace: Flag = False
    """Replace results in --out that were made from another configuration."""
    quiet: Flag = False
    """Show no progress bar."""


@dataclass(frozen=True)
class Arguments:
    """All options."""

    options: Plain[Options] = field(default_factory=Options)
    workers: WorkerOptions = field(default_factory=WorkerOptions)


def main(argv: Sequence[str]) -> None:
    """Run what is not finished, then sum up."""
    require_packages("arch")
    args = parse("results", Arguments, argv, __doc__, names=False)
    options, where = args.options, args.workers
    configs = resolve(Experiment.read(options.experiment), options.steps)
    if not options.replace:
        refuse_others(options.out, configs)
    every = tasks(configs)
    mine = chosen(every, options.only)
    if not all(is_finished(task, options.work) for task in mine):
        with (
            workers(where.ray, where.memory) as run_on,
            tqdm(total=len(mine), unit=" tasks", desc="results", disable=options.quiet) as bar,
        ):
            failures = run_tasks(mine, options.work, run_on, bar)
        for key, failure in failures.items():
            print(f"failed: {key}: {failure.reason}", file=sys.stderr)
        if failures:
            print(f"{len(failures)} of {len(mine)} tasks failed; the others are kept", file=sys.stderr)
            sys.exit(1)
    missing = [task.key for task in every if not is_finished(task, options.work)]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        print(f"finished for now; results are written when these are too: {', '.join(missing[:3])}{more}")
        return
    tables = collect(every, options.work)
    first = next(task for task in every if "seed" in task.arguments)
    made_with = read_yaml(options.work / first.key / "config.yaml").get("made_with")
    for path in write(options.out, configs, tables, made_with):
        print(path)


if __name__ == "__main__":
    run(main)
