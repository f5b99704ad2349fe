"""Almgren & Chriss (2001): the schedule that trades expected cost against variance.

Two conventions for permanent impact are in use. With x_j shares held after slice j and v_j traded in it:

- ``"almgren-chriss-2001"``, the default: a trade's permanent push γ v_j is felt by the shares still held, γ Σ v_j x_j,
  and risk is borne on these, σ² Δ Σ x_j² (j = 1 .. N). This is what the environments charge, so the analytic mean and
  variance are those of simulated fills.
- ``"quadratic"``: γ Σ x_{j−1} v_j and σ² Δ Σ x_{j−1}², with the holdings before each trade. Published notebooks
  minimise this. It charges every share for the push of its own trade as well, γ Σ v_j² in all, which a simulation that
  fills at the price before the trade never pays: such a notebook's analytic cost is then not the mean of its own
  simulated costs. For the schedule both amount to another temporary impact: γ Σ v_j x_j = ½ γ (X² − Σ v_j²), but
  γ Σ x_{j−1} v_j = ½ γ (X² + Σ v_j²), so that η̃ = η ∓ γ Δ / 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np
import pandas as pd
from scipy.linalg import solveh_banded

from exec_env.base.errors import InputError, NoBound
from exec_env.base.validation import NonNegative, Positive, check_fields, require, require_count
from exec_env.baselines.results import Steps, new_axes
from exec_env.baselines.schedule import Schedule
from exec_env.market.market import BPS, Market
from exec_env.market.order import Order

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Convention = Literal["almgren-chriss-2001", "quadratic"]


@dataclass(frozen=True)
class Impact:
    """The parameters of the model, in any consistent units.

    Raises:
        InputError: naming the field, the value and what is allowed.
        NoBound: when η̃ is not positive, so that there is no optimum.
    """

    volatility: NonNegative
    """σ. [$/√time]"""
    temporary_impact: NonNegative
    """η. [$/share per share/time]"""
    permanent_impact: NonNegative
    """γ. [$/share per share]"""
    risk_aversion: NonNegative
    """λ. [1/$]"""
    slice_length: Positive = 1.0
    """Δ. [time]"""
    half_spread: NonNegative = 0.0
    """Cost of each share traded, ε. [$]"""
    convention: Convention = "almgren-chriss-2001"
    """How permanent impact is accounted for; see the module."""

    def __post_init__(self) -> None:
        check_fields(self)
        if self.eta_tilde <= 0:
            raise NoBound(
                f"temporary_impact = {self.temporary_impact:g}: must be above permanent_impact × slice_length / 2 "
                f"= {self.permanent_impact * self.slice_length / 2:g} for Almgren-Chriss to have an optimum"
            )

    @classmethod
    def of(cls, market: Market, order: Order) -> Impact:
        """The parameters of a market and an order; transient impact is not part of the model.

        Power-law impact is linearised at the order's average rate (``Market.linearised``).
        """
        market = market.linearised(order)
        return cls(
            volatility=market.volatility * market.arrival_price,
            temporary_impact=market.temporary_impact,
            permanent_impact=market.permanent_impact,
            risk_aversion=order.risk_aversion,
            slice_length=order.slice_length,
            half_spread=market.half_spread * BPS * market.arrival_price,
        )

    @property
    def eta_tilde(self) -> float:
        """Temporary impact with the part of permanent impact that goes with v², η̃ = η ∓ γ Δ / 2.

        Source: Almgren & Chriss (2001), equation 8.
        """
        own = self.permanent_impact * self.slice_length / 2
        return self.temporary_impact + (own if self.convention == "quadratic" else -own)

    @property
    def kappa(self) -> float:
        """Urgency κ: 2 (cosh κΔ − 1) / Δ² = λ σ² / η̃. [1/time]

        Source: Almgren & Chriss (2001), equations 15 and 16.
        """
        curvature = self.risk_aversion * self.volatility**2 / self.eta_tilde * self.slice_length**2
        # arccosh(1 + c/2) without losing a small c beside the one.
        return 2 * float(np.arcsinh(np.sqrt(curvature) / 2)) / self.slice_length

    @property
    def half_life(self) -> float:
        """Time 1/κ in which the position falls by a factor e when there is no deadline; infinite for λ = 0. [time]

        Source: Almgren & Chriss (2001), section 2.3, who call it the trade's half-life.
        """
        return 1 / self.kappa if self.kappa > 0 else np.inf

    def closed_form(self, shares: float, n_steps: int) -> np.ndarray:
        """Holdings x_j = X sinh κ(T − t_j) / sinh κT. Shape: (n_steps + 1,). [shares]

        λ → 0 gives TWAP.

        Source: Almgren & Chriss (2001), equation 17.
        """
        require(shares=shares)
        require_count(n_steps=n_steps)
        left = self.kappa * self.slice_length * np.arange(n_steps, -1, -1)
        if left[0] < 1e-6:
            return shares * np.arange(n_steps, -1, -1) / n_steps
        # sinh(a) / sinh(b) = e^{a−b} (1 − e^{−2a}) / (1 − e^{−2b}), which does not overflow.
        return shares * np.exp(left - left[0]) * np.expm1(-2 * left) / np.expm1(-2 * left[0])

    def optimum(self, shares: float, n_steps: int) -> np.ndarray:
        """Holdings that minimise cost + λ variance, as a quadratic program. Shape: (n_steps + 1,). [shares]

        Its normal equations are tridiagonal: solved in O(N) time and memory.
        """
        require(shares=shares)
        require_count(n_steps=n_steps)
        if n_steps == 1:
            return np.array([shares, 0.0])
        slope = self.eta_tilde / self.slice_length
        bands = np.empty((2, n_steps - 1))
        bands[0] = -slope
        bands[1] = 2 * slope + self.risk_aversion * self.volatility**2 * self.slice_length
        right = np.zeros(n_steps - 1)
        right[0] = slope * shares
        return np.r_[shares, solveh_banded(bands, right), 0.0]

    def expected_cost(self, holdings: np.ndarray) -> float:
        """Expected shortfall of any schedule, ½ γ X² + ε Σ |v| + (η̃ / Δ) Σ v². [$]

        Args:
            holdings: shares held after 0 .. N slices; the last must be 0. Shape: (n_steps + 1,).

        Raises:
            InputError: when something is left at the end.

        Source: Almgren & Chriss (2001), equation 8.
        """
        return float(self._costs(_finished(holdings)).sum())

    def variance(self, holdings: np.ndarray) -> float:
        """Variance of the shortfall of any schedule, σ² Δ Σ x_j². [$²]

        Args:
            holdings: as for ``expected_cost``.

        Source: Almgren & Chriss (2001), equation 5.
        """
        held = _finished(holdings)
        borne = held[:-1] if self.convention == "quadratic" else held[1:]
        return float(self.volatility**2 * self.slice_length * (borne**2).sum())

    def objective(self, holdings: np.ndarray) -> float:
        """Expected cost + λ variance of any schedule. [$]"""
        return self.expected_cost(holdings) + self.risk_aversion * self.variance(holdings)

    def _costs(self, holdings: np.ndarray) -> np.ndarray:
        """Expected cost of each slice. Shape: (n_steps,). [$]"""
        trades = -np.diff(holdings)
        charged = holdings[:-1] if self.convention == "quadratic" else holdings[1:]
        own = self.temporary_impact / self.slice_length * trades**2
        return self.permanent_impact * charged * trades + self.half_spread * np.abs(trades) + own


def _finished(holdings: np.ndarray) -> np.ndarray:
    holdings = np.asarray(holdings, float)
    if (
        holdings.ndim != 1
        or len(holdings) < 2
        or not np.isfinite(holdings).all()
        or abs(holdings[-1]) > 1e-9 * max(1.0, abs(holdings[0]))
    ):
        raise InputError("holdings: must be shares held after 0 .. N slices, ending at 0")
    return holdings


class ACStep(NamedTuple):
    """One period of a schedule."""

    time: float  # at its end [periods]
    remaining: float  # at its end [shares]
    trade_size: float  # [shares]
    cumulative_cost: float  # expected, so far [$]


@dataclass(frozen=True)
class ACSchedule(Steps):
    """An optimal schedule with its mean and variance."""

    steps: Sequence[ACStep]
    expected_cost: float
    """[$]"""
    variance: float
    """[$²]"""
    kappa: float
    """Urgency. [1/period]"""

    def plot(self, y: str = "remaining", axes: Axes | None = None, **style: Any) -> Axes:
        """Shares remaining against time."""
        return super().plot(y, axes, **style)


class ACFrontierPoint(NamedTuple):
    """One optimal schedule of the efficient frontier."""

    risk_aversion: float  # [1/$]
    expected_cost: float  # [$]
    variance: float  # [$²]


@dataclass(frozen=True)
class ACFrontier:
    """The efficient frontier: no schedule has less of both cost and variance."""

    points: Sequence[ACFrontierPoint]

    def to_frame(self) -> pd.DataFrame:
        """One row per risk aversion."""
        return pd.DataFrame(self.points, columns=ACFrontierPoint._fields)

    def plot(self, axes: Axes | None = None, **style: Any) -> Axes:
        """Expected cost against standard deviation."""
        axes = axes or new_axes()
        frame = self.to_frame()
        axes.plot(frame["variance"] ** 0.5, frame["expected_cost"], **style)
        axes.set(xlabel="standard deviation of the cost [$]", ylabel="expected cost [$]")
        return axes


def ac_kappa(
    volatility: float,
    temporary_impact: float,
    permanent_impact: float,
    risk_aversion: float,
    convention: Convention = "almgren-chriss-2001",
) -> float:
    """Urgency κ for periods of length one. [1/period]

    >>> round(ac_kappa(0.95, 2.5e-6, 2.5e-7, 1e-6), 4)
    0.6071
    """
    return Impact(volatility, temporary_impact, permanent_impact, risk_aversion, convention=convention).kappa


def ac_optimal_schedule(
    position: float,
    n_periods: int,
    volatility: float,
    temporary_impact: float,
    permanent_impact: float,
    risk_aversion: float,
    convention: Convention = "almgren-chriss-2001",
) -> ACSchedule:
    """Optimal schedule over ``n_periods`` periods of length one.

    Args:
        position: shares to sell, or, negative, to buy.
        n_periods: number of periods.
        volatility: σ. [$/√period]
        temporary_impact: η. [$/share per share/period]
        permanent_impact: γ. [$/share per share]
        risk_aversion: λ. [1/$]
        convention: see the module.

    Raises:
        InputError: naming the argument, the value and what is allowed.

    >>> schedule = ac_optimal_schedule(1e6, 5, 0.95, 2.5e-6, 2.5e-7, 1e-6)
    >>> [round(step.remaining) for step in schedule.steps]
    [541956, 289854, 147897, 62142, 0]
    """
    require_count(n_periods=n_periods)
    require(position=position)
    impact = Impact(volatility, temporary_impact, permanent_impact, risk_aversion, convention=convention)
    held = impact.optimum(float(position), n_periods)
    trades, costs = -np.diff(held), np.cumsum(impact._costs(held))
    rows = zip(range(1, n_periods + 1), held[1:].tolist(), trades.tolist(), costs.tolist(), strict=True)
    steps = [ACStep(float(t), *rest) for t, *rest in rows]
    return ACSchedule(steps, impact.expected_cost(held), impact.variance(held), impact.kappa)


def ac_efficient_frontier(
    position: float,
    n_periods: int,
    volatility: float,
    temporary_impact: float,
    permanent_impact: float,
    n_points: int = 50,
    risk_aversions: Sequence[float] | None = None,
    slice_length: float = 1.0,
    half_spread: float = 0.0,
    convention: Convention = "almgren-chriss-2001",
) -> ACFrontier:
    """Cost and variance of the optimal schedules from nearly TWAP to nearly at once.

    Args:
        position: shares to sell, or, negative, to buy.
        n_periods: number of periods.
        volatility: σ. [$/√time]
        temporary_impact: η. [$/share per share/time]
        permanent_impact: γ. [$/share per share]
        n_points: number of risk aversions, if none are given.
        risk_aversions: λ of each point; by default spread so that κT goes from 0.1 to 30. [1/$]
        slice_length: Δ. [time]
        half_spread: ε. [$]
        convention: see the module.
    """
    require_count(n_periods=n_periods, n_points=n_points)
    require(position=position)
    base = Impact(volatility, temporary_impact, permanent_impact, 0.0, slice_length, half_spread, convention)
    if risk_aversions is None:
        if volatility == 0:
            raise InputError("volatility = 0: without risk the frontier is the single point TWAP; give risk_aversions")
        urgency = np.geomspace(0.1, 30.0, n_points) / (n_periods * slice_length)
        risk_aversions = (
            2 * (np.cosh(urgency * slice_length) - 1) / slice_length**2 * base.eta_tilde / volatility**2
        ).tolist()
    points = []
    for aversion in risk_aversions:
        impact = Impact(volatility, temporary_impact, permanent_impact, aversion, slice_length, half_spread, convention)
        held = impact.optimum(float(position), n_periods)
        points.append(ACFrontierPoint(float(aversion), impact.expected_cost(held), impact.variance(held)))
    return ACFrontier(points)


class AlmgrenChriss(Schedule):
    """The closed-form schedule as an agent. It does not know of transient impact, nor look at the market."""

    def __init__(self, market: Market, order: Order) -> None:
        super().__init__(-np.diff(Impact.of(market, order).closed_form(order.shares, order.n_steps)))


CONVENTIONS = get_args(Convention)
"""Names of the conventions."""
