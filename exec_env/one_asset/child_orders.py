"""The child orders of an order that is driven live, and their fills: what was asked for, traded and left."""

from dataclasses import dataclass, field
from typing import Any

from exec_env.base.errors import InputError
from exec_env.base.validation import is_finite, shown, unknown
from exec_env.market.market import BPS, Market
from exec_env.market.order import Order
from exec_env.one_asset.snapshot import Snapshot

_OF_A_FILL = ("fill", "price", "side", "time", "child", "more", "cancelled", "id")
_ROUNDING = 1e-9  # part of what was asked for
_OF_A_LOT = 1e-6  # that is rounding


@dataclass
class Child:
    """A child order."""

    snapshot: Snapshot
    asked: float
    """[shares]"""
    carried: float
    """Less than a lot that is asked for with the next one. [shares]"""
    left: float
    """Of the order before it. [shares]"""
    filled: float = 0.0
    """[shares]"""
    open: bool = True
    """Whether it may still be filled."""
    fills: list[dict[str, Any]] = field(default_factory=list)
    """What was told of it, in plain values."""
    recalled: bool = False
    """Whether it is from the state of a process before this one."""
    compared: int = 0
    """How many of its fills have been told again since."""

    @property
    def rest(self) -> float:
        """What may still be filled, were it open. [shares]"""
        return self.asked - self.filled


