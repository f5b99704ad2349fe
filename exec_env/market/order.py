"""The order: what is to be sold or bought, by when, under which constraints."""

from dataclasses import dataclass
from typing import Annotated, Literal

from exec_env.base.errors import InputError
from exec_env.base.validation import Bounds, Finite, Fraction, NonNegative, Positive, check_fields, shown
from exec_env.market.clock import nights
from exec_env.market.multiples import Multiples

_MOST_LOTS = 1e9  # of which a number of shares in double precision still tells one
_ROUNDING = 1e-6  # part of a lot that is rounding
Side = Literal["sell", "buy"]


@dataclass(frozen=True)
class Order:
    """A parent order, to be finished within ``n_steps`` slices of ``slice_length`` days.

    The default is 200 000 shares, 4 % of the average daily volume, over 40 slices of five minutes.

    Raises:
        InputError: naming the field, the value and what is allowed; for slices that go over the end of a session, where
            ``arrival`` or ``sessions`` say when it ends.

    >>> Order(n_steps=20).horizon * 78
    20.0
    """

    shares: Positive = 200_000.0
    """Size of the order, X. [shares]"""
    side: Side = "sell"
    """Direction. A buy is the mirror image of a sell."""
    n_steps: Annotated[int, Bounds(low=2, high=1_000_000)] = 40
    """Number of slices, N; one decision each."""
    slice_length: Positive = 1 / 78
    """Length of a slice, Δ: 1/78 of a trading day is five minutes. [day]"""
    risk_aversion: Finite = 1e-6
    """Price λ of a unit of variance; below zero for who seeks risk, as long as that leaves an optimum. [1/$]"""
    max_participation: Fraction | None = 0.30
    """Cap on the share of a slice's volume that we may trade; None lifts it."""
    terminal_penalty: Annotated[float, Bounds(low=1.0)] = 5.0
    """What is left after the last slice is sold at once, on top of the last trade; and pays its own temporary impact
    this many times, less once: with 1, nothing beyond a larger last trade."""

    lot_size: NonNegative = 0.0
    """Shares are traded in multiples of this, 100 of a stock or 0.001 of a coin; 0: any number. What is asked for is
    rounded down, and what that leaves is asked for with the next slice. [shares]"""

    arrival: NonNegative | None = None
    """When in its first session the order arrives, in trading time since the opening: 0.5 is half a session later.
    None: slices know no clock, but that a horizon of several sessions begins with one. [day]"""
    sessions: tuple[Positive, ...] = ()
    """Lengths of the sessions from the first on: 0.5 is a half day; those after them, by default all, are whole. Where
    problems are made, a text as "XNYS 2026-11-25" stands for those of an exchange's calendar from that day on. [day]"""

    def __post_init__(self) -> None:
        check_fields(self)
        self._check_clock()
        if not isinstance(self.lot_size, float) or self.lot_size != 0:
            self._make_whole()

    def _check_clock(self) -> None:
        first = self.sessions[0] if self.sessions else 1.0
        if self.arrival is not None and self.arrival >= first:
            raise InputError(
                f"Order.arrival = {self.arrival!r}: must be below {first:g} day, the length of its session"
            )
        if self.arrival is not None or self.sessions:
            nights(self)  # refuses slices that go over the end of a session

    def _make_whole(self) -> None:
        if not isinstance(self.lot_size, float):
            raise InputError(f"Order.lot_size = {shown(self.lot_size)}: must be a number, which has no gradient")
        shares = float(self.shares.detach() if hasattr(self.shares, "detach") else self.shares)
        lots = Multiples.of(self.lot_size)
        if shares > _MOST_LOTS * self.lot_size:
            raise InputError(f"Order.lot_size = {self.lot_size!r}: must be at least {shares / _MOST_LOTS:g}, or 0")
        whole = lots.nearest(shares)
        if whole == 0 or abs(whole - shares) > _ROUNDING * self.lot_size:
            near = dict.fromkeys(repr(n) for n in (lots.down(shares), lots.up(shares)) if n > 0)
            raise InputError(
                f"Order.shares = {shown(self.shares)}: must be a multiple of lot_size = {self.lot_size:g}, such as "
                f"{' or '.join(near)}"
            )
        if isinstance(self.shares, float):
            object.__setattr__(self, "shares", whole)

    @property
    def lots(self) -> Multiples | None:
        """What whole lots are made with; None where any number of shares is traded."""
        return Multiples.of(self.lot_size) if self.lot_size != 0 else None

    @property
    def horizon(self) -> float:
        """Time allowed, T = N Δ. [day]"""
        return self.n_steps * self.slice_length

    @property
    def sign(self) -> float:
        """+1 for a sell, −1 for a buy: turns the order's frame into market prices."""
        return 1.0 if self.side == "sell" else -1.0
