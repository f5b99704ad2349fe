"""TWAP: time-weighted average price, the same amount in every slice."""

import numpy as np

from exec_env.baselines.schedule import Schedule
from exec_env.market.market import Market
from exec_env.market.order import Order


class TWAP(Schedule):
    """Sell evenly what is left: optimal for a trader who minds neither risk nor the state of the market."""

    def __init__(self, market: Market, order: Order) -> None:
        super().__init__(np.ones(order.n_steps))
