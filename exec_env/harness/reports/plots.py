"""Pictures: learning curves, cost distributions and components, differences, behaviour, example episodes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from scipy.stats import gaussian_kde

from exec_env.base.bootstrap import Z95
from exec_env.envs.problem import Panel
from exec_env.envs.profile import Profile
from exec_env.harness.metrics import REFERENCE

if TYPE_CHECKING:
    from exec_env.harness.evaluation import Evaluation

# Okabe & Ito's colours, which the colour-blind can tell apart; the reference stays grey.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C564B", "#000000")
GREY = "0.45"
_PARTS = ("#4C78A8", "#F58518", "#E9B44C", "#9D755D", "#BAB0AC", "#B279A2", "#72B7B2", "#54A24B", "#9ECAE9")
_RISK = "#C23B4B"


def part_colours(components: Sequence[str]) -> dict[str, str]:
    """A colour for each part of the cost, in every picture; risk is red."""
    return {name: _PARTS[i % len(_PARTS)] for i, name in enumerate(components)} | {"risk": _RISK}


def save_evaluation(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Write every picture of an evaluation; returns the files."""
    figures = {
        "objective.png": objectives(evaluation),
        "cost_distributions.png": cost_distributions(evaluation),
        "differences.png": differences(evaluation),
    }
    if not evaluation.examples.empty and evaluation.problem.panels():
        figures["episodes.png"] = episodes(evaluation)
    figures |= {f"{of.name}.png": profile(evaluation, of) for of in evaluation.problem.profiles}
    for name, figure in figures.items():
        figure.savefig(folder / name, dpi=130)
    return [folder / name for name in figures]


def save_learning_curve(log: pd.DataFrame, twap: float, bound: float | None, path: Path) -> None:
    """Objective on the fixed check paths as training goes on."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    _learning(axes, {"agent": log["objective"].set_axis(log["steps"])}, [twap], bound)
    axes.set(ylabel="objective J [bps]", title="Learning curve")
    figure.savefig(path, dpi=130)


def learning_curves(logs: dict[str, pd.DataFrame], palette: dict[str, str]) -> Figure:
    """Progress of several runs on their own check paths.

    Shown is the objective; of runs on different problems, how far it is above the bound of each, or above TWAP where
    there is a run without a bound.

    Args:
        logs: the ``progress.csv`` of each run.
        palette: a colour for each run.
    """
    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots()
    curves = {name: log["objective"].set_axis(log["steps"]) for name, log in logs.items()}
    twap = {name: float(log["twap"].iloc[-1]) for name, log in logs.items()}
    bounds = {name: bound for name, log in logs.items() if (bound := _bound_of(log)) is not None}
    all_known, known = len(bounds) == len(logs), list(bounds.values())
    if len(logs) == 1 or (all_known and np.allclose(known, known[0], rtol=1e-6)):
        _learning(axes, curves, list(twap.values()), known[0] if known else None, palette)
        axes.set(ylabel="objective J [bps]")
        return figure
    unit = bounds if all_known else twap
    above = {name: 100 * (curve / unit[name] - 1) for name, curve in curves.items()}
    lines = [100 * (twap[name] / unit[name] - 1) for name in logs]
    _learning(axes, above, lines, 0.0 if all_known else None, palette)
    axes.set(ylabel=f"objective above {'the bound' if all_known else 'TWAP'} [%]")
    return figure


def _bound_of(log: pd.DataFrame) -> float | None:
    """The bound that a log's gaps are measured from, if it has them. [bps]"""
    if "gap_percent" not in log or not np.isfinite(log["gap_percent"].iloc[-1]):
        return None
    return float(log["objective"].iloc[-1] / (1 + log["gap_percent"].iloc[-1] / 100))


