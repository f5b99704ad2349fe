"""What a rule of the optimum goes by in a slice."""

import math
from typing import Any, NamedTuple


class Seen(NamedTuple):
    """State of an execution as a rule sees it before it trades: numbers, arrays or tensors of one shape, in dollars.

    ``exec_env.one_asset.observation`` has the same in an agent's units.
    """

    step: int
    """Slice, from 0."""
    remaining: Any
    """Inventory x. [shares]"""
    transient: Any
    """Transient push I of the order's own trades. [$]"""
    signal: Any
    """Signal α. [1/day]"""
    half_spread: Any
    """Half spread of this slice. [$]"""
    liquidity: Any
    """Log liquidity ℓ of this slice, multipliers of stress and regime included."""
    regime: int = 0
    """Which of ``Solution.regimes`` the slice is in."""
    most: Any = math.inf
    """Cap on the trade of this slice. [shares]"""
