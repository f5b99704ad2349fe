"""What a fixed schedule costs in the problem as it is: exactly without a cap, over simulated paths with one."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from exec_env.market.execution import bps
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.optimum.capped import Executed, Sample, fractions
from exec_env.optimum.means import slice_means
from exec_env.optimum.schedule import FixedCost

_SEED = 20_030_101  # of the paths; a schedule is optimised on others
_PATHS, _BLOCKS = 8192, 8
_FEWEST = 1024  # paths of a block, where slices are many


class ScheduleCost(NamedTuple):
    """Expected costs of a fixed schedule. [bps of the arrival notional]"""

    objective: float
    """J."""
    error: float
    """Standard error of J; zero where it is exact."""
    shortfall: float
    """Expected shortfall: J without the charge for risk."""
    price_std: float
    """Standard deviation of what the price does to the shares that are held."""
    block: float
    """Shares that are left to the closing block on average. [shares]"""
    unfinished: float
    """Part of the paths on which the cap leaves some."""


def schedule_cost(market: Market, order: Order, trades: np.ndarray) -> ScheduleCost:
    """What planned trades cost as they are executed, see ``exec_env.optimum.schedule``.

    With a cap the mean over paths is corrected by what the same trades cost on them without it, which is known exactly.
    """
    share = fractions(trades)
    executed = order.shares * share * np.cumprod(np.r_[1.0, 1 - share[:-1]])
    if order.lots is not None:
        executed, *_ = _executed(order, share, np.full(order.n_steps, np.inf))
    means, to_bps = slice_means(market, order), bps(order.shares * market.arrival_price)
    exact, held = FixedCost.of(market, order, means), order.shares - np.cumsum(executed)
    free = exact.cost(executed) * to_bps, exact.charge(executed) * to_bps, means.variance[:-1] @ held[:-1] ** 2
    if order.max_participation is None:
        return ScheduleCost(free[0], 0.0, free[0] - free[1], float(free[2]) ** 0.5 * to_bps, 0.0, 0.0)
    n_paths = max(_PATHS * 40 // max(order.n_steps, 40) // 2 * 2, _FEWEST)
    capped, uncapped = [], []
    for block in range(_BLOCKS):
        sample = Sample.draw(market, order, n_paths, _SEED + block)
        lifted = replace(sample, order=replace(order, max_participation=None))
        capped.append(_pairs(sample.execute(share)))
        uncapped.append(_pairs(lifted.execute(share)))
    ours, theirs = (Executed(*map(np.concatenate, zip(*blocks, strict=True))) for blocks in (capped, uncapped))
    objective, error = _corrected(ours.objective * to_bps, theirs.objective * to_bps, free[0])
    charge, _ = _corrected(ours.risk * to_bps, theirs.risk * to_bps, free[1])
    std = float(ours.variance.mean()) ** 0.5 * to_bps
    unfinished = float(ours.unfinished.mean())
    return ScheduleCost(objective, error, objective - charge, std, float(ours.block.mean()), unfinished)


def at_expected_volume(market: Market, order: Order, trades: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Planned trades as they are executed where volumes are at their means.

    Returns:
        Trades, whether the cap binds, both of shape (n_steps,), and what is left to the closing block. [shares]
    """
    part = np.inf if order.max_participation is None else order.max_participation
    return _executed(order, fractions(trades), part * slice_means(market, order).volume)


def _executed(order: Order, share: np.ndarray, most: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """The same, of the ``fractions`` of a schedule and the most that each slice lets through."""
    executed, binds, lots = np.zeros(order.n_steps), np.zeros(order.n_steps, bool), order.lots
    left, carried = order.shares, 0.0
    for t in range(order.n_steps):
        asked = share[t] * (left - carried) + carried
        executed[t], binds[t] = min(asked, most[t]), asked > most[t]
        if lots is None:
            left -= executed[t]
            continue
        possible, executed[t] = executed[t], lots.down(executed[t])
        left, carried = lots.nearest(left - executed[t]), possible - executed[t]
    return executed, binds, left


def _pairs(each: Executed) -> Executed:
    """Means of each path and its mirror image, which are independent of each other pair."""
    return Executed(*(np.reshape(column, (2, -1)).mean(0) for column in each))


def _corrected(values: np.ndarray, known: np.ndarray, mean: float) -> tuple[float, float]:
    """Mean of ``values``, with its standard error, by a control variate of known ``mean``."""
    spread = known.var()
    # Rounding apart, what does not vary has no part in it.
    weight = np.cov(values, known, bias=True)[0, 1] / spread if spread > 1e-18 * mean**2 else 0.0
    rest = values - weight * (known - mean)
    return float(rest.mean()), float(rest.std(ddof=1) / len(rest) ** 0.5)
