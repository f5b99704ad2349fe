"""Paths: the exogenous market, drawn or recorded before anybody trades."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
from scipy.special import ndtri

from exec_env.base.errors import InputError
from exec_env.base.namespace import as_like, namespace
from exec_env.base.validation import shown
from exec_env.market.execution import Slice
from exec_env.market.market import BPS, Market
from exec_env.market.order import Order
from exec_env.market.stress import Factors

_ANSWER = {
    *("temporary_impact", "impact_exponent", "reference_participation"),
    *("permanent_impact", "transient_impact", "resilience", "night_length"),
}
_STRESS = {
    *("stress", "stress_onset", "stress_onset_end", "stress_factor", "shock_rate", "shock_size"),
    *("regime_rate", "regime_recovery", "regime_liquidity", "regime_volatility"),
    *("liquidity_reversion", "spread_elasticity", "volatility_elasticity"),
}
_VENUE = {"taker_fee", "maker_rebate", "tick_size"}
GIVEN = frozenset(_ANSWER | {"volatility", "overnight_variance"} | _VENUE | _STRESS)
"""Fields of Market that a tape does not settle: how the price answers to us, the variance that risk is charged at,
what a venue charges and quotes in, and the stress, shocks and regimes that recorded slices are put under, with how the
rest follows liquidity."""


class Normals(NamedTuple):
    """Independent standard normals behind simulated paths. Shape of each: (n_paths, n_steps)."""

    liquidity: Any
    spread: Any
    volume: Any
    impact: Any
    decay: Any
    price: Any
    slippage: Any = None
    shock: Any = None
    signal: Any = None
    onset: Any = None
    """When a stress begins; its first column alone is used."""
    regime: Any = None

    @staticmethod
    def used(market: Market) -> list[str]:
        """Names of the factors that ``market`` draws; the first six always, so that seeds are comparable."""
        optional = {
            "slippage": market.slippage_noise > 0,
            "shock": market.has_shocks,
            "signal": market.signal_volatility > 0,
            "onset": market.random_onset,
            "regime": market.regime_rate > 0,
        }
        return [name for name in Normals._fields if optional.get(name, True)]


def columns_of(slices: Any) -> tuple[Any, ...]:
    """The columns of slices, a NamedTuple of them; where the slices hold books, with those of the levels."""
    return slices.columns if hasattr(type(slices), "columns") else tuple(slices)


def with_columns(slices: Any, columns: Iterable[Any]) -> Any:
    """Slices of the same kind with other columns."""
    return slices.of(columns) if hasattr(type(slices), "columns") else type(slices)._make(columns)


def mapped(slices: Any, change: Callable[[Any], Any]) -> Any:
    """Slices with each column changed."""
    return with_columns(slices, map(change, columns_of(slices)))


@dataclass(frozen=True)
class Paths:
    """Market paths. Every column of ``slices`` has shape (n_paths, n_steps, ...).

    Prices are in the order's frame, so that paths belong to a side: the same seed gives a buyer the mirror image of
    a seller's prices, and the same costs path by path.
    """

    slices: Any
    """A NamedTuple of columns, such as ``Slice``; a column may have trailing axes, as for assets or events."""
    arrival_price: np.ndarray
    """Mid price when each path begins. Shape: (n_paths,), or (n_paths, n_assets). [$]"""
    rows: np.ndarray | None = None
    """Row of the tape at which each path begins; None where paths are drawn. Shape: (n_paths,)."""

    @property
    def n_paths(self) -> int:
        """Number of paths."""
        return len(self.arrival_price)

    @property
    def n_steps(self) -> int:
        """Number of slices in a path."""
        return next(c.shape[1] for c in columns_of(self.slices) if getattr(c, "ndim", 0) >= 2)

    @property
    def zeros(self) -> Any:
        """A zero for each path, an array or a tensor. Shape: (n_paths,)."""
        price = self.arrival_price
        return 0.0 * (price if price.ndim == 1 else price[:, 0])

    def by_slice(self) -> "Paths":
        """The same paths with a slice of all of them side by side in memory: twice the speed, slice by slice."""
        return replace(self, slices=mapped(self.slices, np.asfortranarray))

    def at(self, step: int) -> Any:
        """One slice of every path; columns of shape (n_paths, ...), or numbers where they are the same all over."""
        return mapped(self.slices, lambda column: column[:, step] if getattr(column, "ndim", 0) >= 2 else column)

    def path(self, index: int) -> list[Slice]:
        """One path as a list of slices of plain floats, which step ten times faster than NumPy scalars."""
        return list(map(Slice._make, self.slices.map(lambda column: column[index].tolist()).each()))

    @classmethod
    def simulate(cls, market: Market, order: Order, n_paths: int, seed: int | np.random.Generator) -> "Paths":
        """Draw ``n_paths`` paths: those that an environment seeded with ``seed`` plays, one after the other.

        >>> paths = Paths.simulate(Market(), Order(n_steps=3), n_paths=2, seed=0)
        >>> paths.slices.volume.round().astype(int).tolist()
        [[93686, 78498, 46356], [92083, 81553, 54600]]
        """
        return Simulator(market, order).sample([np.random.default_rng(seed)], n_paths)

    @classmethod
    def shaped(cls, market: Market, order: Order, normals: Normals) -> "Paths":
        """The paths that the given normals make."""
        size = normals.liquidity.shape
        slices = shape(market, order, normals).map(lambda column: np.broadcast_to(column, size))
        return cls(slices, np.full(size[0], market.arrival_price))


class Source(Protocol):
    """Where an environment's paths come from."""

    def sample(self, rngs: Sequence[np.random.Generator], n_paths: int = 1) -> Paths:
        """``n_paths`` paths from each generator, those of the first one first."""


