"""What of the market is seen before a slice is traded in: all of it, or what a desk sees where liquidity is hidden.

``full``: log liquidity, spread and volume of the slice. ``hidden``: its spread, and the volume of the slice before;
liquidity only shows in these, so that an agent needs a memory. ``filtered``: the same, and the mean of log liquidity
given all that was seen so far (``exec_env.market.liquidity_filter``), so that it needs none. The cap on trades is a
share of the volume that is seen. What fills concede, and rewards, are no entries: they are known afterwards.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np

from exec_env.base.errors import InputError
from exec_env.base.validation import shown
from exec_env.market.liquidity_filter import LiquidityFilter, refuse_shown
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.market.paths import Paths, Source
from exec_env.one_asset.observation import Observation

Information = Literal["full", "hidden", "filtered"]


def names(information: Information) -> tuple[str, ...]:
    """Entries of the observation, in the places of ``Observation``.

    >>> names("hidden")[2:5]
    ('nothing', 'relative_spread', 'last_volume')
    """
    if information == "full":
        return Observation._fields
    liquidity = "filtered_liquidity" if information == "filtered" else "nothing"
    instead = {"log_liquidity": liquidity, "relative_volume": "last_volume"}
    return tuple(instead.get(name, name) for name in Observation._fields)


def check(information: Any, market: Market) -> Information:
    """The information, where this market can hide liquidity.

    Raises:
        InputError: for one that there is not, and where volatility shows liquidity.
    """
    if not isinstance(information, str) or information not in get_args(Information):
        raise InputError(f"information = {shown(information)}: must be 'full', 'hidden' or 'filtered'")
    if information != "full":
        refuse_shown(market)
    return information  # type: ignore[return-value]


@dataclass(frozen=True)
class HiddenSource(Source):
    """Paths of another source, as they are seen where liquidity is hidden."""

    source: Any
    market: Market
    order: Order
    information: Information

    @cached_property
    def filter(self) -> LiquidityFilter:
        """Of the market's own parameters, whatever each path's are."""
        return LiquidityFilter.of(self.market, self.order)

    def sample(self, rngs: Sequence[np.random.Generator], n_paths: int = 1) -> Paths:
        """Those of the source."""
        return self.seen(self.source.sample(rngs, n_paths))

    def at(self, starts: np.ndarray, rng: np.random.Generator) -> Paths:
        """Those of a tape, from these rows on."""
        return self.seen(self.source.at(starts, rng))

    def seen(self, paths: Paths) -> Paths:
        """Paths of arrays or tensors without what is hidden."""
        return replace(paths, slices=self.filter.hidden(paths.slices, self.information == "filtered"))
