"""The best static schedule: what a trader can do who plans well and never looks at the market."""

from exec_env.baselines.schedule import Schedule
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.optimum.schedule import best_schedule


class Static(Schedule):
    """The optimum over fixed schedules, with transient impact, signal and stress; Almgren & Chriss (2001) without.

    Power-law impact is linearised at the order's average rate (``Market.linearised``).
    """

    def __init__(self, market: Market, order: Order) -> None:
        super().__init__(best_schedule(market, order).clip(0.0))
