"""Recorded markets: slices read from a file, cut into episodes."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd

from exec_env.columns import evaluate
from exec_env.execution import Slice
from exec_env.market import BPS, Market
from exec_env.order import Order
from exec_env.tape import Normals, Source, Tape, stress_recorded
from exec_env.validation import unknown

REQUIRED = ("time", "mid", "spread", "volume")
OPTIONAL = ("depth",)

_ANSWER = {
    *("temporary_impact", "impact_exponent", "reference_participation"),
    *("permanent_impact", "transient_impact", "resilience"),
}
_STRESS = {
    *("stress", "stress_onset", "stress_onset_end", "stress_factor", "shock_rate", "shock_size"),
    *("regime_rate", "regime_recovery", "regime_liquidity", "regime_volatility"),
    *("liquidity_reversion", "spread_elasticity", "volatility_elasticity"),
}
GIVEN = frozenset(_ANSWER | {"volatility"} | _STRESS)
"""Fields of Market that a tape does not settle: how the price answers to us, the volatility that risk is charged at,
and the stress, shocks and regimes that recorded slices are put under, with how the rest follows liquidity."""

_USES = {
    "time": "start of each slice; the slice length is the median step",
    "mid": "price path: its changes are the price shocks; our own impact comes on top",
    "spread": "half of it is paid on every share",
    "volume": "market volume of the slice; the cap on participation is a share of it",
    "depth": "liquidity: temporary impact is inversely proportional to it, with mean one",
}


@dataclass(frozen=True)
class Recording:
    """Slices of a recorded market.

    Raises:
        ValueError: naming column and row, for NaNs, prices or depths that are not positive, negative spreads or
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

    def __post_init__(self) -> None:
        for name in ("mid", "spread", "volume", "depth"):
            column = getattr(self, name)
            if column is None:
                continue
            try:
                object.__setattr__(self, name, np.asarray(column, dtype=np.float64))
            except (TypeError, ValueError):
                raise ValueError(f"{self.name}: column {name!r} must hold numbers") from None
            if getattr(self, name).shape != (len(self.time),):
                raise ValueError(f"{self.name}: column {name!r} must have {len(self.time)} rows, as many as 'time'")
        if len(self.time) < 2:
            raise ValueError(f"{self.name}: {len(self.time)} rows; a recorded market needs at least two")
        if not isinstance(self.hours_per_day, int | float) or not 0 < self.hours_per_day <= 24:
            raise ValueError(f"{self.name}: hours_per_day = {self.hours_per_day!r}: must be in (0, 24]")
        self._refuse(np.asarray(self.time.isna()), "time", "is not a time")
        steps = np.diff(self.time.to_numpy()) / np.timedelta64(1, "s")
        self._refuse(np.r_[False, steps == 0], "time", "is the same time as the row before")
        self._refuse(np.r_[False, steps < 0], "time", "is earlier than the row before; sort the file by time")
        for name in ("mid", "spread", "volume", "depth"):
            column = getattr(self, name)
            if column is None:
                continue
            self._refuse(~np.isfinite(column), name, "is not a finite number")
            positive = name in ("mid", "depth")
            self._refuse(column <= 0 if positive else column < 0, name, f"must be {'>' if positive else '>='} 0")

    def _refuse(self, bad: np.ndarray, column: str, why: str) -> None:
        rows = np.flatnonzero(bad)
        if rows.size:
            value = getattr(self, column)[rows[0]]
            more = f" (and {rows.size - 1} more rows)" if rows.size > 1 else ""
            raise ValueError(f"{self.name}: column {column!r}, row {rows[0] + 1}: {value} {why}{more}")

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        columns: dict[str, str] | None = None,
        hours_per_day: float = 6.5,
        name: str = "recording",
    ) -> "Recording":
        """Read slices from a frame with columns time, mid, spread, volume and, if known, depth.

        Args:
            frame: one row a slice.
            columns: where the file has other names: our name -> its column, or an arithmetic expression of its
                columns, such as ``{"volume": "(buys + sells) / midpoint"}``.
            hours_per_day: length of a trading day. [hour]
            name: what error messages call the data.

        Raises:
            ValueError: for a column that is missing, or data that cannot be right (see the class).
        """
        columns = dict(columns or {})
        for ours in columns:
            if ours not in REQUIRED + OPTIONAL:
                raise ValueError(f"{name}: {unknown('tape column', ours, REQUIRED + OPTIONAL)}")
        for ours in REQUIRED + OPTIONAL:
            if ours in REQUIRED or ours in frame:
                columns.setdefault(ours, ours)
        values: dict[str, pd.Series] = {}
        for ours, text in columns.items():
            values[ours] = evaluate(frame, ours, text, name, f"{', '.join(REQUIRED)} and, if known, depth")
        if pd.api.types.is_numeric_dtype(values["time"]):
            raise ValueError(f"{name}: column 'time' holds plain numbers, whose unit is unknown; it must hold times")
        try:
            time = pd.DatetimeIndex(pd.to_datetime(values.pop("time"), utc=True, format="mixed", errors="coerce"))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name}: column 'time': {error}") from None
        numbers = {}
        for ours, column in values.items():
            numbers[ours] = pd.to_numeric(column, errors="coerce").to_numpy(np.float64)
            words = np.flatnonzero(np.isnan(numbers[ours]) & column.notna().to_numpy())
            if words.size:
                row = words[0]
                raise ValueError(f"{name}: column {ours!r}, row {row + 1}: {column.iloc[row]!r} is not a number")
        return cls(time=time, hours_per_day=hours_per_day, name=name, columns=columns, **numbers)

    @classmethod
    def from_csv(
        cls, path: str | Path, columns: dict[str, str] | None = None, hours_per_day: float = 6.5
    ) -> "Recording":
        """Read slices from a CSV file; see ``from_frame``.

        Raises:
            ValueError: for a file that is missing or is no table, and as ``from_frame``.
        """
        try:
            frame = pd.read_csv(path)
        except FileNotFoundError:
            raise ValueError(f"{path}: no such file") from None
        except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
            raise ValueError(f"{path}: not a CSV table: {error}") from None
        return cls.from_frame(frame, columns, hours_per_day, str(path))

    @cached_property
    def slice_length(self) -> float:
        """Median time from row to row. [day]"""
        seconds = np.median(np.diff(self.time.to_numpy()) / np.timedelta64(1, "s"))
        return float(seconds) / (3600 * self.hours_per_day)

    @cached_property
    def sha256(self) -> str:
        """Checksum of the slices: whatever file they came from, and whatever its columns were called."""
        digest = sha256(np.ascontiguousarray(self.time.to_numpy("datetime64[ns]").view(np.int64)).data)
        for column in (self.mid, self.spread, self.volume, self.depth):
            digest.update(b"none" if column is None else np.ascontiguousarray(column).data)
        digest.update(repr(float(self.hours_per_day)).encode())
        return digest.hexdigest()

    def market(self, base: Market | None = None) -> Market:
        """The market whose averages are those of the recording.

        Slices do not show how the price answers to us. Impact comes from ``base``, scaled so that the same
        participation costs the same part of a day's volatility: η, γ, κ ∝ σ S0 / V (Almgren et al. 2005).
        """
        base = base or Market()
        returns = np.diff(np.log(self.mid))[~self._gap]
        volatility = float(np.std(returns)) / self.slice_length**0.5
        daily_volume = float(self.volume.mean()) / self.slice_length
        price = float(self.mid.mean())
        if daily_volume == 0:
            raise ValueError(f"{self.name}: column 'volume' is zero throughout")
        if not volatility > 0:
            raise ValueError(f"{self.name}: column 'mid' is the same throughout, so that impact has no scale")
        return replace(
            base.rescaled(price, volatility, daily_volume),
            half_spread=float((self.spread / self.mid).mean()) / 2 / BPS,
            liquidity_volatility=0.0 if self.depth is None else float(np.log(self.depth).std()),
        )

    @cached_property
    def _gap(self) -> np.ndarray:
        """Whether the step after each row but the last is a gap, more than 1.5 slices. Shape: (rows − 1,)."""
        steps = np.diff(self.time.to_numpy()) / np.timedelta64(1, "s")
        return steps > 1.5 * np.median(steps)

    def starts(self, order: Order) -> np.ndarray:
        """Rows at which an episode of ``order`` can begin without running over a gap or the end.

        Raises:
            ValueError: when there is none.
        """
        gaps = np.r_[0, np.cumsum(self._gap)]
        first = np.arange(len(self.mid) - order.n_steps + 1)
        possible = first[gaps[first + order.n_steps - 1] == gaps[first]]
        if possible.size == 0:
            raise ValueError(
                f"{self.name}: no {order.n_steps} rows without a gap among its {len(self.mid)} rows; "
                f"n_steps must be at most {self._longest()}"
            )
        return possible

    def _longest(self) -> int:
        edges = np.flatnonzero(np.r_[True, self._gap, True])
        return int(np.diff(edges).max())

    def check(self, order: Order) -> None:
        """Refuse an order that this market cannot fill within the cap.

        Raises:
            ValueError: naming the order's size and the largest that fits, or a slice length that is not the tape's.
        """
        if not np.isclose(order.slice_length, self.slice_length):
            raise ValueError(
                f"Order.slice_length = {order.slice_length:g} day: the slices of {self.name} have {self.slice_length:g}"
            )
        if order.max_participation is not None:
            most = order.max_participation * float(self.volume.mean()) * order.n_steps
            if order.shares > most:
                raise ValueError(
                    f"Order.shares = {order.shares:g}: {order.n_steps} slices of {self.name} let through about "
                    f"{most:.4g} at max_participation = {order.max_participation:g}; choose at most that"
                )

    def tape(self, market: Market, order: Order, starts: np.ndarray, normals: Normals | None = None) -> Tape:
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
            raise ValueError(f"{self.name}: start = {starts.flat[0]!r}: must be a row, a whole number from 0")
        outside = starts[~np.isin(starts, self.starts(order))]
        if outside.size:
            raise ValueError(
                f"{self.name}: rows from {outside[0]} on do not begin {order.n_steps} slices of {len(self.mid)} rows "
                "without a gap"
            )
        rows = starts[:, None] + np.arange(order.n_steps)
        moves = order.sign * np.diff(self.mid, append=self.mid[-1])
        if self.depth is None:
            liquidity, impact = np.zeros(len(self.mid)), np.ones(len(self.mid))
        else:
            liquidity = np.log(self.depth) - np.log(self.depth).mean()
            impact = np.exp(-liquidity) / np.exp(-liquidity).mean()
        n = rows.shape
        dt = order.slice_length
        slices = Slice(
            log_liquidity=liquidity[rows],
            half_spread=self.spread[rows] / 2,
            volume=self.volume[rows],
            variance=np.full(n, (market.volatility * market.arrival_price) ** 2 * dt),
            drift=np.zeros(n),
            temporary=market.slope(dt) * impact[rows],
            permanent=np.full(n, market.permanent_impact),
            decay=np.full(n, np.exp(-market.resilience * dt)),
            price_shock=moves[rows],
            slippage=np.zeros(n),
            exponent=np.broadcast_to(market.impact_exponent, n),
        )
        none = Normals(*np.zeros((6, 1, order.n_steps)))
        return Tape(stress_recorded(market, order, slices, normals or none), self.mid[rows[:, 0]])

    def describe(self, market: Market, base: Market | None = None) -> str:
        """How each number was used, in lines for a person to read; ``base`` is what impact was scaled from."""
        lines = [f"{self.name}: {len(self.mid)} slices from {self.time[0]} to {self.time[-1]}"]
        for ours in REQUIRED + OPTIONAL:
            source = self.columns.get(ours, ours) if getattr(self, ours) is not None else "(none)"
            use = _USES[ours] if source != "(none)" else "liquidity taken as constant"
            lines.append(f"  {ours:7} = {source}: {use}")
        minutes = self.slice_length * self.hours_per_day * 60
        own = self.market(base)

        def how(name: str, text: str) -> str:
            """The number, and whether it was given rather than found."""
            given = getattr(market, name) != getattr(own, name)
            return f"{text.format(getattr(market, name))}{' (as given)' if given else ''}"

        lines += [
            f"  slices of {minutes:g} min; a day of {self.hours_per_day:g} hours; {int(self._gap.sum())} gaps",
            f"  from the recording: price {market.arrival_price:,.4g}, "
            f"{how('volatility', 'volatility {:.4g} per √day')}, "
            f"half spread {market.half_spread:.4g} bps, volume {market.daily_volume:,.6g} a day",
            f"  not in it, so scaled from the defaults by σ S0 / V: {how('temporary_impact', 'η = {:.3g}')}, "
            f"{how('permanent_impact', 'γ = {:.3g}')}, {how('transient_impact', 'κ = {:.3g}')}; "
            f"ρ = {market.resilience:g} as given",
        ]
        return "\n".join(lines)


