"""Pictures of agents under stress."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from exec_env.harness.reports.plots import colours
from exec_env.market.stress import STRESSES

if TYPE_CHECKING:
    from exec_env.harness.studies.stress_tests import Stressed

_LEAST = 0.5  # [%] below which gaps are all the same colour


def heat_map(stressed: Stressed) -> Figure:
    """Agents by regimes: how far J is above what is possible, and how often next to nothing is left at the end."""
    above, completed, unbounded = stressed.above(), stressed.completed(), stressed.without_bound()
    rows, columns = above.shape
    figure = Figure(figsize=(5.5 + 1.7 * columns, 2.6 + 0.42 * rows), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    top = max(float(np.nanmax(above.to_numpy())), 2 * _LEAST)
    title = f"J above {_what(len(unbounded), above.shape[1])} [%]"
    _cells(left, above, LogNorm(_LEAST, top, clip=True), "YlOrRd", title, "{:.1f}")
    _cells(
        right, completed, Normalize(0, 100), "Blues", "paths with at most 1 % left to the closing block [%]", "{:.0f}"
    )
    if len(unbounded) < above.shape[1]:
        marked = [f"{label}{'*' if label in unbounded else ''}" for label in above.columns]
        left.set_xticks(range(len(marked)), marked, rotation=30, ha="right", fontsize=8)
    for j, label in enumerate(above.columns):
        best = stressed.best.set_index("label").loc[label, "best"]
        i = list(above.index).index(best)
        left.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, fill=False, lw=2, ec="black"))
    settings = stressed.settings
    figure.suptitle(
        f"{settings['env']} under stress, {settings['episodes']:,} common paths each; framed: the best that nobody told"
    )
    return figure


def severities(stressed: Stressed) -> Figure:
    """Distance to what is possible as a stress gets more severe, a panel per regime."""
    above, unbounded = stressed.above("regime"), stressed.without_bound("regime")
    palette = colours(list(above.index))
    scales = stressed.table.drop_duplicates("label").set_index("label")
    swept = [r for r, rows in scales.groupby("regime", sort=False) if rows["factor"].nunique() > 1]
    figure = Figure(figsize=(1.8 + 4.2 * len(swept), 4.2), layout="constrained")
    panels = figure.subplots(1, len(swept), sharey=True, squeeze=False)[0]
    for axes, regime in zip(panels, map(str, swept), strict=True):
        factor = scales.loc[scales["regime"] == regime, "factor"].sort_values()
        for agent, row in above.iterrows():
            style = "--" if str(agent).endswith(")") else "-"
            axes.plot(factor, row[factor.index], style, marker="o", ms=4, color=palette[str(agent)], label=str(agent))
        starred = "*" if regime in unbounded and not unbounded >= set(swept) else ""
        axes.set(xscale="log", title=f"{regime}{starred}", xlabel="factor of the stress", yscale="symlog")
        axes.set_xticks(factor, [f"{f:g}" for f in factor])
        axes.minorticks_off()
        if regime not in STRESSES or STRESSES[regime].factor < 1:  # severe is what leaves less
            axes.invert_xaxis()
        axes.spines[["top", "right"]].set_visible(False)
    if (above[scales.index[scales["regime"].isin(swept)]] >= 0).all(axis=None):
        panels[0].set_ylim(bottom=0.0)  # the scale would leave as much room below
    panels[0].set_ylabel(f"J above {_what(len(unbounded & set(swept)), len(swept))} [%]")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper", frameon=False, fontsize=8)
    return figure


def _what(n_without_bound: int, n: int) -> str:
    """What J is compared with, where some of the regimes have no bound."""
    if n_without_bound in (0, n):
        return "the best agent" if n_without_bound else "the oracle's bound"
    return "the oracle's bound (*: the best agent)"


def _cells(axes: Axes, values: pd.DataFrame, scale: Normalize, colour_map: str, title: str, form: str) -> None:
    image = axes.imshow(values.to_numpy(dtype=float), cmap=colour_map, norm=scale, aspect="auto")
    for (i, j), value in np.ndenumerate(values.to_numpy(dtype=float)):
        if np.isfinite(value):
            dark = float(scale(value)) > 0.6
            text = form.format(value) if abs(value) < 1000 else f"{value:,.0f}"
            axes.text(j, i, text, ha="center", va="center", fontsize=8, color="white" if dark else "black")
    axes.set_xticks(range(values.shape[1]), list(values.columns), rotation=30, ha="right", fontsize=8)
    axes.set_yticks(range(values.shape[0]), list(values.index))
    axes.set_title(title, fontsize=10)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    image.set_clim(scale.vmin, scale.vmax)
