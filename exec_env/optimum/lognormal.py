"""A lognormal before it is seen: moments that options are priced with."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtr

_TINY = 1e-300


@dataclass(frozen=True)
class Lognormal:
    """A spread or a cap h before it is seen."""

    median: Any
    noise: float

    def __getitem__(self, index: Any) -> "Lognormal":
        return Lognormal(self.median[index], self.noise)

    def quantile(self, z: float) -> Any:
        """h, where its standard normal is ``z``."""
        return self.median * np.exp(self.noise * z)

    def tail(self, k: Any) -> Any:
        """P(h > k)."""
        return ndtr(-self.score(k))

    def put(self, k: Any) -> Any:
        """E (k − h)⁺: Black & Scholes (1973)."""
        z = self.score(k)
        return np.maximum(k, 0.0) * ndtr(z) - self._moment(1) * ndtr(z - self.noise)

    def square_put(self, k: Any) -> Any:
        """E ((k − h)⁺)²."""
        z, positive = self.score(k), np.maximum(k, 0.0)
        first, second = ndtr(z - self.noise), ndtr(z - 2 * self.noise)
        return positive**2 * ndtr(z) - 2 * positive * self._moment(1) * first + self._moment(2) * second

    def square(self, k: Any) -> Any:
        """E (k − h)²."""
        return k**2 - 2 * k * self._moment(1) + self._moment(2)

    def score(self, k: Any) -> Any:
        """The standard normal of h, where it is ``k``."""
        distance = np.log(np.maximum(k, _TINY)) - np.log(np.maximum(self.median, _TINY))
        return distance / max(self.noise, 1e-9)

    def _moment(self, n: int) -> Any:
        return self.median**n * np.exp((n * self.noise) ** 2 / 2)
