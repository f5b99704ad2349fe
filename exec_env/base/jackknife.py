"""Standard errors that need no model: the jackknife leaves out one block of slices at a time."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

_BLOCKS = 20


class Estimate(NamedTuple):
    """A number and its standard error."""

    value: float
    error: float

    def scaled(self, by: float) -> "Estimate":
        """The same in another unit."""
        return Estimate(self.value * by, self.error * abs(by))


def blocks(day: np.ndarray) -> np.ndarray:
    """Number of the block that each slice is in: a day, or a twentieth of the rows if days are fewer than 20, or rows.

    >>> blocks(np.repeat([0, 1], 30))[[0, 2, 3, 59]].tolist()
    [0, 0, 1, 19]
    """
    if _BLOCKS <= day[-1] + 1 < len(day):
        return day
    return np.arange(len(day)) * min(_BLOCKS, len(day)) // len(day)


def jackknife(columns: np.ndarray, block: np.ndarray, statistic: Callable[[np.ndarray], float]) -> Estimate:
    """A smooth function of sums, with its error over blocks (Künsch 1989, "The jackknife and the bootstrap").

    Args:
        columns: what is summed. Shape: (rows, k).
        block: number of the block of each row. Shape: (rows,).
        statistic: of the k sums.

    >>> x = np.random.default_rng(0).standard_normal(10_000)
    >>> mean = jackknife(np.stack([x, np.ones_like(x)], 1), np.arange(10_000) // 100, lambda s: s[0] / s[1])
    >>> round(100 * mean.error, 1)  # 1/√10 000
    1.1
    """
    n = int(block.max()) + 1
    sums = np.stack([np.bincount(block, column, n) for column in columns.T], 1)
    sums = sums[np.bincount(block, minlength=n) > 0]
    total = sums.sum(0)
    return Estimate(float(statistic(total)), error(np.array([statistic(total - s) for s in sums])))


def error(without: np.ndarray) -> float:
    """Standard error of a statistic by its values without one block each.

    >>> round(error(np.array([2.5, 2.0, 1.5])), 4)  # the mean of 1, 2 and 3, each left out once: 1/√3
    0.5774
    """
    n = len(without)
    return float(np.sqrt((n - 1) / n * ((without - without.mean()) ** 2).sum()))


def sandwich(jacobian: np.ndarray, residual: np.ndarray, block: np.ndarray) -> np.ndarray:
    """Covariance of least squares that allows any dependence within blocks (Liang & Zeger 1986).

    Args:
        jacobian: of the fitted values in the parameters. Shape: (rows, k).
        residual: shape (rows,).
        block: shape (rows,).
    """
    bread = np.linalg.pinv(jacobian.T @ jacobian)
    n = int(block.max()) + 1
    scores = np.stack([np.bincount(block, column * residual, n) for column in jacobian.T], 1)
    present = int((np.bincount(block, minlength=n) > 0).sum())
    return bread @ (scores.T @ scores) @ bread * present / max(present - 1, 1)
