"""Learn offline from TWAP with more and more exploration noise, and compare with what was learned from.

Finished tasks are kept under --work and never run again, so the same command goes on after an interruption. Each run's
folder is among them: --work/noise-0.4/td3-bc/seed-0, whose part "last" is the agent that learning ended with, and
"best" the one that a simulator would have chosen. Tables and a picture are written into --out when all are finished.

Examples:
  exec-env offline                                       the whole study; hours on two cores
  exec-env offline --noises 0 0.4 --seeds 0 1 --evaluation-episodes 10000 --out runs/offline-trial
  exec-env offline --learners bc td3-bc td3-bc,alpha=40  one algorithm with several settings
"""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tqdm import tqdm

from exec_env.base.csv_files import write_csv
from exec_env.base.errors import InputError
from exec_env.base.files import read_yaml, write_yaml
from exec_env.cli.main import run
from exec_env.cli.options import Flag, Plain, WorkerOptions, parse
from exec_env.harness.jobs.tasks import difference, plain, run_tasks, workers
from exec_env.harness.offline import dataset
from exec_env.harness.studies.offline import Study, collect, figure, findings, summarise, tasks


@dataclass(frozen=True)
class Options:
    """Where things are kept."""

    work: Path = Path("runs/offline")
    """Folder that keeps finished tasks."""
    out: Path = Path("results/offline")
    """Folder that tables and picture are written to."""
    replace: Flag = False
    """Replace results in --out that were made with other settings."""
    quiet: Flag = False
    """Show no progress bar."""


@dataclass(frozen=True)
class Arguments:
    """All options."""

    options: Plain[Options] = field(default_factory=Options)
    study: Study = field(default_factory=Study)
    workers: WorkerOptions = field(default_factory=WorkerOptions)


def main(argv: Sequence[str]) -> None:
    """Run what is not finished, then sum up."""
    args = parse("offline", Arguments, argv, __doc__, names=False)
    study, options, where = args.study, args.options, args.workers
    dataset.require_packages()
    settings = options.out / "study.yaml"
    was = read_yaml(settings, "results") if settings.exists() and not options.replace else None
    if was and (changed := difference(was, plain(asdict(study)))):
        raise InputError(f"{settings}: results made with {changed}; --replace them, or choose another --out")
    every = tasks(study)
    with (
        workers(where.ray, where.memory) as run_on,
        tqdm(total=len(every), unit=" tasks", desc="offline", disable=options.quiet) as bar,
    ):
        failures = run_tasks(every, options.work, run_on, bar)
    for key, failure in failures.items():
        print(f"failed: {key}: {failure.reason}", file=sys.stderr)
    if failures:
        print(f"{len(failures)} of {len(every)} tasks failed; the others are kept", file=sys.stderr)
        sys.exit(1)
    fixed, runs = collect(study, options.work)
    summary = summarise(runs)
    for name, table in (("baselines", fixed), ("runs", runs), ("summary", summary)):
        write_csv(table, options.out / f"{name}.csv", float_format="%.8g")
    figure(fixed, summary).savefig(options.out / "offline.png", dpi=130)
    write_yaml(settings, plain(asdict(study)))
    shown = summary[["noise", "agent", "check", "objective", "gap_percent", "diff_behaviour", "diff_bc"]]
    print(shown.round(3).to_string(index=False))
    print("\n".join([*findings(summary), f"tables and picture: {options.out}"]))


if __name__ == "__main__":
    run(main)
