"""The best static schedule: what a trader can do who plans well and never looks at the market."""

from exec_env.baselines.schedule import Schedule
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.optimum.schedule import best_schedule


class Static(Schedule):
    """The best of all fixed schedules in the problem as it is; see ``exec_env.optimum.schedule``.

    Shocks, regimes, stress, power-law impact, signal, cap and closing block all count. Without transient impact and
    randomness it is that of Almgren & Chriss (2001), or of Almgren (2003) where impact is a power law.

    Raises:
        NoBound: where there is none.
    """

    def __init__(self, market: Market, order: Order) -> None:
        super().__init__(best_schedule(market, order))
