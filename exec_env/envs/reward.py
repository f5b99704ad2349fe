"""Rewards: minus the cost of a slice, in basis points of the arrival notional."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

from exec_env.base.errors import InputError
from exec_env.base.validation import NonNegative, check_fields
from exec_env.market.execution import Fill, State

Kind = Literal["expected", "shortfall"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Reward:
    """What a slice pays.

    ``expected`` leaves out the martingale part of the price, which has mean zero and which no policy can move: the
    same optimum with far less noise. ``shortfall`` includes it. Undiscounted and without shaping, the rewards of an
    episode add up to minus its objective (``expected``), or minus its shortfall and risk (``shortfall``).

    Raises:
        InputError: naming the field, the value and what is allowed.
    """

    kind: Kind = "expected"
    """Whether the martingale part of the price is left out or in."""
    violation_penalty: NonNegative = 0.0
    """Shaping: price of asking for more than the cap allows. [bps per order size asked in excess]"""
    smoothness_penalty: NonNegative = 0.0
    """Shaping: price of changing participation. [bps per squared change of participation]"""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"reward = {self.kind!r}: must be {' or '.join(map(repr, KINDS))}")
        check_fields(self)

    def __call__(self, fill: Fill, before: State, after: State, shares: float, to_bps: Any) -> Any:
        """Reward of one slice; floats, arrays or tensors. [bps]"""
        cost = fill.objective if self.kind == "expected" else fill.objective + fill.price - fill.drift
        reward = -to_bps * cost
        if self.violation_penalty:
            reward = reward - self.violation_penalty * fill.excess / shares
        if self.smoothness_penalty:
            reward = reward - self.smoothness_penalty * (after.participation - before.participation) ** 2
        return reward
