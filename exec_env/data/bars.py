"""Bars: open, high, low, close and volume of a minute, an hour or a day become slices."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from exec_env.base.errors import InputError
from exec_env.base.extras import importing
from exec_env.base.jackknife import Estimate, blocks, error
from exec_env.data.sessions import Session
from exec_env.data.slices import Stamp
from exec_env.market.market import BPS, Market

PRICES = ("open", "high", "low", "close")
_SECOND = 10**9
_MINUTE = 60 * _SECOND
_DAY = 24 * 60 * _MINUTE
_QUIET = 15 * _MINUTE  # without a bar for longer there are no data, where no session says that the market is open
_NIGHT = 120 * _MINUTE  # the same where one does
_DAILY = 0.9 * _DAY
_LONGEST_FOR_SPREAD = 5 * _MINUTE  # the moves of longer bars drown the spread
_OTHER_LENGTH = 30  # steps of another length in a row are bars of that length, and no chance
_BLOCKS = 20  # at most, each of which is one more estimate of all rows
_BIAS = 0.05  # EDGE reads up to 7 % high where trades are few or the spread is as wide as a bar's move; see tests


@dataclass(frozen=True)
class SlicedBars:
    """Slices made of bars."""

    frame: pd.DataFrame
    """One row a slice: ``time`` start [UTC]; ``mid`` the open, which is a trade's price [$]; ``spread``, of which every
    row has the same part of the mid [$]; ``volume``; ``flow`` where bars have it; of daily bars also ``close``."""
    seconds: float
    """Length of a slice. [s]"""
    spread: Estimate
    """Half spread by EDGE [bps]. Where it says nothing its error is infinite; the rows have the prior's then, as they
    have where the error is larger than the estimate."""
    remarks: list[str]
    """What was filled, left out and taken from elsewhere."""

    @property
    def daily(self) -> bool:
        """Whether they are days: weekends are no gaps then, and ``slice_length`` is 1."""
        return self.seconds * _SECOND >= _DAILY


def sliced(
    bars: pd.DataFrame,
    minutes: float = 5.0,
    session: Session | None = None,
    stamp: Stamp = "start",
    name: str = "bars",
) -> SlicedBars:
    """Slices of checked bars.

    A slice without a bar has the price of the last one and no volume: no trade, no bar. So it is for two hours of a
    session, or a quarter of an hour where none is given; for longer there are no data.

    Args:
        bars: ``time`` [ns], ``open``, ``high``, ``low``, ``close``, ``volume`` and, if known, ``flow``, bought less
            sold by takers; in order of time.
        minutes: length of a slice, a multiple of the bars'; longer bars are slices themselves. [minute]
        session: bars outside it are left out, and counted in a remark.
        stamp: whether a bar's time is its start or its end.
        name: what messages call the data.

    Raises:
        InputError: naming the data, for bars of mixed length, longer than a day, or too few; and for ``minutes`` that
            are no multiple of theirs.
    """
    remarks: list[str] = []
    if len(bars) < 2:
        raise InputError(f"{name}: {len(bars)} bars; at least two are needed")
    length = _length(bars["time"].to_numpy(), name)
    daily = length >= _DAILY
    if stamp == "end" and not daily:  # a day is called by its date
        bars = bars.assign(time=bars["time"] - length)
    if daily:
        frame, step, spread = _days(bars), _DAY, Estimate(np.nan, np.inf)
        remarks.append(
            "daily bars tell volatility, from open to close, and volume; not the spread, depth, impact or the volume's "
            "profile over the day, which are the prior's"
        )
        return SlicedBars(_with_spread(frame, spread, remarks), step / _SECOND, spread, remarks)
    step = max(round(minutes * _MINUTE), length)
    if step % length:
        raise InputError(
            f"minutes = {minutes:g}: must be a multiple of the length of {name}, {length / _MINUTE:g} minutes"
        )
    if step > minutes * _MINUTE:
        remarks.append(f"{name}: slices are as long as bars, {length / _MINUTE:g} minutes")
    placed = _placed(bars, length, step, session, name, remarks)
    spread = half_spread(placed.bars, placed.day, length)
    return SlicedBars(_with_spread(_summed(placed, step, remarks), spread, remarks), step / _SECOND, spread, remarks)


def of_trades(parts: Iterable[pd.DataFrame], minutes: float = 1.0) -> tuple[pd.DataFrame, list[str]]:
    """Bars of trades, a part at a time, and what to say of them.

    Flow is that of trades whose side is known. Where none is there is no flow: a side told by the price's last move,
    the tick rule, goes with the price whether or not takers push it.

    Args:
        parts: ``time`` [ns], ``price``, ``size`` and, if known, ``side``, NaN where it is not; in order of time.
        minutes: length of a bar. [minute]

    Raises:
        InputError: when there are no trades.
    """
    step, sums, unknown, total = round(minutes * _MINUTE), list[pd.DataFrame](), 0.0, 0.0
    for trades in parts:
        if not len(trades):
            continue
        time, price, size = (trades[name].to_numpy() for name in ("time", "price", "size"))
        at = time // step
        first = np.flatnonzero(np.r_[True, at[1:] != at[:-1]])
        part = {
            "open": price[first],
            "high": np.maximum.reduceat(price, first),
            "low": np.minimum.reduceat(price, first),
            "close": price[np.r_[first[1:], len(at)] - 1],
            "volume": np.add.reduceat(size, first),
        }
        total += float(size.sum())
        if "side" in trades:
            side = trades["side"].to_numpy()
            unknown += float(size[np.isnan(side)].sum())
            part["flow"] = np.add.reduceat(np.nan_to_num(side) * size, first)
        else:
            unknown += float(size.sum())
        sums.append(pd.DataFrame(part, index=at[first]))
    if not sums:
        raise InputError("there are no trades")
    # Parts share no more than the bars at their ends.
    how = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum", "flow": "sum"}
    every = pd.concat(sums)
    bars = every.groupby(level=0).agg({str(name): how[str(name)] for name in every})
    if unknown == total:
        said = ["trades have no sides, so that there is no flow, and impact is the prior's"]
        bars = bars.drop(columns="flow", errors="ignore")
    else:
        said = [f"{unknown / total:.2g} of the volume is of an unknown side, and in no flow"] if unknown else []
    bars.insert(0, "time", bars.index.to_numpy() * step)
    return bars.reset_index(drop=True), said


def _length(time: np.ndarray, name: str) -> int:
    """Length of the bars, the shortest step. [ns]

    Raises:
        InputError: for steps that are no multiples of it, for many steps in a row of another length, and for more than
            a day.
    """
    steps = np.diff(time)
    length = int(steps.min())
    if length >= _DAILY:
        # Days are called by dates, whose midnights in a zone are not always 24 hours apart.
        if np.median(steps) > 1.5 * _DAY:
            raise InputError(f"{name}: bars of {np.median(steps) / _DAY:.3g} days; a bar must be a day at most")
        return length
    longest = max(_NIGHT, 2 * length)
    odd = np.flatnonzero((steps % length > 0) & (steps < longest))
    if odd.size:
        row = int(odd[0]) + 1
        raise InputError(
            f"{name}: bars of mixed length: that of {pd.Timestamp(time[row])} comes {steps[row - 1] / _MINUTE:.4g} "
            f"minutes after the one before, others {length / _MINUTE:.4g}; give bars of one length"
        )
    # Shorter bars go on after a night, and days have nothing between nights.
    for each in (steps[steps < longest], np.minimum(steps, longest)):
        change = np.flatnonzero(np.r_[True, each[1:] != each[:-1], True])
        other = each[change[:-1]][(np.diff(change) >= _OTHER_LENGTH) & (each[change[:-1]] > length)]
        if other.size:
            what = f"{other[0] / _MINUTE:.4g} minutes" if other[0] < longest else "longer"
            raise InputError(
                f"{name}: bars of mixed length: {length / _MINUTE:.4g} minutes and {what}; give bars of one length"
            )
    return length


class _Placed(NamedTuple):
    """Bars, and where each is."""

    bars: pd.DataFrame
    part: np.ndarray
    """Number of the part without a gap that each bar is in."""
    begins: np.ndarray
    """Start of the first slice of each part. [ns]"""
    ends: np.ndarray
    """End of the last slice of each part, not after the session's. [ns]"""
    day: np.ndarray
    """Number of each bar's day."""


