"""The martingale of C along the path of any agent: the sum of its news, by one table look-up before and after a trade.

``news`` says what C, the price of the constraints, turns out to be beyond what was expected: values at nodes, times
weights whose mean is zero. Here these values are made once for a problem, on a grid of liquidity, load and shares held.
In between they are interpolated with what is known before the news, so that the martingale has mean zero exactly,
however coarse the tables are. For a policy that is nearly the best, it is nearly all that its J varies by beyond what
``lq`` knows of.
"""

from functools import lru_cache
from typing import Any

import numpy as np

from exec_env.base.errors import NoBound
from exec_env.market.execution import Slice
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.market.paths import Normals
from exec_env.optimum import dynamic_programming, liquidity_grid, regimes
from exec_env.optimum.news import News, cell
from exec_env.optimum.seen import Seen

_RESOLUTION = 16  # of the constrained optimum: its value is within 1e-4 of that of a grid twice as fine
_MOST = 2**18  # points of the tables of C; so many take some ten seconds

Cells = list[tuple[np.ndarray, np.ndarray]]
"""Places on an axis, and their weights."""


class Tables:
    """Values of C at the nodes of its news.

    Raises:
        NoBound: where there is no constrained optimum, or only one that takes long.
    """

    now: np.ndarray
    """Nodes are those of spread and volume. Shape: (n_steps, regime · liquidity · load · held, nodes)."""
    ahead: np.ndarray
    """Nodes are those of liquidity and decay for each regime of the next slice, without and with a shock.
    Shape: (n_steps − 1, liquidity · load · held, nodes)."""

    def __init__(self, market: Market, order: Order) -> None:
        chain = regimes.chain(market, order)
        n_liquidity = len(liquidity_grid.grid(market, order, 2 * _RESOLUTION + 1)[0]) / 2
        points = order.n_steps * chain.n_regimes * n_liquidity * (_RESOLUTION // 4) * (_RESOLUTION + 1)
        if points > _MOST:
            raise NoBound(
                f"the constrained optimum of so many slices, regimes or shocks takes long: {points:,.0f} points"
            )
        self.news = News(dynamic_programming.without_error(market, order, _RESOLUTION))
        self.shape = self.news.solution.prices.shape[2:]
        self.jumps = (0.0, market.shocks[1]) if chain.shocks.any() else (0.0,)
        ends = [np.linspace(0.0, 1.0, n) if n > 1 else np.ones(1) for n in self.shape]
        linear = self.news.solution.linear
        grid = linear.grid[0] + np.ptp(linear.grid) * ends[0] if self.shape[0] > 1 else linear.grid
        axes = grid * linear.unit, order.shares * ends[1], order.shares * ends[2] ** 2
        liquidity, load, held = (axis.ravel() for axis in np.meshgrid(*axes, indexing="ij"))
        push = self.news.kappa * (load - held)
        steps = range(order.n_steps)
        self.now = np.array([self._now(t, liquidity, held, push) for t in steps], np.float32)
        self.ahead = np.array([self._ahead(t, liquidity, held, push) for t in steps[:-1]], np.float32)

    def _now(self, t: int, liquidity: np.ndarray, held: np.ndarray, push: np.ndarray) -> np.ndarray:
        """C in each regime before the trade of a slice, once spread and volume are seen. Shape: (points, nodes)."""
        solution, none = self.news.solution, np.zeros_like(held)
        market, order, dt = solution.market, solution.order, solution.order.slice_length
        most = np.inf if order.max_participation is None else order.max_participation
        volume = market.volume_at(liquidity, none, dt, market.profile(order)[t])
        signal = market.signal * np.exp(-market.signal_reversion * dt * t) + none
        blank = Slice(liquidity, market.half_spread_at(liquidity, none), volume, *[0.0] * 7)
        factors, rows = solution.linear.regimes.factors, []
        for k in range(solution.linear.regimes.n_regimes):
            now = market.stressed(blank, type(factors)(*(float(f[t, k]) for f in factors)))
            seen = Seen(t, held, push, signal, now.half_spread, now.log_liquidity, k)
            value = self.news.worth_now(seen, most * now.volume, none, none)[1][0]
            rows.append(value.reshape(-1, len(held)).T)
        return np.concatenate(rows)

    def _ahead(self, t: int, liquidity: np.ndarray, held: np.ndarray, push: np.ndarray) -> np.ndarray:
        """C after the trade of a slice, once the next one is known; the same from every regime of this slice."""
        values = [
            self.news.worth_next(t, k, jump, liquidity, held, push)[0][..., 0].reshape(-1, len(held)).T
            for k in range(self.news.solution.linear.regimes.n_regimes)
            for jump in self.jumps
        ]
        return np.concatenate(values, 1)


@lru_cache(maxsize=4)
def tables(market: Market, order: Order) -> Tables:
    """The tables of a problem, which take some seconds."""
    return Tables(market, order)


class Martingale:
    """The martingale on paths: what does not depend on the agent, and the increments of one that does what it does."""

    def __init__(self, tables: Tables, slices: Slice, normals: Normals, regime: np.ndarray) -> None:
        """Look up all that is known of the paths.

        Args:
            tables: of the problem.
            slices: the paths. Shape of columns: (n_paths, n_steps).
            normals: that they are from.
            regime: of each slice. Shape: (n_paths, n_steps).
        """
        self._tables, news, linear = tables, tables.news, tables.news.solution.linear
        self.at_arrival = news.at_arrival(slices.log_liquidity[:, 0], regime[:, 0])
        """News of the liquidity at arrival. Shape: (n_paths,). [$]"""
        self._regime, n, per_regime = regime, len(regime), len(tables.jumps)
        self._last = news.solution.order.n_steps - 1
        n_nodes = len(news.liquidity[0]) * len(news.decay[0])
        self._liquidity: list[Cells] = []
        self._now, self._ahead = [], []
        for t in range(self._last + 1):
            here = regime[:, t]
            plain = slices.log_liquidity[:, t] - np.log(linear.regimes.factors.liquidity[t][here])
            across = (plain / (linear.unit or 1.0) - linear.grid[0]) / (np.ptp(linear.grid) or 1.0)
            self._liquidity.append(cell(across, tables.shape[0]))
            weights = news.weights_now(normals.spread[:, t], normals.volume[:, t])
            self._now.append(weights.reshape(-1, n).T.astype(np.float32))
            if t < self._last:
                after = np.zeros((n, linear.regimes.n_regimes * per_regime, n_nodes), np.float32)
                for k, jump, at, each in news.outcomes(t, here, regime[:, t + 1], normals):
                    after[at, k * per_regime + (jump != 0.0)] = each.reshape(n_nodes, -1).T
                self._ahead.append(after.reshape(n, -1))

    def increment(self, t: int, before: Any, trade: np.ndarray) -> np.ndarray:
        """News of a slice: of its spread and volume, and of what comes after its trade. Shape: (n_paths,). [$]

        Args:
            t: slice.
            before: state before it, with ``remaining`` and ``transient``.
            trade: shares traded, the closing block left out.
        """
        tables, size = self._tables, self._tables.news.solution.order.shares
        x, kappa, (n_liquidity, n_load, n_held) = before.remaining, tables.news.kappa, tables.shape
        # A trade adds to the push what it takes off the shares held: the load is the same before and after it.
        loads = cell((x + before.transient / kappa if kappa > 0 else x) / size, n_load)
        corners = [
            ((i * n_load + j) * n_held, (wi * wj).astype(np.float32)) for i, wi in self._liquidity[t] for j, wj in loads
        ]

        def news(table: np.ndarray, held: np.ndarray, first: Any, weights: np.ndarray) -> np.ndarray:
            """Sum over nodes of weights times values, these a mean over the points around."""
            values: Any = 0.0
            for m, wm in cell(np.sqrt(np.maximum(held, 0.0) / size), n_held):
                for at, w in corners:
                    values = values + (w * wm.astype(np.float32))[:, None] * table.take(at + (first + m), axis=0)
            return np.einsum("nk,nk->n", values, weights, dtype=float)

        first = self._regime[:, t] * (n_liquidity * n_load * n_held)
        total = news(tables.now[t], x, first, self._now[t])
        if t < self._last:
            total = total + news(tables.ahead[t], x - trade, 0, self._ahead[t])
        return total
