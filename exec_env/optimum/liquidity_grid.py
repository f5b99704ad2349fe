"""The grid of log liquidity that solvers work on: its points, and expectations over the next slice and over arrival."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from scipy.interpolate import CubicSpline
from scipy.special import pdtrik

from exec_env.base.errors import NoBound
from exec_env.market.market import Market
from exec_env.market.order import Order

NODES = 9
"""Of the quadrature over the next log liquidity, if not said otherwise."""
_WIDTH = 6.0  # the grid reaches this many standard deviations of ℓ
_RARE = 1e-6  # probability of more shocks at a time than the grid has room for
_FINE = 0.3  # the unit of the grid is at least this part of a shock
_AMPLE = 3.0  # log liquidity at which trading costs next to nothing
_MOST = 3000  # steps of a grid; more take gigabytes


def gauss_hermite(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of an expectation over a standard normal."""
    nodes, weights = hermegauss(n)
    return nodes, weights / weights.sum()


def grid(market: Market, order: Order, n_grid: int) -> tuple[np.ndarray, Any]:
    """Grid of ℓ, one point if it is constant, and its unit.

    Shocks take its lower end as far down as they reach: were it nearer, the poorest liquidity would look better than
    it is. The upper end stays: were it further, trading would look free where liquidity never is so good. Shocks that
    raise liquidity take the upper end up instead, but not to where nothing costs anything any more.

    Returns:
        Points in units, an odd number where there are shocks; and the unit.

    Raises:
        NoBound: when shocks reach so far that the grid would be too large.
    """
    s, (rate, size) = market.liquidity_volatility, market.shocks
    if not market.has_shocks:
        return (np.linspace(-_WIDTH, _WIDTH, n_grid) if s > 0 else np.zeros(1)), s
    unit = s if hasattr(s, "detach") else max(s, _FINE * abs(plain(size)))
    step = 2 * _WIDTH / (n_grid - 1)
    at_once = np.ceil(pdtrik(1 - _RARE, plain(rate) * min(order.horizon, 2 / plain(market.liquidity_reversion))))
    reach = min(at_once, order.n_steps) * abs(plain(size))
    if plain(size) < 0:
        reach = min(reach, max(_AMPLE - _WIDTH * plain(s), 0.0))
    # An even number of steps: solvers may skip every other point.
    n_steps = 2 * int(np.ceil((2 * _WIDTH * plain(s) + reach) / plain(unit) / step / 2))
    if n_steps > _MOST:
        given = f"shock_rate = {market.shock_rate!r}, shock_size = {market.shock_size!r}"
        if market.own_stress.shock_rate > 0:
            given = f"stress_factor = {market.stress_factor!r}"
        raise NoBound(
            f"Market.{given}: shocks reach so far that a grid of liquidity would have {n_steps} steps, above {_MOST}"
        )
    u = _WIDTH * plain(s) / plain(unit) - step * np.arange(n_steps + 1)
    return (u[::-1] if plain(size) > 0 else -u), unit


def transition(
    market: Market, order: Order, u: np.ndarray, n_nodes: int, unit: float, shocks: bool = True
) -> np.ndarray:
    """Matrix of E[f(ℓ') | ℓ] for f on the grid ``u`` of ℓ / ``unit``, one point if ℓ is constant.

    Shape:
        (n_grid, n_grid).
    """
    if len(u) == 1:
        return np.ones((1, 1))
    z, weights = gauss_hermite(n_nodes)
    interpolate = CubicSpline(u, np.eye(len(u)))
    scaled = replace(
        market,
        liquidity_volatility=plain(market.liquidity_volatility) / unit,
        liquidity_reversion=plain(market.liquidity_reversion),
    )

    def expectation(jump: float) -> np.ndarray:
        ahead = scaled.next_liquidity(u[:, None], z, jump, order.slice_length)
        return np.tensordot(interpolate(np.clip(ahead, u[0], u[-1])), weights, axes=(1, 0))

    if not shocks or not market.has_shocks:
        return expectation(0.0)
    p = market.shock_probability(order.slice_length)
    return (1 - p) * expectation(0.0) + p * expectation(plain(market.shocks[1]) / unit)


def stationary(u: np.ndarray, std: float = 1.0) -> np.ndarray:
    """Weights of E[f(ℓ)] before the first slice, for f on the grid ``u`` on which ℓ has the deviation ``std``.

    Shape:
        (n_grid,).
    """
    z, weights = gauss_hermite(4 * NODES)
    return weights @ CubicSpline(u, np.eye(len(u)))(std * z) if len(u) > 1 else np.ones(1)


def plain(x: Any) -> float:
    """A number, of which no gradient is wanted."""
    return float(x.detach() if hasattr(x, "detach") else x)
