"""Tapes: the exogenous market, drawn or recorded before anybody trades."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from exec_env.arrays import namespace
from exec_env.execution import Slice
from exec_env.market import BPS, Market
from exec_env.order import Order


class Normals(NamedTuple):
    """Independent standard normals behind a simulated tape. Shape of each: (n_paths, n_steps)."""

    liquidity: Any
    spread: Any
    volume: Any
    impact: Any
    decay: Any
    price: Any
    slippage: Any = None
    shock: Any = None
    signal: Any = None

    @staticmethod
    def used(market: Market) -> list[str]:
        """Names of the factors that ``market`` draws; the first six always, so that seeds are comparable."""
        optional = {
            "slippage": market.slippage_noise > 0,
            "shock": market.shock_rate > 0 and market.shock_size > 0,
            "signal": market.signal_volatility > 0,
        }
        return [name for name in Normals._fields if optional.get(name, True)]


@dataclass(frozen=True)
class Tape:
    """Market paths. Every column of ``slices`` has shape (n_paths, n_steps).

    Prices are in the order's frame, so a tape belongs to a side: the same seed gives a buyer the mirror image of
    a seller's prices, and the same costs path by path.
    """

    slices: Slice
    arrival_price: np.ndarray
    """Mid price when each path begins. Shape: (n_paths,). [$]"""

    @property
    def n_paths(self) -> int:
        """Number of paths."""
        return self.slices.volume.shape[0]

    @property
    def n_steps(self) -> int:
        """Number of slices in a path."""
        return self.slices.volume.shape[1]

    def by_slice(self) -> "Tape":
        """The same tape with a slice of all paths side by side in memory: twice the speed, slice by slice."""
        return Tape(Slice(*map(np.asfortranarray, self.slices)), self.arrival_price)

    def at(self, step: int) -> Slice:
        """One slice of every path; columns of shape (n_paths,), or numbers where they are the same all over."""
        return Slice(*(column[:, step] if getattr(column, "ndim", 0) == 2 else column for column in self.slices))

    def path(self, index: int) -> list[Slice]:
        """One path as a list of slices of plain floats, which step ten times faster than NumPy scalars."""
        return list(map(Slice._make, zip(*(column[index].tolist() for column in self.slices), strict=True)))

    @classmethod
    def simulate(cls, market: Market, order: Order, n_paths: int, seed: int | np.random.Generator) -> "Tape":
        """Draw ``n_paths`` paths: those that an environment seeded with ``seed`` plays, one after the other.

        >>> tape = Tape.simulate(Market(), Order(n_steps=3), n_paths=2, seed=0)
        >>> tape.slices.volume.round().astype(int).tolist()
        [[81624, 70395, 50360], [85927, 85925, 61731]]
        """
        return Simulator(market, order).sample([np.random.default_rng(seed)], n_paths)

    @classmethod
    def shaped(cls, market: Market, order: Order, normals: Normals) -> "Tape":
        """The paths that the given normals make."""
        size = normals.liquidity.shape
        slices = Slice(*(np.broadcast_to(column, size) for column in shape(market, order, normals)))
        return cls(slices, np.full(size[0], market.arrival_price))


class Source(Protocol):
    """Where an environment's paths come from."""

    def sample(self, rngs: Sequence[np.random.Generator], n_paths: int = 1) -> Tape:
        """``n_paths`` paths from each generator, those of the first one first."""


@dataclass(frozen=True)
class Simulator:
    """Paths drawn from a market's equations."""

    market: Market
    order: Order

    def sample(self, rngs: Sequence[np.random.Generator], n_paths: int = 1) -> Tape:
        """Path by path from each generator, so that path e never depends on how many are drawn at once."""
        names = Normals.used(self.market)
        block = np.empty((len(rngs), n_paths, len(names), self.order.n_steps))
        for rng, out in zip(rngs, block, strict=True):
            rng.standard_normal(out=out)
        z = block.reshape(-1, *block.shape[2:])
        normals = Normals(**{name: z[:, i] for i, name in enumerate(names)})
        return Tape.shaped(self.market, self.order, normals)


def shape(market: Market, order: Order, normals: Normals) -> Slice:
    """Shape standard normals into slices, by the equations of ``Market``.

    Works on NumPy arrays and torch tensors of shape (n_paths, n_steps); constants stay plain numbers.

    Raises:
        ValueError: when ``shock_rate`` Δ is not a probability.
    """
    dt = order.slice_length
    liquidity = _liquidity(market, dt, normals)
    # Where nothing is stressed these stay numbers, which cost nothing.
    volatility, impact = 1.0, 1.0
    if market.stress != "none":
        stress = [_like(f, liquidity) for f in market.stress_factors(order.n_steps)]
        liquidity = liquidity + namespace(liquidity).log(stress[0])
        volatility, impact = stress[1], stress[2]
    profile = 1.0 if market.volume_profile == "flat" else _like(market.profile(order.n_steps), liquidity)
    variance = market.variance_at(liquidity, dt) * volatility**2
    slippage = (
        0.0 if normals.slippage is None else market.slippage_noise * BPS * market.arrival_price * normals.slippage
    )
    return Slice(
        log_liquidity=liquidity,
        half_spread=market.half_spread_at(liquidity, normals.spread),
        volume=market.volume_at(liquidity, normals.volume, dt, profile),
        variance=variance,
        drift=market.arrival_price * dt * _signal(market, dt, normals),
        temporary=market.temporary_at(liquidity, normals.impact, dt) * impact,
        permanent=market.permanent_impact * impact,
        decay=market.decay_at(normals.decay, dt),
        price_shock=variance**0.5 * normals.price,
        slippage=slippage,
    )


def _like(array: np.ndarray, like: Any) -> Any:
    """``array``, as a tensor where ``like`` is one."""
    return array if isinstance(like, np.ndarray) else like.new_tensor(array)


def _liquidity(market: Market, dt: float, normals: Normals) -> Any:
    """Log liquidity, from its stationary law. Shape: (n_paths, n_steps)."""
    state = market.liquidity_volatility * normals.liquidity[:, 0]
    states = [state]
    for t in range(1, normals.liquidity.shape[1]):
        jump = 0.0 if normals.shock is None else market.jump_at(normals.shock[:, t], dt)
        state = market.next_liquidity(state, normals.liquidity[:, t], jump, dt)
        states.append(state)
    return namespace(state).stack(states, -1)


def _signal(market: Market, dt: float, normals: Normals) -> Any:
    """Expected drift α: a decaying mean plus an Ornstein-Uhlenbeck deviation. [1/day]"""
    if market.signal == 0 and normals.signal is None:
        return 0.0
    n_steps = normals.liquidity.shape[1]
    mean = market.signal * np.exp(-market.signal_reversion * dt * np.arange(n_steps))
    if normals.signal is None:
        return _like(mean, normals.liquidity)
    state = market.signal_volatility * normals.signal[:, 0]
    states = [state + float(mean[0])]
    for t in range(1, n_steps):
        state = market.next_signal(state, normals.signal[:, t], dt)
        states.append(state + float(mean[t]))
    return namespace(state).stack(states, -1)
