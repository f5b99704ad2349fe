"""Transaction cost analysis: what a real order cost, of what, and what others would have done on the same tape."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from exec_env.base.errors import InputError
from exec_env.base.units import quantity
from exec_env.base.validation import is_finite, shown
from exec_env.data.executions import Executions
from exec_env.data.reading import zone_of
from exec_env.data.tape import Tape
from exec_env.envs.rollout import acting, totals
from exec_env.harness.agents import Agent, resolve_all
from exec_env.market.execution import bps, opening, trade
from exec_env.market.execution import terms as terms_of
from exec_env.market.market import BPS, Market
from exec_env.market.order import Order
from exec_env.one_asset.options import make_problem
from exec_env.one_asset.problem import OneAsset

COMPONENTS = ("delay", "timing", "impact", "spread", "concession", "fees", "unfilled")
"""What the shortfall of a real order is the sum of, see ``analyse``."""
_FAR = 0.1  # of the mid: a fill so far from it is of another instrument, unit or time


@dataclass(frozen=True)
class CostAnalysis:
    """What an order cost. Costs are positive when they hurt, for sells and buys."""

    order: Order
    """The order: all that was to be traded, in slices of the tape from arrival to its deadline."""
    arrival_price: float
    """[$]"""
    per_fill: pd.DataFrame
    """One row a fill: time, price, shares, what the tape shows then, and its share of each component. [$]"""
    components: pd.Series
    """Name of each of ``COMPONENTS`` -> what it cost. [$]"""
    benchmarks: pd.DataFrame
    """By name its price and the slippage of the average fill against it, in $ and in bps of the arrival notional."""
    alternatives: pd.DataFrame
    """By agent, the fills themselves first, the shortfall on the same tape, and the part of it that the market's
    equations expect: without the price's moves. [bps]"""
    luck_bps: float
    """Standard deviation of the price's moves on the shares held, by the market's volatility."""
    remarks: Sequence[str] = field(default=())

    @property
    def shortfall(self) -> float:
        """The sum of the components. [$]"""
        return float(self.components.sum())

    @property
    def to_bps(self) -> float:
        """Factor that turns $ into bps of the arrival notional."""
        return float(bps(self.order.shares * self.arrival_price))

    def table(self) -> str:
        """Components, benchmarks and alternatives, for a person to read."""
        costs = pd.DataFrame({"bps": self.components * self.to_bps, "$": self.components})
        costs.loc["shortfall"] = [self.shortfall * self.to_bps, self.shortfall]
        blocks = [costs.to_string(formatters={"bps": "{:,.2f}".format, "$": "{:,.2f}".format})]
        if len(self.benchmarks):
            blocks.append(self.benchmarks.to_string(float_format="{:,.4f}".format))
        if len(self.alternatives) > 1:
            blocks.append(self.alternatives.to_string(float_format="{:,.2f}".format))
            blocks.append(
                "One tape is one draw: the price's moves on the shares held have a standard deviation of "
                f"{self.luck_bps:,.1f} bps; 'expected' is without them."
            )
        return "\n\n".join(blocks) + "".join(f"\n{remark}" for remark in self.remarks)


