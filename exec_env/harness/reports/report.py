"""The report: one HTML page that says how good agents are, where their costs come from and what they do.

The page loads nothing from anywhere, and the same evaluation gives the same bytes.
"""

import base64
import contextlib
import io
from collections.abc import Iterable
from os.path import isfile
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
import pandas as pd
import yaml
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from exec_env.base.bootstrap import Z95
from exec_env.base.csv_files import read_csv
from exec_env.base.errors import NoBound
from exec_env.base.files import new_file, read_yaml, write_text
from exec_env.base.units import dollars
from exec_env.base.validation import listed
from exec_env.envs.problem import Problem
from exec_env.envs.registry import problem_of
from exec_env.harness.agents import AGENTS, Agent, known_agents, normalise, resolve, resolve_all, run_of
from exec_env.harness.evaluation import Evaluation, evaluate, for_evaluation
from exec_env.harness.reports import plots

PAGE_STYLE: Any = {
    "svg.hashsalt": "exec_env",  # the same names inside a picture every time
    "text.parse_math": False,  # a dollar in an agent's name is a dollar
    "font.size": 9,
    "axes.edgecolor": "0.55",
    "axes.labelcolor": "0.2",
    "xtick.color": "0.35",
    "ytick.color": "0.35",
}


def write_report(
    agents: Iterable[str | Path | Agent],
    out: str | Path,
    env_id: str = "AlmgrenChriss-v0",
    episodes: int = 20_000,
    seed: int = 0,
    starts: Literal["random", "rolling"] = "random",
    progress: bool = False,
    **options: Any,
) -> Evaluation:
    """Evaluate agents and write one HTML page about them.

    Args:
        agents: as of ``evaluate``. Where no baseline is named among them, those that the problem suggests are added, so
            that there is something to compare with.
        out: file to create.
        env_id: a registered id.
        episodes: number of paths.
        seed: of the paths.
        starts: where episodes of a recorded tape begin.
        progress: whether to show a progress bar.
        **options: of the problem.

    Returns:
        The evaluation that the page shows.

    Raises:
        InputError: for a file that exists, and as ``evaluate``.
    """
    out = new_file(out)
    chosen = with_baselines(agents, problem_of(env_id, **for_evaluation(env_id, options)))
    evaluation = evaluate(chosen, env_id, episodes, seed, starts, progress=progress, **options)
    write_text(out, render(evaluation, chosen))
    return evaluation


def with_baselines(agents: Iterable[str | Path | Agent], problem: Problem) -> list[str | Path | Agent]:
    """The agents, and those that the problem suggests where no baseline is named among them."""
    chosen: list[str | Path | Agent] = listed("agents", AGENTS, agents)
    known = {*known_agents(), *problem.policies()}
    named = any(isinstance(agent, str) and normalise(agent) in known for agent in chosen)
    return chosen if named or not chosen else [*chosen, *problem.suggested()]


def render(evaluation: Evaluation, agents: list[str | Path | Agent]) -> str:
    """The page.

    Args:
        evaluation: of these agents.
        agents: in the order in which they were evaluated, for what they do in states of our choice.
    """
    problem, names = evaluation.problem, list(evaluation.settings["agents"])
    runs = {
        label: run_of(a) for label, a in zip(names, agents, strict=True) if isinstance(a, str | Path) and _is_run(a)
    }
    palette = plots.colours(names, problem.reference)
    logs, unread = _logs(runs)
    at, maps, optimum = _behaviour(agents, evaluation)
    page = templates(dollars=dollars, number=number, signed=lambda value, digits=2: number(value, digits, "+"))
    examples = not evaluation.examples.empty and problem.panels()
    with mpl.rc_context(PAGE_STYLE):
        pictures: dict[str, str | None] = {
            "objectives": picture(plots.objectives(evaluation), 5.6),
            "differences": picture(plots.differences(evaluation), 5.6),
            "distributions": picture(plots.cost_distributions(evaluation), 11),
            "learning": picture(plots.learning_curves(logs, palette), 11) if logs else None,
            "episodes": picture(plots.episodes(evaluation), 11) if examples else None,
            "components": picture(plots.components(evaluation), 11),
            "behaviour": None if at is None else picture(plots.behaviours(maps, at.levels, optimum, palette)),
        }
        profiles = {of: picture(plots.profile(evaluation, of), 7) for of in problem.profiles}
    parts = evaluation.per_path.groupby("agent", observed=True)[[*problem.components, "risk"]].mean()
    return page.get_template("report.html").render(
        evaluation=evaluation,
        settings=evaluation.settings,
        problem=problem,
        headline=problem.headline(),
        reference=problem.reference,
        money=problem.dollars_per_bps,
        z95=Z95,
        rows=evaluation.per_agent.reset_index().to_dict("records"),
        palette=palette,
        pictures=pictures,
        profiles=profiles,
        parts=parts.loc[evaluation.per_agent.index],
        price_error=_price_error(evaluation),
        at=at,
        optimum=optimum,
        unread=unread,
        fields=_fields(evaluation),
        runs={label: _text(run / "config.yaml") for label, run in runs.items()},
        settings_text=_yaml(evaluation.settings | {"bound_bps": evaluation.bound_bps}),
    )


