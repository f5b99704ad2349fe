"""Pictures of an episode, for ``render_mode="rgb_array"``."""

from typing import Any

import numpy as np

from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.optimum import lq


def draw(market: Market, order: Order, arrival_price: float, history: list[dict[str, Any]]) -> np.ndarray:
    """Inventory against the best static schedule, participation, and price with fills. Shape: (600, 800, 3), uint8.

    Args:
        market: for the static schedule.
        order: for the static schedule, and the axes.
        arrival_price: price at arrival. [$]
        history: ``info`` of every step so far, with remaining and volume.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 6), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    inventory, participation, price = figure.subplots(3, sharex=True)
    steps = np.arange(len(history))
    n = order.n_steps

    try:
        plan = np.maximum(order.shares - np.r_[0.0, np.cumsum(lq.schedule(market, order))], 0.0)
        inventory.step(np.arange(n + 1), plan, where="post", color="0.6", ls="--", label="best static schedule")
    except ValueError:
        inventory.set_title("no static optimum exists", fontsize=8)
    held = np.r_[order.shares, [h["remaining"] for h in history]]
    inventory.step(np.arange(len(held)), held, where="post", color="tab:blue", label="held")
    inventory.set(ylabel="shares left", xlim=(0, n), ylim=(0, None))
    inventory.legend(loc="upper right", frameon=False)

    traded = np.array([h["shares"] - h["block"] for h in history])
    volume = np.array([h["volume"] for h in history])
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
