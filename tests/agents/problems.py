"""Small problems for learners, shared by their tests."""

from typing import Any

import gymnasium as gym

from exec_env.harness.agents import Setup
from exec_env.harness.training.weights import Head
from exec_env.market.order import Order
from exec_env.one_asset.actions import ActionMode
from exec_env.one_asset.problem import OneAsset

TWO_SLICES: dict[str, Any] = {
    "n_steps": 2,
    "shares": 10_000.0,
    "slice_length": 1 / 10,
    "temporary_impact": 1e-6,
    "risk_aversion": 1e-4,
}
"""An order that TWAP is far from the best for: what is held is dear, impact is cheap."""


def made(cls: Any, config: Any, action: str = "pace", steps: int = 640, num_envs: int = 16, **problem: Any) -> Any:
    """A learner, and the environment that it is for."""
    env: Any = gym.make_vec("AlmgrenChriss-v0", num_envs=num_envs, action=action, autoreset_mode="SameStep", **problem)
    return cls.build(config, Head.of(env.problem), Setup(steps, steps, num_envs, 3, "cpu")), env


def nothing(steps: int, values: dict[str, float]) -> None:
    """Report to nobody."""


def head_of(mode: ActionMode, order: Order) -> Head:
    """The head of a learner for an order in an action mode."""
    return Head.of(OneAsset(order=order, action=mode))
