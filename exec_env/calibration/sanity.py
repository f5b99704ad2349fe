"""What an even order costs in a calibrated market, beside what markets show."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from exec_env.market.market import BPS, Market
from exec_env.market.order import Order
from exec_env.optimum.schedule_cost import schedule_cost

_PARTS = (0.01, 0.04)
_MOST = 390  # slices of the day; more of them cost time and change nothing


class TwapCost(NamedTuple):
    """Expected shortfall of TWAP over one day, without a cap."""

    part: float
    """Size of the order X over the daily volume V."""
    bps: float
    """Of the arrival notional, half spread included."""
    y: float
    """Y in cost = Y σ √(X / V)."""


SHOWN = (
    "markets show Y of some 0.3 to 0.7 at several per cent (Almgren, Thum, Hauptmann & Li 2005; Bouchaud, Bonart, "
    "Donier & Gould 2018)"
)


def twap(market: Market, slice_length: float) -> list[TwapCost]:
    """The costs of 1 % and 4 % of the daily volume.

    Args:
        market: any.
        slice_length: Δ. [day]
    """
    n = min(max(round(1 / slice_length), 2), _MOST)
    found = []
    for part in _PARTS:
        shares = part * market.daily_volume
        order = Order(shares=shares, n_steps=n, slice_length=1 / n, risk_aversion=0.0, max_participation=None)
        cost = schedule_cost(market, order, np.full(n, shares / n)).shortfall
        found.append(TwapCost(part, float(cost), float(cost * BPS / (market.volatility * part**0.5))))
    return found


def sentence(costs: Sequence[TwapCost]) -> str:
    """The costs in words."""
    each = " and ".join(f"{c.bps:.3g} bps for {c.part:.0%} of the daily volume (Y = {c.y:.2g})" for c in costs)
    return f"TWAP over one day costs {each}, with cost = Y σ √(X / V); {SHOWN}"
