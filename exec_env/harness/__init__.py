"""One harness for every agent: train, evaluate on the same market paths, measure, plot."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from exec_env.harness.agents import Agent as Agent
    from exec_env.harness.agents import Learner as Learner
    from exec_env.harness.evaluation import Evaluation as Evaluation
    from exec_env.harness.evaluation import evaluate as evaluate
    from exec_env.harness.training.hyperparameters import TrainConfig as TrainConfig
    from exec_env.harness.training.loop import train as train

__all__ = ["Agent", "Evaluation", "Learner", "TrainConfig", "evaluate", "train"]

_HOMES = {
    "Agent": "exec_env.harness.agents",
    "Evaluation": "exec_env.harness.evaluation",
    "Learner": "exec_env.harness.agents",
    "TrainConfig": "exec_env.harness.training.hyperparameters",
    "evaluate": "exec_env.harness.evaluation",
    "train": "exec_env.harness.training.loop",
}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = globals()[name] = getattr(import_module(_HOMES[name]), name)
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
