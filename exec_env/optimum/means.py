"""The market at its means: slice by slice, as whoever decides at arrival and never looks sees it."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from exec_env.market.clock import of_each
from exec_env.market.execution import Slice
from exec_env.market.market import NOISES, Market
from exec_env.market.order import Order
from exec_env.optimum import lq, regimes
from exec_env.optimum.liquidity_grid import plain


@dataclass(frozen=True)
class SliceMeans:
    """What is expected of each slice at arrival: exact, with shocks, regimes and stress. Shape: (n_steps,) each.

    For shares that are fixed at arrival the expected cost is that of these means, because trades do not depend on what
    is random, and the decay of one slice does not on that of another.
    """

    half_spread: np.ndarray
    """[$]"""
    volume: np.ndarray
    """[shares]"""
    variance: np.ndarray
    """[$²]"""
    drift: np.ndarray
    """[$]"""
    slope: np.ndarray
    """Of temporary impact. [$/share per share^δ]"""
    permanent: np.ndarray
    """[$/share per share]"""
    decay: np.ndarray
    """Share of the transient push that survives a slice, and the night after it."""


def slice_means(market: Market, order: Order) -> SliceMeans:
    """The means of a market over an order's horizon."""
    dt, n = order.slice_length, order.n_steps
    s = market.liquidity_volatility
    beta, c = plain(market.spread_elasticity), plain(market.volatility_elasticity)
    shocked = {e: _shocked(market, order, e)[:, None] for e in {1.0, -1.0, -beta, 2 * c}}
    # A mean-one factor is one where log liquidity is e s² / 2, and its noise half a deviation.
    calm = Slice(
        log_liquidity=0.0,
        half_spread=market.half_spread_at(-beta * s**2 / 2, market.spread_noise / 2) * shocked[-beta],
        volume=market.volume_at(s**2 / 2, market.volume_noise / 2, dt, market.profile(order)[:, None]) * shocked[1.0],
        variance=market.variance_at(c * s**2, dt) * shocked[2 * c],
        drift=0.0,
        temporary=market.temporary_at(-(s**2) / 2, market.impact_noise / 2, dt) * shocked[-1.0],
        permanent=market.permanent_impact,
        decay=0.0,
        price_shock=0.0,
        slippage=0.0,
    )
    chain = regimes.chain(market, order)
    each = market.stressed(calm, chain.factors)

    def mean(column: Any) -> np.ndarray:
        return (chain.law * column).sum(1)

    return SliceMeans(
        half_spread=mean(each.half_spread),
        volume=mean(each.volume),
        variance=mean(each.variance),
        drift=market.arrival_price * dt * market.signal * np.exp(-market.signal_reversion * dt * np.arange(n)),
        slope=mean(each.temporary),
        permanent=mean(each.permanent),
        decay=mean_decay(market, order),
    )


def mean_decay(market: Market, order: Order) -> np.ndarray:
    """Mean share of the transient push that survives each slice, and the night after it. Shape: (n_steps,)."""
    lengths = of_each(market.spans(order)[1], order.n_steps)
    known = {length: plain(lq.decay_moments(market, length)[0]) for length in set(lengths)}
    return np.array([known[length] for length in lengths])


def _shocked(market: Market, order: Order, exponent: float) -> np.ndarray:
    """What liquidity shocks make of the mean of f_e(ℓ), which is one without. Shape: (n_steps,).

    A slice has felt each shock since the onset of its stress, a^k of it after k slices: the mean over the onset of
    Π_k (1 − p + p e^{−e J a^k}).
    """
    n = order.n_steps
    if not market.has_shocks:
        return np.ones(n)
    p, size = market.shock_probability(order.slice_length), plain(market.shocks[1])
    a = np.exp(-market.liquidity_reversion * order.slice_length)
    felt = np.r_[1.0, np.cumprod(1 - p + p * np.exp(-exponent * size * a ** np.arange(n)))]
    begun = market.stress_begun(n) if market.own_stress.shock_rate > 0 else np.ones(n)
    onset = np.diff(begun, prepend=0.0)  # the probability of each first slice
    first = np.maximum(np.arange(n), 1)  # no shock comes before the first trade
    out = np.ones(n)
    for t in range(n):
        since = np.maximum(t + 1 - first[: t + 1], 0)
        out[t] = (onset[: t + 1] * felt[since]).sum() + 1 - onset[: t + 1].sum()
    return out


def averaged(market: Market, order: Order) -> Market:
    """A market whose factors stay at one and whose impact is linear: what classical rules take for ``market``.

    Regimes and a stress of factors stay in it. Without shocks its averages are those of ``market``.
    """
    market = market.linearised(order)
    decay, _ = lq.decay_moments(market, order.slice_length)
    still = (*NOISES, "liquidity_volatility", "shock_rate", "signal_volatility")
    quiet: dict[str, Any] = dict.fromkeys(still, 0.0)
    if market.own_stress.shock_rate > 0:
        quiet |= {"stress": "none", "stress_factor": None, "stress_onset_end": None}
    return replace(market, resilience=-float(np.log(decay)) / order.slice_length, **quiet)
