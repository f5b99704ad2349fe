"""One harness for every agent: train, evaluate on the same market paths, measure, plot."""

from exec_env.harness.agents import Agent, Learner
from exec_env.harness.evaluation import Evaluation, evaluate
from exec_env.harness.training.loop import TrainConfig, train

__all__ = ["Agent", "Evaluation", "Learner", "TrainConfig", "evaluate", "train"]
