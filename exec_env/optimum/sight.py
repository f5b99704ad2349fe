"""What a rule knows of liquidity before it trades a slice, and expectations over what it will know of the next one.

The recursion of ``exec_env.optimum.lq`` lives on a grid: of log liquidity where it is seen (``FullSight``), of the
filter's mean where it is hidden (``HiddenSight``). All else is the same.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from scipy.interpolate import CubicSpline

from exec_env.base.errors import NoBound
from exec_env.base.namespace import as_like, namespace
from exec_env.market.execution import Slice
from exec_env.market.liquidity_filter import LiquidityFilter
from exec_env.market.market import BPS, Market
from exec_env.market.order import Order
from exec_env.market.stress import Factors
from exec_env.optimum import liquidity_grid, regimes
from exec_env.optimum.cost_forms import HELD, ONE, PUSH, SIGNAL, SPREAD, Charged, form, square_mean

_NEXT = [HELD, PUSH, SIGNAL, ONE]  # what the next slice starts from; its spread is drawn anew
_NODES = 21  # of the quadrature over the filter's next mean


class Sight(Protocol):
    """What is known of each slice's liquidity."""

    grid: np.ndarray
    """Points, in units of ``unit``. Shape: (n_grid,)."""
    unit: Any
    chain: regimes.Chain
    """Regimes that are told apart."""

    def coefficients(self, step: int) -> tuple[Any, Any, Any, Any]:
        """Mean half spread, slope of temporary impact, price of risk and permanent impact of a slice.

        Shape:
            (n_regimes · n_grid,) each, the regimes one after the other.
        """

    def before(self, step: int, after: Any) -> Any:
        """Expected forms of slice ``step`` in (x, I, α, 1), as they are known a slice earlier; at arrival of the first.

        Args:
            step: slice, from 0.
            after: its forms in (x, I, α, h, 1), trade minimised. Shape: (n_regimes · n_grid, 5, 5).

        Shape:
            (n_regimes · n_grid, 4, 4); (4, 4) of the first slice.
        """


class FullSight:
    """Log liquidity of the slice is seen; regimes too, unless ``observed`` is False."""

    def __init__(
        self, market: Market, order: Order, n_grid: int, n_nodes: int, like: Any, observed: bool, charged: Charged
    ) -> None:
        self.grid, self.unit = liquidity_grid.grid(market, order, n_grid)
        chain = regimes.chain(market, order)
        self._ahead_of = regimes.onward(market, order, self.grid, self.unit, n_nodes, chain, like, observed)
        self.coefficients = coefficients(market, order, as_like(self.grid, like) * self.unit, chain, observed)
        self._spread_moments = charged.spread_moments(market.spread_noise)
        self.chain = chain if observed else regimes.averaged(chain)
        self._std = liquidity_grid.plain(market.liquidity_volatility) / (liquidity_grid.plain(self.unit) or 1.0)

    def before(self, step: int, after: Any) -> Any:
        """See ``Sight``."""
        spread, slope, _, _ = self.coefficients(step)
        mean, square = self._spread_moments
        # The spread is seen before trading, so it is averaged after minimising.
        linear = mean * spread[:, None] * after[:, _NEXT, SPREAD]
        to_one = form({(3, 3): 1.0}, (4, 4), slope[:1])[0][3]
        ahead = after[:, _NEXT][:, :, _NEXT] + linear[:, :, None] * to_one + linear[:, None, :] * to_one[:, None]
        ahead = ahead + (spread**2 * square * after[:, SPREAD, SPREAD])[:, None, None] * to_one * to_one[:, None]
        if step > 0:
            return (self._ahead_of(step) @ ahead.reshape(-1, 16)).reshape(-1, 4, 4)
        weights = np.kron(self.chain.law[0], liquidity_grid.stationary(self.grid, self._std))
        return (as_like(weights, ahead)[:, None, None] * ahead).sum(0)


