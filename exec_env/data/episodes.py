"""Episodes of a tape, for an environment."""

from dataclasses import dataclass

import numpy as np

from exec_env.data.tape import Tape
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.market.paths import Normals, Paths, Source


@dataclass(frozen=True)
class TapeSource(Source):
    """Episodes of a tape for an environment: each begins at a random row."""

    tape: Tape
    market: Market
    order: Order

    def sample(self, rngs: "list[np.random.Generator]", n_paths: int = 1) -> Paths:  # type: ignore[override]
        """``n_paths`` random starts from each generator."""
        possible = self.tape.starts(self.order)
        if not self._draws:
            drawn = np.concatenate([possible[rng.integers(possible.size, size=n_paths)] for rng in rngs])
            return self.tape.paths(self.market, self.order, drawn)
        # Path by path, so that path e never depends on how many are drawn at once.
        which, z = zip(
            *((rng.integers(possible.size), self._draw(rng)) for rng in rngs for _ in range(n_paths)), strict=True
        )
        return self._paths(possible[list(which)], np.array(z))

    def at(self, starts: np.ndarray, rng: np.random.Generator) -> Paths:
        """Episodes that begin at the given rows; what is random about the stress is drawn from ``rng``."""
        if not self._draws:
            return self.tape.paths(self.market, self.order, starts)
        return self._paths(starts, np.array([self._draw(rng) for _ in starts]))

    @property
    def _draws(self) -> bool:
        """Whether a path takes more than the row that it begins at."""
        return bool(self._random)

    @property
    def _random(self) -> list[str]:
        """Factors of the stress that are drawn."""
        return [name for name in Normals.used(self.market) if name in ("shock", "onset", "regime")]

    def _draw(self, rng: np.random.Generator) -> np.ndarray:
        return rng.standard_normal((len(self._random), self.order.n_steps))

    def _paths(self, starts: np.ndarray, z: np.ndarray) -> Paths:
        zeros = np.zeros((6, len(z), self.order.n_steps))
        normals = Normals(*zeros, **{name: z[:, i] for i, name in enumerate(self._random)})
        return self.tape.paths(self.market, self.order, starts, normals)
