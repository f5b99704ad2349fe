"""Stress regimes: what happens to a market from a moment on."""

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np

StressName = Literal["none", "liquidity-collapse", "volatility-spike", "impact-regime-shift", "extreme-shock"]


class Factors(NamedTuple):
    """Multipliers of each slice, known functions of time. Shape of each: (n_steps,)."""

    liquidity: np.ndarray
    """Of L = e^ℓ; spread, volume, impact and volatility follow with their elasticities."""
    volatility: np.ndarray
    impact: np.ndarray
    """Of temporary and permanent impact."""


@dataclass(frozen=True)
class Regime:
    """Multipliers from the onset on."""

    description: str
    liquidity: float = 1.0
    volatility: float = 1.0
    impact: float = 1.0


REGIMES: dict[str, Regime] = {
    "none": Regime("nothing happens"),
    "liquidity-collapse": Regime("liquidity falls to a fifth", liquidity=0.2),
    "volatility-spike": Regime("volatility triples", volatility=3.0),
    "impact-regime-shift": Regime("temporary and permanent impact triple", impact=3.0),
    "extreme-shock": Regime("liquidity falls to a tenth", liquidity=0.1),
}
"""Every stress by name."""

assert set(REGIMES) == set(get_args(StressName))


def factors(name: str, onset: float, n_steps: int) -> Factors:
    """Multipliers of a stress that begins after the part ``onset`` of the horizon.

    >>> factors("liquidity-collapse", 0.5, 4).liquidity.tolist()
    [1.0, 1.0, 0.2, 0.2]
    """
    regime, stressed = REGIMES[name], np.arange(n_steps) >= onset * n_steps
    return Factors(*(np.where(stressed, m, 1.0) for m in (regime.liquidity, regime.volatility, regime.impact)))
