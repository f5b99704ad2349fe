"""Sums over slices of time, a part of the ticks at a time."""

import numpy as np
import pandas as pd

from exec_env.data.stamps import NO_TIME

_FIRST = ("mid", "opening_spread", "opening_depth")  # columns that a slice's first quote gives
_FAR = 0.1  # part of the mid: a trade further from it is of something else
_QUIET = 15 * 60 * 10**9  # [ns] without quote or trade the market was quiet; for longer, there are no data


class Slicer:
    """Adds up quotes and trades by slice.

    A quote holds until the next one, or the end of its slice: the mean spread is over time. A slice without quote or
    trade has the quote before it and no volume, unless the silence is longer than a quarter of an hour. A trade is
    compared with the quote before it; where its side is not given it is a buy above the mid and a sell below, and at
    the mid what the trade before was (Lee & Ready 1991, "Inferring trade direction from intraday data").
    """

    def __init__(self, step: int, night: int = 2 * 3600 * 10**9, ends: bool = False) -> None:
        self.step = step  # [ns]
        self.ends = ends  # whether volume and flow in a row of quotes belong to the time before the row
        self.night = night  # [ns] a quote that is older than this no longer holds
        self.trades = 0
        self.too_early = 0  # trades without a quote that still holds
        self.far = 0  # trades at a price that is not the quotes'
        self._sums: list[pd.DataFrame] = []
        self._held = pd.DataFrame()  # the last quote, which holds until the next
        self._sign = 1.0

    def add(self, quotes: pd.DataFrame, trades: pd.DataFrame) -> None:
        """Ticks of one stretch of time, not before those added already."""
        fresh = len(quotes)
        if fresh:
            self._quotes(quotes)
        both = [frame for frame in (self._held, quotes[["time", "bid", "ask"]] if fresh else None) if frame is not None]
        quoted = pd.concat([frame for frame in both if len(frame)], ignore_index=True) if any(map(len, both)) else None
        if len(trades):
            self._trades(trades, quoted)
        if quoted is not None:
            self._spreads(quoted)
            self._held = quoted.iloc[-1:]
        if len(self._sums) > 100:  # parts share no more than the slices at their ends
            self._sums = [self._joined()]

    def finished(self) -> pd.DataFrame:
        """One row a slice; see ``exec_env.data.ticks.Slices`` for the columns."""
        if len(self._held):  # the last quote holds to the end of its slice
            end = self._held.assign(time=(self._held["time"] // self.step + 1) * self.step)
            self._spreads(pd.concat([self._held, end], ignore_index=True))
        sums = self._joined()
        if "cash" in sums:  # without trades a quiet slice would have a row
            sums = sums.reindex(_with_quiet(sums.index.to_numpy(), self.step))
        frame = pd.DataFrame({"time": pd.to_datetime(sums.index.to_numpy() * self.step, utc=True)})
        for name in _FIRST:
            if name in sums:
                frame[name] = sums[name].ffill().to_numpy()
        held = sums["held"].to_numpy()
        frame["spread"] = pd.Series(sums["spread_held"].to_numpy() / np.where(held > 0, held, np.nan)).ffill()
        for name in ("volume", "flow", "walk_xx", "walk_xy"):
            if name in sums:
                frame[name] = sums[name].fillna(0.0).to_numpy()
        for name in ("depth", "slope", "walk_size"):
            if name in sums:
                frame[name] = (sums[name] / sums["books"]).to_numpy()
        if "cash" in sums:
            frame["cost"] = (sums["cash"] - sums["touch"]).fillna(0.0).to_numpy() - frame["flow"] * frame["mid"]
        slices = sums.index.to_numpy()
        quoted = pd.Series(np.where(sums["mid"].notna(), slices, np.nan)).ffill().to_numpy()
        known = (slices - quoted) * self.step < self.night
        if "volume" in sums and "cash" not in sums:  # a row's volume is not known to be zero
            known &= sums["volume"].notna().to_numpy()
        return frame[known].reset_index(drop=True)

    def _joined(self) -> pd.DataFrame:
        every = pd.concat(self._sums)
        first = [name for name in _FIRST if name in every]
        sums = every.drop(columns=first).groupby(level=0).sum(min_count=1)
        return sums.join(every[first].groupby(level=0).first())

    def _quotes(self, quotes: pd.DataFrame) -> None:
        columns = walk(quotes) if "bid_size_1" in quotes else {}
        at = quotes["time"].to_numpy() // self.step
        traded = quotes[[name for name in ("volume", "flow") if name in quotes]]
        if len(traded.columns):
            time = since = quotes["time"].to_numpy()
            if self.ends:  # they are of the time from the row before on, unless there is a gap
                since = np.r_[self._held["time"].iloc[-1] if len(self._held) else NO_TIME, time[:-1]]
            known = (since != NO_TIME) & (since >= time - 1.5 * self.step)
            self._sums.append(traded.set_axis(since // self.step)[known].groupby(level=0).sum())
        part = pd.DataFrame(columns, index=at).groupby(level=0).sum() if columns else pd.DataFrame(index=np.unique(at))
        first = np.flatnonzero(np.r_[True, at[1:] != at[:-1]])
        stamps = quotes["time"].to_numpy()
        first = np.searchsorted(stamps, stamps[first], side="right") - 1  # of quotes at one time the last stands
        mid = (quotes["bid"].to_numpy() + quotes["ask"].to_numpy()) / 2
        part["mid"] = mid[first]
        part["opening_spread"] = (quotes["ask"] - quotes["bid"]).to_numpy()[first]
        if "depth" in columns:
            part["opening_depth"] = columns["depth"][first]
        self._sums.append(part)

    def _spreads(self, quoted: pd.DataFrame) -> None:
        time = quoted["time"].to_numpy()
        at = time[:-1] // self.step
        held = np.minimum(time[1:], (at + 1) * self.step) - time[:-1]
        spread = (quoted["ask"] - quoted["bid"]).to_numpy()[:-1]
        part = pd.DataFrame({"held": held / 1e9, "spread_held": spread * held / 1e9}, index=at)
        self._sums.append(part.groupby(level=0).sum())

    def _trades(self, trades: pd.DataFrame, quoted: pd.DataFrame | None) -> None:
        time = trades["time"].to_numpy()
        self.trades += len(trades)
        if quoted is None:
            self.too_early += len(trades)
            return
        at = quoted["time"].to_numpy()
        before = np.searchsorted(at, time, side="right") - 1
        known = (before >= 0) & (time - at[np.maximum(before, 0)] < self.night)
        self.too_early += int((~known).sum())
        time, before = time[known], before[known]
        price, size = trades["price"].to_numpy()[known], trades["size"].to_numpy()[known]
        bid, ask = quoted["bid"].to_numpy()[before], quoted["ask"].to_numpy()[before]
        if not len(price):
            return
        self.far += int((np.abs(2 * price / (bid + ask) - 1) > _FAR).sum())
        sign = trades["side"].to_numpy()[known] if "side" in trades else np.full(len(price), np.nan)
        if np.isnan(sign).any():
            signs = pd.Series(np.where(np.isnan(sign), np.sign(price - (bid + ask) / 2), sign))
            sign = signs.replace(0.0, np.nan).ffill().fillna(self._sign).to_numpy()
        self._sign = float(sign[-1])
        signed = sign * size
        part = pd.DataFrame(
            {"volume": size, "flow": signed, "cash": signed * price, "touch": size * (ask - bid) / 2},
            index=time // self.step,
        )
        self._sums.append(part.groupby(level=0).sum())


def _with_quiet(slices: np.ndarray, step: int) -> np.ndarray:
    """Numbers of the slices with ticks, and of those in between where the market was quiet.

    >>> _with_quiet(np.array([3, 5, 6, 10]), 300 * 10**9).tolist()
    [3, 4, 5, 6, 7, 8, 9, 10]
    >>> _with_quiet(np.array([3, 8]), 300 * 10**9).tolist()
    [3, 8]
    """
    steps = np.diff(slices)
    repeats = np.r_[1, np.where((steps - 1) * step <= _QUIET, steps, 1)]
    last = np.repeat(slices, repeats)
    return last - (np.repeat(np.cumsum(repeats), repeats) - 1 - np.arange(len(last)))


def walk(books: pd.DataFrame) -> dict[str, np.ndarray]:
    """What it costs to take shares from each book at once.

    Taking the v_i shares of levels 1 ... i costs c_i a share beyond the touch. ``slope`` is the least-squares slope
    Σ c_i v_i / Σ v_i² of c = slope · v, the mean of both sides; ``depth`` the shares on a side; ``walk_xx`` and
    ``walk_xy`` sums of squares and products of log v_i and log c_i about the book's means, whose ratio is δ;
    ``walk_size`` the mean of log v_i weighted by v_i², the log of the size that the slope is felt at.

    >>> book = {"bid_price_1": 99.0, "bid_price_2": 98.0, "ask_price_1": 101.0, "ask_price_2": 102.0}
    >>> sizes = dict.fromkeys(("bid_size_1", "bid_size_2", "ask_size_1", "ask_size_2"), 10.0)
    >>> walk(pd.DataFrame([book | sizes]))["slope"].tolist()  # 20 shares at 0.5: (0 · 10 + 0.5 · 20) / (10² + 20²)
    [0.02]

    Shape:
        Each (rows,).
    """
    books = books.rename(columns={"bid": "bid_price_1", "ask": "ask_price_1"})
    levels = sum(str(name).startswith("bid_size_") for name in books)
    slope, depth, xx, xy, size_felt = (np.zeros(len(books)) for _ in range(5))
    for side in ("bid", "ask"):
        price = np.stack([books[f"{side}_price_{i}"].to_numpy() for i in range(1, levels + 1)], -1)
        size = np.stack([books[f"{side}_size_{i}"].to_numpy() for i in range(1, levels + 1)], -1)
        taken = size.cumsum(-1)
        cost = (size * np.abs(price - price[:, :1])).cumsum(-1)
        squares = (taken**2).sum(-1)
        slope += cost.sum(-1) / np.where(squares > 0, squares, 1.0) / 2
        size_felt += (taken**2 * np.log(np.maximum(taken, 1e-300))).sum(-1) / np.where(squares > 0, squares, 1.0) / 2
        depth += taken[:, -1] / 2
        beyond = cost > 0
        n = np.maximum(beyond.sum(-1, keepdims=True), 1)
        x = np.log(np.where(beyond, taken, 1.0))
        y = np.log(np.where(beyond, cost / np.where(beyond, taken, 1.0), 1.0))
        x = np.where(beyond, x - x.sum(-1, keepdims=True) / n, 0.0)
        y = np.where(beyond, y - y.sum(-1, keepdims=True) / n, 0.0)
        xx, xy = xx + (x * x).sum(-1), xy + (x * y).sum(-1)
    found = {"depth": depth, "books": np.ones(len(books)), "walk_xx": xx, "walk_xy": xy, "walk_size": size_felt}
    return found | ({"slope": slope} if levels > 1 else {})
