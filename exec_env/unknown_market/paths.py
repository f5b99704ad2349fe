"""Paths of the unknown market: impact that is drawn once for each path, and orders one after the other in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from exec_env.market.market import Market, lognormal
from exec_env.market.order import Order
from exec_env.market.paths import Normals, Paths, shape
from exec_env.one_asset.randomise import Markets

DRAWN = ("temporary_impact", "permanent_impact", "transient_impact")
"""Fields of Market that are drawn for each path: η, γ, κ."""


class UnknownSlice(NamedTuple):
    """A slice of a path: all of ``Slice`` but book and features, and the impact of the path. None of it is seen."""

    log_liquidity: Any
    half_spread: Any
    volume: Any
    variance: Any
    drift: Any
    temporary: Any
    permanent: Any
    decay: Any
    price_shock: Any
    slippage: Any
    exponent: Any
    slope: Any  # [$/share per share] η/Δ of the path: ``temporary`` without the noise of the slice
    transient: Any  # [$/share per share] κ of the path


N_SHARED = UnknownSlice._fields.index("slope")
"""Entries that ``Slice`` has too, in its order."""


@dataclass(frozen=True)
class UnknownSimulator:
    """Draws paths: from each generator, path by path, first its impact and then its orders.

    Where nothing is drawn of the impact (``spread`` = 0), order k of path e is made of the same random numbers as path
    e M + k of one order (``exec_env.market.paths.Simulator``), with M orders in a path.
    """

    market: Market
    """What the means are of."""
    order: Order
    """Each of the orders."""
    orders: int
    """M: how many there are in a path."""
    spread: float
    """Log standard deviation of η, γ and κ, which are drawn apart from each other."""

    def sample(self, rngs: Sequence[np.random.Generator], n_paths: int = 1) -> Paths:
        """``n_paths`` paths from each generator, those of the first one first."""
        names, n_steps = Normals.used(self.market), self.order.n_steps
        n_drawn = len(DRAWN) if self.spread > 0 else 0
        block = np.empty((len(rngs), n_paths, n_drawn + self.orders * len(names) * n_steps))
        for rng, out in zip(rngs, block, strict=True):
            rng.standard_normal(out=out)
        z = block.reshape(-1, block.shape[-1])
        factors = z[:, n_drawn:].reshape(-1, len(names), n_steps)
        normals = Normals(**{name: factors[:, i] for i, name in enumerate(names)})
        return self.shaped(z[:, :n_drawn], normals)

    def shaped(self, z: Any, normals: Normals) -> Paths:
        """The paths that the given normals make; arrays or tensors.

        Args:
            z: of the impact. Shape: (n_paths, 3), or (n_paths, 0) where none is drawn.
            normals: order by order. Shape of each: (n_paths · orders, n_steps of an order).
        """
        own = {name: getattr(self.market, name) for name in DRAWN}
        for i, name in enumerate(DRAWN if z.shape[1] else ()):
            own[name] = own[name] * lognormal(0.0, 0.0, 0.0, self.spread, z[:, i : i + 1])
        each = {name: _repeated(value, self.orders) for name, value in own.items()}
        slices = shape(Markets.of(self.market, **each), self.order, normals)
        slope = Markets.of(self.market, **own).slope(self.order.slice_length)
        size, alone = (len(z), self.orders * self.order.n_steps), normals.liquidity.shape
        columns = [_whole(_whole(column, alone, z), size, z) for column in slices[:N_SHARED]]
        columns += [_whole(column, size, z) for column in (slope, own["transient_impact"])]
        return Paths(UnknownSlice(*columns), 0.0 * z.sum(1) + self.market.arrival_price)


def _repeated(value: Any, times: int) -> Any:
    """One row for each order of a path, of one for each path; a number as it is."""
    if not getattr(value, "ndim", 0):
        return value
    return _whole(value, (len(value), times), value).reshape(-1, 1)


def _whole(column: Any, size: tuple[int, int], like: Any) -> Any:
    """A column of all slices of all paths, side by side as they come; a number is one all over, beside tensors itself.

    Args:
        column: a number, one for each path, or one for each slice.
        size: paths, and slices of each.
        like: a tensor, where there are tensors.
    """
    if hasattr(like, "new_tensor"):
        if not getattr(column, "ndim", 0):
            return column
        return column.reshape(size) if column.numel() == size[0] * size[1] else column.expand(size)
    column = np.asarray(column)
    return column.reshape(size) if column.size == size[0] * size[1] else np.broadcast_to(column, size)
