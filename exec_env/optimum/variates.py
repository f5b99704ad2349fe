"""Control variates of J: sums along an agent's path whose mean is known to be zero, whatever the agent does.

Two of them, both exact in expectation (see ``lq.Solution.excess`` and ``martingale``):

- ``excess``: the objective less the cost of the linear-quadratic rule and the LQ excess along the path. Taking it off
  leaves that cost and the excess, which varies little for a policy that is nearly optimal, unless constraints bind.
- ``martingale``: the martingale of C, the price of the constraints. Taking it off too leaves what the policy does worse
  than the best rule.

Where impact is a power law, the rule is that of ``Market.linearised``, and what temporary impact costs beyond that is
added to the excess. Where a relaxation charges costs in part only, its identity is that of what is charged, and there
are none.
"""

from typing import Any

import numpy as np

from exec_env.base.errors import NoBound
from exec_env.market.execution import Slice, bps
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.market.paths import Normals, Paths, Simulator, regime_of
from exec_env.optimum import lq
from exec_env.optimum import martingale as martingales
from exec_env.optimum.closing import Rest
from exec_env.optimum.seen import Seen

EXCESS, MARTINGALE = "excess", "martingale"
FEWEST = 200
"""Paths below which the martingale is left out: its tables would take longer than the paths that it saves."""


class Variates:
    """The control variates of a problem.

    Args:
        market: the market.
        order: the order.
        n_paths: how many paths there will be; with few of them the martingale is left out.
        hidden: whether agents see less than the paths: the excess is that of whoever sees liquidity, which holds for
            every policy, and there is no martingale.

    Raises:
        NoBound: where there are none, with the reason.
    """

    def __init__(self, market: Market, order: Order, n_paths: int, hidden: bool = False) -> None:
        self.market, self.order, self.hidden = market, order, hidden
        self.linear = lq.solve_linearised(market, order)
        self.names: tuple[str, ...] = (EXCESS,)
        """From the one that takes least time to the one that takes most, which is of use beside the others."""
        self.note = ""
        """Why one is missing that other problems have."""
        self.best_bps = float("nan")
        """The best achievable value, to 1e-4 or so, where the tables of the martingale tell."""
        self.tables = None
        if n_paths >= FEWEST and not hidden:
            try:
                self.tables = martingales.tables(market, order)
                self.names, self.best_bps = (EXCESS, MARTINGALE), self.tables.news.solution.value_bps
            except NoBound as error:
                self.note = f"without the martingale of the constrained optimum: {error}"

    def on(self, rng: np.random.Generator, paths: Paths, names: tuple[str, ...]) -> "Drawn":
        """Those named, on the paths that ``rng``, which is used up, was to draw."""
        normals = Simulator(self.market, self.order).normals([rng], paths.n_paths)
        if self.hidden:
            paths = Paths.shaped(self.market, self.order, normals).by_slice()
        return Drawn(self, paths.slices, normals, self.tables if MARTINGALE in names else None)


class Drawn:
    """Control variates on paths: what all agents have in common."""

    def __init__(self, variates: Variates, slices: Slice, normals: Normals, tables: martingales.Tables | None) -> None:
        self.variates, linear = variates, variates.linear
        market, order, chain = variates.market, variates.order, linear.regimes
        regime, last = regime_of(market, order, normals), order.n_steps - 1
        # Gains of the rule and curvature. Axes: slice, gain, path.
        self.gains = np.empty((order.n_steps, 6, len(regime)))
        self.push = np.empty(len(regime))
        self.rest: list[Rest] = []
        for t in range(order.n_steps):
            liquidity, impact = slices.log_liquidity[:, t], chain.factors.impact[t]
            for k in np.unique(regime[:, t]):
                at = np.flatnonzero(regime[:, t] == k)
                for out, gain in zip(self.gains[t], linear.gains_at(t, liquidity[at], int(k)), strict=True):
                    out[at] = gain
                if t == last:
                    self.push[at] = linear.last_push_at(liquidity[at], int(k))
            if market.impact_exponent != 1:
                self.rest.append(Rest.of(market, order, liquidity, impact[regime[:, t]]))
        self.martingale = None if tables is None else martingales.Martingale(tables, slices, normals, regime)

    def follow(self, names: tuple[str, ...]) -> "Followed":
        """Those named, along the path of one agent."""
        return Followed(self, names)


class Followed:
    """Control variates along the paths of one agent."""

    def __init__(self, drawn: Drawn, names: tuple[str, ...]) -> None:
        self._drawn, self._martingale = drawn, drawn.martingale if MARTINGALE in names else None
        self._sums: dict[str, Any] = dict.fromkeys(names, 0.0)
        if self._martingale is not None:
            self._sums[MARTINGALE] = self._martingale.at_arrival

    def watch(self, t: int, before: Any, now: Any, fill: Any) -> None:
        """One slice of all paths.

        Args:
            t: slice.
            before: state before it.
            now: the slice.
            fill: what was done.
        """
        drawn, linear, order = self._drawn, self._drawn.variates.linear, self._drawn.variates.order
        signal = now.drift / (linear.market.arrival_price * order.slice_length)
        seen = Seen(t, before.remaining, before.transient, signal, now.half_spread, now.log_liquidity)
        trade = fill.shares - fill.block
        excess = linear.excess(seen, trade, drawn.gains[t], drawn.push)
        if drawn.rest:
            excess = excess + drawn.rest[t].cost(fill.shares)
            if t == order.n_steps - 1:
                excess = excess + (order.terminal_penalty - 1) * drawn.rest[t].cost(fill.block)
        self._sums[EXCESS] = self._sums[EXCESS] + (fill.objective - excess)
        if self._martingale is not None:
            self._sums[MARTINGALE] = self._sums[MARTINGALE] + self._martingale.increment(t, before, trade)

    def sums(self) -> dict[str, np.ndarray]:
        """By name, for each path. [bps of the arrival notional]"""
        variates = self._drawn.variates
        to_bps = bps(variates.order.shares * variates.market.arrival_price)
        columns = {name: to_bps * total for name, total in self._sums.items()}
        return columns | {EXCESS: columns[EXCESS] - variates.linear.cost_bps}
