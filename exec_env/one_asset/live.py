"""Live execution: any agent or schedule drives an order slice by slice from snapshots of a market."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np

from exec_env.base.errors import InputError
from exec_env.base.validation import from_mapping, is_finite, require, shown, unknown
from exec_env.data.features import normalised
from exec_env.envs.features import Sight
from exec_env.envs.rollout import acting
from exec_env.market.clock import known_nights, of_each
from exec_env.market.execution import Slice, State
from exec_env.market.market import BPS, Market
from exec_env.market.order import Order
from exec_env.one_asset.core import OrderInMarket

_LIQUIDITY = 10  # beyond it nothing is seen, see ``Observation``
_OF_A_FILL = ("fill", "price", "side", "time")


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


class LiveExecutor:
    """Asks an agent for one child order per slice, and keeps the state.

    It decides as the environment does on the same snapshots and fills. It never asks for more than is left or the cap
    allows; in the last slice it asks for all that is left within the cap, and ``report`` says what still is.

    Args:
        agent: anything with ``action_mode`` and ``act``.
        order: the parent order.
        market: gives the units of observations and the decay of our own push; its arrival price is replaced by the
            first mid, which prices are relative to, so that impact follows it.
        hours_per_day: length of a trading day, which turns slice length into seconds. [hour]
        max_age: a snapshot later than this many slices after the last one is refused as stale.
        problem: with features of the observation, where the agent acts on some. Snapshots have those of its tape.

    Example:
        >>> from datetime import datetime, timedelta
        >>> from exec_env.baselines.twap import TWAP
        >>> order = Order(shares=1000.0, n_steps=2)
        >>> live, start = LiveExecutor(TWAP(Market(), order), order), datetime(2026, 1, 5, 9, 30)
        >>> live(Snapshot(start, mid=100.0, spread=0.05, volume=60_000.0))
        500.0
        >>> live.fill(shares=400.0, price=99.97)
        >>> live(Snapshot(start + timedelta(minutes=5), mid=99.9, spread=0.05, volume=60_000.0))
        600.0
    """

    def __init__(
        self,
        agent: Any,
        order: Order,
        market: Market | None = None,
        hours_per_day: float = 6.5,
        max_age: float = 1.5,
        problem: OrderInMarket | None = None,
    ) -> None:
        if not (hasattr(agent, "action_mode") and callable(getattr(agent, "act", None))):
            raise InputError(f"{agent!r} is no agent: it needs action_mode and act(observations)")
        if not isinstance(order, Order):
            raise InputError(f"{order!r} is no Order")
        require(0.0, open_low=True, hours_per_day=hours_per_day, max_age=max_age)
        self.agent, self.order, self.market = agent, order, market or Market()
        self.slice_seconds, self.max_age = order.slice_length * hours_per_day * 3600, max_age
        self.remaining = order.shares
        self.paid = 0.0  # cash received for a sell, spent for a buy [$]
        self.arrival_price: float | None = None
        self._problem = problem or OrderInMarket(self.market, order)
        self._sight, self._actions = Sight(self._problem), self._problem.actions(agent.action_mode)
        self._act = acting(agent, 1, self._problem)
        self._step, self._transient, self._participation = 0, 0.0, 0.0
        spans = (of_each(span, order.n_steps) for span in self.market.spans(order))
        self._spans, self._nights = list(zip(*spans, strict=True)), known_nights(order)
        self._last: Snapshot | None = None
        self._asked: float | None = None

    @property
    def done(self) -> bool:
        """Whether all is traded, or time is up."""
        return self.remaining <= 0 or (self._step >= self.order.n_steps and self._asked is None)

    def __call__(self, snapshot: Snapshot) -> float:
        """Shares of this slice's child order. [shares]

        Raises:
            InputError: when the last child order has had no fill reported, when the order is over, or when the
                snapshot is out of order or stale. Nothing is changed then.
        """
        if self._asked is not None:
            raise InputError("the last child order has no fill yet: call fill(), with shares=0 if there was none")
        if self.done:
            raise InputError(f"the order is over, {self.remaining:g} shares left")
        if self._last is not None:
            self._check_time(snapshot, self._last)
        arrival_price = self.arrival_price or snapshot.mid
        with np.errstate(all="ignore"):  # what is no number is refused
            asked = self._ask(snapshot, arrival_price)
        self.arrival_price, self._last, self._asked = arrival_price, snapshot, asked
        self._step += 1
        return asked

    def answer(self, message: dict[str, Any], assume_filled: bool = False) -> dict[str, Any]:
        """The child order for a snapshot in plain values: time (ISO 8601), side, shares, and what was left before.

        Args:
            message: time, mid, spread and volume, as of ``Snapshot``, and what else it has.
            assume_filled: whether the order is taken as filled at once, at the touch.

        Raises:
            InputError: for a message that is no snapshot, and as for a call.
        """
        for name in ("time", "mid", "spread", "volume"):
            if name not in message:
                raise InputError(f"snapshot: {name} is missing")
        try:
            time = datetime.fromisoformat(message["time"])
        except (TypeError, ValueError, OverflowError):
            raise InputError(f"snapshot: time = {shown(message['time'])}: must be an ISO 8601 date and time") from None
        snapshot, left = from_mapping(Snapshot, message | {"time": time}, "snapshot"), self.remaining
        shares = self(snapshot)
        if assume_filled:
            self.fill(shares, snapshot.mid - self.order.sign * snapshot.spread / 2)
        return {"time": snapshot.time.isoformat(), "side": self.order.side, "shares": shares, "left": left}

    def filled(self, message: dict[str, Any]) -> None:
        """``fill`` in plain values.

        Args:
            message: fill, the shares; price, which may be missing where there are none; side, if the venue tells it;
                and what else it has that is known, its time.

        Raises:
            InputError: for a field that is unknown, another side than the order's, and as ``fill``.
        """
        for name in message:
            if name not in _OF_A_FILL:
                raise InputError(f"fill: {unknown('field', name, _OF_A_FILL)}")
        if (side := message.get("side", self.order.side)) != self.order.side:
            raise InputError(f"fill: side = {shown(side)}: the order's is {self.order.side!r}")
        shares: Any = message.get("fill")
        price: Any = message.get("price", 0.0 if is_finite(shares) and shares == 0 else None)
        self.fill(shares, price)

    def fill(self, shares: float, price: float) -> None:
        """Report what the last child order came to.

        Args:
            shares: traded; between 0 and what was asked for.
            price: average price; any finite number when nothing was traded. [$]

        Raises:
            InputError: when nothing was asked for, or the numbers cannot be. Nothing is changed then.
        """
        if self._asked is None or self._last is None:
            raise InputError("there is no child order to fill: call the executor with a snapshot first")
        for name, value in (("shares", shares), ("price", price)):
            if not is_finite(value) or value < 0:
                raise InputError(f"fill: {name} = {shown(value)}: must be a finite number >= 0")
        if shares > self._asked * (1 + 1e-9):
            raise InputError(f"fill: shares = {shares!r}: only {self._asked!r} were asked for")
        shares, price = float(shares), float(price)
        money = self.paid + shares * price
        if shares > 0 and not (price > 0 and is_finite(money) and is_finite(price / (self.arrival_price or price))):
            raise InputError(f"fill: price = {price!r}: must be > 0, and what shares can cost")
        self.remaining = max(self.remaining - shares, 0.0)
        self.paid = money
        _, by_clock = self._spans[self._step - 1]
        pushed = self._transient + self.market.transient_impact * shares
        self._transient = float(self.market.decay_at(0.0, by_clock)) * pushed
        self._participation = shares / (self._last.volume + 1e-30)
        self._asked = None

    def report(self) -> dict[str, Any]:
        """Where the order stands: shares traded and left, average price, shortfall [bps of the traded notional].

        Where a child order has had no fill reported, also ``asked``, its shares.
        """
        traded = self.order.shares - self.remaining
        average = self.paid / traded if traded > 0 else None
        shortfall = None
        if average is not None and self.arrival_price is not None:
            shortfall = self.order.sign * (1 - average / self.arrival_price) / BPS
        return {
            "done": self.done,
            "traded": traded,
            "left": self.remaining,
            "average_price": average,
            "shortfall_bps": shortfall,
        } | ({} if self._asked is None else {"asked": self._asked})

    def _check_time(self, snapshot: Snapshot, last: Snapshot) -> None:
        try:
            elapsed = (snapshot.time - last.time).total_seconds()
        except TypeError:
            raise InputError("snapshot: time: all times must have a time zone, or none") from None
        if elapsed <= 0:
            raise InputError(f"snapshot: time = {snapshot.time}: not after the last one, {last.time}")
        if elapsed < self.slice_seconds / 2:
            raise InputError(
                f"snapshot: time = {snapshot.time}: only {elapsed:g} s after the last one, "
                f"where a slice takes {self.slice_seconds:g} s"
            )
        # A night, a weekend or a holiday is of any length.
        if elapsed > self.max_age * self.slice_seconds and not self._nights[self._step - 1]:
            raise InputError(
                f"snapshot: time = {snapshot.time}: stale, {elapsed:g} s after the last one "
                f"where a slice takes {self.slice_seconds:g} s"
            )

    def _features(self, given: Mapping[str, float]) -> tuple[float, ...]:
        """What is seen of features, in the units of the problem's tape."""
        units = self._problem.tape.units if self._problem.tape is not None else {}
        for name in given:
            if name not in units:
                raise InputError(f"snapshot: features: {unknown('feature', name, units)}")
        for name in units:
            if name not in given:
                raise InputError(f"snapshot: features: {name} is missing")
        return tuple(normalised(float(given[name]), of) for name, of in units.items())

    def _ask(self, snapshot: Snapshot, arrival_price: float) -> float:
        order, market, left = self.order, self.market, self.order.n_steps - self._step
        liquidity, volatility, _ = (float(f[self._step]) for f in market.stress_factors(order.n_steps))
        features = self._features(snapshot.features)
        # Agents know prices relative to arrival.
        dt, scale = order.slice_length, market.arrival_price / arrival_price
        own = snapshot.log_liquidity - math.log(liquidity)  # a stress of liquidity leaves volatility alone
        now = Slice(
            log_liquidity=snapshot.log_liquidity,
            half_spread=snapshot.spread / 2 * scale,
            volume=snapshot.volume,
            variance=float(market.variance_at(own, self._spans[self._step][0])) * volatility**2,
            drift=market.arrival_price * dt * snapshot.signal,
            temporary=0.0,
            permanent=0.0,
            decay=0.0,
            price_shock=0.0,
            slippage=0.0,
            features=features,
        )
        move = order.sign * (snapshot.mid - arrival_price) * scale
        state = State(self.remaining, self._transient, move, self._participation)
        observation = self._sight.stack(state, self._problem.seen(now), left, 1)
        for name, entry in zip(self._sight.names, observation[0].tolist(), strict=True):
            if not math.isfinite(entry):
                raise InputError(f"snapshot: makes {name} of the observation {entry:g}, which no market does")
        value = float(self._actions.many(self._act(observation), 1)[0])
        cap = math.inf if order.max_participation is None else order.max_participation * snapshot.volume
        asked = self.remaining if left == 1 else self._actions.ask(value, state, now, left)
        return float(max(0.0, min(asked, self.remaining, cap)))
