"""Rewards: minus the cost of a slice, in basis points of the arrival notional."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from exec_env.base.errors import InputError
from exec_env.base.validation import NonNegative, check_fields, shown

Kind = Literal["expected", "shortfall"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Reward:
    """What a slice pays.

    ``expected`` leaves out the martingale part of the price, which has mean zero and which no policy can move: the
    same optimum with far less noise. ``shortfall`` includes it. Undiscounted and without shaping, the rewards of an
    episode add up to minus its objective (``expected``), or minus its shortfall and risk (``shortfall``).

    A function in the place of ``kind`` is a reward of one's own: from a fill, whose costs are in $, to what the slice
    pays, in $ too; it is turned into basis points like the others. It takes floats in a single environment and arrays
    in a vector one.

    Raises:
        InputError: naming the field, the value and what is allowed.
    """

    kind: Kind | Callable[[Any], Any] = "expected"
    """Whether the martingale part of the price is left out or in; or a function of the fill."""
    violation_penalty: NonNegative = 0.0
    """Shaping: price of asking for more than the cap allows. [bps per order size asked in excess]"""
    smoothness_penalty: NonNegative = 0.0
    """Shaping: price of changing participation. [bps per squared change of participation]"""

    def __post_init__(self) -> None:
        if not callable(self.kind) and self.kind not in KINDS:
            known = " or ".join(map(repr, KINDS))
            raise InputError(f"reward = {self.kind!r}: must be {known}, or a function of the fill")
        check_fields(self)

    def __call__(self, fill: Any, before: Any, after: Any, size: float, to_bps: Any) -> Any:
        """Reward of one slice; floats, arrays or tensors. [bps]

        Args:
            fill: of the slice.
            before: the state before it.
            after: the state after it.
            size: what the order has. [shares]
            to_bps: turns $ into basis points of the arrival notional.
        """
        if self.kind == "expected":
            reward = -to_bps * fill.objective
        elif self.kind == "shortfall":
            reward = -to_bps * (fill.objective + fill.price - fill.drift)
        else:
            reward = to_bps * self._own(fill)
        if self.violation_penalty:
            reward = reward - self.violation_penalty * fill.excess / size
        if self.smoothness_penalty:
            reward = reward - self.smoothness_penalty * (after.participation - before.participation) ** 2
        return reward

    def _own(self, fill: Any) -> Any:
        """What the user's function says, if it is a number."""
        pays = self.kind(fill)  # type: ignore[operator]
        if pays is None or not np.isfinite(pays).all():
            name = getattr(self.kind, "__qualname__", self.kind)
            raise InputError(f"reward = {name}: returned {shown(pays)}: must be finite, in $")
        return pays
