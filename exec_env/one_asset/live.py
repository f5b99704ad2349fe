"""Live execution: any agent or schedule drives an order slice by slice from snapshots of a market."""

import math
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import numpy as np

from exec_env.base.errors import InputError
from exec_env.base.validation import require, shown, unknown
from exec_env.data.features import normalised
from exec_env.envs.features import Sight
from exec_env.envs.rollout import acting
from exec_env.market.clock import known_nights, of_each
from exec_env.market.execution import Slice, State
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.one_asset.child_orders import Child, ChildOrders
from exec_env.one_asset.core import OrderInMarket
from exec_env.one_asset.limit_price import LimitPrice
from exec_env.one_asset.snapshot import Snapshot

__all__ = ["LiveExecutor", "Snapshot"]


class LiveExecutor(ChildOrders):
    """Asks an agent for one child order per slice, and keeps the state.

    It decides as the environment does on the same snapshots and fills. It never asks for more than is left or the cap
    allows, nor for what an earlier child order may still be filled with; where the order is in lots, for whole lots. In
    the last slice it asks for all that is left within the cap, and ``report`` says what still is. What becomes of child
    orders is for ``ChildOrders``.

    Args:
        agent: anything with ``action_mode`` and ``act``.
        order: the parent order.
        market: gives the units of observations and the decay of our own push; its arrival price is replaced by the
            first mid, which prices are relative to, so that impact follows it.
        hours_per_day: length of a trading day, which turns slice length into seconds. [hour]
        max_age: a snapshot later than this many slices after the last one is refused as stale.
        problem: with features of the observation, where the agent acts on some. Snapshots have those of its tape.
        limit_price: rule for a limit price of each child order; without, they are market orders.
        rehearsal: whether snapshots are of the problem's own tape, whose prices impact is known in.

    Example:
        >>> from datetime import datetime
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
        limit_price: LimitPrice | None = None,
        rehearsal: bool = False,
    ) -> None:
        if not (hasattr(agent, "action_mode") and callable(getattr(agent, "act", None))):
            raise InputError(f"{agent!r} is no agent: it needs action_mode and act(observations)")
        if not isinstance(order, Order):
            raise InputError(f"{order!r} is no Order")
        require(0.0, open_low=True, hours_per_day=hours_per_day, max_age=max_age)
        super().__init__(order, market or Market())
        self.agent, self.limit_price = agent, limit_price
        self.slice_seconds, self.max_age = order.slice_length * hours_per_day * 3600, max_age
        self._charged_at = self.market.arrival_price if rehearsal else None
        self._problem, self._rehearsal = problem or OrderInMarket(self.market, order), rehearsal
        self._sight, self._actions = Sight(self._problem), self._problem.actions(agent.action_mode)
        self._act = acting(agent, 1, self._problem)
        spans = (of_each(span, order.n_steps) for span in self.market.spans(order))
        self._spans, self._nights = list(zip(*spans, strict=True)), known_nights(order)
        self._transient = 0.0  # our push at the last snapshot [$]
        # A tape has no noise of its decay: there it is at its mean, else at its median.
        recorded, market = self._problem.tape is not None, self.market
        self._decays = [
            math.exp(-float(market.resilience) * by_clock) if recorded else float(market.decay_at(0.0, by_clock))
            for _, by_clock in self._spans
        ]

    def __call__(self, snapshot: Snapshot) -> float:
        """Shares of this slice's child order. [shares]

        Raises:
            InputError: when nothing has been told of the last child order, when the order is over, or when the
                snapshot is out of order or stale. Nothing is changed then.
        """
        if self.children and self.children[-1].open and not self.children[-1].fills:
            self._refuse_silence()
        if self.done or len(self.children) >= self.order.n_steps:
            raise InputError(f"the order is over, {self.remaining:g} shares left")
        if self.children:
            self._check_time(snapshot, self.children[-1].snapshot)
        return self._take(snapshot)

    def answer(self, message: dict[str, Any], assume_filled: bool = False) -> dict[str, Any]:
        """The child order for a snapshot in plain values.

        Its number, time (ISO 8601) and until when it is to be filled, side, shares, their share of the slice's volume
        (None where there is none), limit price where there is a rule for it, and what was left before.

        Args:
            message: time, mid, spread and volume, as of ``Snapshot``, and what else it has.
            assume_filled: whether the order is taken as filled at once, at the touch.

        Raises:
            InputError: for a message that is no snapshot, and as for a call.
        """
        snapshot = Snapshot.of(message)
        try:
            until = snapshot.time + timedelta(seconds=self.slice_seconds)
        except OverflowError:
            raise InputError(f"snapshot: time = {shown(message['time'])}: must be an ISO 8601 date and time") from None
        limit = None
        if self.limit_price is not None:
            limit = self.limit_price.of(snapshot, self.order.sign, float(self.market.tick_size))
        child = self._known(snapshot)
        if child is not None and assume_filled:
            child.compared = len(child.fills)
        if child is None:
            self(snapshot)
            child = self.children[-1]
            if assume_filled:
                self.fill(child.asked, snapshot.mid - self.order.sign * snapshot.spread / 2)
        number = next(n for n, c in enumerate(self.children, 1) if c is child)
        said = {"child": number, "time": snapshot.time.isoformat(), "until": until.isoformat(), "side": self.order.side}
        said |= {"shares": child.asked, "left": child.left}
        said |= {"participation": child.asked / snapshot.volume if snapshot.volume > 0 else None}
        return said if limit is None else said | {"limit": limit}

    def resume(self, events: list[dict[str, Any]]) -> None:
        """Take up an order where another process left it: what ``events`` were there.

        The agent sees all snapshots again, so that one with a memory has it; what was asked for stands. Whoever tells
        snapshots and fills may begin with any of those that were taken: such a snapshot gets the answer that it had,
        and its fills count once.

        Raises:
            InputError: for what ``events`` did not give.
        """
        for event in events:
            if set(event) == {"snapshot", "asked", "carried", "left"}:
                self._take(Snapshot.of(event["snapshot"]), event)
            elif set(event) == {"child", "shares", "price", "more", "id"}:
                self.fill(**event)
            else:
                raise InputError(f"unknown event {shown(event)}")
        for child in self.children:
            child.recalled, child.compared = True, len(child.fills)

    def _take(self, snapshot: Snapshot, before: Mapping[str, float] | None = None) -> float:
        """A child order for a snapshot: the one it had ``before``, if it had one."""
        arrival_price, push = self.arrival_price or snapshot.mid, (0.0, 0.0)
        if self.children:
            pushed = self._transient + self.market.transient_impact * self._traded
            push = (
                self._decays[len(self.children) - 1] * pushed,
                self._traded / (self.children[-1].snapshot.volume + 1e-30),
            )
        with np.errstate(all="ignore"):  # what is no number is refused
            asked, carried = self._ask(snapshot, arrival_price, *push)
        left = self.remaining
        if before is not None:
            asked, carried, left = (float(before[name]) for name in ("asked", "carried", "left"))
        self.arrival_price, (self._transient, _), self._traded = arrival_price, push, 0.0
        self._told = Child(snapshot, asked, carried, left)
        self.children.append(self._told)
        self.events.append({"snapshot": snapshot.plain(), "asked": asked, "carried": carried, "left": left})
        return asked

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
        if elapsed > self.max_age * self.slice_seconds and not self._nights[len(self.children) - 1]:
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

    def _ask(
        self, snapshot: Snapshot, arrival_price: float, transient: float, participation: float
    ) -> tuple[float, float]:
        """What is asked for, and what of it is carried to the next slice."""
        order, market, step = self.order, self.market, len(self.children)
        left = order.n_steps - step
        liquidity, volatility, _ = (float(f[step]) for f in market.stress_factors(order.n_steps))
        features = self._features(snapshot.features)
        # Agents know prices relative to arrival; those of a tape in the prices of the tape.
        dt, scale = order.slice_length, 1.0 if self._rehearsal else market.arrival_price / arrival_price
        own = snapshot.log_liquidity - math.log(liquidity)  # a stress of liquidity leaves volatility alone
        now = Slice(
            log_liquidity=snapshot.log_liquidity,
            half_spread=snapshot.spread / 2 * scale,
            volume=snapshot.volume,
            variance=float(market.variance_at(own, self._spans[step][0])) * volatility**2,
            drift=market.arrival_price * dt * snapshot.signal,
            temporary=0.0,
            permanent=0.0,
            decay=0.0,
            price_shock=0.0,
            slippage=0.0,
            features=features,
        )
        if self._rehearsal:
            now = now._replace(
                variance=(market.volatility * market.arrival_price) ** 2 * self._spans[step][0] * volatility**2
            )
        move, free = order.sign * (snapshot.mid - arrival_price) * scale, self._whole(self.remaining - self.working)
        state = State(free, transient, move, participation, self.children[-1].carried if self.children else 0.0)
        observation = self._sight.stack(state, self._problem.seen(now), left, 1)
        for name, entry in zip(self._sight.names, observation[0].tolist(), strict=True):
            if not math.isfinite(entry):
                raise InputError(f"snapshot: makes {name} of the observation {entry:g}, which no market does")
        value = float(self._actions.many(self._act(observation), 1)[0])
        cap = math.inf if order.max_participation is None else order.max_participation * snapshot.volume
        asked = free if left == 1 else self._actions.ask(value, state, now, left) + state.carried
        possible = float(max(0.0, min(asked, free, cap)))
        if order.lots is None:
            return possible, 0.0
        whole = order.lots.down(possible)
        return whole, possible - whole
