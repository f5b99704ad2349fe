"""One order in one asset: what environments and harness know of it."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from exec_env.base.bootstrap import Blocks, Errors, Independent
from exec_env.base.errors import InputError, NoBound
from exec_env.base.files import read_yaml
from exec_env.base.inputs import named, refuse_changed
from exec_env.base.units import amount, clock_text, dollars
from exec_env.data.market_file import MarketFile
from exec_env.envs.problem import Bound, Panel, Problem
from exec_env.envs.scenario import Scenario
from exec_env.market.execution import Fill, Slice, State, block_cost, price_per_share
from exec_env.market.paths import Normals
from exec_env.one_asset import picture, provenance, remarks, scenarios
from exec_env.one_asset.core import OrderInMarket
from exec_env.one_asset.quantities import as_numbers
from exec_env.optimum import dual, dynamic_programming, lq, relaxation
from exec_env.optimum.variates import Variates

_MARKET = "market.yaml"  # copy of the market file in a run folder


@dataclass(frozen=True, eq=False)
class OneAsset(OrderInMarket):
    """An order in a market, with all that environments and harness know of it; see ``Problem`` for the methods."""

    varied = scenarios.VARIED
    stressing = tuple(scenarios.CALM)

    on_impact: tuple[str, ...] = ()
    """Whether impact that was not given followed price, volatility or volume, and whether options had no effect."""

    # --- what is told

    def info(self, before: State, fill: Fill, arrival_price: Any, to_bps: Any) -> dict[str, Any]:
        """Cost components in basis points of the arrival notional, and the trade in market prices.

        Keys: spread, temporary, transient, permanent, price, slippage, fees, risk [bps]; shares and, of these, block,
        sold at once after the last slice [shares]; fill_price, the average price of the slice's shares, fees left out
        (where none were traded, the price of a first one) and mid, at the start of the slice [$]; clipped.
        """
        # Unpacked at once: to find fourteen fields by name takes longer than the rest.
        (
            shares, block, _, clipped, touch, shortfall,
            spread, temporary, transient, permanent, price, slippage, fees, risk, _, _,
        ) = fill  # fmt: skip
        sign = self._sign
        return {
            "spread": to_bps * spread,
            "temporary": to_bps * temporary,
            "transient": to_bps * transient,
            "permanent": to_bps * permanent,
            "price": to_bps * price,
            "slippage": to_bps * slippage,
            "fees": to_bps * fees,
            "risk": to_bps * risk,
            "shares": shares,
            "block": block,
            "fill_price": arrival_price + sign * price_per_share(shares, touch, shortfall, fees),
            "mid": arrival_price + sign * before.price_move,
            "clipped": clipped,
        }

    def tally(self, before: State, now: Slice, fill: Fill) -> dict[str, Any]:
        """Shares for the closing block and its cost where the cap left them, shares traded before, volume until done.

        Where trades walk a recorded book, also how many there are, and how many go beyond its last level.
        """
        sums = {"shares_left": fill.block, "traded": fill.shares - fill.block}
        sums["volume"] = np.where(before.remaining > 0, now.volume, 0.0)
        capped = (fill.block > 0) & (fill.beyond_cap >= 0) if self.order.max_participation else np.zeros(1, bool)
        sums["block_cost"] = capped * block_cost(before, now, fill, self._terms) if capped.any() else 0.0
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
        sign, average = self._sign, price_per_share(fill.shares, fill.touch, fill.shortfall, fill.fees)
        return {
            "inventory": before.remaining,
            "shares": fill.shares,
            "participation": after.participation,
            "mid": arrival_price + sign * before.price_move,
            "fill_price": np.where(fill.shares > 0, arrival_price + sign * average, np.nan),
            "half_spread": now.half_spread,
            "log_liquidity": now.log_liquidity,
        }

    def describe(self) -> str:
        """The order in one line."""
        order = self.order
        begins = "" if self.clock.start is None else f" from {clock_text(self.clock.start)} on"
        return (
            f"{order.side} {amount(order.shares)} shares ({self._size()}) in {order.n_steps} slices of "
            f"{self.clock.span(order.slice_length)}{begins}"
        )

    def _size(self) -> str:
        """The order's size as a part of the volume, and in dollars."""
        part = 100 * self.order.shares / self.market.daily_volume
        return f"{part:.2g} % of a day's volume, {dollars(self.notional(self.market.arrival_price))}"

    def settled(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Options as numbers, and a tape's features with the units that they are seen in."""
        found = as_numbers(options, self.market, self.order)
        described = self.tape.described() if self.recorded and self.tape is not None else {}
        return found | ({"tape_features": described["features"]} if "features" in described else {})

    def headline(self) -> str:
        """Side, size, horizon, cap and risk aversion."""
        order = self.order
        cap = order.max_participation
        most = "" if cap is None else f", at most {100 * cap:g} % of each slice's volume"
        return (
            f"{order.side.capitalize()} {amount(order.shares)} shares ({self._size()}) in {order.n_steps} slices of "
            f"{self.clock.span(order.slice_length)}, {self.clock.span(order.horizon)} in all{most}. Risk aversion λ = "
            f"{order.risk_aversion:g} per dollar."
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
        kept |= {"inputs": inputs} if (inputs := self._inputs()) else {}
        return kept | ({"notes": notes} if (notes := self.remarks()) else {})

    def save(self, run: Path) -> None:
        """Copy the market file."""
        if self.file is not None:
            self.file.save(run / _MARKET)

    def _inputs(self) -> dict[str, dict[str, str]]:
        """The tape's slices, whatever file they are in, and what counts of the market file."""
        found = {} if self.tape is None else {"tape": {"file": self.tape.name, "sha256": self.tape.sha256}}
        return found | ({} if self.file is None else {"market": {"file": _MARKET, "sha256": self.file.sha256}})

    def check_saved(self, run: Path, options: Mapping[str, Any]) -> None:
        """Refuse a tape or a market file that has changed."""
        described, copy = read_yaml(run / "config.yaml"), run / _MARKET
        was: dict[str, Any] = {"tape": described.get("tape")}  # of runs of old, which keep no more
        if copy.is_file():
            was["market"] = {"sha256": MarketFile.load(copy).sha256}
        way_out = "put the old file back" + (f", of which {copy} is a copy" if copy.is_file() else "")
        for kept in (described.get("inputs"), was):
            refuse_changed(kept, named(self._inputs(), options), "the run began", f"{way_out}, or train a new run")

    def remarks(self) -> list[str]:
        """Whether the market file has seen the rows that are for evaluation, impact was scaled, fills are negative."""
        notes = [*provenance.looked_ahead(self.tape, self.file), *self.on_impact]
        notes += remarks.drawn_alone(self.ranges)
        notes += remarks.whole_lots(self.order)
        walked = self.tape is not None and self.tape.fills == "book"
        return notes if walked else notes + remarks.below_zero(self.market, self.order)

    def seen_by(self, run: str, config: Mapping[str, Any]) -> list[str]:
        """Whether a run has trained on the rows of the tape that are played here."""
        return provenance.seen_by(self.tape, run, config)

    def remarks_on(self, per_path: Any) -> list[str]:
        """How often trades went beyond a recorded book, the cap left shares, and prices were below zero."""
        prices = self.tape.mid[per_path["row"]] if self.tape is not None else self.market.arrival_price
        return [
            *provenance.beyond_book(per_path),
            *remarks.unfinished_on(per_path, self.notional(prices)),
            *remarks.below_zero_on(per_path, self.order),
        ]

    def errors(self, rows: np.ndarray | None) -> Errors:
        """Of a tape, whose episodes overlap, from blocks of time."""
        if self.tape is None or rows is None:
            return Independent()
        return Blocks(rows, self.tape.starts(self.order), self.order.n_steps)

    # --- what can be achieved

    def build(self, baseline: type[Any]) -> Any:
        """A baseline, from (market, order)."""
        if baseline.__init__ is not object.__init__ and not hasattr(baseline.__init__, "__code__"):
            return baseline(self.market, self.order)  # of a class in C, which does not say what it takes
        try:
            inspect.signature(baseline).bind(self.market, self.order)
        except (TypeError, ValueError) as error:
            raise InputError(f"{baseline.__name__}: must be built from (market, order): {error}") from None
        return baseline(self.market, self.order)

    def suggested(self) -> tuple[str, ...]:
        """TWAP, and the linear-quadratic optimum clipped to the cap."""
        return self.reference, "adaptive"

    def bound(self) -> Bound:
        """The linear-quadratic bound, costs charged in part where it must be."""
        self._refuse_bound()
        whole = relaxation.solve(self.market, self.order)
        left_out = relaxation.left_out(whole.charged)
        if self.information == "full":
            return Bound(whole.bound_bps, left_out)
        try:
            hidden = lq.solve(self.market, self.order, hidden=True)
        except NoBound as error:
            left_out = "; ".join(filter(None, [left_out, f"the bound is that of whoever sees liquidity: {error}"]))
            return Bound(whole.bound_bps, left_out)
        return Bound(hidden.bound_bps)

    def optimum(self) -> dynamic_programming.Solution:
        """The best achievable value within the cap, by dynamic programming."""
        self._refuse_bound()
        if self.information != "full":
            raise NoBound("liquidity is hidden, and the cap is a share of the volume before: a state too many")
        return dynamic_programming.solve(self.market, self.order)

    def variates(self, n_paths: int) -> Variates:
        """The LQ excess, and the martingale of the constrained optimum."""
        self._refuse_bound()
        return Variates(self.market, self.order, n_paths, hidden=self.information != "full")

    def certify(self, n_paths: int, seed: int = 0, progress: bool = False) -> dual.Interval:
        """A statistical interval for it, by information relaxation."""
        self._refuse_bound()
        if self.information != "full":
            raise NoBound("liquidity is hidden")
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
        onset: float | None = None,
        onset_end: float | None = None,
    ) -> list[Scenario]:
        """See ``exec_env.one_asset.scenarios``."""
        given = scenarios.NAMES if names is None else names
        return scenarios.scenarios(given, severities, onset, onset_end)

    def calm(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Options that take stress and regimes out."""
        return scenarios.calm(self.market, options)

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

    def live(self, agent: Any, hours_per_day: float | None = None, limit_price: str | None = None) -> Any:
        """An executor that asks ``agent`` for a child order per snapshot."""
        return self._live(agent, hours_per_day, limit_price, rehearsal=False)

    def _live(self, agent: Any, hours_per_day: float | None, limit_price: str | None, rehearsal: bool) -> Any:
        from exec_env.one_asset.limit_price import LimitPrice
        from exec_env.one_asset.live import LiveExecutor

        if self.ranges is not None:
            raise InputError("randomise: an order is executed in one market")
        if self.information != "full":
            raise InputError(
                f"information = {self.information!r}: a live order sees the volume expected of its slice; agents for "
                "hidden liquidity, which go by the volume before it, are not driven live yet"
            )
        hours = self.clock.hours_per_day if hours_per_day is None else hours_per_day
        limit = None if limit_price is None else LimitPrice.parse(limit_price)
        return LiveExecutor(agent, self.order, self.market, hours, problem=self, limit_price=limit, rehearsal=rehearsal)

    def rehearse(self, agent: Any, row: int | None = None, limit_price: str | None = None) -> Any:
        """An executor, and what it does in a dry run on the tape; see ``exec_env.one_asset.rehearsal``."""
        from exec_env.one_asset.rehearsal import rehearse

        live = self._live(agent, None, limit_price, rehearsal=True)
        return live, rehearse(live, self, row)

    def torch(self, device: str) -> Any:
        """The market on a torch device."""
        from exec_env.one_asset.torch_market import TorchMarket

        return TorchMarket(self.market, self.order, device, ranges=self.ranges, information=self.information)