def _placed(
    bars: pd.DataFrame, length: int, step: int, session: Session | None, name: str, remarks: list[str]
) -> _Placed:
    time = bars["time"].to_numpy()
    if session is None:
        silence = np.diff(time) - length
        part = np.cumsum(np.r_[True, silence > _QUIET]) - 1
        first = np.flatnonzero(np.r_[True, np.diff(part) > 0])
        last = np.r_[first[1:], len(time)] - 1
        new = np.r_[True, silence > _NIGHT]
        since = time - time[new][np.cumsum(new) - 1]
        day = np.cumsum(new | np.r_[False, np.diff(since // _DAY) > 0]) - 1
        # Slices of all days begin at the same clock: at multiples of their length, as bars do.
        phase = time[0] % length
        return _Placed(bars, part, (time[first] - phase) // step * step + phase, time[last] + length, day)
    at, opened = session.stretch(time)
    if (at < 0).any():
        remarks.append(f"{name}: {(at < 0).sum()} of {len(at)} bars are outside the session {session.text}: left out")
    bars, time, at = bars[at >= 0], time[at >= 0], at[at >= 0]
    if len(bars) < 2:
        raise InputError(f"{name}: {len(bars)} bars are inside the session {session.text}; at least two are needed")
    # Where one stretch opens as another closes, at midnight of a market that never does, there is no gap.
    joint = np.cumsum(np.r_[True, opened.opens[1:] > opened.closes[:-1]])
    opens = opened.opens[np.searchsorted(joint, joint)]
    closes = opened.closes[np.searchsorted(joint, joint, side="right") - 1]
    part = np.cumsum(np.r_[True, (np.diff(joint[at]) > 0) | (np.diff(time) - length > _NIGHT)]) - 1
    first = np.flatnonzero(np.r_[True, np.diff(part) > 0])
    last = np.r_[first[1:], len(time)] - 1
    begins = opens[at[first]] + (time[first] - opens[at[first]]) // step * step
    # The last bars before a close can be missing because nobody traded; after the end of the data nobody knows.
    close = closes[at[last]]
    quiet = close - time[last] - length <= _NIGHT
    quiet[-1] = False
    ends = np.where(quiet, close, np.minimum(time[last] + length, close))
    return _Placed(bars, part, begins, ends, opened.day[at])


def _summed(placed: _Placed, step: int, remarks: list[str]) -> pd.DataFrame:
    bars, part = placed.bars, placed.part
    time = bars["time"].to_numpy()
    counts = -(-(placed.ends - placed.begins) // step)
    offset = np.r_[0, np.cumsum(counts)]
    at = offset[part] + (time - placed.begins[part]) // step
    every = np.arange(offset[-1])
    of = np.repeat(np.arange(len(counts)), counts)
    start = placed.begins[of] + (every - offset[of]) * step
    # The bar that a slice begins with, else the one before it; before a part's first bar there is only that.
    following = np.searchsorted(at, every)
    begins_with = np.minimum(following, len(at) - 1)
    exact = (at[begins_with] == every) & (time[begins_with] == start)
    before = following - 1
    known = (before >= 0) & (part[np.maximum(before, 0)] == of)
    opens, closes = bars["open"].to_numpy(), bars["close"].to_numpy()
    mid = np.where(exact | ~known, opens[begins_with], closes[np.maximum(before, 0)])
    frame = pd.DataFrame({"time": pd.to_datetime(start, utc=True), "mid": mid})
    for column in ("volume", "flow"):
        if column in bars:
            frame[column] = np.bincount(at, bars[column].to_numpy(), len(every))
    empty = np.bincount(at, minlength=len(every)) == 0
    if empty.any():
        remarks.append(f"{empty.sum()} of {len(every)} slices have no bar: no trade, and the price of the last")
    return frame


def _days(bars: pd.DataFrame) -> pd.DataFrame:
    frame = pd.DataFrame({"time": pd.to_datetime(bars["time"].to_numpy(), utc=True), "mid": bars["open"].to_numpy()})
    kept = [name for name in ("volume", "flow") if name in bars]
    return frame.assign(**{name: bars[name].to_numpy() for name in [*kept, "close"]})


def _with_spread(frame: pd.DataFrame, half: Estimate, remarks: list[str]) -> pd.DataFrame:
    used = half.error <= half.value
    if used:
        said = (
            f"half spread by EDGE, {half.value:.3g} ± {half.error:.2g} bps; low where sides go in runs or a push stays"
        )
    elif np.isfinite(half.error):
        said = f"half spread is the prior's: the bars' is too weak, {half.value:.2g} ± {half.error:.2g} bps"
    else:
        said = "half spread is the prior's: the bars say nothing of it"
    remarks.append(said)
    return frame.assign(spread=2 * (half.value if used else Market.half_spread) * BPS * frame["mid"])


def half_spread(bars: pd.DataFrame, day: np.ndarray, length: int) -> Estimate:
    """Half spread by EDGE, an estimator of squared spreads by open, high, low and close.

    Ardia, Guidotti & Kroencke (2024), "Efficient estimation of bid-ask spreads from open, high, low, and close prices",
    Journal of Financial Economics 161.

    The error is by the jackknife over days, and its own bias of some percent. EDGE sees what prices give back: where a
    trade's push stays it reads low by half of it, and it takes sides as independent: where their autocorrelation is 0.5
    it reads a quarter to a third low.

    Args:
        bars: in order of time, of one length; prices may be missing.
        day: number of each bar's day; no move from a day to the next counts.
        length: of a bar. [ns]

    Returns:
        [bps] Not finite where the bars say nothing: the square is negative, or they are longer than five minutes.
    """
    nothing = Estimate(np.nan, np.inf)
    if length > _LONGEST_FOR_SPREAD:
        return nothing
    with importing("bars"):
        import bidask
    day = np.unique(day, return_inverse=True)[1]
    cut = np.flatnonzero(np.diff(day)) + 1
    block = blocks(day)
    block = block * min(_BLOCKS, block[-1] + 1) // (block[-1] + 1)
    # A row without prices between days.
    block = np.insert(block, cut, -1)
    prices = [np.insert(bars[name].to_numpy(np.float64), cut, np.nan) for name in PRICES]

    def square(left_out: int) -> float:
        root = bidask.edge(*(np.where(block == left_out, np.nan, column) for column in prices), sign=True)
        return root * abs(root)

    squared = square(-1)
    without = np.array([square(i) for i in range(int(block.max()) + 1)])
    if not squared > 0 or not np.isfinite(without).all():
        return nothing
    spread = squared**0.5
    sampling = error(without) / (2 * spread)
    return Estimate(spread, float(np.hypot(sampling, _BIAS * spread))).scaled(0.5 / BPS)
