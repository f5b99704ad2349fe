"""Standard errors and intervals of a mean over paths: of independent paths, and of episodes that overlap in time."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

Z95 = 1.959963984540054
"""Half width of a 95 % interval, in standard errors."""
_DRAWS = 2000
_AT_ONCE = 250  # draws that are held in memory at a time
FEW_BLOCKS = 10
"""With fewer blocks a bootstrap does not know how far the next one can be from all of these."""


class Errors(Protocol):
    """Standard error and interval of the mean of ``values``. Shape of ``values``: (n_paths,)."""

    def standard_error(self, values: np.ndarray) -> float:
        """Standard error of the mean; NaN where it cannot be known."""

    def interval(self, values: np.ndarray) -> tuple[float, float]:
        """95 % interval of the mean; NaN where it cannot be known."""

    def resampled(self, values: np.ndarray, seed: int = 0) -> np.ndarray:
        """Means over resamples of the paths, of each row. Shape: (rows, n_paths) -> (draws, rows)."""


class Independent:
    """Errors of a mean over paths that are drawn independently."""

    def standard_error(self, values: np.ndarray) -> float:
        """See ``Errors``."""
        return float(values.std(ddof=1) / len(values) ** 0.5) if len(values) > 1 else np.nan

    def interval(self, values: np.ndarray) -> tuple[float, float]:
        """See ``Errors``."""
        mean, half = float(values.mean()), Z95 * self.standard_error(values)
        return mean - half, mean + half

    def resampled(self, values: np.ndarray, seed: int = 0) -> np.ndarray:
        """See ``Errors``; path by path, by Efron (1979), "Bootstrap methods"."""
        rng, n = np.random.default_rng(seed), values.shape[1]
        parts = [rng.multinomial(n, np.full(n, 1 / n), size=_AT_ONCE) @ values.T / n for _ in range(_DRAWS // _AT_ONCE)]
        return np.concatenate(parts)


@dataclass(frozen=True)
class Blocks:
    """Errors of a mean over episodes of a tape, by a circular block bootstrap.

    The bootstrap resamples the rows at which episodes begin, in order of time. A resample is as many blocks of
    consecutive rows as make up the tape. An episode counts as often as its first row is in these blocks, so that the
    number of episodes that begin at a row does not matter.

    A block is at least as long as the rows at which an episode can begin that overlaps a given episode; no episode
    reaches over a gap. Blocks are longer on longer tapes, because costs may depend on each other beyond the overlap.
    Where costs depend by their overlap of N rows alone, the length with the least squared error is N (m / 6)^(1/3); m
    is the number of episodes that fit side by side.

    Blocks cut some overlaps, and their means spread about their own mean rather than the truth. Both lower the variance
    by an amount that is known where costs depend by overlap, and deviations are scaled up by it.

    Source: Politis & Romano (1992), "A circular block-resampling procedure for stationary data"; Politis & White
    (2004), "Automatic block-length selection for the dependent bootstrap", equations (8) and (9).
    """

    rows: np.ndarray
    """Row at which each path begins. Shape: (n_paths,)."""
    possible: np.ndarray
    """Rows at which an episode can begin, ascending. Shape: (n_starts,)."""
    n_steps: int
    """Rows of an episode."""

    @cached_property
    def length(self) -> int:
        """Starts in a block."""
        ends = np.searchsorted(self.possible, self.possible + self.n_steps)
        overlap = int((ends - np.arange(len(ends))).max())
        return math.ceil(overlap * max(1.0, (len(self.possible) / overlap / 6) ** (1 / 3)))

    @property
    def n_blocks(self) -> int:
        """Blocks that fit side by side."""
        return len(self.possible) // self.length

    def standard_error(self, values: np.ndarray) -> float:
        """See ``Errors``."""
        return float(self.resampled(values[None])[:, 0].std())

    def interval(self, values: np.ndarray) -> tuple[float, float]:
        """See ``Errors``; between the percentiles of resampled means."""
        low, high = np.quantile(self.resampled(values[None])[:, 0], [0.025, 0.975])
        return float(low), float(high)

    def resampled(self, values: np.ndarray, seed: int = 0) -> np.ndarray:
        """See ``Errors``; NaN with fewer than two blocks, and where all paths begin at one row."""
        mean = values.mean(1)
        if self.n_blocks < 2 or np.ptp(self.rows) == 0:
            return np.full((_DRAWS, len(values)), np.nan)
        n, at = len(self.possible), self._at
        sums = np.stack([np.bincount(at, row - center, n) for row, center in zip(values, mean, strict=True)])
        first = np.random.default_rng(seed).integers(n, size=(_DRAWS, self._drawn))
        counts = self._over_blocks(self._counts[None])[0][first].sum(1)
        moved = np.stack([row[first].sum(1) for row in self._over_blocks(sums)], 1)
        return mean + self._scale * moved / np.maximum(counts, 1)[:, None]

    @property
    def _at(self) -> np.ndarray:
        return np.searchsorted(self.possible, self.rows)

    @cached_property
    def _counts(self) -> np.ndarray:
        """Paths that begin at each row."""
        return np.bincount(self._at, minlength=len(self.possible)).astype(float)

    @property
    def _drawn(self) -> int:
        """Blocks of a resample."""
        return -(-len(self.possible) // self.length)

    def _over_blocks(self, values: np.ndarray) -> np.ndarray:
        """Sum over the block that begins at each row. Shape: (k, n_starts) -> (k, n_starts)."""
        total = np.cumsum(np.concatenate([np.zeros((len(values), 1)), values, values[:, : self.length]], 1), 1)
        return total[:, self.length : -1] - total[:, : -self.length - 1]

    @cached_property
    def _scale(self) -> float:
        """Standard error over the resampled one where costs are correlated by the part that they overlap."""
        whole = kept = 0.0
        for lag in range(min(self.length, len(self.possible))):
            apart = self.possible[lag:] - self.possible[: len(self.possible) - lag]
            overlap = np.maximum(1.0 - apart / self.n_steps, 0.0)
            both = float((self._counts[lag:] * self._counts[: len(self._counts) - lag] * overlap).sum())
            both *= 1.0 if lag == 0 else 2.0
            whole, kept = whole + both, kept + both * (1.0 - lag / self.length)
        return (kept / whole - 1.0 / self._drawn) ** -0.5
