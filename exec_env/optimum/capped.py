"""Fixed schedules under a cap on participation: their mean cost over simulated paths, and its exact gradient.

A fixed schedule is executed as fractions of what is left, f_t x_t, and the cap takes what is beyond it. Paths are drawn
once, from a seed of its own, and each with a mirrored one. What is random but has no part in how much is traded (noises
of spread, impact and decay, the price) is at its mean: that is exact, because the cost is linear in each of them.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit

from exec_env.market.execution import bps, opening, terms, trade
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.market.paths import Normals, Paths, Simulator
from exec_env.optimum.liquidity_grid import plain
from exec_env.optimum.means import mean_decay

_SEED = 20_010_119  # of the paths; evaluation draws others
_SIZE = 16_384 * 40  # slices of all paths together that a schedule is optimised on
_FEWEST = 1024  # paths
_LEAST = 1e-9  # part of the order that is no trade; in the search it is, so that it can become more
_TOLERANCE = 1e-6  # relative change of J at which the search ends


def fractions(trades: np.ndarray) -> np.ndarray:
    """Fraction of the remaining inventory that a schedule trades in each slice. Shape: (n_steps,), the last one 1.

    >>> fractions(np.array([1.0, 1.0, 2.0])).round(4).tolist()
    [0.25, 0.3333, 1.0]
    """
    remaining = np.cumsum(trades[::-1])[::-1]
    share = np.divide(trades, remaining, out=np.ones_like(trades), where=remaining > 0)
    share[-1] = 1.0
    return np.clip(share, 0.0, 1.0)


class Executed(NamedTuple):
    """What a schedule did on each path. Shape of each: (n_paths,)."""

    objective: np.ndarray
    """[$]"""
    risk: np.ndarray
    """The part of it that is no payment. [$]"""
    variance: np.ndarray
    """Of the price, on what was held. [$²]"""
    block: np.ndarray
    """[shares]"""
    unfinished: np.ndarray
    """Whether there is a block."""
    clipped: np.ndarray
    """Whether the cap bound in some slice."""


@dataclass(frozen=True)
class Sample:
    """Paths of a market, with all at its mean that has no part in how much is traded."""

    market: Market
    order: Order
    paths: Paths

    @classmethod
    def draw(cls, market: Market, order: Order, n_paths: int, seed: int) -> "Sample":
        """``n_paths`` paths, half of them the mirror images of the others."""
        rngs = [np.random.default_rng(seed)]
        half = Simulator(market, order).normals(rngs, n_paths // 2)
        both = Normals(*(None if z is None else np.concatenate([z, -z]) for z in half))
        at_mean = {"spread": market.spread_noise / 2, "impact": market.impact_noise / 2, "decay": 0.0, "price": 0.0}
        fixed = {name: np.full(both.liquidity.shape, value) for name, value in at_mean.items()}
        normals = both._replace(**fixed, slippage=None, signal=None)
        paths = Paths.shaped(market, order, normals)
        decay = np.broadcast_to(mean_decay(market, order), both.liquidity.shape)
        paths = replace(paths, slices=paths.slices._replace(decay=decay))
        return cls(market, order, paths.by_slice())

    def execute(self, share: np.ndarray) -> Executed:
        """What the schedule of these ``fractions`` does."""
        constants, n, zeros = terms(self.market, self.order), self.order.n_steps, self.paths.zeros
        state, block = opening(self.order.shares + zeros, zeros), zeros
        objective, risk, variance, clipped = zeros, zeros, zeros, zeros > 0
        for t in range(n):
            now = self.paths.at(t)
            asked = share[t] * (state.remaining - state.carried)
            state, fill = trade(state, now, asked, constants, t == n - 1)
            objective, risk, block = objective + fill.objective, risk + fill.risk, fill.block
            variance, clipped = variance + now.variance * state.remaining**2, clipped | (fill.beyond_cap > 0)
        return Executed(objective, risk, variance, block, block > _LEAST * self.order.shares, clipped)

    def cost(self, share: np.ndarray) -> tuple[float, np.ndarray]:
        """Mean J of the schedule of these ``fractions``, and its gradient in them. [$]

        The gradient of each path's cost is carried backwards through the slices: what a share held before a slice adds
        to the cost from there on (``held``), and what a dollar of transient push does (``pushed``).
        """
        constants, n = terms(self.market, self.order), self.order.n_steps
        kappa, aversion, penalty = constants.transient_impact, constants.risk_aversion, constants.terminal_penalty
        state, total, kept = opening(self.order.shares + self.paths.zeros, self.paths.zeros), self.paths.zeros, []
        for t in range(n):
            now, (x, push, *_) = self.paths.at(t), state
            state, fill = trade(state, now, share[t] * x, constants, t == n - 1)
            total += fill.objective
            kept.append((now, x, push, fill.shares - fill.block, fill.beyond_cap <= 0))
        delta, gradient = plain(self.market.impact_exponent), np.zeros(n)
        held, pushed = self.paths.zeros, self.paths.zeros
        for t in reversed(range(n)):
            now, x, push, v, free = kept[t]
            left, slope, own = x - v, (1 + delta) * now.temporary, 0.0
            if t == n - 1:
                # h x + c(x) + (penalty − 1) c(left) + push x + (κ + γ) v left.
                own = now.half_spread + slope * _power(x, delta) + push
                by_trade = (kappa + now.permanent) * left
                by_left = (penalty - 1) * slope * _power(left, delta) + (kappa + now.permanent) * v
                pushed = x
            else:
                pushed = now.decay * pushed
                by_trade = now.half_spread + slope * _power(v, delta) + push + now.permanent * left + kappa * pushed
                by_left = held + now.permanent * v - now.drift + 2 * aversion * now.variance * left
                pushed = pushed + v
            more = free * (by_trade - by_left)  # what another share in this slice adds, where the cap leaves room
            gradient[t] = (more * x).mean()
            held = own + by_left + share[t] * more
        return float(total.mean()), gradient


def improve(market: Market, order: Order, free: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Trades of the best fixed schedule under the cap. Shape: (n_steps,). [shares]

    Args:
        market: the market.
        order: with a cap.
        free: the best trades without a cap: they are the answer where it never binds.
        start: trades to begin the search with: the best where volumes are at their means.
    """
    if not _random_volume(market):
        return start
    n_paths = max(_SIZE // order.n_steps // 2 * 2, _FEWEST)
    sample = Sample.draw(market, order, n_paths, _SEED)
    if not sample.execute(fractions(free)).clipped.any():
        return free
    to_bps = bps(order.shares * market.arrival_price)

    def objective(z: np.ndarray) -> tuple[float, np.ndarray]:
        share = expit(z)
        cost, gradient = sample.cost(np.r_[share, 1.0])
        return cost * to_bps, gradient[:-1] * share * (1 - share) * to_bps

    first = logit(np.clip(fractions(start)[:-1], _LEAST, 1 - _LEAST))
    found = minimize(objective, first, jac=True, method="L-BFGS-B", options={"ftol": _TOLERANCE, "gtol": 0.0})
    at_once = np.ones(order.n_steps)  # as fast as the cap lets: what an order needs that is too large for it
    share = min(np.r_[expit(found.x), 1.0], at_once, key=lambda share: sample.execute(share).objective.mean())
    return order.shares * share * np.cumprod(np.r_[1.0, 1 - share[:-1]])


def _power(v: np.ndarray, delta: float) -> np.ndarray:
    """v^δ; a power takes ten times as long as a product."""
    return v if delta == 1.0 else v**delta


def _random_volume(market: Market) -> bool:
    """Whether the cap differs from path to path."""
    noisy = market.liquidity_volatility > 0 or market.volume_noise > 0 or market.has_shocks
    return bool(noisy or market.random_onset or market.regime_rate > 0)