class ChildOrders:
    """The child orders of an order.

    A fill ends its child order, unless it says that more may come. One that comes later, for a child order that ended,
    is taken where these shares have not been asked for again.

    Args:
        order: the parent order.
        market: of its fees.
    """

    def __init__(self, order: Order, market: Market) -> None:
        self.order, self.market = order, market
        self.remaining = order.shares
        self.paid = 0.0  # cash received for a sell, spent for a buy [$]
        self.arrival_price: float | None = None
        self._charged_at: float | None = None  # price that fees are a part of, where it is not the arrival price [$]
        self.children: list[Child] = []
        self.events: list[dict[str, Any]] = []
        """All that was taken so far, in plain values: what ``LiveExecutor.resume`` takes."""
        self._traded = 0.0  # since the last snapshot
        self._told: Child | None = None  # whose fill a fill is that names none

    @property
    def working(self) -> float:
        """Shares of child orders that may still be filled."""
        return sum(child.rest for child in self.children if child.open)

    @property
    def done(self) -> bool:
        """Whether all is traded, or time is up, and no child order may still be filled."""
        if self.remaining <= 0:
            return True
        too_few = self.order.lots is not None and self.order.lots.down(self.remaining) == 0
        return (too_few or len(self.children) >= self.order.n_steps) and not any(c.open for c in self.children)

    def filled(self, message: dict[str, Any]) -> None:
        """``fill`` in plain values.

        Args:
            message: fill, the shares; price, which may be missing where there are none; child, the number of the child
                order, by default the last; more, true where more of it may come; cancelled, true where none will, with
                or without a fill; id, by which a fill counts once; side, if the venue tells it; and its time.

        Raises:
            InputError: for a field that is unknown, another side than the order's, and as ``fill``.
        """
        for name in message:
            if name not in _OF_A_FILL:
                raise InputError(f"fill: {unknown('field', name, _OF_A_FILL)}")
        if (side := message.get("side", self.order.side)) != self.order.side:
            raise InputError(f"fill: side = {shown(side)}: the order's is {self.order.side!r}")
        for name in ("more", "cancelled"):
            if message.get(name, True) is not True:
                raise InputError(f"fill: {name} = {shown(message[name])}: must be true, or left out")
        if "more" in message and "cancelled" in message:
            raise InputError("fill: more beside cancelled: nothing comes of a child order that is cancelled")
        shares: Any = message.get("fill", 0.0 if "cancelled" in message else None)
        price: Any = message.get("price", 0.0 if is_finite(shares) and shares == 0 else None)
        self.fill(shares, price, message.get("child"), "more" in message, message.get("id"))

    def fill(
        self, shares: float, price: float, child: int | None = None, more: bool = False, id: str | None = None
    ) -> None:
        """Report what a child order came to.

        Args:
            shares: traded; between 0 and what was asked for, less what was filled of it before.
            price: average price; any finite number when nothing was traded. [$]
            child: its number, from 1; by default the last.
            more: whether more of it may come; if not, what is left of it can be asked for again.
            id: the venue's name for this fill, which counts once, however often it is told.

        Raises:
            InputError: when nothing was asked for, or the numbers cannot be. Nothing is changed then.
        """
        target = self._of(child)
        for name, value in (("shares", shares), ("price", price)):
            if not is_finite(value) or value < 0:
                raise InputError(f"fill: {name} = {shown(value)}: must be a finite number >= 0")
        if id is not None and not isinstance(id, str):
            raise InputError(f"fill: id = {shown(id)}: must be a text")
        told = {"shares": float(shares), "price": float(price), "more": more, "id": id}
        if id is not None and any(id == other["id"] for c in self.children for other in c.fills):
            if told not in target.fills:
                raise InputError(f"fill: id = {shown(id)}: is that of another fill")
            target.compared += target is self._told and target.recalled
            return
        if target.recalled and target is self._told and target.compared < len(target.fills):
            if told != target.fills[target.compared]:
                had = target.fills[target.compared]
                raise InputError(
                    f"fill: shares = {shown(shares)} at {shown(price)}: this child order had {had['shares']!r} at "
                    f"{had['price']!r} before"
                )
            target.compared += 1
            return
        if child is None and not target.open:
            raise InputError("there is no child order to fill: call the executor with a snapshot first")
        if shares > target.rest + _ROUNDING * target.asked:
            before = f", of which {target.filled!r} were filled" if target.filled else ""
            raise InputError(f"fill: shares = {shares!r}: only {target.asked!r} were asked for{before}")
        free = self.remaining - self.working
        if not target.open and shares > free + _ROUNDING * target.asked:
            raise InputError(
                f"fill: shares = {shares!r}: of a child order that had ended, and only {max(free, 0.0)!r} shares have "
                "not been asked for again"
            )
        shares, price = float(shares), float(price)
        money = self.paid + shares * price
        if shares > 0 and not (price > 0 and is_finite(money) and is_finite(price / (self.arrival_price or price))):
            raise InputError(f"fill: price = {price!r}: must be > 0, and what shares can cost")
        number = next(n for n, c in enumerate(self.children, 1) if c is target)
        self.events.append({"child": number} | told)
        target.fills.append(told)
        target.compared = len(target.fills)
        target.filled = min(target.filled + shares, target.asked)
        target.open = target.open and more and target.rest > _ROUNDING * target.asked
        self.remaining = self._whole(max(self.remaining - shares, 0.0))
        self.paid, self._traded = money, self._traded + shares

    def report(self) -> dict[str, Any]:
        """Where the order stands: shares traded and left, average price, shortfall [bps of the traded notional].

        Where a child order may still be filled, also ``asked``, its shares; where there are fees, ``fees`` [$], which
        the shortfall has too; where less than a lot is left, which no child order can trade, ``odd``.
        """
        traded = self._whole(self.order.shares - self.remaining)
        average = self.paid / traded if traded > 0 else None
        fee = BPS * float(self.market.taker_fee) * (self._charged_at or self.arrival_price or 0.0)
        shortfall = None
        if average is not None and self.arrival_price is not None:
            shortfall = (self.order.sign * (1 - average / self.arrival_price) + fee / self.arrival_price) / BPS
        report = {
            "done": self.done,
            "traded": traded,
            "left": self.remaining,
            "average_price": average,
            "shortfall_bps": shortfall,
        }
        if any(child.open for child in self.children):
            report["asked"] = self.working
        if fee > 0:
            report["fees"] = fee * traded
        if self.order.lots is not None and (odd := self.remaining - self.order.lots.down(self.remaining)) > 0:
            report["odd"] = odd
        return report

    def _known(self, snapshot: Snapshot) -> Child | None:
        """The child order that a snapshot had before the order was taken up again, if it had one."""
        for child in self.children:
            if child.recalled and child.snapshot == snapshot:
                if self._told is not None and self._told.compared < len(self._told.fills):
                    self._refuse_silence()
                self._told, child.compared = child, 0
                return child
        return None

    def _refuse_silence(self) -> None:
        raise InputError("the last child order has no fill yet: call fill(), with shares=0 if there was none")

    def _of(self, number: int | None) -> Child:
        """The child order of that number, or the last."""
        if self._told is None:
            raise InputError("there is no child order to fill: call the executor with a snapshot first")
        if number is None:
            return self._told
        if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= len(self.children):
            raise InputError(f"fill: child = {shown(number)}: must be a whole number from 1 to {len(self.children)}")
        return self.children[number - 1]

    def _whole(self, shares: float) -> float:
        """Without what rounding leaves of whole lots."""
        if self.order.lots is None:
            return shares
        whole = self.order.lots.nearest(shares)
        return whole if abs(whole - shares) <= _OF_A_LOT * self.order.lot_size else shares