def analyse(
    fills: Executions,
    tape: Tape,
    shares: float | str | None = None,
    side: str | None = None,
    arrival: Any = None,
    deadline: Any = None,
    arrival_price: float | None = None,
    agents: Iterable[str | Path | Agent] = (),
    **options: Any,
) -> CostAnalysis:
    """What an order cost, of what, and what agents would have paid on the same tape.

    With M(a) the mid at arrival, f the slice of the first fill, M(t) the mid at the start of a fill's slice, and s = +1
    for a sell, −1 for a buy, n shares filled at p cost s (M(a) − p) n, which is the sum of
        delay       s (M(a) − M(f)) n         what the price did before the first fill
        timing      s (M(f) − M(t)) n         what it did while the order was worked, less ``impact``
        impact      (I + γ Σ v) n             the part of that which is the order's own push, by a calibrated market
        spread      h(t) n                    half the spread at the start of the slice
        concession  s (M(t) − p) n − h(t) n   beyond the touch: depth taken, and the price's moves within the slice
    and ``fees`` are added. What was not filled costs s (M(a) − M(e)), with e the deadline: ``unfilled``. Without a
    calibrated market (``market=``, as of ``exec_env.one_asset.options.make_problem``) nobody knows the push: ``impact``
    is zero and in ``timing``.

    Alternatives play the tape as environments do, from the slice of arrival to that of the deadline; where the market
    is calibrated, on mids from which the order's own push is taken out, because theirs is put in.

    Args:
        fills: of one order.
        tape: the market around it; a slice is the finest it can tell.
        shares: size of the order, a number or as 250k; by default all that was filled.
        side: by default as the fills say.
        arrival: when the order was decided on; by default the first fill. A time without a zone is UTC.
        deadline: when it was to be done; by default the last fill.
        arrival_price: by default the mid of the arrival's slice. [$]
        agents: names, run folders or objects, as of ``exec_env.harness.evaluate``.
        **options: of the problem that they solve: ``market``, ``risk_aversion``, ``max_participation`` and so on.

    Raises:
        InputError: for fills outside the tape or far from its prices, of another side, more of them than the order has;
            and where nobody says the side.

    Source: Perold (1988), "The implementation shortfall: paper versus reality"; Kissell & Glantz (2003), "Optimal
    Trading Strategies", chapter 3.
    """
    side = _side(fills, side)
    filled = float(fills.shares.sum())
    whole = filled if shares is None else _size(fills, shares, filled)
    rows = _rows(fills, tape)
    began = _row_at(tape, fills.time[0] if arrival is None else moment(arrival, "arrival"), "arrival")
    last = _row_at(tape, fills.time[-1] if deadline is None else moment(deadline, "deadline"), "deadline")
    if rows[0] < began or rows[-1] > last:
        what, when, i = ("before", "arrival", 0) if rows[0] < began else ("after", "deadline", len(fills) - 1)
        raise InputError(f"{fills.where(i)}: {fills.time[i]} is {what} the order's {when}")
    if arrival_price is not None and not (is_finite(arrival_price) and arrival_price > 0):
        raise InputError(f"arrival_price = {shown(arrival_price)}: must be a number > 0")
    n_steps = max(2, last - began + 1)
    first = min(began, len(tape.mid) - n_steps)  # a slice earlier, where the order is within the tape's last one
    tape = replace(tape, split=None, levels=None, fills="impact")
    whose: dict[str, Any] = {"n_steps": n_steps, "shares": whole, "side": side}
    # No cap has to let the fills through.
    problem = make_problem(tape=tape, **whose, **options | {"max_participation": None})
    market, order, sign = problem.market, problem.order, problem.order.sign
    traded = np.bincount(rows - first, fills.shares, n_steps)
    push, expected, risk = _push(tape, market, replace(order, shares=filled), first, traded)

    mid, half = tape.mid, tape.spread / 2
    price = float(mid[began]) if arrival_price is None else float(arrival_price)
    n, at = fills.shares, mid[rows]
    known = problem.file is not None
    own = push[rows - first] if known else np.zeros(len(n))
    parts = {
        "delay": sign * (price - mid[rows[0]]) * n,
        "timing": (sign * (mid[rows[0]] - at) - own) * n,
        "impact": own * n,
        "spread": half[rows] * n,
        "concession": (sign * (at - fills.price) - half[rows]) * n,
        "fees": fills.fees,
    }
    seen = {"time": fills.time, "price [$]": fills.price, "shares": n, "mid [$]": at, "spread [$]": 2 * half[rows]}
    volume = tape.volume[rows]
    seen["share of slice's volume"] = np.divide(n, volume, out=np.full(len(n), np.nan), where=volume > 0)
    per_fill = pd.DataFrame(seen | {f"{name} [$]": part for name, part in parts.items()})
    costs = {name: float(part.sum()) for name, part in parts.items()}
    costs["unfilled"] = sign * (price - float(mid[last])) * (whole - filled) if whole > filled else 0.0
    components = pd.Series({name: costs[name] for name in COMPONENTS})
    to_bps = float(bps(whole * price))

    paid = float((fills.price * n).sum() / filled)
    benchmarks = _benchmarks(tape, began, last, price, paid, sign, filled, to_bps)
    table = [("fills", float(components.sum()) * to_bps, expected * to_bps)]
    if agents := list(agents):
        played = replace(tape, mid=_without(tape, first, sign * push)) if known else tape
        table += _alternatives(agents, make_problem(tape=played, **whose, **options), first, price)
    names, realised, model = zip(*table, strict=True)
    alternatives = pd.DataFrame({"shortfall [bps]": realised, "expected [bps]": model}, index=list(names))
    luck = risk**0.5 * to_bps
    notes = _notes(fills, tape, whole, filled, known, arrival is None, n / np.maximum(volume, 1e-300))
    order = replace(order, max_participation=problem.order.max_participation)
    return CostAnalysis(order, price, per_fill, components, benchmarks, alternatives, luck, notes)


