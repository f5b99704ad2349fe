"""Orders in a market whose impact is not told: what environments and harness know of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from exec_env.base.errors import InputError
from exec_env.envs.problem import Bound, Panel, Problem
from exec_env.envs.profile import Profile
from exec_env.envs.reward import Reward
from exec_env.market.execution import COMPONENTS, Fill, Terms, bps, price_per_share, terms, trade
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.market.paths import Paths
from exec_env.one_asset.actions import ActionMode, OrderActions, get_action_mode
from exec_env.unknown_market import observation, picture
from exec_env.unknown_market.known import Impact, Known, Mean, mean_cost
from exec_env.unknown_market.observation import Observer, UnknownObservation
from exec_env.unknown_market.paths import N_SHARED, UnknownSimulator, UnknownSlice
from exec_env.unknown_market.policies import POLICIES
from exec_env.unknown_market.variates import Variates


class UnknownState(NamedTuple):
    """State before a slice: that of the order's execution, and what was seen of the last fill."""

    remaining: Any  # x of this order [shares]
    transient: Any  # I; not seen [$]
    price_move: Any  # mid since this order's arrival, in its favour, without I [$]
    participation: Any  # share of the last slice's volume that was traded [-]
    recent: Any  # own trades of this order, less what has decayed of them: I / κ [shares]
    traded: Any  # in the last slice [shares]
    concession: Any  # of each of these shares, beyond the half spread [$]
    time: Any  # slices of the episode so far


_OF_ONE_ORDER = len(UnknownState._fields) - 4
"""Entries that ``exec_env.market.execution.State`` has too, in its order."""
_RARE = 1e-3  # markets with less probability need not be mentioned


class SequenceActions(OrderActions):
    """Actions of one order, which know of the slices of that order alone."""

    def __init__(self, mode: ActionMode, order: Order, like: Any = None) -> None:
        super().__init__(mode, order, like)
        self.ask = self._ask

    def _ask(self, values: Any, state: Any, now: Any, left: Any) -> Any:
        return self.mode.shares(values, state, now, (left - 1) % self._order.n_steps + 1)

    def like(self, tensor: Any) -> OrderActions:
        """The same for batches of tensors."""
        return SequenceActions(self.mode, self._order, tensor)


