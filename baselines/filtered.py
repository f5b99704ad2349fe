"""The optimum where liquidity is hidden: the linear-quadratic rule of the filter's mean, clipped to what is allowed."""

from dataclasses import replace

import numpy as np

from exec_env.baselines.adaptive import Adaptive
from exec_env.market.liquidity_filter import LiquidityFilter
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.one_asset.information import names
from exec_env.one_asset.observation import Observation
from exec_env.optimum import lq


class Filtered(Adaptive):
    """Trade what is optimal given inventory, own push, signal, spread, and what spreads and volumes say of liquidity.

    It filters by itself, slice by slice, so that it has a memory: the filter's mean. It is optimal where the cap never
    binds and no trade would be negative. Of stress, shocks and regimes its filter and its rule know nothing.

    Args:
        market: the market that the observations come from.
        order: the order.

    Raises:
        NoBound: when the problem cannot be solved.
        InputError: where volatility shows liquidity.

    Source: Kalman (1960); the separation of filtering and control is exact here, because what is not seen enters the
    costs through its conditional means alone.
    """

    names: tuple[str, ...] = tuple(name for name in names("hidden") if name != "nothing")

    def __init__(self, market: Market, order: Order) -> None:
        calm = replace(market, **(_CALM | ({} if market.regime_rate == 0 else _NO_REGIMES)))
        super().__init__(calm, order, lq.solve(calm.linearised(order), order, hidden=True))
        self.filter = LiquidityFilter.of(calm, order)

    def initial_state(self, n: int) -> np.ndarray:
        """The filter's mean before anything is seen. Shape: (n,)."""
        return np.zeros(n)

    def act(self, observations: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[override]
        """Shares, never negative, and the filter's mean. Shape: (n, 9), (n,) -> (n, 1), (n,)."""
        whole = np.insert(observations.astype(float), _LIQUIDITY, 0.0, axis=1)
        seen, per = Observation(*whole.T), self._units
        last = self._order.n_steps - 1
        step = np.clip(self._order.n_steps - np.rint(seen.time_left * self._order.n_steps).astype(int), 0, last)
        spread, volume = seen.relative_spread * per.half_spread, seen.relative_volume * per.volume
        mean = whole[:, _LIQUIDITY] = self.filter.updated(state, step, spread, volume)
        return super().act(whole), mean


_LIQUIDITY = Observation._fields.index("log_liquidity")
_CALM = {"stress": "none", "stress_factor": None, "stress_onset_end": None, "shock_rate": 0.0}
_NO_REGIMES = {
    name: getattr(Market, name) for name in ("regime_rate", "regime_recovery", "regime_liquidity", "regime_volatility")
}