def templates(*own: PackageLoader, **filters: Any) -> Environment:
    """Templates of pages: those that are another package's ``own``, then those here; with these filters."""
    found = Environment(
        loader=ChoiceLoader([*own, PackageLoader("exec_env.harness", "reports")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= filters
    return found


def number(value: Any, digits: int = 2, sign: str = "") -> str:
    """A number for the page; a dash where there is none.

    >>> number(-1234.567, 1), number(0.5, 2, "+"), number(None), number(float("nan")), number(-0.001, 1)
    ('−1,234.6', '+0.50', '–', '–', '0.0')
    """
    if value is None or np.isnan(value):
        return "–"
    return f"{round(value, digits) + 0.0:{sign},.{digits}f}".replace("-", "−")


def _is_run(agent: str | Path) -> bool:
    return normalise(str(agent)) not in known_agents() and isfile(run_of(agent) / "config.yaml")


def _logs(runs: dict[str, Path]) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """The progress of each run, and the runs whose log cannot be read."""
    logs, unread = {}, []
    for label, run in runs.items():
        try:
            log = read_csv(run / "progress.csv")
            log[["steps", "objective", "twap"]].astype(float)
        except (OSError, ValueError, KeyError):
            log = pd.DataFrame()
        if log.empty:
            unread.append(label)
        else:
            logs[label] = log
    return logs, unread


def _behaviour(
    agents: list[str | Path | Agent], evaluation: Evaluation
) -> tuple[Any, dict[str, np.ndarray], str | None]:
    """States in which agents are asked, maps of the optimum, where there is one, and of every agent, best first."""
    problem = evaluation.problem
    at = problem.behaviour()
    if at is None:
        return None, {}, None
    resolved, (_, *others) = resolve_all(agents, problem), problem.suggested()
    optimum = others[0] if others else None
    maps = {}
    if optimum is not None and optimum not in resolved:
        with contextlib.suppress(NoBound):  # there need not be one
            maps[optimum] = at.map(resolve(optimum, problem)[1])
    first = [optimum] if optimum in resolved else []
    for label in [*first, *(str(a) for a in evaluation.per_agent.index if a not in first)]:
        maps[label] = at.map(resolved[label])
    return at, maps, optimum if optimum in maps else None


def _price_error(evaluation: Evaluation) -> float:
    """Largest half width of a 95 % interval of the price component, which is luck but for a signal. [bps]"""
    if "price" not in evaluation.problem.components:
        return float("nan")
    prices = evaluation.per_path.groupby("agent", observed=True)["price"]
    return float(Z95 * prices.agg(lambda of: evaluation.errors.standard_error(of.to_numpy())).max())


def _fields(evaluation: Evaluation) -> dict[str, list[tuple[str, Any, Any]]]:
    """Name, value and, where it is another one, the environment's own value of each parameter, by group."""
    found = {}
    theirs = evaluation.problem.defaults()
    for group, ours in evaluation.problem.parameters().items():
        own = theirs.get(group, ours)
        pairs = {name: (value, own.get(name)) for name, value in ours.items()}
        found[group] = [(key, a, None if a == b else b if b is not None else "none") for key, (a, b) in pairs.items()]
    return found


def _text(config: Path) -> str:
    return _yaml(read_yaml(config))


def _yaml(values: dict[str, Any]) -> str:
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def picture(figure: Figure, width: float | None = None) -> Markup:
    """A figure as a data address; its title is left to the page. Width in inches."""
    figure.suptitle("")
    if len(figure.axes) == 1:
        figure.axes[0].set_title("")
    if width is not None:
        figure.set_figwidth(width)
    # The layout is solved in an order that differs from time to time, and with it the last digit of what it finds.
    if (engine := figure.get_layout_engine()) is not None:
        engine.execute(figure)
    figure.set_layout_engine("none")
    for axes in figure.axes:
        left, bottom, wide, high = (round(float(edge), 6) for edge in axes.get_position().bounds)
        axes.set_position((left, bottom, wide, high))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return Markup("data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode())
