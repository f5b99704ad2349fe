"""One order in one asset: what environments and harness know of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from exec_env.base.bootstrap import Blocks, Errors, Independent
from exec_env.base.errors import InputError, NoBound
from exec_env.data.episodes import TapeSource
from exec_env.data.market_file import MarketFile
from exec_env.data.tape import Tape
from exec_env.envs.problem import Bound, Panel, Problem
from exec_env.envs.reward import Reward
from exec_env.envs.scenario import Scenario
from exec_env.market.execution import COMPONENTS, Fill, Slice, State, Terms, opening, terms, trade
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.market.paths import Normals, Paths, Simulator, Source
from exec_env.one_asset import observation, picture, provenance, scenarios
from exec_env.one_asset.actions import ActionMode, OrderActions, get_action_mode
from exec_env.one_asset.info import step_info
from exec_env.one_asset.observation import MarketEntries, Observation, Observer
from exec_env.one_asset.randomise import Ranges
from exec_env.optimum import dual, dynamic_programming, relaxation

PACE = ActionMode("pace")
_MARKET = "market.yaml"  # copy of the market file in a run folder


@dataclass(frozen=True, eq=False)
class OneAsset(Problem):
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
    starting_point: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Market and order of the preset, which reports tell changes from."""

    _observer: Observer = field(init=False, repr=False)
    _terms: Terms = field(init=False, repr=False)
    names = Observation._fields
    components = COMPONENTS
    varied = scenarios.VARIED

    def __post_init__(self) -> None:
        if self.source is None:
            object.__setattr__(self, "source", Simulator(self.market, self.order))
        observer = Observer(self.market, self.order)
        for name, value in (
            *(("_observer", observer), ("_terms", terms(self.market, self.order))),
            *(("n_steps", self.order.n_steps), ("size", self.order.shares)),
            # What does the work, without a method of ours in between.
            *(("seen", observer.market), ("observe", observer), ("renewed", observer.renewed)),
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
        if not isinstance(self.source, TapeSource):
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

    # --- what is seen and told

    def seen(self, now: Slice) -> MarketEntries:
        """Entries that do not depend on us."""
        return self._observer.market(now)

    def observe(self, state: State, seen: MarketEntries, left: Any) -> Observation:
        """All entries; see ``Observation``."""
        return self._observer(state, seen, left)

    def space(self) -> gym.spaces.Box:
        """Gymnasium space of one observation."""
        return observation.space()

    def info(self, before: State, fill: Fill, arrival_price: Any, to_bps: Any) -> dict[str, Any]:
        """See ``exec_env.one_asset.info.step_info``."""
        return step_info(before, fill, arrival_price, self.order.sign, to_bps)

    def tally(self, before: State, now: Slice, fill: Fill) -> dict[str, Any]:
        """Shares for the closing block, shares traded before, volume until done; trades beyond a recorded book."""
        sums = {"shares_left": fill.block, "traded": fill.shares - fill.block}
        sums["volume"] = np.where(before.remaining > 0, now.volume, 0.0)
        if now.levels:
            most = np.maximum(fill.shares - fill.block, fill.block)
            sums |= {"trades": most > 0, "beyond_book": most > sum(size for size, _ in now.levels)}
        return sums

    def outcome(self, sums: dict[str, Any]) -> dict[str, Any]:
        """The same with participation in the place of shares traded and volume."""
        columns = {"shares_left": sums.pop("shares_left")}
        columns["participation"] = sums.pop("traded") / np.maximum(sums.pop("volume"), 1e-300)
        return columns | sums

    def record(self, before: State, now: Slice, fill: Fill, after: State, arrival_price: Any) -> dict[str, Any]:
        """Inventory before, shares, participation, mid, fill price, half spread and log liquidity of each slice."""
        sign = self.order.sign
        return {
            "inventory": before.remaining,
            "shares": fill.shares,
            "participation": after.participation,
            "mid": arrival_price + sign * before.price_move,
            "fill_price": np.where(fill.shares > 0, arrival_price + sign * fill.price_per_share, np.nan),
            "half_spread": now.half_spread,
            "log_liquidity": now.log_liquidity,
        }

    def describe(self) -> str:
        """The order in one line."""
        order = self.order
        return f"{order.side} {order.shares:,.6g} shares in {order.n_steps} slices of {order.slice_length:.4g} day"

    def headline(self) -> str:
        """Side, size, horizon, cap and risk aversion."""
        order = self.order
        cap = order.max_participation
        most = "" if cap is None else f", at most {100 * cap:g} % of each slice's volume"
        return (
            f"{order.side.capitalize()} {order.shares:,.6g} shares "
            f"({100 * order.shares / self.market.daily_volume:.2g} % of a day's volume) in {order.n_steps} slices over "
            f"{order.horizon:.3g} days{most}. Risk aversion λ = {order.risk_aversion:g} per dollar."
        )

    def on_bound(self) -> str:
        """Under stress it is an oracle's."""
        return "" if self.market.stress == "none" else "The bound is that of an oracle who knows when the stress comes."

    def on_price(self) -> str:
        """Whether the price component is luck alone."""
        market = self.market
        if market.signal == 0 and market.signal_volatility == 0 and self.tape is None:
            return "The price's part has mean zero; what is left of it is the luck of the paths"
        return "The price's part holds the signal's drift and the luck of the paths"

    def parameters(self) -> dict[str, dict[str, Any]]:
        """Fields of market and order."""
        return {"market": dict(vars(self.market)), "order": dict(vars(self.order))}

    def defaults(self) -> dict[str, dict[str, Any]]:
        """Fields of the preset's market and order."""
        return {name: dict(vars(part)) for name, part in self.starting_point.items()}

    def provenance(self) -> dict[str, Any]:
        """The tape that is played, and what is known of it."""
        kept: dict[str, Any] = {"tape": self.tape.described()} if self.tape else {}
        return kept | ({"notes": notes} if (notes := self.remarks()) else {})

    def save(self, run: Path) -> None:
        """Copy the market file."""
        if self.file is not None:
            self.file.save(run / _MARKET)

    def check_saved(self, run: Path, options: Mapping[str, Any]) -> None:
        """Refuse a market file that has changed."""
        kept = run / _MARKET
        if self.file is not None and kept.is_file() and MarketFile.load(kept).parameters != self.file.parameters:
            raise InputError(f"{options['market']}: has changed since the run began, whose copy is {kept}")

    def remarks(self) -> list[str]:
        """Whether the market file has seen the rows that are for evaluation."""
        return provenance.looked_ahead(self.tape, self.file)

    def seen_by(self, run: str, config: Mapping[str, Any]) -> list[str]:
        """Whether a run has trained on the rows of the tape that are played here."""
        return provenance.seen_by(self.tape, run, config)

    def remarks_on(self, per_path: Any) -> list[str]:
        """How often trades went beyond the recorded book, where they walk it."""
        return provenance.beyond_book(per_path)

    def errors(self, rows: np.ndarray | None) -> Errors:
        """Of a tape, whose episodes overlap, from blocks of time."""
        if self.tape is None or rows is None:
            return Independent()
        return Blocks(rows, self.tape.starts(self.order), self.order.n_steps)

    # --- what can be achieved

    def build(self, baseline: type[Any]) -> Any:
        """A baseline, from (market, order)."""
        return baseline(self.market, self.order)

    def suggested(self) -> tuple[str, ...]:
        """TWAP, and the linear-quadratic optimum clipped to the cap."""
        return self.reference, "adaptive"

    def bound(self) -> Bound:
        """The linear-quadratic bound, costs charged in part where it must be."""
        self._refuse_bound()
        solution = relaxation.solve(self.market, self.order)
        return Bound(solution.bound_bps, relaxation.left_out(solution.charged))

    def optimum(self) -> dynamic_programming.Solution:
        """The best achievable value within the cap, by dynamic programming."""
        self._refuse_bound()
        return dynamic_programming.solve(self.market, self.order)

    def certify(self, n_paths: int, seed: int = 0, progress: bool = False) -> dual.Interval:
        """A statistical interval for it, by information relaxation."""
        self._refuse_bound()
        return dual.certify(self.market, self.order, n_paths, seed, progress)

    def _refuse_bound(self) -> None:
        if self.tape is not None:
            raise NoBound("the paths are recorded")
        if self.ranges is not None:
            raise NoBound("every path has a market of its own")

    # --- stress tests

    def scenarios(
        self,
        names: Sequence[str] | None = None,
        severities: Sequence[float] = (),
        onset: float = 0.5,
        onset_end: float | None = None,
    ) -> list[Scenario]:
        """See ``exec_env.one_asset.scenarios``."""
        given = scenarios.NAMES if names is None else names
        return scenarios.scenarios(given, severities, onset, onset_end)

    def calm(self) -> dict[str, Any]:
        """Options that take stress and regimes out."""
        return scenarios.calm(self.market)

    def pairs_with(self, other: Problem) -> bool:
        """Whether both draw the same factors for market paths that are not each their own."""
        return (
            isinstance(other, OneAsset)
            and self.ranges is None
            and Normals.used(self.market) == Normals.used(other.market)
        )

    # --- what else can be done with it

    def behaviour(self) -> Any:
        """States along the best fixed schedule, at every level of liquidity."""
        from exec_env.one_asset.behaviour import states

        return states(self)

    def panels(self) -> Sequence[Panel]:
        """Inventory, pace, participation, spread, liquidity and prices of example paths."""
        return picture.panels(self.order)

    def picture(self, arrival_price: Any, history: list[dict[str, Any]]) -> np.ndarray:
        """Inventory, participation, price and fills of an episode so far."""
        return picture.draw(self.market, self.order, arrival_price, history)

    def live(self, agent: Any, hours_per_day: float | None = None) -> Any:
        """An executor that asks ``agent`` for a child order per snapshot."""
        from exec_env.one_asset.live import LiveExecutor

        if self.ranges is not None:
            raise InputError("randomise: an order is executed in one market")
        hours = hours_per_day or (self.file and self.file.hours_per_day) or 6.5
        return LiveExecutor(agent, self.order, self.market, hours, problem=self)

    def torch(self, device: str) -> Any:
        """The market on a torch device."""
        from exec_env.one_asset.torch_market import TorchMarket

        return TorchMarket(self.market, self.order, device, ranges=self.ranges)