def _side(fills: Executions, side: str | None) -> str:
    if side is None and fills.side is None:
        raise InputError(f"{fills.name}: does not say its side; give side, 'sell' or 'buy'")
    if side not in (None, "sell", "buy"):
        raise InputError(f"side = {shown(side)}: must be 'sell' or 'buy'")
    if side is not None and fills.side not in (None, side):
        raise InputError(f"side = {side!r}: the fills of {fills.name} are of a {fills.side}")
    return side or str(fills.side)


def _size(fills: Executions, shares: float | str, filled: float) -> float:
    if isinstance(shares, str):
        try:
            shares = quantity(shares, "size")
        except InputError as error:
            raise InputError(f"shares = {shares!r}: {error}") from None
    if not is_finite(shares) or not shares > 0:
        raise InputError(f"shares = {shown(shares)}: must be a number > 0")
    if filled > shares * (1 + 1e-9):
        raise InputError(
            f"shares = {shares:g}: the fills of {fills.name} are {filled:.10g}, which is more; is one of another order?"
        )
    return float(shares)


def moment(value: Any, what: str, zone: str = "UTC") -> pd.Timestamp:
    """A time, in that zone where it names none.

    Raises:
        InputError: naming ``what``, for a value that is no time, or that the clock's change has twice or leaves out.
    """
    try:
        stamp = pd.Timestamp(value)
        found = stamp.tz_localize(zone_of(zone)) if stamp.tzinfo is None else stamp
    except (TypeError, ValueError):  # pandas'
        found = None
    if found is None or pd.isna(found):
        raise InputError(f"{what} = {shown(value)}: must be a time, as '2026-01-05 09:30'")
    return found.tz_convert("UTC")


def _ns(times: pd.DatetimeIndex) -> np.ndarray:
    """Nanoseconds since 1970; times without a zone are UTC."""
    aware = times.tz_localize("UTC") if times.tz is None else times
    return aware.as_unit("ns").asi8