@dataclass(frozen=True)
class Simulator:
    """Paths drawn from a market's equations."""

    market: Market
    order: Order

    def sample(self, rngs: Sequence[np.random.Generator], n_paths: int = 1) -> Paths:
        """Path by path from each generator, so that path e never depends on how many are drawn at once.

        Raises:
            InputError: for a market of tensors, which are for paths as tensors.
        """
        for name, value in vars(self.market).items():
            if hasattr(value, "detach"):
                raise InputError(f"Market.{name} = {shown(value)}: must be a number; tensors are for the torch market")
        return Paths.shaped(self.market, self.order, self.normals(rngs, n_paths))

    def normals(self, rngs: Sequence[np.random.Generator], n_paths: int = 1) -> Normals:
        """What is behind the paths of ``sample``."""
        names = Normals.used(self.market)
        block = np.empty((len(rngs), n_paths, len(names), self.order.n_steps))
        for rng, out in zip(rngs, block, strict=True):
            rng.standard_normal(out=out)
        z = block.reshape(-1, *block.shape[2:])
        return Normals(**{name: z[:, i] for i, name in enumerate(names)})


def shape(market: Market, order: Order, normals: Normals) -> Slice:
    """Shape standard normals into slices, by the equations of ``Market``.

    Works on NumPy arrays and torch tensors of shape (n_paths, n_steps); constants stay plain numbers. Without normals
    for them there are no shocks and no poor regime, and a stress of random onset begins in the middle of its onsets;
    normals that the market has no use for change nothing.

    Raises:
        InputError: when ``shock_rate`` Δ is not a probability.
    """
    dt = order.slice_length
    begun = _begun(market, normals)
    liquidity = _liquidity(market, dt, normals, begun)
    profile = 1.0 if market.volume_profile == "flat" else as_like(market.profile(order), liquidity)
    for_risk, by_clock = (
        as_like(span, liquidity) if isinstance(span, np.ndarray) else span for span in market.spans(order)
    )
    variance = market.variance_at(liquidity, for_risk)
    slippage = (
        0.0 if normals.slippage is None else market.slippage_noise * BPS * market.arrival_price * normals.slippage
    )
    slices = Slice(
        log_liquidity=liquidity,
        half_spread=market.half_spread_at(liquidity, normals.spread),
        volume=market.volume_at(liquidity, normals.volume, dt, profile),
        variance=variance,
        drift=market.arrival_price * dt * _signal(market, dt, normals),
        temporary=market.temporary_at(liquidity, normals.impact, dt),
        permanent=market.permanent_impact,
        decay=market.decay_at(normals.decay, by_clock),
        price_shock=variance**0.5 * normals.price,
        slippage=slippage,
        exponent=market.impact_exponent,
    )
    by = _multipliers(market, dt, normals, begun)
    return slices if by is None else market.stressed(slices, by)


