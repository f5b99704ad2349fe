"""One harness for every agent: train, evaluate on the same market paths, measure, plot."""

from exec_env.harness.agent import Agent, Learner
from exec_env.harness.evaluate import Evaluation, evaluate
from exec_env.harness.train import TrainConfig, train

__all__ = ["Agent", "Evaluation", "Learner", "TrainConfig", "evaluate", "train"]
