"""Garleanu & Pedersen: trading towards a target, or on a signal that decays.

Three different things go by this name, and this file keeps them apart:

1. ``gp_optimal_trajectory``: a published rule of thumb. The position approaches its target exponentially, at urgency
   κ = √(ρ + λ/γ). It ignores the signal's size, and it is not the optimum of any of the objectives below.
2. ``gp_exact_trajectory``: the optimum of the objective that usually stands beside that rule,

       Σ_t α_t x_t − (γ/2) Δx_t² − (λ/2) Δx_t x_t,   α_t = α e^{−ρ t},

   with x_t the position after the trade Δx_t, by the recursion that all of this project uses (``lq.minimise``).
   ``gp_objective`` says what either is worth, and so by how much they differ.
3. ``GarleanuPedersen``: the dynamic policy of Garleanu & Pedersen (2013), "Dynamic trading with predictable returns
   and transaction costs", J. Finance 68: trade partially towards an aim that the signal sets. Here over a finite
   horizon, as an agent of the environments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from exec_env.base.validation import require, require_count
from exec_env.baselines.adaptive import Adaptive
from exec_env.baselines.results import Steps
from exec_env.market.market import BPS, Market
from exec_env.market.order import Order
from exec_env.optimum import lq
from exec_env.optimum.means import averaged
from exec_env.optimum.seen import Seen

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class GPStep(NamedTuple):
    """One period of a trajectory."""

    time: float  # at its end [periods]
    position: float  # at its end [shares]
    trade_rate: float  # change of the position in it [shares/period]
    remaining_alpha: float  # of the signal at its end
    cumulative_cost: float  # of trading, so far: Σ (γ/2) Δx² + (λ/2) Δx x [$]


@dataclass(frozen=True)
class GPTrajectory(Steps):
    """A trajectory towards a target."""

    steps: Sequence[GPStep]
    total_cost: float
    """Cost of trading. [$]"""
    urgency: float
    """κ of the rule of thumb. [1/period]"""
    completion: float
    """Part of the way to the target that is done; NaN where there is no target, or no way to go."""

    def plot(self, y: str = "position", axes: Axes | None = None, **style: Any) -> Axes:
        """Position against time."""
        return super().plot(y, axes, **style)


def gp_urgency(alpha_decay: float, temporary_impact: float, permanent_impact: float) -> float:
    """Urgency κ = √(ρ + λ/γ) of the rule of thumb. [1/period]

    Args:
        alpha_decay: ρ, speed at which the signal decays. [1/period]
        temporary_impact: γ, price of trading fast, > 0.
        permanent_impact: λ.

    Raises:
        InputError: naming the argument, the value and what is allowed.

    >>> round(gp_urgency(0.1, 2.0, 0.3), 6)
    0.5
    """
    require(0.0, alpha_decay=alpha_decay, permanent_impact=permanent_impact)
    require(0.0, open_low=True, temporary_impact=temporary_impact)
    return float(np.sqrt(alpha_decay + permanent_impact / temporary_impact))


def gp_optimal_trajectory(
    target_position: float,
    current_position: float,
    alpha: float,
    alpha_decay: float,
    temporary_impact: float,
    permanent_impact: float,
    n_periods: int,
) -> GPTrajectory:
    """The rule of thumb: x_t = target + (current − target) e^{−κ t}. Not an optimum; see the module.

    Args:
        target_position: where to. [shares]
        current_position: from where. [shares]
        alpha: α now; the rule only reports how it decays.
        alpha_decay: ρ. [1/period]
        temporary_impact: γ, > 0.
        permanent_impact: λ.
        n_periods: number of periods.

    Raises:
        InputError: naming the argument, the value and what is allowed.
    """
    urgency = gp_urgency(alpha_decay, temporary_impact, permanent_impact)
    require(target_position=target_position, current_position=current_position, alpha=alpha)
    require_count(n_periods=n_periods)
    way = current_position - target_position
    positions = target_position + way * np.exp(-urgency * np.arange(n_periods + 1))
    done = 1 - np.exp(-urgency * n_periods) if way else np.nan
    return _trajectory(positions, alpha, alpha_decay, temporary_impact, permanent_impact, urgency, float(done))


def gp_execution_cost(
    target_position: float,
    current_position: float,
    alpha: float,
    alpha_decay: float,
    temporary_impact: float,
    permanent_impact: float,
    n_periods: int,
) -> float:
    """Cost of trading Σ (γ/2) Δx² + (λ/2) Δx x of the rule of thumb; arguments as ``gp_optimal_trajectory``. [$]"""
    return gp_optimal_trajectory(
        target_position, current_position, alpha, alpha_decay, temporary_impact, permanent_impact, n_periods
    ).total_cost


def gp_exact_trajectory(
    current_position: float,
    alpha: float,
    alpha_decay: float,
    temporary_impact: float,
    permanent_impact: float,
    n_periods: int,
    target_position: float | None = None,
) -> GPTrajectory:
    """The optimum of Σ α_t x_t − (γ/2) Δx_t² − (λ/2) Δx_t x_t; see the module.

    Args:
        current_position: from where. [shares]
        alpha: α of the first period.
        alpha_decay: ρ. [1/period]
        temporary_impact: γ, > 0.
        permanent_impact: λ.
        n_periods: number of periods.
        target_position: where the position must end; None leaves it free. [shares]

    Raises:
        InputError: naming the argument, the value and what is allowed.
    """
    urgency = gp_urgency(alpha_decay, temporary_impact, permanent_impact)
    require(current_position=current_position, alpha=alpha)
    require_count(n_periods=n_periods)
    # Cost of a period in (x, α, 1; u), u = Δx: −α (x + u) + (γ/2) u² + (λ/2) u (x + u).
    cost = np.zeros((4, 4))
    cost[0, 1] = cost[1, 0] = cost[3, 1] = cost[1, 3] = -0.5
    cost[3, 3] = (temporary_impact + permanent_impact) / 2
    cost[0, 3] = cost[3, 0] = permanent_impact / 4
    step = np.array([[1.0, 0, 0, 1], [0, np.exp(-alpha_decay), 0, 0], [0, 0, 1, 0]])
    if target_position is None:
        rules, value = [], np.zeros((3, 3))
        periods = n_periods
    else:
        require(target_position=target_position)
        # The last trade is whatever is missing, u = target − x, which leaves a form in (x, α, 1).
        last = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [-1, 0, target_position]])
        rules, value = [np.array([-1.0, 0, target_position])], last.T @ cost @ last
        periods = n_periods - 1
    for _ in range(periods):
        rule, value = lq.minimise(cost + step.T @ value @ step)
        rules.append(rule)
    positions, a = [float(current_position)], float(alpha)
    for rule in reversed(rules):
        positions.append(positions[-1] + float(rule @ [positions[-1], a, 1.0]))
        a *= np.exp(-alpha_decay)
    done = np.nan if target_position is None or target_position == current_position else 1.0
    return _trajectory(np.array(positions), alpha, alpha_decay, temporary_impact, permanent_impact, urgency, done)


def gp_objective(trajectory: GPTrajectory, alpha: float, alpha_decay: float) -> float:
    """Value Σ α_t x_t less the cost of trading, of any trajectory. [$]

    >>> arguments = dict(alpha=1.0, alpha_decay=0.3, temporary_impact=2.0, permanent_impact=0.2, n_periods=20)
    >>> rule = gp_optimal_trajectory(target_position=0.5, current_position=0.0, **arguments)
    >>> best = gp_exact_trajectory(current_position=0.0, target_position=0.5, **arguments)
    >>> round(gp_objective(rule, 1.0, 0.3), 3), round(gp_objective(best, 1.0, 0.3), 3)
    (1.393, 5.571)
    """
    positions = np.array([step.position for step in trajectory.steps])
    return float((alpha * np.exp(-alpha_decay * np.arange(len(positions))) * positions).sum() - trajectory.total_cost)


def _trajectory(
    positions: np.ndarray,
    alpha: float,
    alpha_decay: float,
    temporary_impact: float,
    permanent_impact: float,
    urgency: float,
    completion: float,
) -> GPTrajectory:
    trades = np.diff(positions)
    costs = np.cumsum(temporary_impact / 2 * trades**2 + permanent_impact / 2 * trades * positions[1:])
    times = np.arange(1, len(positions))
    left = alpha * np.exp(-alpha_decay * times)
    rows = zip(times.tolist(), positions[1:].tolist(), trades.tolist(), left.tolist(), costs.tolist(), strict=True)
    steps = [GPStep(float(t), *rest) for t, *rest in rows]
    return GPTrajectory(steps, float(costs[-1]), urgency, completion)


class GarleanuPedersen(Adaptive):
    """Trade partially towards the aim that the signal α sets: v_t = rate_t (x_t − aim_t(α)).

    The market is taken at its means, without transient impact, so that inventory and signal are all that counts;
    power-law impact is linearised at the order's average rate (``Market.linearised``).
    With no risk aversion and no signal this is TWAP.

    Args:
        market: its means and its signal.
        order: the order.
    """

    def __init__(self, market: Market, order: Order) -> None:
        mean = replace(averaged(market, order), transient_impact=0.0, signal_volatility=market.signal_volatility)
        super().__init__(market, order, lq.solve(mean, order, observed=False))
        self._spread = mean.half_spread * BPS * mean.arrival_price

    def rule(self, seen: Seen) -> Any:
        """Trade on inventory and signal alone. [shares]"""
        return self.solution.policy(Seen(seen.step, seen.remaining, 0.0, seen.signal, self._spread, 0.0))

    def rate(self, step: int) -> float:
        """Part of the way to the aim that is traded in slice ``step``."""
        return float(self.solution.gain[step, 0, 0, 0])

    def aim(self, step: int, signal: float) -> float:
        """Inventory that slice ``step`` trades towards. [shares]"""
        return -float(self.rule(Seen(step, 0.0, 0.0, signal, 0.0, 0.0))) / self.rate(step)
