"""What an agent sees of an unknown market: its own orders and trades, and what they conceded."""

from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from exec_env.base.namespace import namespace
from exec_env.market.market import Market
from exec_env.market.order import Order

FARTHEST = 1000.0


class UnknownObservation(NamedTuple):
    """The observation, by name. All of order one, always finite. M orders of N slices each, every one of X shares.

    | index | name | meaning | unit | range |
    |---|---|---|---|---|
    | 0 | ``time_left`` | slices left of this order, this one included | N | [0, 1] |
    | 1 | ``inventory_left`` | shares left of this order | X | [0, 1] |
    | 2 | ``orders_left`` | orders left, this one included | M | [0, 1] |
    | 3 | ``recent_trades`` | own trades of this order, less what has decayed: own push over κ | X | [0, 1] |
    | 4 | ``last_trade`` | shares traded in the last slice | X/N | [0, 1000] |
    | 5 | ``concession`` | of each of these shares, beyond the half spread, noise included | η X/(N Δ) | [−1000, 1000] |
    | 6 | ``price_move`` | mid since the order's arrival, in its favour | S0 σ √(N Δ) | [−100, 100] |

    η and the other units are the means that the market is drawn around. Spread, volume and volatility are known and
    stay. Of a slice in which the cap left shares for the closing block, nothing is told: entries 4 and 5 are zero.
    """

    time_left: Any
    inventory_left: Any
    orders_left: Any
    recent_trades: Any
    last_trade: Any
    concession: Any
    price_move: Any


LOW = UnknownObservation(0, 0, 0, 0, 0, -FARTHEST, -100)
"""Smallest value of each entry."""
HIGH = UnknownObservation(1, 1, 1, 1, FARTHEST, FARTHEST, 100)
"""Largest value of each entry."""


def space() -> gym.spaces.Box:
    """Gymnasium space of one observation."""
    return gym.spaces.Box(np.array(LOW, np.float32), np.array(HIGH, np.float32), dtype=np.float32)


class Units(NamedTuple):
    """What entries are measured in."""

    shares: float  # X [shares]
    trade: float  # X/N [shares]
    concession: float  # [$/share]
    price: float  # [$]

    @classmethod
    def of(cls, market: Market, order: Order) -> "Units":
        """Those of orders in a market."""
        even = order.shares / order.n_steps
        price = market.arrival_price * market.volatility * order.horizon**0.5
        return cls(order.shares, even, market.slope(order.slice_length) * even, price)


class Observer:
    """Turns states into observations; floats, arrays and tensors alike."""

    def __init__(self, market: Market, order: Order, orders: int) -> None:
        each = Units.of(market, order)
        self._per = Units(*(1.0 / unit if unit > 0 else 0.0 for unit in each))
        self._n_steps, self._orders = order.n_steps, orders

    def __call__(self, state: Any, left: Any) -> UnknownObservation:
        """The entries.

        Args:
            state: of the problem.
            left: slices of the episode that are left, this one included.
        """
        per, n = self._per, self._n_steps
        xp = namespace(state.remaining)
        return UnknownObservation(
            ((left - 1) % n + 1) * (left > 0) / n,
            state.remaining * per.shares,
            -(-left // n) / self._orders,
            xp.minimum(state.recent * per.shares, 1.0),
            xp.minimum(state.traded * per.trade, FARTHEST),
            xp.clip(state.concession * per.concession, -FARTHEST, FARTHEST),
            xp.clip(state.price_move * per.price, -100.0, 100.0),
        )
