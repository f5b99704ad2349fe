"""What tests of several rooms share: a rollout of one asset, from market and order."""

from collections.abc import Iterator
from typing import Any

from exec_env.envs.rollout import Step, rollout
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.market.paths import Paths
from exec_env.one_asset.problem import OneAsset


def executed(act: Any, paths: Paths, market: Market, order: Order, mode: Any) -> Iterator[Step]:
    """Slice by slice what ``act`` does on every path, in an action mode."""
    problem = OneAsset(market, order)
    return rollout(act, paths, problem, problem.actions(mode))