def _places(tape: Tape, stamps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The slice that each time is in, and whether it is in one."""
    times, length = _ns(tape.time), tape.slice_length * tape.hours_per_day * 3.6e12
    rows = np.searchsorted(times, stamps, side="right") - 1
    return rows, (rows >= 0) & (stamps - times[np.maximum(rows, 0)] < length * (1 + 1e-9))


def _refuse_outside(tape: Tape, stamp: pd.Timestamp, what: str) -> None:
    minutes = tape.slice_length * tape.hours_per_day * 60
    raise InputError(
        f"{what}: {stamp} is in no slice of {tape.name}, whose slices of {minutes:g} minutes begin at {tape.time[0]} "
        f"to {tape.time[-1]}"
    )


def _row_at(tape: Tape, stamp: pd.Timestamp, what: str) -> int:
    """The slice that a time is in.

    Raises:
        InputError: where it is in none.
    """
    rows, inside = _places(tape, np.array([stamp.as_unit("ns").value]))
    if not inside[0]:
        _refuse_outside(tape, stamp, what)
    return int(rows[0])


def _rows(fills: Executions, tape: Tape) -> np.ndarray:
    """The slice of each fill. Shape: (fills,).

    Raises:
        InputError: for a fill in none, or far from its price.
    """
    rows, inside = _places(tape, _ns(fills.time))
    if not inside.all():
        i = int(inside.argmin())
        _refuse_outside(tape, fills.time[i], fills.where(i))
    off = np.abs(fills.price / tape.mid[rows] - 1)
    if off.max() > _FAR:
        i = int(off.argmax())
        raise InputError(
            f"{fills.where(i)}: filled at {fills.price[i]:g}, where the mid of {tape.name} is {tape.mid[rows[i]]:g}: "
            "another instrument, unit, or zone of times?"
        )
    return rows


def _push(tape: Tape, market: Market, order: Order, first: int, traded: np.ndarray) -> tuple[np.ndarray, float, float]:
    """What the trades of each slice do, by the market's equations.

    Returns:
        The price they meet that they moved themselves, I + γ Σ v, of each slice [$]; their expected cost [$]; and the
        variance of the price on what is still to be traded [$²].
    """
    paths, terms = (
        tape.paths(market, order, np.array([first])),
        terms_of(market, replace(order, risk_aversion=1.0, lot_size=0.0)),
    )
    state, gone, cost, risk = opening(order.shares, np.zeros(1)), 0.0, 0.0, 0.0
    push = np.zeros(len(traded))
    for t, v in enumerate(traded):
        now = paths.at(t)
        push[t] = float(state.transient[0]) + float(now.permanent[0]) * gone
        state, fill = trade(state, now, v, terms, last=False)
        gone += v
        cost += float((fill.spread + fill.temporary + fill.transient + fill.permanent + fill.fees)[0])
        risk += float(fill.risk[0])
    return push, cost, risk


def _without(tape: Tape, first: int, push: np.ndarray) -> np.ndarray:
    """Mids without the order's own push, which is constant after the last fill."""
    mid = tape.mid.copy()
    mid[first : first + len(push)] += push
    return mid


def _benchmarks(
    tape: Tape, first: int, last: int, price: float, paid: float, sign: float, filled: float, to_bps: float
) -> pd.DataFrame:
    """Prices that fills are compared with: of arrival, of the interval, of its deadline."""
    inside, following = slice(first, last + 1), np.r_[tape.mid[1:], tape.mid[-1]]
    mean = (tape.mid[inside] + following[inside]) / 2
    volume = tape.volume[inside]
    prices = {"arrival": price, "twap": float(mean.mean())}
    if volume.sum() > 0:
        prices["vwap"] = float((mean * volume).sum() / volume.sum())
    prices["deadline"] = float(tape.mid[last])
    rows = {
        name: {"price [$]": p, "slippage [$]": sign * (p - paid) * filled, "slippage [bps]": 0.0}
        for name, p in prices.items()
    }
    for row in rows.values():
        row["slippage [bps]"] = row["slippage [$]"] * to_bps
    return pd.DataFrame(rows).T


def _alternatives(agents: list[Any], problem: OneAsset, first: int, price: float) -> list[tuple[str, float, float]]:
    """Name, shortfall and its expected part of each agent on the tape. [bps]"""
    found = []
    paths = problem.at(np.array([first]), np.random.default_rng(0))
    # Of a decision at another price than that of the slice they begin in.
    early = problem.order.sign * (price - float(paths.arrival_price[0])) / (price * BPS)
    for name, agent in resolve_all(agents, problem).items():
        act, actions = acting(agent, 1, problem), problem.actions(agent.action_mode)
        costs = totals(act, paths, problem, actions, ("shortfall", "price"))
        scale = float(paths.arrival_price[0]) / price
        realised, luck = (float(costs[key][0]) * scale for key in ("shortfall", "price"))
        found.append((name, realised + early, realised - luck))
    return found


def _notes(
    fills: Executions,
    tape: Tape,
    whole: float,
    filled: float,
    known: bool,
    assumed: bool,
    part: np.ndarray,
) -> tuple[str, ...]:
    """What is assumed, what is missing, what is odd, a sentence each."""
    notes = [*fills.remarks]
    if assumed:
        notes.append(f"the decision is taken as made at the first fill, {fills.time[0]}, so that no delay shows")
    if whole > filled:
        notes.append(
            f"{whole - filled:,.6g} of {whole:,.6g} shares are not among the fills: never traded, or missing; they are "
            "valued at the mid of the last slice (unfilled)"
        )
    if not known:
        notes.append(
            "timing includes the order's own impact, which is in the tape, so that agents trade at its prices and pay "
            "theirs too; a calibrated market (market) tells the two apart"
        )
    over = int((part > 1).sum())
    if over:
        notes.append(f"{over} fills are larger than the volume of their slice on {tape.name}: is it all of the market?")
    notes.append(f"mids are those at the starts of slices of {tape.name}; moves within a slice count as concession")
    return tuple(notes)