def _learning(
    axes: Axes,
    curves: dict[str, pd.Series],
    twap: list[float],
    bound: float | None,
    palette: dict[str, str] | None = None,
) -> None:
    """Curves by name over steps, TWAP on each one's paths, and the bound."""
    for name, curve in curves.items():
        colour = (palette or {}).get(name, _COLOURS[0])
        axes.plot(curve.index / 1e6, curve, marker="o", ms=3, color=colour, label=name)
    for i, value in enumerate(sorted(set(twap))):
        axes.axhline(value, color=GREY, lw=1, label=None if i else "TWAP")
    if bound is not None:
        axes.axhline(bound, color="black", lw=1, ls="--", label="lower bound")
    low = min(curve.min() for curve in curves.values()) if bound is None else bound
    high = max(*twap, *(float(curve.iloc[-1]) for curve in curves.values()))
    # The first checks may be far off; they may leave the picture.
    if high > low:
        axes.set_ylim(low - 0.1 * (high - low), high + 0.6 * (high - low))
    axes.set(xlabel="environment steps [million]")
    axes.legend(frameon=False)
    tidy(axes)


def colours(agents: list[str], reference: str = REFERENCE) -> dict[str, str]:
    """A colour for each agent, the same in every picture; that which others are compared with is grey."""
    others = [a for a in agents if a != reference]
    return {reference: GREY} | {a: _COLOURS[i % len(_COLOURS)] for i, a in enumerate(others)}


def objectives(evaluation: Evaluation) -> Figure:
    """Objective of every agent with its 95 % interval, above the lower bound."""
    table = evaluation.per_agent[::-1]
    palette = colours(evaluation.settings["agents"], evaluation.problem.reference)
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
    tidy(axes)
    return figure


def cost_distributions(evaluation: Evaluation) -> Figure:
    """Densities of realised shortfall, and of the objective, where the price's luck is left out."""
    palette = colours(evaluation.settings["agents"], evaluation.problem.reference)
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
        tidy(axes)
    figure.suptitle(_title(evaluation, "Cost distributions"))
    return figure


def differences(evaluation: Evaluation) -> Figure:
    """Paired difference of the objective to the reference on the same paths, with 95 % intervals."""
    table = evaluation.per_agent
    palette = colours(evaluation.settings["agents"], evaluation.problem.reference)
    figure = Figure(figsize=(7, 1.2 + 0.45 * max(len(table) - 1, 1)), layout="constrained")
    axes = figure.subplots()
    reference = evaluation.problem.reference
    table = table.drop(index=reference, errors="ignore").dropna(subset=["diff"])[::-1]
    for y, (agent, row) in enumerate(table.iterrows()):
        half = np.array([[row["diff"] - row["diff_low"]], [row["diff_high"] - row["diff"]]])
        axes.errorbar(row["diff"], y, xerr=np.nan_to_num(half), fmt="o", ms=6, capsize=3, color=palette[str(agent)])
        text = f"{row['diff']:+.2f}; shortfall lower\non {100 * row['win_rate']:.0f} % of paths"
        axes.annotate(text, (1.02, y), xycoords=("axes fraction", "data"), va="center", fontsize=8)
    if table.empty:
        axes.text(0.5, 0.5, f"nothing to compare with {reference.upper()}", ha="center", transform=axes.transAxes)
    axes.axvline(0.0, color=GREY, lw=1)
    axes.set_yticks(range(len(table)), list(table.index))
    axes.set_ylim(-0.7, max(len(table), 1) - 0.3)
    axes.margins(x=0.1)
    axes.set(
        xlabel=f"objective less that of {reference.upper()} on the same paths [bps]",
        title=_title(evaluation, "Paired differences"),
    )
    tidy(axes)
    return figure


def profile(evaluation: Evaluation, of: Profile) -> Figure:
    """Means of a profile's columns with 95 % intervals, a line for each agent."""
    palette = colours(evaluation.settings["agents"], evaluation.problem.reference)
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for agent, rows in evaluation.profile(of).groupby("agent", sort=False):
        at = rows[of.across]
        axes.plot(at, rows["mean"], marker="o", ms=3, color=palette[str(agent)], label=agent)
        axes.fill_between(at, rows["low"], rows["high"], color=palette[str(agent)], alpha=0.2, lw=0)
    axes.set(xlabel=of.across, ylabel=of.label, title=_title(evaluation, of.name.capitalize()))
    axes.set_yscale("symlog", linthresh=1e-3)
    axes.legend(frameon=False)
    tidy(axes)
    return figure


