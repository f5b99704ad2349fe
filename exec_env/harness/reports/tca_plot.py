"""The picture of a real order: its fills on the tape's prices, and what it cost."""

from pathlib import Path

import numpy as np
from matplotlib.dates import ConciseDateFormatter
from matplotlib.figure import Figure

from exec_env.harness.reports.plots import part_colours
from exec_env.harness.tca import COMPONENTS, CostAnalysis

_WIDEST = 300.0  # area of the largest fill's dot [points²]


def draw(found: CostAnalysis, path: Path) -> None:
    """Fills, the mid they met and the arrival price over time; components of the cost as bars.

    Raises:
        OSError: when it cannot be written.
    """
    figure = Figure(figsize=(8, 7), layout="constrained")
    above, below = figure.subplots(2, 1, height_ratios=[3, 2])
    fills, size = found.per_fill, found.per_fill["shares"]
    above.axhline(found.arrival_price, color="0.45", ls="--", lw=1, label="arrival")
    above.step(fills["time"], fills["mid [$]"], where="post", color="0.6", label="mid at the start of the slice")
    above.scatter(
        fills["time"], fills["price [$]"], s=_WIDEST * size / size.max(), color="#0072B2", alpha=0.6,
        label="fills, by size", linewidths=0,
    )  # fmt: skip
    order = found.order
    total = found.shortfall
    above.set(
        ylabel="price [$]",
        title=f"{order.side} {order.shares:,.6g} shares: {total * found.to_bps:,.1f} bps, {total:,.0f} $ of shortfall",
    )
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    above.xaxis.set_major_formatter(ConciseDateFormatter(above.xaxis.get_major_locator()))
    costs = np.array([found.components[name] * found.to_bps for name in COMPONENTS])
    colours = part_colours(COMPONENTS)
    bars = below.barh(COMPONENTS, costs, color=[colours[name] for name in COMPONENTS])
    below.bar_label(bars, [f"{cost:,.2f}" for cost in costs], padding=3)
    below.invert_yaxis()
    below.axvline(0, color="0.3", lw=0.8)
    below.margins(x=0.12)
    below.set(xlabel="cost [bps of the arrival notional], positive when it hurts")
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)
