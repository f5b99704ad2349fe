"""Pictures of episodes: for ``render_mode="rgb_array"``, and what example paths show in reports."""

from typing import Any

import numpy as np

from exec_env.base.errors import NoBound
from exec_env.envs.problem import Panel
from exec_env.market.execution import Slice
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.optimum.schedule import best_schedule

_VOLUME = Slice._fields.index("volume")  # slices of the single environment are plain tuples


def draw(market: Market, order: Order, arrival_price: float, history: list[dict[str, Any]]) -> np.ndarray:
    """Inventory against the best static schedule, participation, and price with fills. Shape: (600, 800, 3), uint8.

    Args:
        market: for the static schedule.
        order: for the static schedule, and the axes.
        arrival_price: price at arrival. [$]
        history: ``info`` of every step so far, with the state before, the slice and the state after.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 6), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    inventory, participation, price = figure.subplots(3, sharex=True)
    steps = np.arange(len(history))
    n = order.n_steps

    try:
        plan = np.maximum(order.shares - np.r_[0.0, np.cumsum(best_schedule(market, order))], 0.0)
        inventory.step(np.arange(n + 1), plan, where="post", color="0.6", ls="--", label="best static schedule")
    except NoBound:
        inventory.set_title("no static optimum exists", fontsize=8)
    held = np.r_[order.shares, [h["after"].remaining for h in history]]
    inventory.step(np.arange(len(held)), held, where="post", color="tab:blue", label="held")
    inventory.set(ylabel="shares left", xlim=(0, n), ylim=(0, None))
    inventory.legend(loc="upper right", frameon=False)

    traded = np.array([h["shares"] - h["block"] for h in history])
    volume = np.array([h["now"][_VOLUME] for h in history])
    participation.bar(steps + 0.5, traded / np.maximum(volume, 1e-300), color="tab:blue")
    if order.max_participation is not None:
        participation.axhline(order.max_participation, color="tab:red", lw=1, ls=":", label="cap")
        participation.legend(loc="upper right", frameon=False)
    participation.set(ylabel="share of volume", ylim=(0, None))

    price.axhline(arrival_price, color="0.6", lw=1, ls="--", label="arrival price")
    price.plot(steps, [h["mid"] for h in history], color="black", lw=1, label="mid")
    traded_at = [h["shares"] > 0 for h in history]
    fills = np.where(traded_at, [h["fill_price"] for h in history], np.nan)
    price.scatter(steps, fills, s=14, color="tab:orange", label=f"{order.side} fills", zorder=3)
    price.set(ylabel="price [$]", xlabel="slice")
    price.ticklabel_format(useOffset=False)
    price.legend(loc="upper right", frameon=False, ncols=3)

    figure.suptitle(f"{order.side} {order.shares:,.6g} shares in {n} slices")
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def panels(order: Order) -> tuple[Panel, ...]:
    """What a picture of example paths shows of an order."""

    def tempo(rows: Any) -> np.ndarray:
        left = order.n_steps - rows["step"].to_numpy()
        return pace(rows["shares"].to_numpy(), rows["inventory"].to_numpy(), left)

    return (
        Panel("shares left", "inventory", end=0.0, height=4.0),
        Panel("pace (1: even)", tempo, line=1.0, most=8.0),
        Panel("share of volume\n(dotted: cap)", "participation", line=order.max_participation),
        Panel("half\nspread [$]", "half_spread", shared=True, height=2.0),
        Panel("log\nliquidity", "log_liquidity", shared=True, height=2.0),
        Panel("mid (line) and\nfills (dots) [$]", "mid", steps=False, dots="fill_price", height=4.0),
    )


def pace(shares: Any, remaining: Any, slices_left: Any) -> np.ndarray:
    """Shares traded as a multiple of selling evenly what is left, so that TWAP is 1; NaN where nothing is left.

    >>> pace(np.array([10.0, 30.0, 0.0]), np.array([100.0, 100.0, 0.0]), 10).tolist()
    [1.0, 3.0, nan]
    """
    even = np.asarray(remaining / slices_left + 0.0 * shares)
    return np.divide(shares, even, out=np.full(even.shape, np.nan), where=even > 0)