def components(evaluation: Evaluation) -> Figure:
    """Mean cost of every agent by where it comes from, its objective, and the bound."""
    table = evaluation.per_agent[::-1]
    names = [*evaluation.problem.components, "risk"]
    palette = part_colours(evaluation.problem.components)
    means = evaluation.per_path.groupby("agent", observed=True)[names].mean().loc[table.index]
    figure = Figure(figsize=(9, 1.4 + 0.5 * len(table)), layout="constrained")
    axes = figure.subplots()
    ends = {1: np.zeros(len(table)), -1: np.zeros(len(table))}
    for name in names:
        width = means[name].to_numpy()
        if (width == 0).all():
            continue
        start = np.where(width < 0, ends[-1], ends[1])
        axes.barh(range(len(table)), width, left=start, height=0.6, color=palette[name], label=name)
        for sign in ends:
            ends[sign] = ends[sign] + np.where(np.sign(width) == sign, width, 0.0)
    axes.plot(table["objective_mean"], range(len(table)), "D", ms=6, mfc="white", mec="black", label="objective J")
    if evaluation.bound_bps:
        axes.axvline(evaluation.bound_bps, color="black", ls="--", lw=1, label="lower bound")
    axes.axvline(0.0, color=GREY, lw=1)
    axes.set_yticks(range(len(table)), list(table.index))
    axes.set(xlabel="mean cost [bps of arrival notional]")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=5, frameon=False, fontsize=8)
    tidy(axes)
    return figure


