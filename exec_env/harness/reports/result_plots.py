"""Pictures of an experiment, made from its tables alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from exec_env.base.csv_files import read_csv
from exec_env.harness.metrics import REFERENCE
from exec_env.harness.reports.plots import colours

_REFERENCES = {"adaptive": "-", "static": "--", REFERENCE: ":"}
"""Baselines that are shown as lines, by line style."""


def save_figures(folder: Path) -> None:
    """``gaps.png`` and ``learning_curves.png`` from the tables in a folder."""
    runs, baselines, summary = (read_csv(folder / f"{name}.csv") for name in ("runs", "baselines", "summary"))
    gaps(runs, baselines, summary).savefig(folder / "gaps.png", dpi=130)
    learning_curves(read_csv(folder / "curves.csv"), baselines).savefig(folder / "learning_curves.png", dpi=130)


def gaps(runs: pd.DataFrame, baselines: pd.DataFrame, summary: pd.DataFrame) -> Figure:
    """Distance to the bound of every agent: interquartile mean with its interval, and each seed as a dot."""
    bounded = summary.dropna(subset=["gap_percent_iqm"])
    agents = list(bounded["agent"].unique())
    palette = colours(agents)
    figure, panels = _panels(list(bounded["env"].unique()), height=1.3 + 0.35 * len(agents))
    for env, axes in panels.items():
        here = bounded[bounded["env"] == env]
        for y, row in enumerate(here[::-1].to_dict("records")):
            colour = palette[row["agent"]]
            seeds = runs.loc[(runs["env"] == env) & (runs["agent"] == row["agent"]), "gap_percent"]
            axes.plot(seeds, np.full(len(seeds), y), "o", ms=4, color=colour, alpha=0.4, mew=0)
            axes.plot([row["gap_percent_low"], row["gap_percent_high"]], [y, y], color=colour, lw=2)
            axes.plot(row["gap_percent_iqm"], y, "|", ms=14, mew=2, color=colour)
        axes.set_yticks(range(len(here)), list(here["agent"][::-1]))
        axes.set_ylim(-0.6, len(here) - 0.4)
        seeds = runs.loc[runs["env"] == env, "gap_percent"]
        _reference_lines(axes.axvline, baselines[baselines["env"] == env], 2 * float(seeds.max()))
        axes.set(title=env, xlabel="gap to the lower bound [%]: mean of the middle seeds, 95 % interval, each seed")
        axes.set_xlim(left=min(0.0, 1.15 * seeds.min()))
        axes.legend(frameon=False, fontsize=7)
    return figure


def learning_curves(curves: pd.DataFrame, baselines: pd.DataFrame) -> Figure:
    """Gap on the validation paths as training goes on: mean over seeds, and their range."""
    shown = curves.dropna(subset=["gap_percent"]) if "gap_percent" in curves else curves[:0]
    palette = colours(list(curves["agent"].unique()) if not curves.empty else [])
    figure, panels = _panels(list(shown["env"].unique()), height=2.8)
    for env, axes in panels.items():
        for agent, runs in shown[shown["env"] == env].groupby("agent", sort=False):
            runs = runs.drop_duplicates(["seed", "steps"], keep="last")
            wide = runs.pivot(index="steps", columns="seed", values="gap_percent")
            wide = wide.ffill().dropna()  # a run that stopped early stays where it was
            steps, colour = wide.index.to_numpy() / 1e6, palette[str(agent)]
            axes.plot(steps, wide.mean(axis=1), color=colour, label=str(agent))
            axes.fill_between(steps, wide.min(axis=1), wide.max(axis=1), color=colour, alpha=0.2, lw=0)
        # The first checks may be far off; they may leave the picture.
        last = shown[shown["env"] == env].groupby(["agent", "seed"])["gap_percent"].last().max()
        twap = baselines.loc[(baselines["env"] == env) & (baselines["agent"] == "twap"), "gap_percent"].max()
        top = 1.15 * max(last, min(twap, 4 * last))
        _reference_lines(axes.axhline, baselines[baselines["env"] == env], float(top))
        axes.set(title=env, xlabel="environment steps [million]", ylabel="gap on validation paths [%]")
        axes.set_ylim(min(0.0, 1.15 * shown.loc[shown["env"] == env, "gap_percent"].min()), top)
        axes.legend(frameon=False, fontsize=7)
    return figure


def _panels(envs: list[str], height: float) -> tuple[Figure, dict[str, Axes]]:
    """A panel per problem, two beside each other. Height in inches, of a panel."""
    rows = max(1, -(-len(envs) // 2))
    figure = Figure(figsize=(11, rows * height + 0.3), layout="constrained")
    grid = figure.subplots(rows, 2, squeeze=False)
    for axes in grid.flat[len(envs) :]:
        axes.set_axis_off()
    for axes in grid.flat:
        axes.spines[["top", "right"]].set_visible(False)
    return figure, dict(zip(envs, grid.flat, strict=False))


def _reference_lines(line: Any, baselines: pd.DataFrame, limit: float) -> None:
    """Lines for what learning is measured by. TWAP's is left out where it is far away: agents would lie on a heap."""
    line(0.0, color="black", lw=1)
    gap = dict(zip(baselines["agent"], baselines["gap_percent"], strict=True))
    for agent, style in _REFERENCES.items():
        if agent in gap and (agent != REFERENCE or gap[agent] <= limit):
            line(gap[agent], color="0.45", ls=style, lw=1, label=f"{agent} ({gap[agent]:z.1f} %)")
