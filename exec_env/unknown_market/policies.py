"""Baselines of the unknown market: an even pace, the prior for ever, the certainty equivalent, and the oracle.

But for the even pace all trade by the rule that is best in the market that they take to be there
(``exec_env.unknown_market.known``); they differ in what they know of it.
"""

import math
from collections.abc import Callable
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from exec_env.base.errors import InputError
from exec_env.market.market import BPS, Market
from exec_env.market.order import Order
from exec_env.market.paths import Paths
from exec_env.unknown_market.known import Impact, Known, Rule, backward
from exec_env.unknown_market.observation import Units, UnknownObservation

LEAST = 1 / 64
"""Impact is not taken for less than this part of its mean."""


Plan = Callable[[int, np.ndarray], tuple[Rule, Any]]
"""From slices left of the order, and where that is so many, to the rule and to κ there."""


class Policy:
    """What the baselines have in common: they act as fractions of what is left.

    Args:
        market: what impact is drawn around.
        order: each order.
        spread: log standard deviation of the impact.
    """

    action_mode = "fraction"
    names = UnknownObservation._fields

    def __init__(self, market: Market, order: Order, spread: float) -> None:
        self.market, self.order, self.spread = market, order, spread

    def left(self, observations: np.ndarray) -> np.ndarray:
        """Slices left of the order, at least one."""
        left = UnknownObservation(*observations.T).time_left.astype(float) * self.order.n_steps
        return np.maximum(np.rint(left).astype(int), 1)

    def by(self, plan: Plan, observations: np.ndarray) -> np.ndarray:
        """Fractions of what is left, by the rules of a plan. Shape: (n, 7) -> (n, 1)."""
        seen, slices = UnknownObservation(*observations.T.astype(float)), self.left(observations)
        out = np.empty(len(observations))
        for left in np.unique(slices).tolist():
            at = slices == left
            rule, kappa = plan(left, at)
            held = seen.inventory_left[at]
            trade = rule.trade(held, kappa * seen.recent_trades[at])
            out[at] = np.clip(trade / np.maximum(held, 1e-300), 0.0, 1.0)
        return out[:, None]


class Even(Policy):
    """The even pace: TWAP of each order."""

    def act(self, observations: np.ndarray) -> np.ndarray:
        """Fractions of what is left. Shape: (n, 7) -> (n, 1)."""
        return 1.0 / self.left(observations)[:, None]


class Prior(Policy):
    """Takes the market for its mean, for ever: what never to learn costs."""

    def __init__(self, market: Market, order: Order, spread: float) -> None:
        super().__init__(market, order, spread)
        self.known = Known.of(market, order, Impact.of(market, order))

    def act(self, observations: np.ndarray) -> np.ndarray:
        """Fractions of what is left. Shape: (n, 7) -> (n, 1)."""
        return self.by(lambda left, at: (self.known.rules[-left], self.known.impact.transient), observations)


class Oracle(Policy):
    """Is told the impact of each path: no policy, but what others are measured by."""

    known: Known | None = None

    def told(self, paths: Paths) -> "Oracle":
        """The same, on these paths."""
        told = Oracle(self.market, self.order, self.spread)
        told.known = Known.of(self.market, self.order, Impact.drawn(paths.slices))
        return told

    def act(self, observations: np.ndarray) -> np.ndarray:
        """Fractions of what is left. Shape: (n, 7) -> (n, 1).

        Raises:
            InputError: where it was not told the paths.
        """
        if (known := self.known) is None:
            raise InputError("oracle: acts on paths that it is told, as in evaluate, not on observations alone")
        return self.by(
            lambda left, at: (Rule(*(part[at] for part in known.rules[-left])), known.impact.transient[at]),
            observations,
        )


class Belief(NamedTuple):
    """What is believed of η and κ, in units of their means, and what was seen last. Shape of each: (n,)."""

    eta: np.ndarray
    kappa: np.ndarray
    eta_eta: np.ndarray  # variances and covariance
    eta_kappa: np.ndarray
    kappa_kappa: np.ndarray
    recent: np.ndarray  # own trades still to decay, before the last trade [order sizes]


class CertaintyEquivalent(Policy):
    """Estimates η and κ from its own concessions, and plans anew in every slice as if the estimate were the truth.

    A trade v after own trades J, as far as they have not decayed, concedes (η/Δ) v m + κ J + e, with the mean-one noise
    m of impact and the slippage e: in expectation linear in η and κ. Their lognormal prior counts by its mean and
    variance, and each concession is one step of the recursive Bayesian regression (a Kalman filter without motion)
    whose noise is that of e and of m at what is believed of η. γ shows in the price alone, far below its noise, and is
    taken for its mean.
    """

    def __init__(self, market: Market, order: Order, spread: float) -> None:
        super().__init__(market, order, spread)
        self._mean = Impact.of(market, order)

    def initial_state(self, n: int) -> Belief:
        """The prior."""
        one, variance = np.ones(n), np.full(n, math.expm1(self.spread**2))
        return Belief(one, one, variance, 0.0 * one, variance, 0.0 * one)

    def act(self, observations: np.ndarray, state: Belief) -> tuple[np.ndarray, Belief]:
        """Fractions of what is left, and what is believed after the last concession. Shape: (n, 7) -> (n, 1)."""
        belief = self.learn(observations, state)

        def plan(left: int, at: np.ndarray) -> tuple[Rule, Any]:
            eta, kappa = (np.maximum(part[at], LEAST) for part in belief[:2])
            mean = self._mean
            taken = Impact(mean.slope * eta, mean.permanent + 0.0 * eta, mean.transient * kappa)
            return next(islice(backward(self.market, self.order, taken), left - 1, None)), taken.transient

        return self.by(plan, observations), belief

    def learn(self, observations: np.ndarray, belief: Belief) -> Belief:
        """What is believed after the concession that is seen."""
        seen, per = UnknownObservation(*observations.T.astype(float)), Units.of(self.market, self.order)
        # In units of what an even pace concedes in a market of mean impact.
        unit = per.concession if per.concession > 0 else 1.0
        by_eta = (self._mean.slope * per.trade / unit) * seen.last_trade
        by_kappa = (self._mean.transient * per.shares / unit) * belief.recent
        eta, kappa, ee, ek, kk, _ = belief
        noise = by_eta**2 * (eta**2 + ee) * math.expm1(self.market.impact_noise**2)
        noise = noise + (self.market.slippage_noise * BPS * self.market.arrival_price / unit) ** 2
        of_eta, of_kappa = ee * by_eta + ek * by_kappa, ek * by_eta + kk * by_kappa
        variance = by_eta * of_eta + by_kappa * of_kappa + noise + 1e-12  # observations are in single precision
        per_surprise = (seen.last_trade > 0) / variance
        surprise = seen.concession - by_eta * eta - by_kappa * kappa
        return Belief(
            eta + of_eta * per_surprise * surprise,
            kappa + of_kappa * per_surprise * surprise,
            ee - of_eta**2 * per_surprise,
            ek - of_eta * of_kappa * per_surprise,
            kk - of_kappa**2 * per_surprise,
            seen.recent_trades,
        )


POLICIES = {"prior": Prior, "certainty-equivalent": CertaintyEquivalent, "oracle": Oracle, "twap": Even}
"""Baselines by name."""
