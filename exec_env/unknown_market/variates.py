"""Control variates of the unknown market, two sums whose means are zero whatever an agent does.

- ``draw``: the least cost in the market of the path less its mean over markets;
- ``excess``: what the path costs beyond its least cost and the regret along it (``exec_env.unknown_market.known``).

Without both, left of a path's objective are the bound and the regret, which the noise of fills is no part of.
"""

from typing import Any

import numpy as np

from exec_env.envs.variates import Followed
from exec_env.market.execution import bps
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.market.paths import Paths
from exec_env.unknown_market.known import Impact, Known

DRAW, EXCESS = "draw", "excess"


class Variates:
    """The control variates of orders in unknown markets; see ``exec_env.envs.variates``.

    Args:
        market: what impact is drawn around.
        order: each order.
        orders: how many there are.
        mean_bps: the least cost of an order, on average over markets.
    """

    names: tuple[str, ...] = (DRAW, EXCESS)
    note = ""
    best_bps = float("nan")

    def __init__(self, market: Market, order: Order, orders: int, mean_bps: float) -> None:
        self.market, self.order, self.orders, self.mean_bps = market, order, orders, mean_bps

    def on(self, rng: np.random.Generator, paths: Paths, names: tuple[str, ...]) -> "Drawn":
        """On paths, whose impact is in them."""
        return Drawn(self, Known.of(self.market, self.order, Impact.drawn(paths.slices)))


class Drawn:
    """On paths, before any agent."""

    def __init__(self, variates: Variates, known: Known) -> None:
        self.variates, self.known = variates, known

    def follow(self, names: tuple[str, ...]) -> Followed:
        """Along the paths of one agent."""
        return _Along(self, names)


class _Along:
    def __init__(self, drawn: Drawn, names: tuple[str, ...]) -> None:
        self._drawn, self._names, self._sum = drawn, names, 0.0 * drawn.known.cost

    def watch(self, t: int, before: Any, now: Any, fill: Any) -> None:
        excess = self._drawn.known.excess(t % self._drawn.variates.order.n_steps, before, fill)
        self._sum = self._sum + fill.objective - excess

    def sums(self) -> dict[str, np.ndarray]:
        of, least = self._drawn.variates, self._drawn.known.cost
        each = bps(of.order.shares * of.market.arrival_price)
        columns = {DRAW: each * least - of.mean_bps, EXCESS: each * (self._sum / of.orders - least)}
        return {name: columns[name] for name in self._names}
