"""What can be known of log liquidity where it is hidden: an exact Kalman filter of spreads and volumes.

Log liquidity is normal and moves as ℓ' = a ℓ + s √(1 − a²) z, a = e^{−θΔ}. Before slice t is traded in, two things are
known of it: the half spread h_t, which is seen, and the volumes of the slices before. Both are lognormal, so that their
logarithms are ℓ and noise:

    y_h = −(log h_t / H + β² s² / 2 + v_h² / 2) / β = ℓ_t     + noise of variance (v_h / β)²
    y_V =   log V_t / V̄_t + s² / 2 + v_V² / 2       = ℓ_t     + noise of variance v_V²       (seen after slice t)

with H and V̄_t their means, v_h and v_V the log standard deviations of their noise, β the elasticity of the spread. So
ℓ_t given all that is seen before slice t is normal with a mean m_t, the filter's, and a variance P_t that nobody needs
data for. Trades of one's own say no more: what they concede is known after the order is done.

Source: Kalman (1960), "A new approach to linear filtering and prediction problems"; Harvey (1989), "Forecasting,
structural time series models and the Kalman filter", section 3.2.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from exec_env.base.errors import InputError
from exec_env.base.namespace import namespace
from exec_env.market.execution import Slice
from exec_env.market.market import BPS, Market
from exec_env.market.order import Order

_TINY = 1e-30  # what a zero is taken for in a logarithm; it is then no measurement


@dataclass(frozen=True)
class LiquidityFilter:
    """Gains and variances of the filter, known beforehand. Shape of each array: (n_steps,)."""

    market: Market
    order: Order
    persistence: float
    """a."""
    before: np.ndarray
    """Variance of ℓ_t before its spread is seen."""
    spread_gain: np.ndarray
    """How far the mean moves towards y_h."""
    variance: np.ndarray
    """P_t: variance of ℓ_t as slice t is traded in."""
    volume_gain: np.ndarray
    """How far the mean moves towards y_V, once the slice is over."""
    after: np.ndarray
    """Variance of ℓ_t then."""

    @classmethod
    def of(cls, market: Market, order: Order) -> "LiquidityFilter":
        """The filter of a market, over the slices of an order; stress, shocks and regimes are not in it.

        Raises:
            InputError: as ``refuse_shown``.

        >>> found = LiquidityFilter.of(Market(volume_noise=0.6, spread_noise=0.5), Order())
        >>> found.variance[[0, 1, 39]].round(5).tolist()
        [0.2, 0.13088, 0.09764]
        """
        refuse_shown(market)
        stationary, n = market.liquidity_volatility**2, order.n_steps
        a = math.exp(-market.liquidity_reversion * order.slice_length)
        columns, before = [], stationary
        for _ in range(n):
            to_spread = _gain(before, _spread_variance(market))
            variance = (1 - to_spread) * before
            to_volume = _gain(variance, market.volume_noise**2)
            after = (1 - to_volume) * variance
            columns.append((before, to_spread, variance, to_volume, after))
            before = a**2 * after + stationary * (1 - a**2)
        return cls(market, order, a, *np.array(columns).T)

    def updated(self, mean: Any, step: Any, half_spread: Any, volume: Any) -> Any:
        """M of a slice: from that of the slice before, its volume, which is seen since, and this slice's spread.

        A spread or a volume of zero, as recorded ones may be, is no measurement.

        Args:
            mean: of the slice before; of the first slice anything.
            step: slice, from 0: a number, or an array of one each.
            half_spread: of this slice. [$]
            volume: of the slice before. [shares]
        """
        market, s, one = self.market, self.market.liquidity_volatility, isinstance(step, int)
        log, maximum = namespace(half_spread).log, namespace(half_spread).maximum

        def at(column: np.ndarray, step: Any) -> Any:
            return float(column[step]) if one else column[step]

        level = at(self.volumes, step - 1)
        y = log(maximum(volume / level, _TINY)) + (s**2 + market.volume_noise**2) / 2
        mean = mean + at(self.volume_gain, step - 1) * (y - mean) * (volume > 0)
        mean = self.persistence * mean * (step > 0)
        beta, typical = market.spread_elasticity, market.half_spread * BPS * market.arrival_price
        if beta == 0 or typical == 0:
            return mean
        y = -(log(maximum(half_spread / typical, _TINY)) + (beta**2 * s**2 + market.spread_noise**2) / 2) / beta
        return mean + at(self.spread_gain, step) * (y - mean) * (half_spread > 0)

    def means(self, half_spread: Any, volume: Any) -> Any:
        """m_t of each path and slice, by the spreads up to this slice's, and the volumes before it.

        Shape:
            (n_paths, n_steps), that of the arguments.
        """
        mean, means = 0.0 * half_spread[:, 0], []
        for t in range(self.order.n_steps):
            mean = self.updated(mean, t, half_spread[:, t], volume[:, max(t - 1, 0)])
            means.append(mean)
        return namespace(mean).stack(means, -1)

    def hidden(self, slices: Slice, show_mean: bool) -> Slice:
        """The slices as they are seen where liquidity is hidden.

        Log liquidity is the filter's mean, or zero unless it is shown; the volume, and with it the cap on trades, is
        that of the slice before, in the first slice the mean: were it this slice's, what could be traded would tell.

        Args:
            slices: as they are. Shape of columns: (n_paths, n_steps).
            show_mean: whether the filter's mean is shown.
        """
        volume = slices.volume
        first = 0.0 * volume[:, 0] + float(self.volumes[0])
        before = namespace(volume).stack([first, *(volume[:, t] for t in range(self.order.n_steps - 1))], -1)
        liquidity = self.means(slices.half_spread, volume) if show_mean else 0.0 * slices.log_liquidity
        return slices._replace(log_liquidity=liquidity, volume=before)

    @cached_property
    def volumes(self) -> np.ndarray:
        """Mean volume of each slice. Shape: (n_steps,). [shares]"""
        return self.market.daily_volume * self.order.slice_length * self.market.profile(self.order)


def refuse_shown(market: Market) -> None:
    """Refuse a market whose liquidity cannot be hidden.

    Raises:
        InputError: where volatility, which is seen, follows liquidity.
    """
    if market.volatility_elasticity != 0:
        raise InputError(
            f"Market.volatility_elasticity = {market.volatility_elasticity:g}: volatility is seen and would show "
            "liquidity; must be 0 where it is hidden"
        )


def _spread_variance(market: Market) -> float:
    """Of the noise of y_h; infinite where the spread says nothing."""
    if market.spread_elasticity == 0 or market.half_spread == 0:
        return math.inf
    return (market.spread_noise / market.spread_elasticity) ** 2


def _gain(variance: float, noise: float) -> float:
    """Part of the way from the mean to a measurement."""
    return variance / (variance + noise) if variance > 0 else 0.0
