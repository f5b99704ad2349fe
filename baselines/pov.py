"""POV: percentage of volume, the same share of whatever the market trades."""

import numpy as np

from exec_env.base.errors import InputError
from exec_env.market.clock import has_clock
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.one_asset.observation import Observation


class POV:
    """Trade a fixed share of each slice's volume until done, and finish evenly when time runs short.

    Volume is random, so a fixed share leaves something for the end in about half of the episodes. Desks do not wait
    for the closing block: over the last part of the horizon the order trades at least evenly what is left.

    Args:
        market: its mean volume sets the default rate.
        order: its size and horizon set the default rate.
        rate: share of volume; by default the share that finishes on time at mean volume, X / (V T).
        clean_up: last part of the horizon in which the rest is traded evenly, in [0, 1]; 0 never does.

    Raises:
        InputError: for a rate beyond the cap, or a part that is none.
    """

    action_mode = "participation"

    def __init__(self, market: Market, order: Order, rate: float | None = None, clean_up: float = 0.5) -> None:
        self._cap = 1.0 if order.max_participation is None else order.max_participation
        volume = market.daily_volume * order.horizon
        mean = order.shares / (volume * market.profile(order).mean() if has_clock(order) else volume)
        if rate is not None and not 0 < rate <= self._cap:
            raise InputError(f"rate = {rate!r}: must be in (0, {self._cap:g}]")
        if not 0 <= clean_up <= 1:
            raise InputError(f"clean_up = {clean_up!r}: must be in [0, 1]")
        self.rate, self.clean_up = min(mean, self._cap) if rate is None else rate, clean_up
        self._order, self._mean_volume = order, market.daily_volume * order.slice_length

    def act(self, observations: np.ndarray) -> np.ndarray:
        """Shares of volume. Shape: (n, 10) -> (n, 1)."""
        seen = Observation(*observations.T.astype(float))
        even = self._order.shares * seen.inventory_left / np.rint(seen.time_left * self._order.n_steps).clip(1)
        needed = even / np.maximum(seen.relative_volume * self._mean_volume, 1e-300)
        late = seen.time_left <= self.clean_up
        return np.where(late, np.maximum(self.rate, needed), self.rate).clip(0, self._cap)[:, None]
