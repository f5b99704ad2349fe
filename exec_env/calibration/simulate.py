"""Trades and quotes of a simulated market. Its parameters are known, so that calibration can be tried on them."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from exec_env.market.execution import Terms, opening, temporary_cost, trade
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.market.paths import Paths

IMBALANCE = 0.25
"""Standard deviation of the signed flow, as a part of the slice's volume."""


def flow_variance(market: Market, slice_length: float, imbalance: float = IMBALANCE) -> float:
    """E[q²] of a slice's signed flow q = imbalance · volume · normal. [shares²]"""
    second_moment = np.exp(market.liquidity_volatility**2 + market.volume_noise**2)
    return float((imbalance * market.daily_volume * slice_length) ** 2 * second_moment)


def total_volatility(market: Market, slice_length: float, imbalance: float = IMBALANCE) -> float:
    """σ of the quotes in the long run: the market's own, and the lasting push of the flow. [1/√day]"""
    pushed = market.permanent_impact**2 * flow_variance(market, slice_length, imbalance)
    return float((market.volatility**2 + pushed / slice_length / market.arrival_price**2) ** 0.5)


def sessions(
    market: Market,
    days: int,
    seed: int,
    n_steps: int = 78,
    slice_length: float = 1 / 78,
    quotes: int = 4,
    trades: int = 6,
    quote_noise: float = 0.1,
    imbalance: float = IMBALANCE,
) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Quotes (time, bid, ask) and trades (time, price, size) of each day, a path of ``n_steps`` slices.

    In each slice takers buy q shares more than they sell. This flow fills, and pushes the price, as an order of ours
    would (``exec_env.market.execution.trade``); the rest of the volume is bought and sold evenly at the touch.

    Args:
        market: the truth.
        days: paths; each begins at the arrival price.
        seed: of everything.
        n_steps: slices in a day.
        slice_length: Δ. [day]
        quotes: in each slice.
        trades: in each slice, a third of them the flow's; at least 4.
        quote_noise: microstructure noise of the mid, a standard deviation in half spreads.
        imbalance: see ``IMBALANCE``.
    """
    rng = np.random.default_rng(seed)
    paths = Paths.simulate(market, Order(n_steps=n_steps, slice_length=slice_length), days, rng)
    slices = paths.slices
    flow = imbalance * slices.volume * rng.standard_normal(slices.volume.shape)
    flow = np.clip(flow, -slices.volume, slices.volume)
    # The equations know one direction: bought and sold flow each push a price of their own, which add up.
    up, down = (_push(market, paths, np.maximum(sign * flow, 0.0)) for sign in (1.0, -1.0))
    moves = np.concatenate([np.zeros((days, 1)), slices.price_shock[:, :-1].cumsum(1)], 1)
    mid = market.arrival_price + moves + up - down
    seconds = slice_length * 6.5 * 3600
    mine = np.arange(trades) < trades // 3
    even = np.where(np.arange(trades) % 2, 1.0, -1.0)
    counts = np.where(even > 0, (even[~mine] > 0).sum(), (even[~mine] < 0).sum())
    for day, date in enumerate(pd.bdate_range("2024-01-02", periods=days)):
        start = date.value + int(9.5 * 3600e9) + (np.arange(n_steps) * seconds * 1e9).astype(np.int64)
        half, volume, q = slices.half_spread[day], slices.volume[day], flow[day]
        noise = quote_noise * half[:, None] * rng.standard_normal((n_steps, quotes))
        quoted = mid[day][:, None] + noise
        at = start[:, None] + (np.arange(quotes) * seconds / quotes * 1e9).astype(np.int64)
        columns = {"time": at, "bid": quoted - half[:, None], "ask": quoted + half[:, None]}
        quoted_frame = pd.DataFrame({name: column.ravel() for name, column in columns.items()})
        offset = np.sort(rng.uniform(0.0, 1.0, (n_steps, trades)), 1) * (seconds * 1e9 - 1e6)
        size = np.where(mine, np.abs(q)[:, None] / mine.sum(), (volume - np.abs(q))[:, None] / 2 / counts)
        sign = np.where(mine, np.sign(q)[:, None], even)
        beyond = temporary_cost(slices.temporary[day], np.abs(q), slices.exponent[day]) / np.maximum(np.abs(q), 1e-300)
        concession = half[:, None] + np.where(mine, beyond[:, None], 0.0)
        which = np.minimum((offset / (seconds / quotes * 1e9)).astype(int), quotes - 1)
        price = np.take_along_axis(quoted, which, 1) + sign * concession
        columns = {"time": start[:, None] + offset.astype(np.int64), "price": price, "size": size}
        yield quoted_frame, pd.DataFrame({name: column.ravel() for name, column in columns.items()})


def _push(market: Market, paths: Paths, shares: np.ndarray) -> np.ndarray:
    """What a flow of one direction has moved the mid before each slice. Shape: (n_paths, n_steps). [$]"""
    terms = Terms(market.transient_impact, 0.0, None, 1.0)
    state = opening(shares.sum(1) + 1.0, np.zeros(len(shares)))
    pushed = np.zeros(shares.shape)
    for t in range(paths.n_steps):
        pushed[:, t] = state.transient - state.price_move
        now = paths.at(t)._replace(price_shock=0.0, drift=0.0)
        state, _ = trade(state, now, shares[:, t], terms, False)
    return pushed
