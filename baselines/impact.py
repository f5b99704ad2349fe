"""The model of Almgren & Chriss (2001): what a schedule costs on average, its variance, and the best one.

Two conventions for permanent impact are in use. With x_j shares held after slice j and v_j traded in it:

- ``"almgren-chriss-2001"``, the default: a trade's permanent push γ v_j is felt by the shares still held, γ Σ v_j x_j,
  and risk is borne on these, σ² Δ Σ x_j² (j = 1 .. N). This is what the environments charge, so the analytic mean and
  variance are those of simulated fills.
- ``"quadratic"``: γ Σ x_{j−1} v_j and σ² Δ Σ x_{j−1}², with the holdings before each trade. Published notebooks
  minimise this. It charges every share for the push of its own trade as well, γ Σ v_j² in all, which a simulation that
  fills at the price before the trade never pays: such a notebook's analytic cost is then not the mean of its own
  simulated costs. For the schedule both amount to another temporary impact: γ Σ v_j x_j = ½ γ (X² − Σ v_j²), but
  γ Σ x_{j−1} v_j = ½ γ (X² + Σ v_j²), so that η̃ = η ∓ γ Δ / 2.

Impact that grows with a power of the rate has no closed form: Almgren (2003), "Optimal execution with nonlinear impact
functions and trading-enhanced risk", is a convex program over the N trades.

A night is a time without trading: more variance on what is held through it (``Impact.nights``). The closed form knows
none; the quadratic program does.

A negative risk aversion is that of a trader who seeks risk (point C of figure 1 in Almgren & Chriss 2001), and starts
slowly. Below a limit, where κT is π, there is no optimum any more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from scipy.linalg import LinAlgError, solveh_banded

from exec_env.base.errors import InputError, NoBound
from exec_env.base.validation import Finite, NonNegative, Positive, check_fields, require, require_count
from exec_env.market.execution import temporary_cost
from exec_env.market.market import BPS, Exponent, Market
from exec_env.market.order import Order
from exec_env.optimum.schedule import FixedCost

Convention = Literal["almgren-chriss-2001", "quadratic"]


CONVENTIONS = get_args(Convention)
"""Names of the conventions."""


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
    risk_aversion: Finite
    """λ; below zero for who seeks risk. [1/$]"""
    slice_length: Positive = 1.0
    """Δ. [time]"""
    half_spread: NonNegative = 0.0
    """Cost of each share traded, fees included, ε. [$]"""
    convention: Convention = "almgren-chriss-2001"
    """How permanent impact is accounted for; see the module."""
    exponent: Exponent = 1.0
    """δ: the concession is η rate (rate / reference_rate)^(δ − 1)."""
    reference_rate: Positive = 1.0
    """[shares/time]"""
    nights: tuple[NonNegative, ...] = ()
    """Variance of the price between each slice and the next one, over that of a slice; by default there are no nights.
    One number fewer than slices."""

    def __post_init__(self) -> None:
        check_fields(self)
        if self.exponent == 1 and self.eta_tilde <= 0:
            raise NoBound(
                f"temporary_impact = {self.temporary_impact:g}: must be above permanent_impact × slice_length / 2 "
                f"= {self.permanent_impact * self.slice_length / 2:g} for Almgren-Chriss to have an optimum"
            )

    @classmethod
    def of(cls, market: Market, order: Order) -> Impact:
        """The parameters of a market and an order; transient impact is not part of the model."""
        return cls(
            volatility=market.volatility * market.arrival_price,
            temporary_impact=market.temporary_impact,
            permanent_impact=market.permanent_impact,
            risk_aversion=order.risk_aversion,
            slice_length=order.slice_length,
            half_spread=market.half_spread * BPS * market.arrival_price + market.fee,
            exponent=market.impact_exponent,
            reference_rate=market.reference_participation * market.daily_volume,
            nights=_nights(market, order),
        )

    @property
    def slope(self) -> float:
        """Temporary impact of v shares in a slice is slope · v^δ. [$/share per share^δ]"""
        reference = self.reference_rate * self.slice_length
        return self.temporary_impact / self.slice_length * reference ** (1 - self.exponent)

    @property
    def eta_tilde(self) -> float:
        """Temporary impact with the part of permanent impact that goes with v², η̃ = η ∓ γ Δ / 2.

        Source: Almgren & Chriss (2001), equation 8.
        """
        own = self.permanent_impact * self.slice_length / 2
        return self.temporary_impact + (own if self.convention == "quadratic" else -own)

    @property
    def kappa(self) -> float:
        """Urgency κ: 2 (cosh κΔ − 1) / Δ² = λ σ² / η̃; NaN where it is no real number, λ < 0 or δ ≠ 1. [1/time]

        Source: Almgren & Chriss (2001), equations 15 and 16.
        """
        if self.risk_aversion < 0 or self.exponent != 1:
            return np.nan
        # arccosh(1 + c/2) without losing a small c beside the one.
        return 2 * float(np.arcsinh(np.sqrt(self._curvature) / 2)) / self.slice_length

    @property
    def _curvature(self) -> float:
        """λ σ² Δ² / η̃."""
        return self.risk_aversion * self.volatility**2 / self.eta_tilde * self.slice_length**2

    def _check_convex(self, n_steps: int) -> None:
        """Refuse a risk aversion so negative that cost + λ variance has no least value over ``n_steps`` slices."""
        least = -4 * np.sin(np.pi / (2 * n_steps)) ** 2
        if self._curvature <= least:
            limit = least * self.eta_tilde / (self.volatility * self.slice_length) ** 2
            raise NoBound(
                f"risk_aversion = {self.risk_aversion!r}: must be above {limit:.4g} for cost + λ variance to have a "
                f"least value over {n_steps} slices"
            )

    @property
    def half_life(self) -> float:
        """Time 1/κ in which the position falls by a factor e when there is no deadline; infinite for λ = 0. [time]

        Source: Almgren & Chriss (2001), section 2.3, who call it the trade's half-life.
        """
        return np.inf if self.kappa == 0 else 1 / self.kappa

    def closed_form(self, shares: float, n_steps: int) -> np.ndarray:
        """Holdings x_j = X sinh κ(T − t_j) / sinh κT. Shape: (n_steps + 1,). [shares]

        λ → 0 gives TWAP; for λ < 0 κ is imaginary, and sin takes the place of sinh.

        Raises:
            NoBound: for power-law impact, or where λ is too far below zero.

        Source: Almgren & Chriss (2001), equation 17.
        """
        require(shares=shares)
        require_count(n_steps=n_steps)
        if self.exponent != 1:
            raise NoBound(f"exponent = {self.exponent:g}: only linear impact, 1, has a closed form")
        if any(self.nights):
            raise NoBound("nights: only slices without one between them have a closed form")
        self._check_convex(n_steps)
        if self.risk_aversion < 0:
            angles = 2 * np.arcsin(np.sqrt(-self._curvature) / 2) * np.arange(n_steps, -1, -1)
            return shares * np.sin(angles) / np.sin(angles[0])
        left = self.kappa * self.slice_length * np.arange(n_steps, -1, -1)
        if left[0] < 1e-6:
            return shares * np.arange(n_steps, -1, -1) / n_steps
        # sinh(a) / sinh(b) = e^{a−b} (1 − e^{−2a}) / (1 − e^{−2b}), which does not overflow.
        return shares * np.exp(left - left[0]) * np.expm1(-2 * left) / np.expm1(-2 * left[0])

    def optimum(self, shares: float, n_steps: int) -> np.ndarray:
        """Holdings that minimise cost + λ variance. Shape: (n_steps + 1,). [shares]

        A quadratic program, whose tridiagonal normal equations are solved in O(N) time and memory; with a power law the
        convex program of Almgren (2003).

        Raises:
            NoBound: where λ is too far below zero, or permanent impact too large.
        """
        require(shares=shares)
        require_count(n_steps=n_steps)
        if n_steps == 1 or shares == 0:
            return np.r_[shares, np.zeros(n_steps)]
        waits = self._waits(n_steps)
        if self.exponent != 1:
            sold = np.cumsum(self._program(n_steps).minimum(abs(shares)))[:-1]
            return np.r_[shares, shares - np.copysign(sold, shares), 0.0]
        if not any(self.nights):
            self._check_convex(n_steps)
        slope = self.eta_tilde / self.slice_length
        bands = np.empty((2, n_steps - 1))
        bands[0] = -slope
        bands[1] = 2 * slope + self.risk_aversion * self.volatility**2 * self.slice_length * waits
        right = np.zeros(n_steps - 1)
        right[0] = slope * shares
        try:
            if not (bands[1] > 0).all():
                raise LinAlgError
            # Of one equation LAPACK's solver for bands makes an error.
            inner = solveh_banded(bands, right) if n_steps > 2 else right / bands[1]
        except LinAlgError:
            raise NoBound(
                f"risk_aversion = {self.risk_aversion!r}: too far below zero for cost + λ variance to have a least "
                "value beside these nights"
            ) from None
        return np.r_[shares, inner, 0.0]

    def trades(self, shares: float, n_steps: int) -> np.ndarray:
        """Trades of the best schedule. Shape: (n_steps,). [shares]"""
        closed = self.exponent == 1 and not any(self.nights)
        return -np.diff(self.closed_form(shares, n_steps) if closed else self.optimum(shares, n_steps))

    def _waits(self, n_steps: int) -> np.ndarray:
        """How long shares held after each slice but the last are at risk, in slices. Shape: (n_steps − 1,)."""
        if self.nights and len(self.nights) != n_steps - 1:
            raise InputError(
                f"nights: has {len(self.nights)} numbers; {n_steps} slices have {n_steps - 1} between them"
            )
        return 1.0 + np.array(self.nights or np.zeros(n_steps - 1))

    def _program(self, n_steps: int) -> FixedCost:
        """Cost + λ variance as a function of the trades, but for a constant."""
        # γ Σ x_{j−1} v_j = γ X² − γ Σ x_j v_j, and in the variance one more X²: the least cost is at the same trades.
        permanent = -self.permanent_impact if self.convention == "quadratic" else self.permanent_impact
        risk = self.risk_aversion * self.volatility**2 * self.slice_length * np.r_[self._waits(n_steps), 1.0]
        columns = (value + np.zeros(n_steps) for value in (self.half_spread, self.slope, permanent, 0.0, risk))
        half_spread, slope, permanents, drift, risks = columns
        return FixedCost(half_spread, slope, self.exponent, permanents, drift, risks)

    def expected_cost(self, holdings: np.ndarray) -> float:
        """Expected shortfall of any schedule; with linear impact ½ γ X² + ε Σ |v| + (η̃ / Δ) Σ v². [$]

        Args:
            holdings: shares held after 0 .. N slices; the last must be 0. Shape: (n_steps + 1,).

        Raises:
            InputError: when something is left at the end.

        Source: Almgren & Chriss (2001), equation 8.
        """
        return float(self.costs(_finished(holdings)).sum())

    def variance(self, holdings: np.ndarray) -> float:
        """Variance of the shortfall of any schedule, σ² Δ Σ x_j². [$²]

        Args:
            holdings: as for ``expected_cost``.

        Source: Almgren & Chriss (2001), equation 5.
        """
        held = _finished(holdings)
        borne = held[:-1] if self.convention == "quadratic" else held[1:]
        overnight = (self._waits(len(held) - 1) - 1.0) @ held[1:-1] ** 2
        return float(self.volatility**2 * self.slice_length * ((borne**2).sum() + overnight))

    def objective(self, holdings: np.ndarray) -> float:
        """Expected cost + λ variance of any schedule. [$]"""
        return self.expected_cost(holdings) + self.risk_aversion * self.variance(holdings)

    def costs(self, holdings: np.ndarray) -> np.ndarray:
        """Expected cost of each slice. Shape: (n_steps,). [$]"""
        trades = -np.diff(holdings)
        charged = holdings[:-1] if self.convention == "quadratic" else holdings[1:]
        own = temporary_cost(self.slope, np.abs(trades), self.exponent)
        return self.permanent_impact * charged * trades + self.half_spread * np.abs(trades) + own


def _nights(market: Market, order: Order) -> tuple[float, ...]:
    """``Impact.nights`` of an order in a market."""
    span = market.spans(order)[0]
    return tuple((span / order.slice_length - 1.0)[:-1].tolist()) if isinstance(span, np.ndarray) else ()


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
