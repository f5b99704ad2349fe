"""Pictures: learning curves, cost distributions, differences, example episodes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import gaussian_kde

from exec_env.harness.metrics import REFERENCE, Z95

if TYPE_CHECKING:
    from exec_env.harness.evaluate import Evaluation

# Okabe & Ito's colours, which the colour-blind can tell apart; the reference stays grey.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C564B", "#000000")
_GREY = "0.45"


def save_evaluation(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Write every picture of an evaluation; returns the files."""
    figures = {
        "objective.png": objectives(evaluation),
        "cost_distributions.png": cost_distributions(evaluation),
        "differences.png": differences(evaluation),
    }
    if not evaluation.examples.empty:
        figures["episodes.png"] = episodes(evaluation)
    for name, figure in figures.items():
        figure.savefig(folder / name, dpi=130)
    return [folder / name for name in figures]


def save_learning_curve(log: pd.DataFrame, twap: float, bound: float | None, path: Path) -> None:
    """Objective on the fixed check paths as training goes on."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(log["steps"] / 1e6, log["objective"], marker="o", ms=3, color=_COLOURS[0], label="agent")
    axes.axhline(twap, color=_GREY, lw=1, label="TWAP")
    if bound is not None:
        axes.axhline(bound, color="black", lw=1, ls="--", label="lower bound")
    low, high = log["objective"].min() if bound is None else bound, max(twap, float(log["objective"].iloc[-1]))
    # The first checks may be far off; they may leave the picture.
    axes.set_ylim(low - 0.1 * (high - low), high + 0.6 * (high - low))
    axes.set(xlabel="environment steps [million]", ylabel="objective J [bps]", title="Learning curve")
    axes.legend(frameon=False)
    _tidy(axes)
    figure.savefig(path, dpi=130)


def colours(agents: list[str]) -> dict[str, str]:
    """A colour for each agent, the same in every picture."""
    others = [a for a in agents if a != REFERENCE]
    return {REFERENCE: _GREY} | {a: _COLOURS[i % len(_COLOURS)] for i, a in enumerate(others)}


def objectives(evaluation: Evaluation) -> Figure:
    """Objective of every agent with its 95 % interval, above the lower bound."""
    table = evaluation.per_agent[::-1]
    palette = colours(evaluation.settings["agents"])
    figure = Figure(figsize=(7, 1.2 + 0.45 * len(table)), layout="constrained")
    axes = figure.subplots()
    for y, (agent, row) in enumerate(table.iterrows()):
        axes.errorbar(
            row["objective_mean"],
            y,
            xerr=Z95 * row["objective_se"],
            fmt="o",
            ms=7,
            capsize=3,
            color=palette[str(agent)],
        )
        gap = "" if np.isnan(row["gap_percent"]) else f"  ({row['gap_percent']:+.1f} %)"
        axes.annotate(
            f"{row['objective_mean']:.2f}{gap}",
            (row["objective_mean"] + np.nan_to_num(Z95 * row["objective_se"]), y),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    if evaluation.bound_bps:
        axes.axvline(evaluation.bound_bps, color="black", ls="--", lw=1)
        axes.annotate(
            f"lower bound {evaluation.bound_bps:.2f}",
            (evaluation.bound_bps, 0),
            xycoords=("data", "axes fraction"),
            xytext=(4, 4),
            textcoords="offset points",
            fontsize=8,
        )
    axes.set_yticks(range(len(table)), list(table.index))
    axes.set_ylim(-0.7, len(table) - 0.3)
    left, right = axes.get_xlim()
    axes.set_xlim(left, right + 0.2 * (right - left))  # room for the numbers
    axes.set(
        xlabel="objective J = E[shortfall] + risk [bps of arrival notional]", title=_title(evaluation, "Objective")
    )
    _tidy(axes)
    return figure


def cost_distributions(evaluation: Evaluation) -> Figure:
    """Densities of realised shortfall, and of the objective, where the price's luck is left out."""
    palette = colours(evaluation.settings["agents"])
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    for axes, column, name in zip(
        figure.subplots(1, 2),
        ("shortfall", "objective"),
        ("Realised shortfall", "Objective (price noise left out)"),
        strict=True,
    ):
        values = evaluation.per_path[column]
        low, high = np.quantile(values, [0.001, 0.995])
        grid = np.linspace(low, high, 400) if high > low else np.array([low - 0.5, low, low + 0.5])
        for agent, paths in evaluation.per_path.groupby("agent", observed=True, sort=False):
            costs = paths[column].to_numpy()
            colour, label = palette[str(agent)], f"{agent}  {costs.mean():.2f}"
            if len(costs) > 1 and costs.std() > 1e-9 * max(1.0, abs(costs.mean())):
                sample = costs[:: max(1, len(costs) // 20_000)]
                axes.plot(grid, _density(sample)(grid), color=colour, label=label)
            axes.axvline(costs.mean(), color=colour, lw=1, ls=":")
        if column == "objective" and evaluation.bound_bps:
            axes.axvline(evaluation.bound_bps, color="black", lw=1, ls="--", label=f"bound  {evaluation.bound_bps:.2f}")
        axes.set(xlabel="bps of arrival notional", title=name, xlim=(grid[0], grid[-1]), ylim=(0, None), yticks=[])
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False, fontsize=8, title="mean", title_fontsize=8)
        _tidy(axes)
    figure.suptitle(_title(evaluation, "Cost distributions"))
    return figure


def differences(evaluation: Evaluation) -> Figure:
    """Paired difference of the objective to TWAP on the same paths, with 95 % intervals."""
    table = evaluation.per_agent
    palette = colours(evaluation.settings["agents"])
    figure = Figure(figsize=(7, 1.2 + 0.45 * max(len(table) - 1, 1)), layout="constrained")
    axes = figure.subplots()
    table = table.drop(index=REFERENCE, errors="ignore").dropna(subset=["diff"])[::-1]
    for y, (agent, row) in enumerate(table.iterrows()):
        half = np.array([[row["diff"] - row["diff_low"]], [row["diff_high"] - row["diff"]]])
        axes.errorbar(row["diff"], y, xerr=np.nan_to_num(half), fmt="o", ms=6, capsize=3, color=palette[str(agent)])
        text = f"{row['diff']:+.2f}; shortfall lower\non {100 * row['win_rate']:.0f} % of paths"
        axes.annotate(text, (1.02, y), xycoords=("axes fraction", "data"), va="center", fontsize=8)
    if table.empty:
        axes.text(0.5, 0.5, "nothing to compare with TWAP", ha="center", transform=axes.transAxes)
    axes.axvline(0.0, color=_GREY, lw=1)
    axes.set_yticks(range(len(table)), list(table.index))
    axes.set_ylim(-0.7, max(len(table), 1) - 0.3)
    axes.margins(x=0.1)
    axes.set(
        xlabel="objective less that of TWAP on the same paths [bps]", title=_title(evaluation, "Paired differences")
    )
    _tidy(axes)
    return figure


def episodes(evaluation: Evaluation) -> Figure:
    """Inventory, participation and price of the first few paths."""
    shown = evaluation.examples
    paths, order = sorted(shown["path"].unique()), evaluation.problem.order
    palette = colours(evaluation.settings["agents"])
    figure = Figure(figsize=(4.2 * len(paths), 7.5), layout="constrained")
    grid = figure.subplots(3, len(paths), sharex=True, sharey="row", squeeze=False)
    for column, path in enumerate(paths):
        inventory, participation, price = grid[:, column]
        for agent, rows in shown[shown["path"] == path].groupby("agent", sort=False):
            colour, steps = palette[str(agent)], np.r_[rows["step"], order.n_steps]
            inventory.step(steps, np.r_[rows["inventory"], 0.0], where="post", color=colour, label=str(agent))
            rate = np.r_[rows["participation"], np.nan]
            participation.step(steps, rate, where="post", color=colour, lw=1)
            price.plot(rows["step"], rows["mid"], color=colour, lw=1)
            price.scatter(rows["step"], rows["fill_price"], s=6, color=colour)
        if order.max_participation is not None:
            participation.axhline(order.max_participation, color="black", lw=1, ls=":")
        inventory.set(title=f"path {path}")
        price.set(xlabel="slice")
        price.ticklabel_format(useOffset=False)
    grid[0, 0].set_ylabel("shares left")
    grid[1, 0].set_ylabel("share of volume (dotted: cap)")
    grid[2, 0].set_ylabel("mid (line) and fills (dots) [$]")
    grid[0, 0].legend(frameon=False, fontsize=8)
    for axes in grid.flat:
        _tidy(axes)
    figure.suptitle(_title(evaluation, "Example episodes"))
    return figure


def _density(sample: np.ndarray) -> gaussian_kde:
    """Kernel density whose bandwidth follows the bulk, not the tail: Silverman (1986), equation 3.31."""
    low, high = np.quantile(sample, [0.25, 0.75])
    bulk = min(1.0, (high - low) / 1.34 / sample.std()) or 1.0
    return gaussian_kde(sample, bw_method=0.9 * bulk * len(sample) ** -0.2)


def _title(evaluation: Evaluation, what: str) -> str:
    settings = evaluation.settings
    overrides = ", ".join(f"{k}={Path(v).name if k == 'tape' else v}" for k, v in settings["overrides"].items())
    where = f"{settings['env']}{' (' + overrides[:60] + ')' if overrides else ''}"
    return f"{what}: {where}, {settings['episodes']:,} common paths"


def _tidy(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
