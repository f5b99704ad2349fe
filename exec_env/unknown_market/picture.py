"""Pictures of orders in an unknown market: for ``render_mode="rgb_array"``, and of example paths in reports."""

from typing import Any

import numpy as np

from exec_env.envs.problem import Panel
from exec_env.market.order import Order

PANELS = (
    Panel("shares left", "inventory", end=0.0, height=4.0),
    Panel("shares traded", "shares", height=3.0),
    Panel("concession\n[$/share]", "concession", height=3.0),
    Panel("η of the path\nover its mean", "temporary_impact", shared=True, height=1.5),
)
"""What a picture of example paths shows."""


def draw(order: Order, orders: int, history: list[dict[str, Any]]) -> np.ndarray:
    """Inventory, trades, and what they conceded. Shape: (600, 800, 3), uint8.

    Args:
        order: each order.
        orders: how many there are.
        history: ``info`` of every step so far, with the state before, the slice and the state after.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 6), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    inventory, traded, conceded = figure.subplots(3, sharex=True)
    n, steps = orders * order.n_steps, np.arange(len(history))
    held = np.r_[order.shares, [h["after"].remaining for h in history]]
    inventory.step(np.arange(len(held)), held, where="post", color="tab:blue")
    inventory.set(ylabel="shares left", xlim=(0, n), ylim=(0, 1.05 * order.shares))
    traded.bar(steps + 0.5, [h["shares"] for h in history], color="tab:blue")
    traded.set(ylabel="shares traded", ylim=(0, None))
    conceded.scatter(steps + 0.5, [h["after"].concession for h in history], s=14, color="tab:orange")
    conceded.set(ylabel="concession [$/share]", xlabel="slice")
    for axes in (inventory, traded, conceded):
        for begins in range(order.n_steps, n, order.n_steps):
            axes.axvline(begins, color="0.8", lw=0.8, zorder=0)
    figure.suptitle(f"{orders} orders, each {order.side} {order.shares:,.6g} shares in {order.n_steps} slices")
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
