"""Almgren & Chriss (2001): the schedule that trades expected cost against variance."""

import numpy as np

from baselines.schedule import Schedule
from exec_env.market import Market
from exec_env.order import Order


def eta_tilde(market: Market, order: Order) -> float:
    """Temporary impact less what permanent impact already charges, η̃ = η − γ Δ / 2. [$/share per share/day]

    Source: Almgren & Chriss (2001), equation 8.
    """
    return market.temporary_impact - market.permanent_impact * order.slice_length / 2


def kappa(market: Market, order: Order) -> float:
    """Urgency κ of the discrete problem, 2 (cosh κΔ − 1) / Δ² = λ σ² / η̃. [1/day]

    Raises:
        ValueError: when η̃ is not positive, so that there is no optimum.

    Source: Almgren & Chriss (2001), equation 16 and below.
    """
    eta = eta_tilde(market, order)
    if eta <= 0:
        raise ValueError(
            f"Market.temporary_impact = {market.temporary_impact:g}: must be above permanent_impact × slice_length / 2 "
            f"= {market.permanent_impact * order.slice_length / 2:g} for Almgren-Chriss"
        )
    dt, sigma = order.slice_length, market.volatility * market.arrival_price
    return float(np.arccosh(order.risk_aversion * sigma**2 / eta * dt**2 / 2 + 1)) / dt


def trajectory(market: Market, order: Order) -> np.ndarray:
    """Shares held after 0 .. N slices, x_j = X sinh κ(T − t_j) / sinh κT. Shape: (n_steps + 1,). [shares]

    λ → 0 gives TWAP.

    Source: Almgren & Chriss (2001), equation 17.
    """
    left = kappa(market, order) * order.slice_length * np.arange(order.n_steps, -1, -1)
    if left[0] < 1e-6:
        return order.shares * np.arange(order.n_steps, -1, -1) / order.n_steps
    # sinh(a) / sinh(b) = e^{a−b} (1 − e^{−2a}) / (1 − e^{−2b}), which does not overflow.
    return order.shares * np.exp(left - left[0]) * np.expm1(-2 * left) / np.expm1(-2 * left[0])


def expected_cost(market: Market, order: Order, holdings: np.ndarray) -> float:
    """Expected shortfall ½ γ X² + h X + (η̃ / Δ) Σ v² of a schedule, without transient impact. [$]

    Args:
        market: impact and spread.
        order: size and slice length.
        holdings: shares held after 0 .. N slices; the last must be 0. Shape: (n_steps + 1,).

    Source: Almgren & Chriss (2001), equation 8.
    """
    trades = -np.diff(holdings)
    spread = market.half_spread * 1e-4 * market.arrival_price
    return float(
        market.permanent_impact * holdings[0] ** 2 / 2
        + spread * np.abs(trades).sum()
        + eta_tilde(market, order) / order.slice_length * (trades**2).sum()
    )


def variance(market: Market, order: Order, holdings: np.ndarray) -> float:
    """Variance σ² Δ Σ x_j² of the shortfall of a schedule, x_j being held after slice j = 1 .. N. [$²]

    Source: Almgren & Chriss (2001), equation 5.
    """
    sigma = market.volatility * market.arrival_price
    return float(sigma**2 * order.slice_length * (holdings[1:] ** 2).sum())


class AlmgrenChriss(Schedule):
    """The closed-form schedule as an agent. It does not know of transient impact, nor look at the market."""

    def __init__(self, market: Market, order: Order) -> None:
        super().__init__(-np.diff(trajectory(market, order)))