@dataclass(frozen=True, eq=False)
class UnknownMarket(Problem):
    """M orders, one after the other, in a market whose η, γ and κ are drawn once for each path and not told.

    Each order begins anew, without push, at the arrival price; of the market nothing but its impact is unknown.
    """

    market: Market
    """What η, γ and κ have as their means, and all else that the market has."""
    order: Order
    """Each of the orders."""
    orders: int
    """M."""
    spread: float
    """Log standard deviation of η, γ and κ, which are drawn apart from each other."""
    action: ActionMode
    reward: Reward = field(default_factory=Reward)
    features: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)

    source: UnknownSimulator = field(init=False, repr=False, default=None)  # type: ignore[assignment]  # set below
    _observer: Observer = field(init=False, repr=False, default=None)  # type: ignore[assignment]
    _terms: Terms = field(init=False, repr=False, default=None)  # type: ignore[assignment]
    names = UnknownObservation._fields
    components = COMPONENTS
    reference = "prior"

    def __post_init__(self) -> None:
        if self.order.lot_size != 0:
            raise InputError(f"Order.lot_size = {self.order.lot_size:g}: orders in an unknown market have no lots")
        shares = self.orders * self.order.shares
        regrets = tuple(f"regret_{k + 1}" for k in range(self.orders))
        for name, value in (
            ("source", UnknownSimulator(self.market, self.order, self.orders, self.spread)),
            ("_observer", Observer(self.market, self.order, self.orders)),
            ("_terms", terms(self.market, self.order)),
            ("n_steps", self.orders * self.order.n_steps),
            ("size", shares),
            ("profiles", (Profile("regret", "regret [bps of the order's notional]", "order", regrets),)),
            ("price_of_variance", self.order.risk_aversion / bps(shares * self.market.arrival_price)),
        ):
            object.__setattr__(self, name, value)

    # --- paths and execution

    def sample(self, rngs: Sequence[np.random.Generator], n_paths: int = 1) -> Paths:
        """Paths from each generator, those of the first one first."""
        return self.source.sample(rngs, n_paths)

    def notional(self, arrival_price: Any) -> Any:
        """Of all orders, M · X · S0. [$]"""
        return self.size * arrival_price

    def actions(self, mode: Any = None) -> SequenceActions:
        """What actions mean for the order that is on."""
        return SequenceActions(self.action if mode is None else get_action_mode(mode), self.order)

    def opening(self, zero: Any = 0.0) -> UnknownState:
        """The first order, and nothing seen."""
        return UnknownState(self.order.shares + zero, *[zero] * (len(UnknownState._fields) - 1))

    def step(self, state: UnknownState, now: UnknownSlice, asked: Any, left: Any) -> tuple[UnknownState, Fill]:
        """Trade one slice by ``exec_env.market.execution.trade``; after the last one of an order comes the next."""
        last = (left - 1) % self.order.n_steps == 0
        if last is not False and last is not True and not last.any():
            last = False
        own = self._terms._replace(transient_impact=now.transient)
        execution: Any = (*state[:_OF_ONE_ORDER], 0.0)  # nothing is carried: there are no lots
        market: Any = (*now[:N_SHARED], (), ())
        after, fill = trade(execution, market, asked, own, last)
        shares, alone = fill.shares, fill.block == 0
        conceded = (fill.temporary + fill.transient + fill.slippage) / (shares + (shares == 0))
        recent = now.decay * (state.recent + shares - fill.block)
        remaining, pushed, move, participation, _ = after
        if last is not False:
            goes_on = 1.0 - last
            remaining = remaining + self.order.shares * (last * (left > 1))
            pushed, move, participation, recent = (c * goes_on for c in (pushed, move, participation, recent))
        seen = recent, alone * shares, alone * conceded, state.time + 1.0
        return UnknownState(remaining, pushed, move, participation, *seen), fill

    # --- what is seen

    def seen(self, now: UnknownSlice) -> tuple[()]:
        """Nothing of a slice is seen before it is traded in: spread, volume and volatility are known."""
        return ()

    def observe(self, state: UnknownState, seen: Any, left: Any) -> UnknownObservation:
        """All entries; see ``UnknownObservation``."""
        return self._observer(state, left)

    def space(self) -> gym.spaces.Box:
        """Gymnasium space of one observation."""
        return observation.space()

    # --- what is told

    def info(self, before: UnknownState, fill: Fill, arrival_price: Any, to_bps: Any) -> dict[str, Any]:
        """Cost components in basis points of the arrival notional of all orders, and the trade.

        Keys: as of one asset; shares and, of these, block [shares]; fill_price and mid at the start of the slice [$].
        """
        sign = self.order.sign
        return super().info(before, fill, arrival_price, to_bps) | {
            "shares": fill.shares,
            "fill_price": arrival_price + sign * price_per_share(fill.shares, fill.touch, fill.shortfall, fill.fees),
            "mid": arrival_price + sign * before.price_move,
            "clipped": fill.clipped,
        }

    def tally(self, before: UnknownState, now: UnknownSlice, fill: Fill) -> dict[str, Any]:
        """Shares for closing blocks, the least cost of the path's market, and the regret of each order.

        Regret, in bps of the order's arrival notional, is what the expected cost is above that of who knows the impact.
        """
        order, step = divmod(int(np.max(before.time)), self.order.n_steps)
        columns = (np.asarray(c).tobytes() for c in (now.slope, now.permanent, now.transient))
        known = _known(self.market, self.order, *columns)
        to_bps = bps(self.order.shares * self.market.arrival_price)
        sums = {"shares_left": fill.block, f"regret_{order + 1}": to_bps * known.excess(step, before, fill)}
        return sums | ({} if before.time.any() else {"known": to_bps * known.cost})

    def outcome(self, sums: dict[str, Any]) -> dict[str, Any]:
        """The same, the least cost before the regrets."""
        return {"shares_left": sums.pop("shares_left"), "known": sums.pop("known")} | sums

    def record(
        self, before: UnknownState, now: UnknownSlice, fill: Fill, after: UnknownState, arrival_price: Any
    ) -> dict[str, Any]:
        """Inventory before, shares, participation, concession per share, and impact of the path over its mean."""
        mean = Impact.of(self.market, self.order)
        return {
            "inventory": before.remaining,
            "shares": fill.shares,
            "concession": after.concession,
            "mid": arrival_price + self.order.sign * before.price_move,
            "temporary_impact": now.slope / mean.slope,
        }

    def describe(self) -> str:
        """The orders in one line."""
        order = self.order
        drawn = f"impact drawn with log standard deviation {self.spread:g} and not told"
        return f"{self.orders} orders, each {order.side} {order.shares:,.6g} shares in {order.n_steps} slices; {drawn}"

    def headline(self) -> str:
        """The orders, and what is not known."""
        order = self.order
        return (
            f"{self.orders} orders one after the other, each to {order.side} {order.shares:,.6g} shares in "
            f"{order.n_steps} slices over {order.horizon:.3g} days, in a market whose temporary, permanent and "
            f"transient impact are drawn once (log standard deviation {self.spread:g}) and not told. Risk aversion "
            f"λ = {order.risk_aversion:g} per dollar."
        )

    def parameters(self) -> dict[str, dict[str, Any]]:
        """Fields of market and order, and what is drawn."""
        drawn = {"orders": self.orders, "parameter_spread": self.spread}
        return {"unknown": drawn, "market": dict(vars(self.market)), "order": dict(vars(self.order))}

    def remarks(self) -> list[str]:
        """Whose bound it is, and what a cap does to regret."""
        said = f"the bound is that of who knows the impact, on average over markets, to {self._mean.error_bps:.1g} bps"
        capped = self.order.max_participation is not None
        return [said, *(["regret counts what the cap costs, the oracle's too"] if capped else [])]

    # --- what can be achieved

    def policies(self) -> Mapping[str, Callable[[], Any]]:
        """The prior, the certainty equivalent, the oracle, an even pace."""
        return {name: partial(of, self.market, self.order, self.spread) for name, of in POLICIES.items()}

    def suggested(self) -> tuple[str, ...]:
        """The prior, what can be learned, and who knows."""
        return self.reference, "certainty-equivalent", "oracle"

    @property
    def _mean(self) -> Mean:
        return mean_cost(self.market, self.order, self.spread)

    def bound(self) -> Bound:
        """The least cost of who knows the impact, on average over markets: no policy is below it."""
        mean = self._mean
        said = (
            f"in {100 * mean.in_part:.2g} % of the markets the bound charges pushes in part: to charge all gives none"
        )
        return Bound(mean.value_bps, said if mean.in_part > _RARE else "")

    def variates(self, n_paths: int) -> Variates:
        """The excess, which leaves the least cost and the regret."""
        return Variates(self.market, self.order, self.orders, self._mean.value_bps)

    def panels(self) -> Sequence[Panel]:
        """Inventory and concessions of example paths."""
        return picture.PANELS

    def torch(self, device: str) -> Any:
        """The market of tensors, for gradients through it."""
        from exec_env.unknown_market.torch_market import UnknownTorchMarket

        return UnknownTorchMarket(self, device)

    def picture(self, arrival_price: Any, history: list[dict[str, Any]]) -> np.ndarray:
        """Inventory, trades and concessions so far."""
        return picture.draw(self.order, self.orders, history)


@lru_cache(maxsize=8)
def _known(market: Market, order: Order, *columns: bytes) -> Known:
    """Rules of the markets of paths, which all slices of these paths and all agents on them share."""
    return Known.of(market, order, Impact(*map(np.frombuffer, columns)))
