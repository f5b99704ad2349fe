"""A schedule as an agent: which fraction of what is left to trade in each slice.

Where the cap never binds these are the planned trades. What it holds back is spread over the slices that follow, in the
proportions of their trades; see ``exec_env.optimum.schedule``.
"""

import numpy as np

from exec_env.one_asset.observation import Observation
from exec_env.optimum.capped import fractions


class Schedule:
    """Trades by a fixed schedule; what the cap holds back is spread over the slices that are left.

    Args:
        trades: shares for each slice, in any unit. Shape: (n_steps,).
    """

    action_mode = "fraction"

    def __init__(self, trades: np.ndarray) -> None:
        self.trades = np.asarray(trades, dtype=float)
        self._fractions = fractions(self.trades)

    def act(self, observations: np.ndarray) -> np.ndarray:
        """Fractions of the remaining inventory. Shape: (n, 10) -> (n, 1)."""
        time_left = Observation(*observations.T).time_left
        n = len(self._fractions)
        step = n - np.rint(time_left * n).astype(int)
        return self._fractions[np.minimum(step, n - 1), None]
