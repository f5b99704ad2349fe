"""A market at the start of a slice, as whoever drives an order live tells it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from exec_env.base.errors import InputError
from exec_env.base.validation import from_mapping, is_finite, shown

_LIQUIDITY = 10  # beyond it nothing is seen, see ``Observation``


@dataclass(frozen=True)
class Snapshot:
    """A market at the start of a slice.

    Raises:
        InputError: naming the field and what is allowed, for anything but finite numbers and a time.
    """

    time: datetime
    mid: float
    """[$]"""
    spread: float
    """Best ask minus best bid. [$]"""
    volume: float
    """Market volume expected in the slice. [shares]"""
    log_liquidity: float = 0.0
    """Log of depth over its mean, if known."""
    signal: float = 0.0
    """Expected drift α in the order's favour, if known. [1/day]"""
    features: Mapping[str, float] = field(default_factory=dict)
    """Those of the tape that the agent was trained on, by name, as its file has them: not normalised."""

    def __post_init__(self) -> None:
        if not isinstance(self.time, datetime):
            raise InputError(f"time = {self.time!r}: must be a date and time")
        for name in ("mid", "spread", "volume", "log_liquidity", "signal"):
            value = getattr(self, name)
            if not is_finite(value):
                raise InputError(f"{name} = {shown(value)}: must be a finite number")
            object.__setattr__(self, name, float(value))
        if not isinstance(self.features, Mapping):
            raise InputError(f"features = {shown(self.features)}: must be numbers by name")
        for name, value in self.features.items():
            if not is_finite(value):
                raise InputError(f"features: {name} = {shown(value)}: must be a finite number")
        if not -_LIQUIDITY <= self.log_liquidity <= _LIQUIDITY:
            raise InputError(f"log_liquidity = {self.log_liquidity!r}: must be in [-{_LIQUIDITY}, {_LIQUIDITY}]")
        if self.mid <= 0 or self.spread < 0 or self.volume < 0:
            raise InputError(
                f"mid = {self.mid!r}, spread = {self.spread!r}, volume = {self.volume!r}: must be > 0, >= 0 and >= 0"
            )
        if self.spread >= 2 * self.mid:
            raise InputError(f"spread = {self.spread!r}: must be below twice the mid, {self.mid!r}: a bid is > 0")

    @classmethod
    def of(cls, message: Mapping[str, Any]) -> "Snapshot":
        """From plain values, the time as text (ISO 8601).

        Raises:
            InputError: for a message that is no snapshot.
        """
        for name in ("time", "mid", "spread", "volume"):
            if name not in message:
                raise InputError(f"snapshot: {name} is missing")
        try:
            time = datetime.fromisoformat(message["time"])
        except (TypeError, ValueError, OverflowError):
            raise InputError(f"snapshot: time = {shown(message['time'])}: must be an ISO 8601 date and time") from None
        snapshot: Snapshot = from_mapping(cls, {**message, "time": time}, "snapshot")
        return snapshot

    def plain(self) -> dict[str, Any]:
        """In plain values, as ``of`` takes them."""
        return {**vars(self), "time": self.time.isoformat(), "features": dict(self.features)}
