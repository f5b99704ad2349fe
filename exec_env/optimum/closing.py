"""The last slice of the constrained problem: a trade, and the block of all that is left on top of it.

With c(v) the temporary cost of v shares, p ``Order.terminal_penalty`` and x = v + b, the last slice costs

    h x + I x + c(x) + (p − 1) c(b) + (γ + κ) v b:

what selling all costs, and what the block b costs more. That is least for the largest trade, but where the block costs
little beside the push of a trade: then all or nothing is traded.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from exec_env.market.execution import temporary_cost
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.optimum.lognormal import Lognormal

_TRIED = 17  # trades: from all that may be traded, which is nearly always best, to none
_TAIL = 6.0  # standard deviations of log volume


@dataclass(frozen=True)
class Rest:
    """What a slice's temporary impact costs on average beyond that of ``Market.linearised``, g."""

    slope: Any
    """The concession is slope · v^δ on average. [$/share per share^δ]"""
    exponent: float
    """δ."""
    even: float
    """Shares at which both concede the same. [shares]"""

    @classmethod
    def of(cls, market: Market, order: Order, liquidity: Any, impact: Any = 1.0) -> "Rest":
        """That of a slice; its log liquidity includes a stress, which also multiplies impact by ``impact``."""
        # Of the noise, which is not seen before trading, the mean: it is where the normal is half its deviation.
        slope = impact * market.temporary_at(liquidity, market.impact_noise / 2, order.slice_length)
        return cls(slope, market.impact_exponent, order.shares / order.n_steps)

    def cost(self, v: Any) -> Any:
        """g(v). [$]"""
        linear = self.slope * self.even ** (self.exponent - 1.0)
        return temporary_cost(self.slope, v, self.exponent) - temporary_cost(linear, v, 1.0)

    def marginal(self, v: Any) -> Any:
        """g'(v). [$/share]"""
        if self.exponent == 1.0:
            return 0.0
        power = (1.0 + self.exponent) * v**self.exponent
        return self.slope * (power - 2.0 * self.even ** (self.exponent - 1.0) * v)

    def __getitem__(self, index: Any) -> "Rest":
        return Rest(self.slope[index], self.exponent, self.even)


@dataclass(frozen=True)
class Close:
    """The last slice: a trade v, and the block of all that is left on top of it."""

    impact: Rest
    """Temporary impact of the slice."""
    penalty: float
    """Multiplies temporary impact of the block."""
    push: Any
    """γ + κ. [$/share per share]"""

    def saved(self, x: Any, v: Any) -> Any:
        """What it saves to trade v rather than leave all of x to the block: for v = x, all that a block costs. [$]"""
        slope, exponent, left = (self.penalty - 1) * self.impact.slope, self.impact.exponent, x - v
        return temporary_cost(slope, x, exponent) - temporary_cost(slope, left, exponent) - self.push * v * left

    def trade(self, x: Any, most: Any) -> Any:
        """What saves most of what may be traded: all of it, or, where the push costs more than the block, none."""
        x, most, _, _ = np.broadcast_arrays(x, most, self.impact.slope, self.push)
        tried = np.minimum(most, x) * np.linspace(1.0, 0.0, _TRIED).reshape(-1, *[1] * x.ndim)
        best = self.saved(x, tried).argmax(0)
        return np.take_along_axis(tried, best[None], 0)[0]

    def price(self, x: np.ndarray, cap: Lognormal, n_nodes: int) -> np.ndarray:
        """What the cap costs on average, before the volume is seen. Shape: (liquidity, 1, held). [$]"""
        nodes, weights = np.polynomial.legendre.leggauss(n_nodes)
        binds = np.clip(cap.score(x), -_TAIL, _TAIL)[..., None]  # below this normal of the volume, the cap binds
        half = (binds + _TAIL) / 2
        z = half * (nodes + 1) - _TAIL
        v = np.minimum(cap[..., None].quantile(z), x[:, None])
        each = Close(self.impact[..., None], self.penalty, self.push[..., None])
        # The best of all trades up to the cap.
        saved = np.maximum.accumulate(np.maximum(each.saved(x[:, None], v), 0.0), -1)
        density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
        missed = self.saved(x, x)[..., None] - saved
        return (half * weights * density * missed).sum(-1)
