"""What an order will cost before it is traded: fixed schedules over several horizons and urgencies, exactly.

The expected cost of shares that are fixed at arrival is known in closed form from the means of the slices
(``exec_env.optimum.schedule.FixedCost``), however random the market is; nothing is simulated. Risk is the standard
deviation of the price on the shares held, σ² Σ x² Δ; that of spread, volume and impact is not in it. The cap is on
shares of the volume that is expected.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import pandas as pd

from exec_env.base.errors import InputError
from exec_env.base.units import amount
from exec_env.base.validation import require_type
from exec_env.market.execution import bps
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.optimum import convex
from exec_env.optimum.means import slice_means
from exec_env.optimum.schedule import FixedCost

EVEN, BEST = "even pace", "best schedule"
_TAIL = 0.05
CVAR = NormalDist().pdf(NormalDist().inv_cdf(_TAIL)) / _TAIL
"""The mean of the costliest 5 % of a normal distribution, in standard deviations above its mean."""
URGENCIES = (0.1, 1.0, 10.0)
"""Risk aversions beside the trader's, as multiples of it."""


class Planned(NamedTuple):
    """A schedule, and what it costs."""

    schedule: str
    order: Order
    trades: np.ndarray
    """Shape: (n_steps,). [shares]"""
    expected: float
    """Expected shortfall. [$]"""
    std: float
    """Standard deviation of what the price does to the shares held. [$]"""
    objective: float
    """J: expected shortfall + λ variance. [$]"""
    participation: float
    """Part of the volume that is expected until the last trade."""
    peak: float
    """Largest part of a slice's."""

    @property
    def cvar(self) -> float:
        """Mean of the costliest 5 %, as of a normal distribution. [$]"""
        return self.expected + CVAR * self.std

    @property
    def feasible(self) -> bool:
        """Whether no slice trades more of the expected volume than the cap allows."""
        cap = self.order.max_participation
        return cap is None or self.peak <= cap * (1 + 1e-9)

    @property
    def done(self) -> float:
        """When 99 % are traded. [day]"""
        passed = np.searchsorted(np.cumsum(self.trades), 0.99 * self.order.shares) + 1
        return float(passed * self.order.slice_length)


@dataclass(frozen=True)
class PreTrade:
    """An order's costs before it is traded."""

    market: Market
    order: Order
    """Its horizon is the longest; its risk aversion the trader's."""
    by_horizon: list[Planned]
    """An even pace and the best schedule over each horizon, at the trader's risk aversion."""
    by_urgency: list[Planned]
    """The best schedules over the longest horizon, for several risk aversions; the trader's among them."""
    quickest: Planned | None
    """The even pace whose J is least of all horizons up to the longest; None where the cap allows none."""
    chosen: Planned
    """The best schedule over the longest horizon, at the trader's risk aversion."""
    frontier: list[Planned]
    """Best schedules over the longest horizon, from patient to urgent."""
    grid: list[Planned]
    """All horizons and urgencies."""

    @property
    def dollars_per_bps(self) -> float:
        """What a basis point of the order is. [$]"""
        return 1 / bps(self.order.shares * self.market.arrival_price)

    def to_frame(self, plans: Sequence[Planned], hours_per_day: float) -> pd.DataFrame:
        """A table of schedules, with its units."""
        rows = []
        for plan in plans:
            row: dict[str, object] = {
                "horizon [min]": plan.order.horizon * hours_per_day * 60,
                "slices": plan.order.n_steps,
                "schedule": plan.schedule,
                "risk aversion [1/$]": plan.order.risk_aversion,
                "within the cap": "yes" if plan.feasible else "no",
            }
            for name, value in (
                ("expected cost", plan.expected),
                ("std", plan.std),
                ("CVaR 95", plan.cvar),
                ("J", plan.objective),
            ):
                row |= {f"{name} [bps]": value / self.dollars_per_bps, f"{name} [$]": value}
            row |= {"share of volume [%]": 100 * plan.participation, "peak share of volume [%]": 100 * plan.peak}
            rows.append(row | {"99 % done after [min]": plan.done * hours_per_day * 60})
        return pd.DataFrame(rows)


def planned(market: Market, order: Order, trades: np.ndarray, schedule: str) -> Planned:
    """What trades that are fixed at arrival cost."""
    means = slice_means(market, order)
    costs = FixedCost.of(market, order, means)
    held = order.shares - np.cumsum(trades)
    variance = float(means.variance[:-1] @ held[:-1] ** 2)
    objective = costs.cost(trades)
    traded = np.flatnonzero(trades > 1e-6 * order.shares / order.n_steps)[-1] + 1
    return Planned(
        schedule,
        order,
        trades,
        objective - costs.charge(trades),
        variance**0.5,
        objective,
        order.shares / float(means.volume[:traded].sum()),
        float((trades / means.volume).max()),
    )


def even_pace(market: Market, order: Order) -> Planned:
    """The same number of shares in every slice."""
    return planned(market, order, np.full(order.n_steps, order.shares / order.n_steps), EVEN)


