"""One slice of execution: a pure function of the state so far, the shares traded and one slice of a path.

Everything here is written in the order's frame: prices are moves since arrival in the order's favour, costs
are positive when they hurt, and a buy is the same as a sell. Floats, NumPy arrays and torch tensors go
through the same code; shapes are whatever the arguments broadcast to.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from exec_env.base.namespace import namespace
from exec_env.market.market import BPS, Market
from exec_env.market.multiples import Multiples
from exec_env.market.order import Order
from exec_env.market.walking import walking_cost


class Slice(NamedTuple):
    """What the market does in one slice (or, with one more axis, in all of them)."""

    log_liquidity: Any  # [-]             seen before trading
    half_spread: Any  # [$]               seen
    volume: Any  # [shares]               seen
    variance: Any  # [$²]                 seen
    drift: Any  # [$]                     seen: α Δ S0, the expected price move in the order's favour
    temporary: Any  # [$/share per share^δ] the concession is this · v^δ: ``Market.slope`` · impact; not seen
    permanent: Any  # [$/share per share] γ
    decay: Any  # [-]                     share of the transient push that survives; not seen
    price_shock: Any  # [$]               martingale part of the price move, in the order's favour; not seen
    slippage: Any  # [$]                  extra cost of each share filled; not seen
    exponent: Any = 1.0  # [-]            δ
    levels: Any = ()  # of the book's side that is hit, from the touch on: pairs of size [shares] and distance from the
    # touch [$]; where there are any they are walked, and ``temporary`` is not used; not seen
    features: Any = ()  # what else the data show, a column each [standard deviations from the mean]; seen

    @property
    def columns(self) -> tuple[Any, ...]:
        """All entries side by side, size and distance of each level after the others, features last."""
        return (*self[:-2], *itertools.chain.from_iterable(self.levels), *self.features)

    def of(self, columns: Iterable[Any]) -> "Slice":
        """The slice of these ``columns``, with as many features as this one."""
        columns = tuple(columns)
        first, end = len(self) - 2, len(columns) - len(self.features)
        levels = zip(columns[first:end:2], columns[first + 1 : end : 2], strict=True)
        return Slice._make((*columns[:first], tuple(levels), columns[end:]))

    def map(self, change: Callable[[Any], Any]) -> "Slice":
        """The same with each column changed."""
        return self.of(map(change, self.columns))

    def each(self) -> Iterator[tuple[Any, ...]]:
        """Slice by slice, as plain tuples, where columns are lists of one entry per slice."""
        *columns, levels, features = self
        books = zip(*(zip(*level, strict=True) for level in levels), strict=True) if levels else itertools.repeat(())
        shown = zip(*features, strict=True) if features else itertools.repeat(())
        return zip(*columns, books, shown, strict=False)


class Terms(NamedTuple):
    """What does not change over an episode."""

    transient_impact: float  # κ [$/share per share]
    risk_aversion: float  # λ [1/$]
    max_participation: float | None  # [-]
    terminal_penalty: float  # [-]
    fee: Any = None  # of a share [$]; None where there is none, which costs no time
    lots: Multiples | None = None  # of what shares are traded; None: of any number, likewise


class State(NamedTuple):
    """State of an execution before a slice."""

    remaining: Any  # x [shares]
    transient: Any  # I, the part of our push that is still to decay [$]
    price_move: Any  # mid price since arrival, in the order's favour, without I [$]
    participation: Any  # share of the last slice's volume that we traded [-]
    carried: Any = 0.0  # asked for so far and not traded yet, because it is less than a lot [shares]


class Fill(NamedTuple):
    """What one slice did. Costs in $."""

    shares: Any  # traded in the slice, the closing block included [shares]
    block: Any  # of these, sold at once after the last slice [shares]
    beyond_cap: Any  # asked for, with what was carried, less the cap, negative within it [shares]
    clipped: Any  # whether more was asked for than could be traded
    touch: Any  # price of a first share, as a move since arrival in the order's favour [$]
    shortfall: Any  # arrival value of the shares traded less what they brought [$]
    spread: Any
    temporary: Any
    transient: Any
    permanent: Any
    price: Any  # price risk borne by the shares still held, drift included
    slippage: Any
    fees: Any
    risk: Any  # λ variance x'²: a charge, not a payment
    drift: Any  # the part of ``price`` that is expected
    objective: Any  # what counts for J: all but the martingale part of the price, which no policy can move

    @property
    def excess(self) -> Any:
        """What was asked for beyond the cap. [shares]"""
        return namespace(self.beyond_cap).maximum(self.beyond_cap, 0.0)


COMPONENTS = ("spread", "temporary", "transient", "permanent", "price", "slippage", "fees")
"""The fields of Fill that add up, over an episode, to the implementation shortfall."""


_new = tuple.__new__


def terms(market: Market, order: Order) -> Terms:
    """The constants of an episode."""
    free = isinstance(market.taker_fee, float) and market.taker_fee == 0.0
    return Terms(
        market.transient_impact,
        order.risk_aversion,
        order.max_participation,
        order.terminal_penalty,
        None if free else market.fee,
        order.lots,
    )


def opening(shares: Any, zero: Any = 0.0) -> State:
    """The state at arrival: all shares left, no push, no move. ``zero`` gives the type and shape of the rest."""
    return State(shares, zero, zero, zero, zero)


def bps(notional: Any) -> Any:
    """Factor that turns $ into basis points of the arrival notional."""
    return 1.0 / (BPS * notional)


def price_per_share(shares: Any, touch: Any, shortfall: Any, fees: Any = 0.0) -> Any:
    """Average price of a slice's shares as a move since arrival, from its fill; the touch where there are none. [$]

    Fees are not in it: they are paid beside the price.
    """
    none = shares == 0
    return none * touch - (shortfall - fees) / (shares + none)


def temporary_cost(slope: Any, v: Any, exponent: Any) -> Any:
    """What the concession costs, slope · v^(1 + δ). [$]

    Args:
        slope: the concession is slope · v^δ. [$/share per share^δ]
        v: shares traded, not negative.
        exponent: δ.

    Source: Almgren (2003), "Optimal execution with nonlinear impact functions", equation (6); δ = 1 is Almgren &
    Chriss (2001), δ = 0.6 is found by Almgren, Thum, Hauptmann & Li (2005).
    """
    # A power takes ten times as long as a product. Of a tensor the processor would have to wait to know.
    if exponent == 1.0 if isinstance(exponent, float) else isinstance(exponent, np.ndarray) and (exponent == 1.0).all():
        return slope * v * v
    return slope * v ** (1.0 + exponent)


def trade(state: State, now: Slice, asked: Any, terms: Terms, last: Any) -> tuple[State, Fill]:
    """Trade one slice.

    With v the shares traded, x' = x − v what is still held, the costs of a slice are
        spread h v + temporary (η/Δ) impact v² + transient I v + permanent γ v x' − x' · (price shock + drift) + fees v
    where δ = 1; for other exponents of impact see ``temporary_cost``, for a recorded book ``walking_cost``;
    and the risk charge is λ variance x'². After the last slice what is left, b, is sold at once and uncapped, on top of
    the last trade: its temporary cost is c(v + b) − c(v) + (terminal_penalty − 1) c(b), with c(v) that of v shares
    alone, so that splitting the last trade never pays; and it comes after the push of that trade (I + κ v, and γ v).
    Then I' = decay (I + κ v), and the price moves by shock + drift − γ v.

    Args:
        state: before the slice.
        now: the slice.
        asked: shares to trade; what is infeasible is clipped to [0, min(x, cap · volume)], and what is left is rounded
            down to whole lots, where the order is in lots: it carries the rest to the next slice. [shares]
        terms: constants of the episode.
        last: whether this is the last slice; a plain False, where it is nobody's, saves a third of the work.

    Returns:
        The state after the slice, and what it cost.

    Source: Almgren & Chriss (2001), section 1; transient impact as in Obizhaeva & Wang (2013), section 3.
    """
    remaining, pushed, move, _, carried = state
    xp = namespace(remaining)
    _, half_spread, volume, variance, expected_move, slope, gamma, decay, shock, slippage_each, exponent, levels, _ = (
        now
    )
    kappa, risk_aversion, max_participation, terminal_penalty, fee, lots = terms
    if lots is not None:
        asked = asked + carried
    if max_participation is None:
        limit, beyond_cap = remaining, 0.0 * remaining
    else:
        cap = max_participation * volume
        limit, beyond_cap = xp.minimum(remaining, cap), asked - cap
    v = possible = xp.clip(asked, 0.0, limit)
    if lots is None:
        left = remaining - v
    else:
        # What is carried to the next slice is less than a lot: what the cap holds back is not.
        v = lots.down(possible)
        left, carried = lots.nearest(remaining - v), possible - v

    # What the fills themselves say is the shortfall: cash against arrival value. What the equations say are its
    # components.
    pushed_on = pushed + kappa * v
    permanent_push = gamma * v
    touch = move - half_spread - pushed - slippage_each
    transient = pushed * v
    if last is False:
        shares, block, held = v, 0.0 * v, left
        temporary = walking_cost(levels, v) if levels else temporary_cost(slope, v, exponent)
        shortfall = temporary - v * touch
    else:
        block = left * last
        shares, held = v + block, left - block
        temporary, alone = (
            walking_cost(levels, n) if levels else temporary_cost(slope, n, exponent) for n in (shares, block)
        )
        temporary = temporary + (terminal_penalty - 1.0) * alone
        block_touch = move - permanent_push - half_spread - pushed_on - slippage_each
        shortfall = temporary - v * touch - block * block_touch
        transient = transient + pushed_on * block

    spread = half_spread * shares
    permanent = permanent_push * left
    slippage = slippage_each * shares
    risk = risk_aversion * variance * held * held
    drift = -expected_move * held
    price = drift - held * shock
    objective = spread + temporary + transient + permanent + slippage + drift + risk
    if fee is None:
        fees = 0.0 * shares
    else:
        fees = fee * shares
        shortfall, objective = shortfall + fees, objective + fees
    # Tuples made as NamedTuple makes them, in half its time.
    fill = _new(Fill, (
        shares, block, beyond_cap, asked > possible, touch, shortfall,
        spread, temporary, transient, permanent, price, slippage, fees, risk, drift, objective,
    ))  # fmt: skip
    after = _new(State, (
        held,
        decay * pushed_on,
        move + shock + expected_move - permanent_push,
        # The tiny number, which single precision has too, is for recorded slices without any volume.
        v / (volume + 1e-30),
        carried,  # the same zeros all the time where there are no lots
    ))  # fmt: skip
    return after, fill


def block_cost(state: State, now: Slice, fill: Fill, terms: Terms) -> Any:
    """What the closing block costs: the last slice, less the same trade by who has nothing left after it. [$]

    Without the price's move since arrival, which is luck. Arguments are those of ``trade``, and its fill.
    """
    v = fill.shares - fill.block
    alone = walking_cost(now.levels, v) if now.levels else temporary_cost(now.temporary, v, now.exponent)
    push = state.transient + (terms.transient_impact + now.permanent) * v
    each = now.half_spread + push + now.slippage
    return fill.temporary - alone + fill.block * (each if terms.fee is None else each + terms.fee)
