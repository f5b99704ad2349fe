"""The constrained optimum: what no policy can beat that must trade between zero and the cap."""

from typing import Any

from exec_env.baselines.adaptive import Adaptive
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.optimum import dynamic_programming
from exec_env.optimum.seen import Seen


class Optimal(Adaptive):
    """Trade what is optimal where the cap may bind now and later: sooner than ``Adaptive``, which ignores the cap.

    Args:
        market: the market that the observations come from; its signal must not be random.
        order: the order.

    Raises:
        NoBound: when ``exec_env.optimum.dynamic_programming`` does not solve the problem.
    """

    def __init__(self, market: Market, order: Order) -> None:
        self.constrained = dynamic_programming.solve(market, order)
        super().__init__(market, order, self.constrained.linear)

    def rule(self, seen: Seen) -> Any:
        """Optimal trade of a slice, before the cap of its volume, which only that of the last one goes by. [shares]"""
        return self.constrained.policy(seen)
