"""What the data say of a parameter, and whether that is more than the prior says."""

import math
from typing import NamedTuple

from exec_env.base.bootstrap import Z95
from exec_env.base.jackknife import Estimate
from exec_env.data.market_file import positive

_WEAK = {"volatility_elasticity": 0.25, "spread_elasticity": 0.25, "impact_exponent": 0.25}
"""Standard error above which the prior is better than the estimate, of powers."""
_WEAK_IMPACT = 0.5
_WEAK_OTHERS = 1.0
"""The same relative to the estimate: of impacts, whose signs have to be clear, and of all else."""


class Evidence(NamedTuple):
    """What the data say of a field of Market."""

    estimate: Estimate
    how: str
    """How it was estimated."""
    limits: tuple[float, float] | None = None
    """95 % interval where it is not that of the estimate and its error. With an estimate of zero: there is none of it
    in the data, and no more than that can be hidden in them."""

    def strong(self, name: str) -> bool:
        """Whether it says more than the prior."""
        return strong(name, self.estimate) or (self.estimate.value == 0 and self.limits is not None)

    def interval(self, name: str) -> list[float]:
        """95 % interval."""
        return interval(name, self.estimate) if self.limits is None else [float(end) for end in self.limits]


def strong(name: str, estimate: Estimate) -> bool:
    """Whether an estimate says more of a field of Market than the prior."""
    if name == "impact_exponent" and not 0.1 <= estimate.value <= 2:
        return False
    if name in _WEAK:
        return estimate.error <= _WEAK[name]
    limit = _WEAK_IMPACT if name.endswith("_impact") else _WEAK_OTHERS
    return estimate.value > 0 and estimate.error <= limit * estimate.value


def interval(name: str, estimate: Estimate) -> list[float]:
    """95 % interval; of a positive parameter that of its logarithm."""
    value, error = estimate
    if positive(name) and value > 0:
        factor = math.exp(min(Z95 * error / value, 700.0))
        return [value / factor, value * factor]
    return [value - Z95 * error, value + Z95 * error]