def stress_recorded(market: Market, order: Order, slices: Slice, normals: Normals) -> Slice:
    """Recorded slices under the stress, the shocks and the poor regime of ``market``.

    Args:
        market: the market.
        order: the order.
        slices: of shape (n_paths, n_steps).
        normals: zeros where the tape settles what happens.
    """
    dt, begun = order.slice_length, _begun(market, normals)
    by = _multipliers(market, dt, normals, begun)
    if normals.shock is not None:
        # Shocks move liquidity itself, so that volatility follows them, as in a market that is drawn.
        shocks = np.exp(_liquidity(market, dt, normals, begun))
        by = by or Factors(1.0, 1.0, 1.0)
        follows = by.volatility * shocks**market.volatility_elasticity
        by = by._replace(liquidity=by.liquidity * shocks, volatility=follows)
    if by is None:
        return slices
    # More liquidity is larger levels, and dearer impact is distances that are larger.
    levels = tuple((size * by.liquidity, distance * by.impact) for size, distance in slices.levels)
    return market.stressed(slices, by)._replace(levels=levels)


def _begun(market: Market, normals: Normals) -> Any:
    """Whether the stress has begun, 1 or 0; None without one. Shape: (n_steps,), or (n_paths, n_steps)."""
    if market.stress == "none":
        return None
    probability = market.stress_begun(normals.liquidity.shape[1])
    if normals.onset is None or not market.random_onset:
        return as_like((probability > 0.5).astype(float), normals.liquidity)
    z = normals.onset[:, :1]
    return 0.0 * z + (z < as_like(ndtri(probability), z))


def regime_of(market: Market, order: Order, normals: Normals) -> Any:
    """Which regime of ``exec_env.optimum.regimes.chain`` each slice is in. Shape: (n_paths, n_steps), integers."""
    regime, begun = np.zeros(normals.liquidity.shape, int), _begun(market, normals)
    if market.random_onset:
        regime += np.asarray(begun, int)
    if market.regime_rate > 0:
        regime = 2 * regime + np.asarray(_poor(market, order.slice_length, normals.regime), int)
    return regime


def _multipliers(market: Market, dt: float, normals: Normals, begun: Any) -> Factors | None:
    """What stress and regime multiply slices by; None without either, which costs nothing."""
    by = None if begun is None else market.own_stress.factors(begun)
    if normals.regime is None or market.regime_rate == 0:
        return by
    poor = _poor(market, dt, normals.regime)
    liquidity, volatility = market.regime_liquidity**poor, market.regime_volatility**poor
    if by is None:
        return Factors(liquidity, volatility, 1.0)
    return Factors(by.liquidity * liquidity, by.volatility * volatility, by.impact)


def _poor(market: Market, dt: float, z: Any) -> Any:
    """Whether the market is in the poor regime, 1 or 0, from its stationary law. Shape: (n_paths, n_steps)."""
    first, there, back = market.regime_probabilities(dt)
    # Clipped, because never times zero would be no number.
    stay, switch = np.clip(ndtri([1 - back, there]), -40.0, 40.0).tolist()
    state = 0.0 * z[:, 0] + (z[:, 0] < float(ndtri(first)))
    states = [state]
    for t in range(1, z.shape[1]):
        state = 0.0 * state + (z[:, t] < switch + (stay - switch) * state)
        states.append(state)
    return namespace(state).stack(states, -1)


def _liquidity(market: Market, dt: float, normals: Normals, begun: Any) -> Any:
    """Log liquidity, from its stationary law, multipliers left out. Shape: (n_paths, n_steps)."""
    market = market.flat
    shocked = normals.shock is not None and market.has_shocks
    gated = market.own_stress.shock_rate > 0  # the shocks are the stress, and begin with it
    state = market.liquidity_volatility * normals.liquidity[:, 0]
    states = [state]
    for t in range(1, normals.liquidity.shape[1]):
        jump = market.jump_at(normals.shock[:, t], dt) if shocked else 0.0
        if shocked and gated:
            jump = jump * begun[..., t]
        state = market.next_liquidity(state, normals.liquidity[:, t], jump, dt)
        states.append(state)
    return namespace(state).stack(states, -1)


def _signal(market: Market, dt: float, normals: Normals) -> Any:
    """Expected drift α: a decaying mean plus an Ornstein-Uhlenbeck deviation. [1/day]"""
    known = not hasattr(market.signal, "detach")  # a number: of a tensor at zero the gradient is wanted
    if known and market.signal == 0 and normals.signal is None:
        return 0.0
    n_steps = normals.liquidity.shape[1]
    mean = market.signal * as_like(np.exp(-market.signal_reversion * dt * np.arange(n_steps)), normals.liquidity)
    if normals.signal is None:
        return mean
    state = market.signal_volatility * normals.signal[:, 0]
    states = [state + mean[0]]
    for t in range(1, n_steps):
        state = market.next_signal(state, normals.signal[:, t], dt)
        states.append(state + mean[t])
    return namespace(state).stack(states, -1)
