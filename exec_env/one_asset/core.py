"""One order in one asset: what is drawn, traded and seen; ``problem.py`` says what else is known of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np

from exec_env.base.errors import InputError
from exec_env.data.episodes import TapeSource
from exec_env.data.market_file import MarketFile
from exec_env.data.tape import Tape
from exec_env.envs.problem import Problem
from exec_env.envs.reward import Reward
from exec_env.market.execution import COMPONENTS, Fill, Slice, State, Terms, bps, opening, terms, trade
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.market.paths import Paths, Simulator, Source
from exec_env.one_asset import information, observation
from exec_env.one_asset.actions import ActionMode, OrderActions, get_action_mode
from exec_env.one_asset.information import HiddenSource, Information
from exec_env.one_asset.observation import MarketEntries, Observation, Observer, WithFeatures
from exec_env.one_asset.quantities import Clock
from exec_env.one_asset.randomise import Ranges

PACE = ActionMode("pace")


@dataclass(frozen=True, eq=False)
class OrderInMarket(Problem):
    """An order, the market that it is executed in, and where the paths come from; see ``Problem`` for the methods."""

    market: Market = field(default_factory=Market)
    order: Order = field(default_factory=Order)
    action: ActionMode = PACE
    """The action mode of the environment's own action space."""
    source: Source = None  # type: ignore[assignment]  # set below
    """Where paths come from; by default they are drawn from the market."""
    tape: Tape | None = None
    """The recorded market, where paths are recorded."""
    ranges: Ranges | None = None
    """What the market of each path is drawn from; None: all play ``market``."""
    file: MarketFile | None = None
    """The calibrated market that it is from, if it is from one."""
    reward: Reward = field(default_factory=Reward)
    features: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)
    information: Information = "full"
    """What is seen of the market before a slice is traded in; see ``exec_env.one_asset.information``."""
    starting_point: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Market and order of the preset, which reports tell changes from."""
    clock: Clock = field(default_factory=Clock)
    """Length of the trading day, and when in it the order arrives, for who reads of it."""

    _observer: Observer = field(init=False, repr=False)
    _terms: Terms = field(init=False, repr=False)
    _sign: float = field(init=False, repr=False)
    names = Observation._fields
    components = COMPONENTS

    def __post_init__(self) -> None:
        if self.market.maker_rebate != 0:
            raise InputError(
                f"Market.maker_rebate = {self.market.maker_rebate!r}: no effect where all orders are market orders: "
                "none rests to be paid for; give taker_fee what is paid on each share"
            )
        if self.source is None:
            object.__setattr__(self, "source", Simulator(self.market, self.order))
        if information.check(self.information, self.market) != "full" and not isinstance(self.source, HiddenSource):
            hidden = HiddenSource(self.source, self.market, self.order, self.information)
            object.__setattr__(self, "source", hidden)
        observer = Observer(self.market, self.order)
        recorded = () if self.tape is None else tuple(self.tape.features)
        shows = WithFeatures(observer) if recorded else observer
        for name, value in (
            *(
                ("_observer", observer),
                ("recorded", recorded),
                ("_terms", terms(self.market, self.order)),
                ("_sign", self.order.sign),
            ),
            *(("n_steps", self.order.n_steps), ("size", self.order.shares)),
            ("names", information.names(self.information)),
            ("dollars_per_bps", 1 / bps(self.order.shares * self.market.arrival_price)),
            ("price_of_variance", self.order.risk_aversion / bps(self.order.shares * self.market.arrival_price)),
            # What does the work, without a method of ours in between.
            *(("seen", shows.market), ("observe", shows), ("renewed", observer.renewed)),
        ):
            object.__setattr__(self, name, value)

    # --- paths

    def sample(self, rngs: Sequence[np.random.Generator], n_paths: int = 1) -> Paths:
        """Paths from each generator, those of the first one first."""
        return self.source.sample(rngs, n_paths)

    def notional(self, arrival_price: Any) -> Any:
        """X · S0. [$]"""
        return self.order.shares * arrival_price

    def starts(self) -> np.ndarray | None:
        """Rows of the tape at which an episode fits; None where paths are drawn."""
        return None if self.tape is None else self.tape.starts(self.order)

    def at(self, starts: np.ndarray, rng: np.random.Generator) -> Paths:
        """Episodes that begin at these rows of the tape."""
        if not isinstance(self.source, TapeSource | HiddenSource):
            return super().at(starts, rng)
        return self.source.at(starts, rng)

    def each(self, columns: Slice) -> list[Any]:
        """Slices without names, which take a third of the time to make and to unpack."""
        return list(columns.each())

    # --- execution

    def actions(self, mode: Any = None) -> OrderActions:
        """What actions mean in an action mode, a name or an ``ActionMode``; None: in the problem's own."""
        return OrderActions(self.action if mode is None else get_action_mode(mode), self.order)

    def opening(self, zero: Any = 0.0) -> State:
        """All shares left, no push, no move."""
        return opening(self.order.shares + zero, zero)

    def step(self, state: State, now: Any, asked: Any, left: Any) -> tuple[State, Fill]:
        """Trade one slice, by ``exec_env.market.execution.trade``."""
        last = left == 1
        if last is not False and last is not True and not last.any():
            last = False
        return trade(state, now, asked, self._terms, last)

    def over(self, state: State, left: Any) -> Any:
        """Whether all is traded."""
        return state.remaining <= 0.0

    # --- what is seen

    def seen(self, now: Slice) -> MarketEntries:
        """Entries that do not depend on us."""
        return self._observer.market(now)

    def observe(self, state: State, seen: MarketEntries, left: Any) -> Observation:
        """All entries; see ``Observation``."""
        return self._observer(state, seen, left)

    def space(self) -> gym.spaces.Box:
        """Gymnasium space of one observation."""
        return observation.space(len(self.recorded))
