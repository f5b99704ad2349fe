"""Stresses: what happens to a market from a moment on."""

import math
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from exec_env.base.errors import InputError
from exec_env.base.validation import unknown

StressName = Literal[
    "none", "liquidity-collapse", "volatility-spike", "impact-regime-shift", "liquidity-shocks", "extreme-shock"
]

_ROUNDING = 1e-9  # slices: 0.07 of 100 of them is 7, although its product is a little more


class Factors(NamedTuple):
    """Multipliers of slices. Shape of each: (n_steps,), or (n_paths, n_steps) where they differ from path to path."""

    liquidity: Any
    """Multiplies L = e^ℓ; spread, volume and impact follow with their elasticities, volatility does not."""
    volatility: Any
    impact: Any
    """Multiplies temporary and permanent impact."""


@dataclass(frozen=True)
class Stress:
    """What a stress does from its onset on. Factors may be arrays of one entry per path, shape (n_paths, 1)."""

    description: str
    liquidity: Any = 1.0
    volatility: Any = 1.0
    impact: Any = 1.0
    shock: float = 1.0
    """What a liquidity shock leaves of liquidity, which then recovers."""
    shock_rate: float = 0.0
    """Expected number of liquidity shocks. [1/day]"""

    def scaled(self, factor: Any) -> "Stress":
        """The same stress, but of the severity ``factor``: it replaces the factors that are not one.

        >>> STRESSES["liquidity-collapse"].scaled(0.05).liquidity
        0.05
        """
        names = ("liquidity", "volatility", "impact", "shock")
        return replace(self, **{name: factor for name in names if getattr(self, name) != 1.0})

    @property
    def factor(self) -> float:
        """Severity of the stress: its factor that is not one; one where it has no such factor."""
        return next((f for f in (self.liquidity, self.volatility, self.impact, self.shock) if f != 1.0), 1.0)

    def factors(self, begun: Any) -> Factors:
        """Multipliers where the stress has begun (1) or not yet (0)."""
        return Factors(self.liquidity**begun, self.volatility**begun, self.impact**begun)


STRESSES: dict[str, Stress] = {
    "none": Stress("nothing happens"),
    "liquidity-collapse": Stress("liquidity falls to a fifth", liquidity=0.2),
    "volatility-spike": Stress("volatility triples", volatility=3.0),
    "impact-regime-shift": Stress("temporary and permanent impact triple", impact=3.0),
    "liquidity-shocks": Stress(
        "liquidity falls by two thirds twice a day on average, and recovers", shock=math.exp(-1.1), shock_rate=2.0
    ),
    "extreme-shock": Stress("liquidity falls to a tenth", liquidity=0.1),
}
"""Every stress by name."""

assert set(STRESSES) == set(get_args(StressName))


def begun(onset: float, end: float | None, n_steps: int) -> np.ndarray:
    """Probability that a stress has begun by each slice. Shape: (n_steps,).

    Args:
        onset: part of the horizon after which it begins.
        end: if not None, the onset is uniform between ``onset`` and this.
        n_steps: slices of the horizon.

    >>> begun(0.5, None, 4).tolist(), begun(0.25, 0.75, 4).tolist()
    ([0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.5, 1.0])
    """
    step = np.arange(n_steps)
    if end is None or end == onset:
        return (step >= onset * n_steps - _ROUNDING).astype(float)
    return np.clip(step / n_steps - onset, 0.0, end - onset) / (end - onset)


def factors(name: str, onset: float, n_steps: int, factor: float | None = None) -> Factors:
    """Multipliers of a stress that begins after the part ``onset`` of the horizon, at a severity of one's own if given.

    Raises:
        InputError: for an unknown stress.

    >>> factors("liquidity-collapse", 0.5, 4).liquidity.tolist()
    [1.0, 1.0, 0.2, 0.2]
    """
    if name not in STRESSES:
        raise InputError(unknown("stress", name, STRESSES))
    stress = STRESSES[name] if factor is None else STRESSES[name].scaled(factor)
    return stress.factors(begun(onset, None, n_steps))
