"""VWAP: volume-weighted average price, in proportion to the volume that is expected in each slice."""

from exec_env.baselines.schedule import Schedule
from exec_env.market.market import Market
from exec_env.market.order import Order


class VWAP(Schedule):
    """Trade in proportion to the market's volume profile. With a flat profile this schedule is TWAP."""

    def __init__(self, market: Market, order: Order) -> None:
        super().__init__(market.profile(order))
