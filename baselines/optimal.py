"""The constrained optimum: what no policy can beat that must trade between zero and the cap."""

from typing import Any

from baselines.adaptive import Adaptive
from exec_env import dynamic_programming
from exec_env.market import Market
from exec_env.order import Order


class Optimal(Adaptive):
    """Trade what is optimal given that the cap may bind now and later: sooner than ``Adaptive``, which does not know.

    Args:
        market: the market that the observations come from; its signal must not be random.
        order: the order.

    Raises:
        ValueError: when ``exec_env.dynamic_programming`` does not solve the problem.
    """

    def __init__(self, market: Market, order: Order) -> None:
        self.constrained = dynamic_programming.solve(market, order)
        super().__init__(market, order, self.constrained.linear)

    def rule(
        self,
        step: int,
        remaining: Any,
        transient: Any,
        signal: Any,
        half_spread: Any,
        liquidity: Any,
        regime: int = 0,
    ) -> Any:
        """Optimal trade of slice ``step``, before the cap of its volume. [shares]"""
        return self.constrained.policy(step, remaining, transient, signal, half_spread, liquidity, regime)
