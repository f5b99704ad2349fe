"""The adaptive optimum: the feedback rule of the linear-quadratic problem, clipped to what is allowed."""

from typing import Any

import numpy as np

from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.one_asset.observation import Observation, Observer
from exec_env.optimum import lq, relaxation
from exec_env.optimum.seen import Seen


class Adaptive:
    """Trade what is optimal given inventory, own transient push, signal, spread and liquidity.

    Liquidity, spread and volume are those of the slice that is traded in, seen before it: so they are for every agent
    here, and for the bound. A good part of what is gained over fixed schedules comes from that; whoever only knows the
    slices before has less to gain.

    The rule is optimal where the cap never binds and no trade would be negative; the clipped rule is close to that.
    Power-law impact is linearised at the order's average rate (``Market.linearised``), so that it is a rule of thumb.
    Where the market has regimes that only show in what is observed, the trade is the mean over the optimal trades of
    each, weighted by what the observation of the slice says of them.

    Args:
        market: the market that the observations come from.
        order: the order.
        solution: rule to follow; by default the optimum for that market, relaxed where there is none
            (``exec_env.optimum.relaxation``).

    Raises:
        NoBound: when the problem cannot be solved.
    """

    action_mode = "shares"
    names: tuple[str, ...] = Observation._fields

    def __init__(self, market: Market, order: Order, solution: lq.Solution | None = None) -> None:
        self.solution = solution or relaxation.solve(market.linearised(order), order)
        self._units, self._order, self._market = Observer(market, order).units, order, market

    def act(self, observations: np.ndarray) -> np.ndarray:
        """Shares, never negative. Shape: (n, 10) -> (n, 1)."""
        seen, per = Observation(*observations.T.astype(float)), self._units
        steps = self._order.n_steps - np.rint(seen.time_left * self._order.n_steps).astype(int)
        part = np.inf if self._order.max_participation is None else self._order.max_participation
        out = np.empty(len(observations))
        for step in np.unique(steps):
            now = steps == step
            remaining = seen.inventory_left[now] * per.shares
            t, liquidity = min(int(step), self._order.n_steps - 1), seen.log_liquidity[now]
            state = Seen(
                t,
                remaining,
                seen.transient_impact[now] * per.transient,
                seen.signal[now] * per.drift / (self._market.arrival_price * self._order.slice_length),
                seen.relative_spread[now] * per.half_spread,
                liquidity,
                most=part * seen.relative_volume[now] * per.volume,
            )
            chain = self.solution.regimes
            if chain.n_regimes == 1:
                trade = self.rule(state)
            else:
                weights = chain.likely(self._market, t, liquidity, seen.relative_volatility[now])
                trade = sum(w * self.rule(state._replace(regime=k)) for k, w in enumerate(weights))
            out[now] = np.clip(trade, 0.0, remaining)
        return out[:, None]

    def rule(self, seen: Seen) -> Any:
        """Trade of a slice before it is clipped. [shares]"""
        return self.solution.policy(seen)
