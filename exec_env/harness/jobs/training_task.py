"""A training run inside a task: trained in a temporary folder, of which only what matters is handed on."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from exec_env.base.files import read_yaml
from exec_env.base.validation import from_mapping, require
from exec_env.harness.agents import agent_class
from exec_env.harness.training.hyperparameters import TrainConfig
from exec_env.harness.training.loop import train

_KEPT = ("config.yaml", "summary.yaml", "progress.csv", "best/agent.yaml", "best/weights.pt")


@contextmanager
def training(
    agent: str, train_config: dict[str, Any], agent_config: dict[str, Any], options: dict[str, Any]
) -> Iterator[Path]:
    """Train, and give the run folder for as long as the context lasts.

    Everything in it uses as many threads as training does, so that results do not depend on where they are made.

    Raises:
        InputError: as ``train``.
    """
    import torch

    config = from_mapping(TrainConfig, train_config, f"{agent}: train")
    learner = from_mapping(agent_class(agent).Config, agent_config, f"{agent}: agent")
    threads = torch.get_num_threads()
    torch.set_num_threads(config.threads)
    try:
        with TemporaryDirectory(prefix="exec-env-") as folder:
            run = Path(folder) / agent
            train(agent, run, config, learner, progress=False, **options)
            yield run
    finally:
        torch.set_num_threads(threads)


def files(run: Path) -> dict[str, bytes]:
    """What is kept of a run: configuration, summary, log, and the agent."""
    return {name: (run / name).read_bytes() for name in _KEPT}


def summary(run: Path, *needed: str) -> dict[str, Any]:
    """How a finished run ended: steps, seconds, intervals, and of its best interval objective [bps] and gap_percent.

    Raises:
        InputError: naming the file, and what of ``needed`` it lacks.
    """
    found = read_yaml(run / "summary.yaml")
    values: dict[str, Any] = {f"{run / 'summary.yaml'}: {name}": found.get(name) for name in needed}
    require(**values)
    return found