class HiddenSight:
    """Log liquidity is hidden; spreads up to the slice's own and volumes before it are seen (``LiquidityFilter``).

    Given the mean m_t and variance P_t of the filter, E[f_e(ℓ_t)] = f_e(m_t) of a market whose log liquidity has the
    variance s² − P_t, that of m_t; so the coefficients of a slice are those of such a market. From slice to slice

        m_t = m⁻ + K_h e,  m⁻ | m_{t−1} ~ N(a m_{t−1}, a² (P_{t−1} − P'_{t−1})),  y_h = m⁻ + e,

    and given m_{t−1} and m_t, y_h is normal: the slice's spread is lognormal, its two moments are known.

    Raises:
        NoBound: where regimes, shocks or a stress move liquidity too, of which the filter knows nothing, and for
            spreads that are charged in part.
        InputError: as ``LiquidityFilter.of``.
    """

    def __init__(self, market: Market, order: Order, n_grid: int, charged: Charged) -> None:
        if market.stress != "none" or market.regime_rate > 0 or market.has_shocks:
            raise NoBound("stress, shocks and regimes move liquidity beside the filter of hidden liquidity")
        if charged.spread < math.inf:
            raise NoBound("where liquidity is hidden, spreads cannot be charged in part")
        self.filter, self.chain = LiquidityFilter.of(market, order), regimes.chain(market, order)
        self.grid, self.unit = liquidity_grid.grid(market, order, n_grid)
        self._market, self._order, self._m = market, order, self.grid * self.unit
        self._nodes, self._weights = liquidity_grid.gauss_hermite(_NODES)

    def coefficients(self, step: int) -> tuple[Any, Any, Any, Any]:
        """See ``Sight``."""
        variance = self._market.liquidity_volatility**2 - self.filter.variance[step]
        of_mean = replace(self._market, liquidity_volatility=max(float(variance), 0.0) ** 0.5)
        return coefficients(of_mean, self._order, self._m, self.chain, True)(step)

    def before(self, step: int, after: Any) -> Any:
        """See ``Sight``."""
        found, gain = self.filter, float(self.filter.spread_gain[step])
        # Of y_h − m⁻ and of m⁻ − a m_{t−1}, which are independent.
        news = float(found.before[step]) + self._spread_variance
        known = 0.0
        if step > 0:
            known = found.persistence**2 * float(found.variance[step - 1] - found.after[step - 1])
        start = found.persistence * self._m[:, None] if step > 0 else np.zeros((1, 1))
        both = gain**2 * news + known if gain > 0 else known
        moved = both**0.5 * self._nodes
        # y_h given both means: m_t plus the part of its news that m_t does not show.
        toward = gain * news / both if gain > 0 else 0.0
        y, y_variance = start + moved + (1 - gain) * toward * moved, (1 - gain) ** 2 * (1 - gain * toward) * news
        first, second = self._spreads(y, y_variance) if gain > 0 else self._unrelated
        at = self._forms(after, start + moved)
        out = at[..., _NEXT, :][..., _NEXT]
        linear = first[..., None] * at[..., _NEXT, SPREAD]
        out[..., :, 3] += linear
        out[..., 3, :] += linear
        out[..., 3, 3] += second * at[..., SPREAD, SPREAD]
        expected = np.einsum("j,ijkl->ikl", self._weights, out)
        return expected if step > 0 else expected[0]

    @property
    def _typical(self) -> float:
        """Mean half spread H. [$]"""
        return self._market.half_spread * BPS * self._market.arrival_price

    @property
    def _spread_variance(self) -> float:
        """Of the noise of y_h."""
        return (self._market.spread_noise / (self._market.spread_elasticity or math.inf)) ** 2

    @property
    def _unrelated(self) -> tuple[Any, Any]:
        """Moments of a spread that says nothing of liquidity."""
        one = np.ones((1, 1))
        return self._typical * one, self._typical**2 * square_mean(self._market.spread_noise) * one

    def _spreads(self, mean: Any, variance: float) -> tuple[Any, Any]:
        """E[h] and E[h²] where y_h is normal: h = H exp(−β y_h − (β² s² + v_h²) / 2)."""
        market, beta = self._market, self._market.spread_elasticity
        level = self._typical * math.exp(-(beta**2 * market.liquidity_volatility**2 + market.spread_noise**2) / 2)
        first = level * np.exp(-beta * mean + beta**2 * variance / 2)
        return first, first**2 * math.exp(beta**2 * variance)

    def _forms(self, after: Any, means: Any) -> Any:
        """Forms where the filter's mean is ``means``. Shape: (*means.shape, 5, 5)."""
        if len(self._m) == 1:
            return np.broadcast_to(after[0], (*means.shape, 5, 5)).copy()
        table = CubicSpline(self._m, after.reshape(len(after), -1))
        return table(np.clip(means, self._m[0], self._m[-1])).reshape(*means.shape, 5, 5)


def coefficients(
    market: Market, order: Order, grid: Any, chain: regimes.Chain, observed: bool
) -> Callable[[int], tuple[Any, Any, Any, Any]]:
    """Mean half spread, slope of temporary impact, price of risk and permanent impact of a slice.

    Shape:
        (n_regimes · n_grid,) each, the regimes one after the other; their mean, (n_grid,), unless they are observed.
    """
    mean = Slice(
        log_liquidity=grid,
        half_spread=market.half_spread_at(grid, 0.0) * square_mean(market.spread_noise) ** 0.5,
        volume=0.0,
        variance=order.risk_aversion * market.variance_at(grid, order.slice_length),
        drift=0.0,
        temporary=market.temporary_at(grid, 0.0, order.slice_length) * square_mean(market.impact_noise) ** 0.5,
        permanent=market.permanent_impact + 0.0 * grid,
        decay=0.0,
        price_shock=0.0,
        slippage=0.0,
    )

    def at(step: int) -> tuple[Any, Any, Any, Any]:
        each = [market.stressed(mean, Factors(*(float(f[step, k]) for f in chain.factors))) for k in range(n)]
        columns = [[getattr(now, name) for now in each] for name in names]
        if not observed:
            return tuple(
                sum(p * c for p, c in zip(chain.law[step].tolist(), column, strict=True)) for column in columns
            )
        return tuple(namespace(grid).stack(column, 0).reshape(-1) for column in columns)

    n, names = chain.n_regimes, ("half_spread", "temporary", "variance", "permanent")
    return at