def best(market: Market, order: Order) -> Planned | None:
    """The schedule whose J is least within the cap at expected volumes; None where the cap does not let it finish.

    Raises:
        NotConvex: where there is none.
    """
    means = slice_means(market, order)
    program = FixedCost.of(market, order, means).program(order.shares)
    convex.check(program)
    if order.max_participation is not None:
        upper = order.max_participation * means.volume / order.shares
        if upper.sum() <= 1 + 1e-9:
            return None
        # A trade is at most the order, where the cap is wider than that.
        program = replace(program, upper=np.where(upper < 1, upper, np.inf))
    return planned(market, order, order.shares * convex.minimise(program), BEST)


def pre_trade(market: Market, order: Order, horizons: Sequence[int] = ()) -> PreTrade:
    """What an order costs over several horizons and urgencies.

    Args:
        market: as it is expected to be.
        order: the trader's; its horizon is the longest.
        horizons: shorter ones. [slices]

    Raises:
        InputError: for horizons that are not whole numbers of slices up to the order's, or an order that the cap does
            not let finish within the longest.
        NotConvex: where there is no best schedule.
    """
    require_type(Market, market=market)
    require_type(Order, order=order)
    if order.risk_aversion <= 0:
        raise InputError(f"Order.risk_aversion = {order.risk_aversion!r}: must be above 0 for a horizon to be best")
    chosen = best(market, order)
    if chosen is None:
        volume = float(slice_means(market, order).volume.sum())
        raise InputError(
            f"Order.shares = {amount(order.shares)}: are {100 * order.shares / volume:.3g} % of the {amount(volume)} "
            "shares that are expected to trade within the horizon, of which max_participation = "
            f"{order.max_participation!r} allows less; give it more time, or lift the cap"
        )
    lengths = sorted({*horizons, order.n_steps})
    aversions = [float(f"{order.risk_aversion * factor:.12g}") for factor in URGENCIES]
    grid, rows = [], []
    for n in lengths:
        within = replace(order, n_steps=n)
        even = even_pace(market, within)
        rows.append(even)
        for factor, aversion in zip(URGENCIES, aversions, strict=True):
            of = replace(within, risk_aversion=aversion)
            found = best(market, of)
            grid += [even_pace(market, of)] + ([] if found is None else [found])
            rows += [found] if found is not None and factor == 1 else []
    paces = [even_pace(market, replace(order, n_steps=n)) for n in range(2, order.n_steps + 1)]
    quickest = min((p for p in paces if p.feasible), key=lambda p: p.objective, default=None)
    by_urgency = [p for p in grid if p.schedule == BEST and p.order.n_steps == order.n_steps]
    return PreTrade(market, order, rows, by_urgency, quickest, chosen, frontier(market, order), grid)


def frontier(market: Market, order: Order, n_points: int = 25) -> list[Planned]:
    """Best schedules from nearly the cheapest to nearly at once, over four decades around the trader's λ."""
    aversions = order.risk_aversion * np.geomspace(1e-2, 1e2, n_points)
    found = (best(market, replace(order, risk_aversion=float(aversion))) for aversion in aversions)
    return [plan for plan in found if plan is not None]


def assumptions(market: Market, order: Order, source: str, half_life: str) -> list[str]:
    """What an estimate takes for granted, a line each.

    Args:
        market: of the estimate.
        order: of the estimate.
        source: where impact is from.
        half_life: of transient impact, in words.
    """
    eta, gamma, kappa = market.temporary_impact, market.permanent_impact, market.transient_impact
    power = "" if market.impact_exponent == 1 else f", with the power {market.impact_exponent:g} of the rate"
    fades = f", half of which is gone after {half_life}" if kappa > 0 else ""
    fees = f"fees are {market.taker_fee:.4g} bps more" if market.taker_fee > 0 else "there are no fees"
    cap, capped = order.max_participation, "there is no cap on the share of them"
    if cap is not None:
        capped = f"no slice trades more than {100 * cap:g} % of its own; exec-env schedule says what that costs as "
        capped += "volumes vary"
    lines = [
        f"impact is {source}: temporary η = {eta:.3g} $ per share and share/day{power}, permanent γ = {gamma:.3g}, "
        f"transient κ = {kappa:.3g} $ per share and share{fades}",
        f"the spread is {2 * market.half_spread:.4g} bps from bid to ask; half of it, {market.half_spread:.4g} bps, is "
        f"paid on each share, by market orders; {fees}",
        "expected costs are exact for schedules fixed at arrival, whatever is random; nothing is simulated",
        "std is that of the price on the shares still held; spread, volume and impact vary too, which is not in it",
        f"CVaR 95, the mean of the costliest 5 %, is that of a normal distribution: expected cost + {CVAR:.3f} std",
        f"volumes come as expected; {capped}",
        f"J = expected cost + λ variance, with λ = {order.risk_aversion:g} per dollar",
    ]
    if order.horizon > 1 + 1e-9 and market.overnight_variance == market.night_length == 0:
        lines.append("nights between sessions count as no time")
    return lines
