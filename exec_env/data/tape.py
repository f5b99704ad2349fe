"""Recorded markets: slices read from a file, cut into episodes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from exec_env.base.errors import InputError
from exec_env.base.validation import shown
from exec_env.data import ticks
from exec_env.data.columns import LEVEL
from exec_env.data.features import Units, checked, described, features_of, labelled, normalised, refuse_made, units_of
from exec_env.data.kinds import NEEDS
from exec_env.data.order_book import OrderBook
from exec_env.data.reading import Reading
from exec_env.data.slices import Stamp, UsedRows, cleaner_of, steps_of, trading_day
from exec_env.data.split import Part, Split
from exec_env.data.starts import possible_starts
from exec_env.data.tables import DataFile
from exec_env.data.ticks import opened, recorded
from exec_env.market.execution import Slice
from exec_env.market.market import BPS, Market
from exec_env.market.order import Order
from exec_env.market.paths import Normals, Paths, stress_recorded

Fills = Literal["impact", "book"]
_OURS = ("mid", "spread", "volume", "depth")


@dataclass(frozen=True)
class Tape:
    """Slices of a recorded market.

    Raises:
        InputError: naming column and row, for NaNs, prices or depths that are not positive, negative spreads or
            volumes, times that are unsorted or repeated, and fewer than two rows.
    """

    time: pd.DatetimeIndex
    mid: np.ndarray
    """Mid price at the start of the slice. [$]"""
    spread: np.ndarray
    """Best ask minus best bid at the start of the slice. [$]"""
    volume: np.ndarray
    """Market volume of the slice. [shares]"""
    depth: np.ndarray | None = None
    """Resting size near the touch at the start of the slice. [shares]"""
    hours_per_day: float = 6.5
    """Length of a trading day, the unit of time of every rate; 24 where trading never stops. [hour]"""
    name: str = "recording"
    columns: dict[str, str] = field(default_factory=dict)
    """Where each number came from: our name -> column or expression."""
    levels: OrderBook | None = None
    """The book at the start of the slice."""
    fills: Fills = "impact"
    """What a trade costs beyond the touch: by the market's temporary impact, or by walking the recorded book."""
    split: Split | None = None
    """Rows for training and rows for evaluation; None: all rows are for both."""
    part: Part = "training"
    """Part of the split that episodes are cut from, where there is a split."""
    remarks: tuple[str, ...] = ()
    """What was assumed and left out as the files were read, a sentence each."""
    features: Mapping[str, np.ndarray] = field(default_factory=dict)
    """What else agents see of a slice, by name: known at its start, in any unit."""
    given_units: Mapping[str, Units] = field(default_factory=dict)
    """Units of features that are not those of the training rows, such as a run's own on another tape."""

    def __post_init__(self) -> None:
        for name in _OURS:
            column = getattr(self, name)
            if column is None:
                continue
            try:
                object.__setattr__(self, name, np.asarray(column, dtype=np.float64))
            except (TypeError, ValueError):  # NumPy's
                raise InputError(f"{self.name}: column {name!r} must hold numbers") from None
            if getattr(self, name).shape != (len(self.time),):
                raise InputError(f"{self.name}: column {name!r} must have {len(self.time)} rows, as many as 'time'")
        if len(self.time) < 2:
            raise InputError(f"{self.name}: {len(self.time)} rows; a recorded market needs at least two")
        if not isinstance(self.hours_per_day, int | float) or not 0 < self.hours_per_day <= 24:
            raise InputError(f"{self.name}: hours_per_day = {self.hours_per_day!r}: must be in (0, 24]")
        if self.fills not in get_args(Fills):
            raise InputError(f"fills = {self.fills!r}: must be 'impact' or 'book'")
        if self.fills == "book" and self.levels is None:
            raise InputError(
                f"{self.name}: fills = 'book': needs the levels of the book, columns {', '.join(LEVEL)} with # from 0 "
                "or 1, or tape columns for these four"
            )
        self._refuse(np.asarray(self.time.isna()), "time", "is not a time")
        steps = np.diff(self.time.to_numpy()) / np.timedelta64(1, "s")
        self._refuse(np.r_[False, steps == 0], "time", "is the same time as the row before")
        self._refuse(np.r_[False, steps < 0], "time", "is earlier than the row before; sort the file by time")
        for name in _OURS:
            column = getattr(self, name)
            if column is None:
                continue
            self._refuse(~np.isfinite(column), name, "is not a finite number")
            positive = name in ("mid", "depth")
            self._refuse(column <= 0 if positive else column < 0, name, f"must be {'>' if positive else '>='} 0")
        if self.levels is not None:
            self.levels.check(self.mid, self.name)
        object.__setattr__(self, "features", checked(self.features, len(self.time), self.name))

    def _refuse(self, bad: np.ndarray, column: str, why: str) -> None:
        rows = np.flatnonzero(bad)
        if rows.size:
            value = getattr(self, column)[rows[0]]
            more = f" (and {rows.size - 1} more rows)" if rows.size > 1 else ""
            raise InputError(f"{self.name}: row {rows[0] + 1}, {column!r}: {value} {why}{more}")

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        columns: dict[str, str] | None = None,
        hours_per_day: float | None = None,
        name: str = "recording",
        stamp: Stamp = "start",
        reading: Reading | None = None,
        features: Mapping[str, Any] | None = None,
    ) -> "Tape":
        """Read slices from a frame with columns time, mid, spread, volume and, if known, depth and levels of the book.

        Args:
            frame: one row a slice.
            columns: where the file has other names: our name -> its column, or an arithmetic expression of its
                columns, such as ``{"volume": "(buys + sells) / midpoint"}``. Of levels, # is the number:
                ``{"bid_price_#": "midpoint * (1 + bids_distance_#)"}``.
            hours_per_day: length of a trading day; None: as ``exec_env.data.ticks.read`` finds it. [hour]
            name: what error messages call the data.
            stamp: whether a row's volume is that from its time on, or up to it.
            reading: how times and numbers are read.
            features: what else agents see of a slice: a name -> a column or arithmetic of columns, or the fields of
                ``exec_env.data.features.Feature``. A row's value is taken as known at the row's time, whatever
                ``stamp`` is: a column that is worked out from the slice that begins there looks ahead.

        Raises:
            InputError: for a column that is missing, or data that cannot be right (see the class).
        """
        if not isinstance(frame, pd.DataFrame):
            raise InputError(f"frame = {shown(frame)}: must be a pandas DataFrame")
        names, reading = {} if columns is None else columns, reading or Reading()
        file = DataFile(Path(name), names, reading, frame, tape=True, features=features_of(features))
        return cls._of_rows([file], hours_per_day, stamp, name)

    @classmethod
    def read(
        cls,
        paths: str | Path | Sequence[str | Path],
        columns: dict[str, str] | None = None,
        hours_per_day: float | None = None,
        stamp: Stamp = "start",
        reading: Reading | None = None,
        minutes: float | None = None,
        features: Mapping[str, Any] | None = None,
    ) -> "Tape":
        """Read slices from files: recorded ones, or books with volumes, as they are; else made as for calibration.

        Args:
            paths: files, or patterns of names, as of ``exec_env.data.ticks.read``.
            columns: see ``from_frame``.
            hours_per_day: see ``from_frame``.
            stamp: see ``from_frame``.
            reading: how the files are read.
            minutes: length of slices made of ticks or bars, by default 5; also of books, which are rows else. [minute]
            features: see ``from_frame``; of files whose rows are slices.

        Raises:
            InputError: naming file, row and reason.
        """
        reading = reading or Reading()
        files = opened(paths, {} if columns is None else columns, reading, True, features_of(features))
        name = str(files[0].path) + (f" and {len(files) - 1} more" if len(files) > 1 else "")
        kinds = {file.kind for file in files}
        if kinds == {"slices"} or (kinds == {"book"} and minutes is None and not files[0].lobster):
            return cls._of_rows(files, hours_per_day, stamp, name)
        refuse_made(files[0].features, name, kinds)
        slices = ticks.read(paths, minutes or 5.0, hours_per_day, dict(columns or {}), reading, stamp=stamp)
        made = cls.from_frame(slices.tape, None, slices.hours_per_day, name)
        return replace(made, remarks=tuple(slices.cleaner.said()))

    @classmethod
    def _of_rows(cls, files: list[DataFile], hours_per_day: float | None, stamp: Stamp, name: str) -> "Tape":
        """The tape whose slices are rows of the files."""
        if not isinstance(stamp, str) or stamp not in get_args(Stamp):
            raise InputError(f"tape_stamp = {shown(stamp)}: must be 'start' or 'end'")
        cleaner = cleaner_of(files)
        frame = recorded(files, cleaner, {file.path: UsedRows() for file in files}, stamp == "end")
        if len(frame) < 2:
            raise InputError(f"{name}: {len(frame)} rows; a recorded market needs at least two")
        taken = files[0].taken()
        levels = None
        if files[0].kind == "book":
            frame = frame.rename(columns={"bid": "bid_price_1", "ask": "ask_price_1"})
            levels = OrderBook.of(frame, len(files[0].levels), name)
            bid, ask = levels.bid_price[:, 0], levels.ask_price[:, 0]
            for ours, best in (("mid", (ask + bid) / 2), ("spread", ask - bid)):
                if ours not in frame:
                    frame[ours], taken[ours] = best, "(best prices)"
        if "volume" not in frame:
            raise InputError(f"{name}: column 'volume' is missing; it needs {', '.join(NEEDS['slices'])}")
        seconds = float(np.median(steps_of(frame)))
        hours = trading_day(frame, seconds, hours_per_day, files[0], cleaner)
        own: dict[str, Any] = {ours: frame[ours].to_numpy() for ours in _OURS if ours in frame}
        book = {ours: text for ours, text in files[0].own.items() if ours in LEVEL}
        sources = {ours: text for ours, text in taken.items() if "_price_" not in ours and "_size_" not in ours} | book
        features = files[0].features
        return cls(
            pd.DatetimeIndex(frame["time"]),
            **own,
            hours_per_day=hours,
            name=name,
            columns=sources | {labelled(ours): of.column for ours, of in features.items()},
            levels=levels,
            remarks=tuple(cleaner.said()),
            features={ours: frame[labelled(ours)].to_numpy() for ours in features},
            given_units={ours: of.units for ours, of in features.items() if of.units is not None},
        )

    @cached_property
    def slice_length(self) -> float:
        """Median time from row to row. [day]"""
        return float(np.median(np.diff(self.time.to_numpy()) / np.timedelta64(1, "s"))) / (3600 * self.hours_per_day)

    @cached_property
    def sha256(self) -> str:
        """Checksum of the slices: whatever file they came from, and whatever its columns were called."""
        digest = sha256(self._stamps)
        for column in (getattr(self, name) for name in _OURS):
            digest.update(b"none" if column is None else np.ascontiguousarray(column).data)
        for column in () if self.levels is None else vars(self.levels).values():
            digest.update(np.ascontiguousarray(column).data)
        for name, column in self.features.items():
            digest.update(labelled(name).encode() + column.tobytes())
        digest.update(repr(float(self.hours_per_day)).encode())
        return digest.hexdigest()

    @cached_property
    def prices_sha256(self) -> str:
        """Checksum of times and mid prices alone: the same market at the same time, whatever else was taken of it."""
        digest = sha256(self._stamps)
        digest.update(np.ascontiguousarray(self.mid).data)
        return digest.hexdigest()

    @property
    def _stamps(self) -> bytes:
        return self.time.to_numpy("datetime64[ns]").view(np.int64).tobytes()

    @property
    def rows(self) -> tuple[int, int]:
        """The first row that episodes are of, and the first after them."""
        return (0, len(self.mid)) if self.split is None else self.split.rows(self.part)

    @property
    def _known(self) -> slice:
        """Rows that averages are taken from: those for training."""
        return slice(None if self.split is None else self.split.training)

    @cached_property
    def units(self) -> dict[str, Units]:
        """Mean and standard deviation that each feature is seen in: of the training rows, where none are given."""
        return units_of(self.features, self._known, self.given_units, self.name)

    def market(self, base: Market | None = None) -> Market:
        """The market whose averages are those of the tape, or of its training rows where it is split.

        Slices do not show how the price answers to us. Impact comes from ``base``, scaled so that the same
        participation costs the same part of a day's volatility: η, γ, κ ∝ σ S0 / V (Almgren et al. 2005).
        """
        base, known = base or Market(), self._known
        mid, spread = self.mid[known], self.spread[known]
        returns = np.diff(np.log(mid))[~self.gaps[: len(mid) - 1]]
        volatility = float(np.std(returns)) / self.slice_length**0.5 if returns.size else 0.0
        daily_volume = float(self.volume[known].mean()) / self.slice_length
        price = float(mid.mean())
        if daily_volume == 0:
            raise InputError(f"{self.name}: column 'volume' is zero throughout")
        if not volatility > 0:
            raise InputError(f"{self.name}: column 'mid' is the same throughout, so that impact has no scale")
        return replace(
            base.rescaled(price, volatility, daily_volume),
            half_spread=float((spread / mid).mean()) / 2 / BPS,
            liquidity_volatility=0.0 if self.depth is None else float(np.log(self.depth[known]).std()),
        )

    @cached_property
    def gaps(self) -> np.ndarray:
        """Whether the step after each row but the last is a gap, more than 1.5 slices. Shape: (rows − 1,)."""
        steps = np.diff(self.time.to_numpy()) / np.timedelta64(1, "s")
        return steps > 1.5 * np.median(steps)

    def starts(self, order: Order) -> np.ndarray:
        """Rows at which an episode of ``order`` can begin; it runs over no gap but the order's nights, nor the end.

        Raises:
            InputError: when there is none.
        """
        time = self.time.to_numpy("datetime64[ns]").view(np.int64) / 1e9
        possible = possible_starts(time, self.gaps, self.rows, order, self.hours_per_day, self.name)
        if possible.size == 0:
            gaps, (begin, end) = np.r_[0, np.cumsum(self.gaps)], self.rows
            longest = int(np.bincount(gaps[begin:end]).max()) if end > begin else 0
            which = "" if self.split is None else f"{self.part} "
            raise InputError(
                f"{self.name}: no {order.n_steps} rows without a gap among its {end - begin} {which}rows; "
                f"n_steps must be at most {longest}"
            )
        return possible

    def check(self, order: Order) -> None:
        """Refuse an order that this market cannot fill within the cap.

        Raises:
            InputError: naming the order's size and the largest that fits, or a slice length that is not the tape's.
        """
        if not np.isclose(order.slice_length, self.slice_length):
            raise InputError(
                f"Order.slice_length = {order.slice_length:g} day: the slices of {self.name} have {self.slice_length:g}"
            )
        if order.max_participation is not None:
            most = order.max_participation * float(self.volume[self._known].mean()) * order.n_steps
            if order.shares > most:
                raise InputError(
                    f"Order.shares = {order.shares:g}: {order.n_steps} slices of {self.name} let through about "
                    f"{most:.4g} at max_participation = {order.max_participation:g}; choose at most that"
                )

    def paths(self, market: Market, order: Order, starts: np.ndarray, normals: Normals | None = None) -> Paths:
        """Episodes that begin at the given rows. Impact and decay are the market's averages.

        What the market's stress, shocks and regimes multiply is multiplied on top of what was recorded.

        Args:
            market: where η, γ, κ, ρ and σ come from.
            order: its side turns recorded prices into the order's frame.
            starts: first row of each episode. Shape: (n_paths,).
            normals: for what is random about the stress; without, nothing is. All else in them is zero.
        """
        self.check(order)
        starts = np.asarray(starts)
        if starts.dtype.kind not in "iu":
            raise InputError(f"{self.name}: start = {starts.flat[0]!r}: must be a row, a whole number from 0")
        outside = starts[~np.isin(starts, self.starts(order))]
        if outside.size:
            of = (
                f"{len(self.mid)} rows"
                if self.split is None
                else f"the {self.part} rows {self.rows[0]} to {self.rows[1] - 1}"
            )
            raise InputError(
                f"{self.name}: rows from {outside[0]} on do not begin {order.n_steps} slices of {of} without a gap"
            )
        rows = starts[:, None] + np.arange(order.n_steps)
        moves = order.sign * np.diff(self.mid, append=self.mid[-1])
        if self.depth is None:
            liquidity, impact = np.zeros(len(self.mid)), np.ones(len(self.mid))
        else:
            known = self._known
            liquidity = np.log(self.depth) - np.log(self.depth[known]).mean()
            impact = np.exp(-liquidity) / np.exp(-liquidity[known]).mean()
        n, dt = rows.shape, order.slice_length
        for_risk, by_clock = market.spans(order)
        book = [column.T for column in self.levels.hit(order.sign)] if self.levels and self.fills == "book" else []
        slices = Slice(
            log_liquidity=liquidity[rows],
            half_spread=self.spread[rows] / 2,
            volume=self.volume[rows],
            variance=np.full(n, (market.volatility * market.arrival_price) ** 2 * for_risk),
            drift=np.zeros(n),
            temporary=market.slope(dt) * impact[rows],
            permanent=np.full(n, market.permanent_impact),
            decay=np.full(n, np.exp(-market.resilience * by_clock)),
            price_shock=moves[rows],
            slippage=np.zeros(n),
            exponent=np.broadcast_to(market.impact_exponent, n),
            levels=tuple((size[rows], distance[rows]) for size, distance in zip(*book, strict=True)) if book else (),
            features=tuple(normalised(column[rows], self.units[name]) for name, column in self.features.items()),
        )
        none = Normals(*np.zeros((6, 1, order.n_steps)))
        return Paths(stress_recorded(market, order, slices, normals or none), self.mid[starts], starts)

    def described(self) -> dict[str, Any]:
        """Which rows are played and how, in plain values, to tell tapes apart; rows are counted from 0."""
        begin, end = self.rows
        return {
            "name": self.name,
            "sha256": self.sha256,
            "prices_sha256": self.prices_sha256,
            "rows": [begin, end],
            "times": [str(self.time[begin]), str(self.time[end - 1])],
            "averages_of_rows": self._known.stop or len(self.mid),
            "fills": self.fills,
            **({"features": described(self.units, self.columns)} if self.features else {}),
        }