@dataclass(frozen=True)
class RecordedSource(Source):
    """Episodes of a recording for an environment: each begins at a random row."""

    recording: Recording
    market: Market
    order: Order

    def sample(self, rngs: "list[np.random.Generator]", n_paths: int = 1) -> Tape:  # type: ignore[override]
        """``n_paths`` random starts from each generator."""
        possible = self.recording.starts(self.order)
        if not self._draws:
            drawn = np.concatenate([possible[rng.integers(possible.size, size=n_paths)] for rng in rngs])
            return self.recording.tape(self.market, self.order, drawn)
        # Path by path, so that path e never depends on how many are drawn at once.
        which, z = zip(
            *((rng.integers(possible.size), self._draw(rng)) for rng in rngs for _ in range(n_paths)), strict=True
        )
        return self._tape(possible[list(which)], np.array(z))

    def at(self, starts: np.ndarray, rng: np.random.Generator) -> Tape:
        """Episodes that begin at the given rows; what is random about the stress is drawn from ``rng``."""
        if not self._draws:
            return self.recording.tape(self.market, self.order, starts)
        return self._tape(starts, np.array([self._draw(rng) for _ in starts]))

    @property
    def _draws(self) -> bool:
        """Whether a path takes more than the row that it begins at."""
        return bool(self._random)

    @property
    def _random(self) -> list[str]:
        """Factors of the stress that are drawn."""
        return [name for name in Normals.used(self.market) if name in ("shock", "onset", "regime")]

    def _draw(self, rng: np.random.Generator) -> np.ndarray:
        return rng.standard_normal((len(self._random), self.order.n_steps))

    def _tape(self, starts: np.ndarray, z: np.ndarray) -> Tape:
        zeros = np.zeros((6, len(z), self.order.n_steps))
        normals = Normals(*zeros, **{name: z[:, i] for i, name in enumerate(self._random)})
        return self.recording.tape(self.market, self.order, starts, normals)