def behaviours(maps: dict[str, np.ndarray], levels: np.ndarray, optimum: str | None, palette: dict[str, str]) -> Figure:
    """Pace of each agent by time and liquidity on one scale; lines over time where liquidity does not vary.

    Args:
        maps: by agent, from ``Problem.behaviour``. Shape of each: (n_levels, n_steps).
        levels: log liquidity. Shape: (n_levels,).
        optimum: which of the agents the others are compared with.
        palette: a colour for each agent.
    """
    everything = np.stack(list(maps.values()))
    top = float(np.clip(np.nanquantile(everything, 0.99), 2.0, 6.0))
    if len(levels) == 1:
        figure = Figure(figsize=(11, 4), layout="constrained")
        axes = figure.subplots()
        for agent, paces in maps.items():
            axes.step(np.arange(paces.shape[1]), paces[0], where="mid", label=agent, color=palette.get(agent, "black"))
        axes.set(xlabel="slice", ylabel="pace (1: TWAP)", ylim=(0, 1.05 * top))
        figure.legend(loc="outside right upper", frameon=False, fontsize=8)
        tidy(axes)
        return figure
    columns = len(maps) if len(maps) <= 5 else min(5, -(-len(maps) // 2))
    rows = -(-len(maps) // columns)
    figure = Figure(figsize=(11, 0.4 + 2.7 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    extent = (-0.5, everything.shape[2] - 0.5, levels[0], levels[-1])
    scale = TwoSlopeNorm(1.0, 0.0, top)
    colour_map = "RdBu_r"
    for axes, (agent, paces) in zip(grid.flat, maps.items(), strict=False):
        axes.imshow(paces, colour_map, scale, aspect="auto", origin="lower", extent=extent, interpolation="nearest")
        apart = "the optimum" if agent == optimum else ""
        if optimum is not None and agent != optimum:
            apart = f"{np.nanmean(np.abs(paces - maps[optimum])):.2f} from the optimum"
        axes.set_title(f"{agent}\n{apart}", fontsize=9)
    for i, axes in enumerate(grid.flat):
        axes.set_visible(i < len(maps))
        if i + columns >= len(maps):
            axes.set_xlabel("slice")
            axes.tick_params(labelbottom=True)
    for axes in grid[:, 0]:
        axes.set_ylabel("log liquidity")
    ticks = [0.0, 0.5, 1.0, *range(2, int(top) + 1)]
    scalar = ScalarMappable(scale, colour_map)
    bar = figure.colorbar(scalar, ax=grid, label="pace (1: TWAP)", ticks=ticks, extend="max", aspect=25, pad=0.01)
    bar.ax.set_yticklabels([f"{tick:g}" for tick in ticks])
    return figure


def episodes(evaluation: Evaluation) -> Figure:
    """What agents did, and on which market, on the first few paths: the panels of the problem."""
    shown, panels, n_steps = evaluation.examples, evaluation.problem.panels(), evaluation.problem.n_steps
    paths = sorted(shown["path"].unique())
    palette = colours(evaluation.settings["agents"], evaluation.problem.reference)
    height = 12 / 18 * sum(panel.height for panel in panels)
    figure = Figure(figsize=(4.2 * len(paths), height), layout="constrained")
    ratios = [panel.height for panel in panels]
    grid = figure.subplots(len(panels), len(paths), sharex=True, sharey="row", squeeze=False, height_ratios=ratios)
    values = {i: shown[p.column] if isinstance(p.column, str) else p.column(shown) for i, p in enumerate(panels)}
    shown = shown.assign(**{f"panel {i}": np.asarray(column) for i, column in values.items()})
    for column, path in enumerate(paths):
        here = shown[shown["path"] == path]
        for (i, panel), axes in zip(enumerate(panels), grid[:, column], strict=True):
            if panel.shared:  # the same for all agents
                first = here[here["agent"] == here["agent"].iloc[0]]
                held = first[f"panel {i}"].to_numpy()
                axes.step(np.r_[first["step"], n_steps], np.r_[held, held[-1]], where="post", color="black", lw=1)
            else:
                for agent, rows in here.groupby("agent", sort=False):
                    _panel(axes, panel, rows, rows[f"panel {i}"], n_steps, palette[str(agent)], str(agent))
            if panel.line is not None:
                axes.axhline(panel.line, color="black", lw=1, ls=":")
        grid[0, column].set(title=f"path {path}")
        grid[-1, column].set(xlabel="slice")
        for axes, panel in zip(grid[:, column], panels, strict=True):
            if panel.steps:
                axes.yaxis.set_major_formatter("{x:,.6g}")
            else:
                axes.ticklabel_format(useOffset=False)
    for i, panel in enumerate(panels):
        grid[i, 0].set_ylabel(panel.label)
        drawn = shown[f"panel {i}"].to_numpy(float)
        if panel.most is not None and not np.isnan(drawn).all():
            grid[i, 0].set_ylim(0.0, 1.1 * float(np.clip(np.nanquantile(drawn, 0.98), 1.5, panel.most)))
    grid[0, 0].legend(frameon=False, fontsize=8)
    for axes in grid.flat:
        tidy(axes)
    figure.align_ylabels(grid[:, 0])
    figure.suptitle(_title(evaluation, "Example episodes"))
    return figure


def _panel(
    axes: Axes, panel: Panel, rows: pd.DataFrame, values: pd.Series, n_steps: int, colour: str, name: str
) -> None:
    """One agent on one path."""
    if panel.steps:
        end = np.nan if panel.end is None else panel.end
        axes.step(np.r_[rows["step"], n_steps], np.r_[values, end], where="post", color=colour, lw=1, label=name)
    else:
        axes.plot(rows["step"], values, color=colour, lw=1, label=name)
    if panel.dots is not None:
        axes.scatter(rows["step"], rows[panel.dots], s=6, color=colour)


def _density(sample: np.ndarray) -> gaussian_kde:
    """Kernel density whose bandwidth follows the bulk, not the tail: Silverman (1986), equation 3.31."""
    low, high = np.quantile(sample, [0.25, 0.75])
    bulk = min(1.0, (high - low) / 1.34 / sample.std()) or 1.0
    return gaussian_kde(sample, bw_method=0.9 * bulk * len(sample) ** -0.2)


def _title(evaluation: Evaluation, what: str) -> str:
    settings = evaluation.settings
    options = ", ".join(f"{k}={Path(v).name if k == 'tape' else v}" for k, v in settings["options"].items())
    where = f"{settings['env']}{' (' + options[:60] + ')' if options else ''}"
    return f"{what}: {where}, {settings['episodes']:,} common paths"


def tidy(axes: Axes) -> None:
    """Leave out the frame at the top and at the right."""
    axes.spines[["top", "right"]].set_visible(False)
