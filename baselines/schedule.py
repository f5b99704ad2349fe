"""A schedule as an agent: which fraction of what is left to trade in each slice."""

import numpy as np

from exec_env.one_asset.observation import Observation


def fractions(trades: np.ndarray) -> np.ndarray:
    """Fraction of the remaining inventory that a schedule trades in each slice. Shape: (n_steps,), the last one 1.

    >>> fractions(np.array([1.0, 1.0, 2.0])).round(4).tolist()
    [0.25, 0.3333, 1.0]
    """
    remaining = np.cumsum(trades[::-1])[::-1]
    share = np.divide(trades, remaining, out=np.ones_like(trades), where=remaining > 0)
    share[-1] = 1.0
    return np.clip(share, 0.0, 1.0)


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
