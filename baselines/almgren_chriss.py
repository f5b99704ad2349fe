"""Almgren & Chriss (2001): the schedule that trades expected cost against variance, its frontier, and its agent.

The model, its conventions, power-law impact and negative risk aversion: ``exec_env.baselines.impact``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from exec_env.base.errors import InputError
from exec_env.base.validation import require, require_count
from exec_env.baselines.impact import CONVENTIONS, Convention, Impact
from exec_env.baselines.results import Steps, new_axes
from exec_env.baselines.schedule import Schedule
from exec_env.market.market import Market
from exec_env.market.order import Order

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "CONVENTIONS",
    "ACFrontier",
    "ACFrontierPoint",
    "ACSchedule",
    "ACStep",
    "AlmgrenChriss",
    "Impact",
    "ac_efficient_frontier",
    "ac_kappa",
    "ac_optimal_schedule",
    "efficient_frontier",
]


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
    trades, costs = -np.diff(held), np.cumsum(impact.costs(held))
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
    base = Impact(volatility, temporary_impact, permanent_impact, 0.0, slice_length, half_spread, convention)
    return efficient_frontier(base, position, n_periods, n_points, risk_aversions)


def efficient_frontier(
    impact: Impact,
    position: float,
    n_periods: int,
    n_points: int = 50,
    risk_aversions: Sequence[float] | None = None,
) -> ACFrontier:
    """The same of any ``Impact``, whose own risk aversion does not count.

    Args:
        impact: the model.
        position: shares to sell, or, negative, to buy.
        n_periods: number of periods.
        n_points: number of risk aversions, if none are given.
        risk_aversions: λ of each point; by default as above, where impact is a power law with the impact of an even
            schedule. [1/$]
    """
    require_count(n_periods=n_periods, n_points=n_points)
    require(position=position)
    if risk_aversions is None:
        if impact.volatility == 0:
            raise InputError("volatility = 0: without risk the frontier is the single point TWAP; give risk_aversions")
        dt, even = impact.slice_length, abs(position) / (n_periods * impact.slice_length)
        concession = (even / impact.reference_rate) ** (impact.exponent - 1)
        linear = replace(impact, temporary_impact=impact.temporary_impact * concession, exponent=1.0)
        urgency = np.geomspace(0.1, 30.0, n_points) / (n_periods * dt)
        curvatures = 2 * (np.cosh(urgency * dt) - 1) / dt**2
        risk_aversions = (curvatures * linear.eta_tilde / impact.volatility**2).tolist()
    points = []
    for aversion in risk_aversions:
        at = replace(impact, risk_aversion=float(aversion))
        held = at.optimum(float(position), n_periods)
        points.append(ACFrontierPoint(float(aversion), at.expected_cost(held), at.variance(held)))
    return ACFrontier(points)


class AlmgrenChriss(Schedule):
    """The schedule as an agent. It does not know of transient impact, of the cap, nor look at the market.

    The closed form; with power-law impact the convex program of Almgren (2003).

    Raises:
        NoBound: where the model has no optimum.
    """

    def __init__(self, market: Market, order: Order) -> None:
        super().__init__(Impact.of(market, order).trades(order.shares, order.n_steps))
