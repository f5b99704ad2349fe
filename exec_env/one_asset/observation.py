"""What an agent sees: one named layout, the same for every environment and every agent."""

from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from exec_env.base.namespace import namespace
from exec_env.data.features import FARTHEST
from exec_env.market.execution import Slice, State
from exec_env.market.market import BPS, Market
from exec_env.market.order import Order


class Observation(NamedTuple):
    """The observation, by name. All of order one, always finite.

    | index | symbol | name | meaning | unit | range |
    |---|---|---|---|---|---|
    | 0 | (N−t)/N | ``time_left`` | slices left, this one included | order's horizon | [0, 1] |
    | 1 | x/X | ``inventory_left`` | shares left | order's size | [0, 1] |
    | 2 | ℓ | ``log_liquidity`` | log liquidity of this slice | - | [−10, 10] |
    | 3 | h_t/h | ``relative_spread`` | half spread of this slice | its mean | [0, 100] |
    | 4 | V_t/VΔ | ``relative_volume`` | market volume of this slice | its mean | [0, 100] |
    | 5 | σ_t/σ | ``relative_volatility`` | volatility of this slice | σ | [0, 100] |
    | 6 | I | ``transient_impact`` | part of our own push still to decay | that of an even sale at its end | [0, 1000] |
    | 7 | S−S0 | ``price_move`` | mid since arrival, in the order's favour | S0 σ √T | [−100, 100] |
    | 8 | v/V | ``last_participation`` | our share of the last slice's volume | X/(V T) | [0, 1000] |
    | 9 | α | ``signal`` | expected drift, in the order's favour | σ/√T | [−100, 100] |

    Entries 2 to 5 are of the slice that is about to be traded in, seen before it. In a market one knows what has been,
    and has to forecast the rest; how much better agents are than fixed schedules is to be read with that in mind.

    Where a unit is zero (no spread, no volatility, no transient impact), the entry is zero.
    """

    time_left: Any
    inventory_left: Any
    log_liquidity: Any
    relative_spread: Any
    relative_volume: Any
    relative_volatility: Any
    transient_impact: Any
    price_move: Any
    last_participation: Any
    signal: Any


MarketEntries = tuple[Any, Any, Any, Any, Any]
"""Log liquidity, relative spread, volume and volatility, and signal."""
OwnEntries = tuple[Any, Any, Any, Any]
"""Inventory left, transient impact, price move and last participation."""

LOW = Observation(0, 0, -10, 0, 0, 0, 0, -100, 0, -100)
"""Smallest value of each entry."""
HIGH = Observation(1, 1, 10, 100, 100, 100, 1000, 100, 1000, 100)
"""Largest value of each entry."""


def space(n_features: int = 0) -> gym.spaces.Box:
    """Gymnasium space of one observation, with so many features of a tape."""
    far = np.full(n_features, FARTHEST)
    low, high = np.r_[np.array(LOW), -far], np.r_[np.array(HIGH), far]
    return gym.spaces.Box(low.astype(np.float32), high.astype(np.float32), dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Units:
    """What each entry is measured in; dividing by zero gives zero."""

    n_steps: float
    shares: float  # [shares]
    half_spread: float  # [$]
    volume: float  # [shares]
    deviation: float  # of the price over a slice [$]
    transient: float  # [$]
    price: float  # [$]
    participation: float  # [-]
    drift: float  # of the price over a slice [$]


def units(market: Market, order: Order) -> Units:
    """The units of the observation, from the problem's parameters."""
    horizon, price_unit = order.horizon, market.volatility * market.arrival_price * order.horizon**0.5
    decayed = market.resilience * horizon
    survival = (1 - namespace(decayed).exp(-decayed)) / decayed if decayed > 0 else 1.0
    return Units(
        n_steps=order.n_steps,
        shares=order.shares,
        half_spread=market.half_spread * BPS * market.arrival_price,
        volume=market.daily_volume * order.slice_length,
        deviation=market.volatility * market.arrival_price * order.slice_length**0.5,
        transient=market.transient_impact * order.shares * survival,
        price=price_unit,
        participation=order.shares / (market.daily_volume * horizon),
        drift=price_unit / order.n_steps,
    )


class Observer:
    """Turns slice and state into observations; the same code for floats, arrays and tensors."""

    def __init__(self, market: Market, order: Order) -> None:
        self.units = units(market, order)
        # Multiplying is cheaper than dividing, and a zero unit needs no branch later.
        each = (getattr(self.units, unit.name) for unit in fields(Units))
        self._inverse = Units(*(1.0 / u if u > 0 else 0.0 for u in each))

    def market(self, now: Slice) -> MarketEntries:
        """Entries that do not depend on us: of one slice, or of whole paths at once."""
        per = self._inverse
        xp = namespace(now.log_liquidity)
        return (
            xp.clip(now.log_liquidity, -10.0, 10.0),
            xp.minimum(now.half_spread * per.half_spread, 100.0),
            xp.minimum(now.volume * per.volume, 100.0),
            xp.minimum(now.variance**0.5 * per.deviation, 100.0),
            xp.clip(now.drift * per.drift, -100.0, 100.0),
        )

    def own(self, state: State) -> OwnEntries:
        """Entries that depend on what we did."""
        per = self._inverse
        remaining, transient, price_move, participation, _ = state
        xp = namespace(remaining)
        return (
            remaining * per.shares,
            xp.minimum(transient * per.transient, 1000.0),
            xp.clip(price_move * per.price, -100.0, 100.0),
            xp.minimum(participation * per.participation, 1000.0),
        )

    def __call__(self, state: State, market: MarketEntries, slices_left: Any) -> Observation:
        """The entries of ``Observation``, in its order; each has the shape of its arguments."""
        inventory, transient, move, participation = self.own(state)
        liquidity, spread, volume, volatility, signal = market
        return Observation(
            slices_left * self._inverse.n_steps,
            inventory,
            liquidity,
            spread,
            volume,
            volatility,
            transient,
            move,
            participation,
            signal,
        )

    def renewed(self, observation: np.ndarray, state: State, now: Any, left: int) -> np.ndarray:
        """An observation of the slice that was made for another state, with the entries of this one. Shape: (10,)."""
        own = self.own(state)
        observation[_INVENTORY], observation[_TRANSIENT], observation[_MOVE], observation[_PARTICIPATION] = own
        return observation


@dataclass(frozen=True)
class WithFeatures:
    """What an observer shows, and after it the features of a tape."""

    observer: Observer

    def market(self, now: Slice) -> tuple[Any, ...]:
        """Entries that do not depend on us, and the features."""
        return (self.observer.market(now), *now.features)

    def __call__(self, state: State, market: tuple[Any, ...], slices_left: Any) -> tuple[Any, ...]:
        """The entries of ``Observation``, and the features."""
        entries, *features = market
        return (*self.observer(state, entries, slices_left), *features)


_INVENTORY, _TRANSIENT, _MOVE, _PARTICIPATION = map(
    Observation._fields.index, ("inventory_left", "transient_impact", "price_move", "last_participation")
)
