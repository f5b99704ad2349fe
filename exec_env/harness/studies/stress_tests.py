"""Agents under stress: every regime on its own common paths, through ``evaluate``; who is best, and how surely."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from tqdm import tqdm

from exec_env.base.bootstrap import Errors
from exec_env.base.csv_files import write_csv
from exec_env.base.errors import InputError, NoBound
from exec_env.base.files import new_folder, write_yaml
from exec_env.base.validation import listed, require_count, require_flag, shown
from exec_env.envs.factory import kept_options
from exec_env.envs.problem import Problem
from exec_env.envs.registry import problem_of
from exec_env.envs.scenario import NORMAL, Scenario
from exec_env.harness.agents import AGENTS, Agent, resolve_all
from exec_env.harness.estimates import difference
from exec_env.harness.evaluation import MOST_PATHS, Evaluation, evaluate_on, for_evaluation
from exec_env.harness.provenance import seen

RANDOMISED = "randomised"
_COMPLETED = "≤ 1 % left %"  # see LEFT
TOLD = " (told)"
"""What the label of an agent ends with that was built from the market under stress."""
LEFT = 0.01
"""A path counts as completed where no more than this part of the order is left for the closing block. That is no
failure of itself: what is left may be so on purpose, where a block costs less than trading faster before it."""


@dataclass(frozen=True, repr=False)
class Stressed:
    """What every agent did under every regime."""

    table: pd.DataFrame
    """One row per regime and agent: ``label``, ``regime``, ``factor``, ``agent``; ``bound_bps`` and ``best_bps``, the
    best achievable value within the cap, where it was asked for; ``no_bound``, why there is none; all columns of
    ``Evaluation.per_agent``; ``completed_percent``, the share of paths with no more than ``LEFT`` of the order left for
    the closing block; ``regret``, what J is above the best achievable value, or the bound where there is none;
    ``added_regret``, by how much more than in the normal regime: what the change of regime costs the agent beyond what
    it costs whoever does best; and of both the standard error, ``regret_se`` and ``added_regret_se`` [bps]. J is
    sampled and the bound is exact, so that a regret may be below zero by chance; where a note says that a bound leaves
    costs out, a part of the regret nobody could avoid."""
    best: pd.DataFrame
    """One row per regime, of agents that were not told: ``best`` by J, ``runner_up``, ``difference`` of the two on the
    same paths (negative: the best is better) with its 95 % interval ``low``, ``high`` [bps], and ``probability`` [%],
    by bootstrap over paths, that the best is the best of all."""
    notes: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        """One line; ``text()`` says more."""
        regimes, agents = self.table["label"].nunique(), self.table["agent"].nunique()
        return f"<Stressed: {agents} agents under {regimes} regimes of {self.settings['env']}>"

    def _repr_html_(self) -> str:
        """The table, as notebooks show it."""
        return self.table.to_html()

    def without_bound(self, of: Literal["label", "regime"] = "label") -> set[str]:
        """Labels without a bound to compare with, or regimes that lack one at some severity."""
        return set(self.table.loc[self.table["gap_percent"].isna(), of])

    def above(self, of: Literal["label", "regime"] = "label") -> pd.DataFrame:
        """How far J is above the bound [%]; agents by regimes.

        Args:
            of: J is above the best agent instead where its label, or its regime at any severity, is without a bound.
        """
        least = self.table.groupby("label")["objective_mean"].transform("min")
        above_best = 100 * (self.table["objective_mean"] - least) / least.abs()
        return self._by_regime(self.table["gap_percent"].mask(self.table[of].isin(self.without_bound(of)), above_best))

    def completed(self) -> pd.DataFrame:
        """Share of paths with no more than ``LEFT`` of the order left for the closing block [%]; agents by regimes."""
        return self._by_regime(self.table["completed_percent"])

    def _by_regime(self, values: pd.Series) -> pd.DataFrame:
        wide = self.table.assign(value=values).pivot(index="agent", columns="label", values="value")
        return wide.loc[self.settings["agents"], self.settings["regimes"]]

    def text(self) -> str:
        """Tables for a terminal."""
        lines = []
        for label, rows in self.table.groupby("label", sort=False):
            bound = rows["bound_bps"].iloc[0]
            why = rows["no_bound"].iloc[0]
            said = f"no bound: {why}" if np.isnan(bound) else f"oracle bound {bound:.3f} bps"
            best_bps = rows["best_bps"].iloc[0]
            said += "" if np.isnan(best_bps) else f", best achievable {best_bps:.3f} bps"
            lines += [f"\n{label}: {said}", _shown(rows).to_string()]
            best = self.best.set_index("label").loc[label]
            if isinstance(best["runner_up"], str):
                lead, low, high = (0.0 - best[name] for name in ("difference", "high", "low"))
                known = not np.isnan(low)
                lines.append(
                    f"best that nobody told: {best['best']}, by {lead:.3f} bps "
                    f"{f'[{low:.3f}, {high:.3f}] ' if known else ''}over {best['runner_up']}; "
                    + (f"the best of all with {best['probability']:.1f} %" if known else "how surely is not known")
                )
        lines += ["", "bps of the arrival notional; ± is one standard error; [ ] is a 95 % interval"]
        lines += ["regret: J above the best achievable, if computed, else above the bound; added: more than normal"]
        lines += [f"{_COMPLETED}: paths with so little of the order left for the closing block", *self.notes]
        return "\n".join(lines).strip()

    def save(self, folder: str | Path) -> Path:
        """Write ``stress.csv``, ``best.csv``, ``stress.yaml`` and the pictures into a new folder.

        Raises:
            InputError: when the folder exists.
        """
        from exec_env.harness.reports.stress_plots import heat_map, severities

        folder = new_folder(folder)
        write_yaml(folder / "stress.yaml", self.settings)
        write_csv(self.table, folder / "stress.csv")
        write_csv(self.best, folder / "best.csv")
        heat_map(self).savefig(folder / "heat_map.png", dpi=130)
        if self.table.groupby("regime")["factor"].nunique().max() > 1:
            severities(self).savefig(folder / "severity.png", dpi=130)
        return folder


def stress(
    agents: Iterable[str | Path | Agent],
    among: Sequence[Scenario] | None = None,
    env_id: str = "AlmgrenChriss-v0",
    episodes: int = 10_000,
    seed: int = 0,
    starts: Literal["random", "rolling"] = "random",
    told: Sequence[str] = (),
    progress: bool = False,
    optimum: bool = False,
    **options: Any,
) -> Stressed:
    """Put every agent under every regime; within a regime all play the same paths.

    Args:
        agents: as of ``evaluate``. Baselines are built from the problem without stress: nobody told them.
        among: stress tests, from ``Problem.scenarios``, by default all; the normal one is played first.
        env_id: a registered id.
        episodes: number of paths of each regime.
        seed: of the paths.
        starts: where episodes of a recorded tape begin.
        told: names of baselines that take part once more, built from the problem under stress. One that cannot in some
            regime is left out of it, and a note says why.
        progress: whether to show a progress bar.
        optimum: whether to compute the best achievable value of each regime too; it takes seconds for each.
        **options: of the problem; with ``randomise`` there is one regime more, of paths drawn as in training.

    Raises:
        InputError: as ``evaluate``; for options that the regimes vary; when no regime can be.
    """
    require_count(high=MOST_PATHS, episodes=episodes)
    require_count(0, seed=seed)
    require_flag(progress=progress, optimum=optimum)
    drawn, options = options.pop("randomise", None), for_evaluation(env_id, options)
    stressing = problem_of(env_id).stressing
    given = problem_of(env_id, **{k: v for k, v in options.items() if k not in stressing})
    among = listed("among", "scenarios, as of scenarios()", given.scenarios() if among is None else among)
    if not among or not all(isinstance(scenario, Scenario) for scenario in among):
        raise InputError(f"among = {shown(among)}: must be scenarios, at least one")
    for name in given.varied:
        if name in options:
            raise InputError(f"{name} = {options[name]!r}: is what regimes vary; give it to scenarios instead")
    # The normal regime first: the others are compared with it.
    among.sort(key=lambda s: s.regime != NORMAL)
    if drawn is not None:
        among.append(Scenario(RANDOMISED, None, {"randomise": drawn}, RANDOMISED, told=False))
    # Normal is without any stress, also where the environment has one.
    calm = dict(given.calm(options))
    problem = problem_of(env_id, **(options | calm)) if calm else given
    agents = listed("agents", AGENTS, agents)
    unaware = {name: _Labelled(name, agent) for name, agent in resolve_all(agents, problem).items()}
    # Who cannot be told anything is refused; who cannot be told of one regime is left out of that.
    knowing = {next(iter(resolve_all([name], problem))) + TOLD: name for name in told}
    labels = [*unaware, *knowing]
    tables, best, notes = [], [], list[str]()
    possible = _possible(among, env_id, options, calm, notes)
    normal: Evaluation | None = None
    for scenario, here, own in tqdm(possible, unit=" regimes", disable=not progress, desc="stress"):
        taking_part = list(unaware.values())
        for label, name in knowing.items() if scenario.told else ():
            try:
                (agent,) = resolve_all([name], here).values()
            except (InputError, NoBound) as error:
                notes.append(f"{label} left out of {scenario.label}: {error}")
            else:
                taking_part.append(_Labelled(label, agent))
        found = evaluate_on(here, taking_part, env_id, episodes, seed, starts, 0, False, optimum, own)
        normal = found if scenario.regime == NORMAL else normal
        notes += [note for note in found.on_errors if note not in notes]
        left_out = [found.on_bound] if found.bound_bps is not None and found.on_bound else []
        notes += [f"{scenario.label}: {note}" for note in (*here.remarks_on(found.per_path), *left_out)]
        tables.append(_rows(scenario, found, normal))
        best.append({"label": scenario.label} | _ranked(found, seed))
    settings = {"env": env_id, "episodes": episodes, "seed": seed, "agents": labels}
    played = [{k: v for k, v in own.items() if k not in options or v != options[k]} for *_, own in possible]
    settings |= {
        "regimes": [s.label for s, *_ in possible],
        "of_regimes": [kept_options(own, strict=False) for own in played],
    }
    settings |= {"options": kept_options(problem.settled(options), strict=False)}
    notes += [*problem.remarks(), *(note for agent in agents for note in seen(agent, problem))]
    table = pd.concat(tables, ignore_index=True)
    settings["agents"] = [name for name in labels if name in set(table["agent"])]
    return Stressed(table, pd.DataFrame(best), tuple(notes), settings)


def _possible(
    among: Sequence[Scenario],
    env_id: str,
    options: dict[str, Any],
    calm: dict[str, Any],
    notes: list[str],
) -> list[tuple[Scenario, Problem, dict[str, Any]]]:
    """Regimes that this problem can be put under, with the problem and its options; notes on the others.

    Raises:
        InputError: of the first, when there is none; and of the randomised one, whose ranges are the user's own.
    """
    found, refused = [], list[InputError]()
    for scenario in among:
        own = options | {k: v for k, v in calm.items() if k not in scenario.keeps} | dict(scenario.options)
        try:
            found.append((scenario, problem_of(env_id, **own), own))
        except InputError as error:
            if scenario.regime == RANDOMISED:
                raise
            notes.append(f"{scenario.label} left out: {error}")
            refused.append(error)
    if not found:
        raise refused[0]
    return found


class _Labelled:
    """An agent under a name of ours; all else is its own."""

    def __init__(self, name: str, agent: Agent) -> None:
        self.name, self._agent = name, agent
        self.action_mode: Any = agent.action_mode

    def act(self, *seen: Any) -> Any:
        return self._agent.act(*seen)

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("_"):
            raise AttributeError(attribute)
        return getattr(self._agent, attribute)


def _rows(scenario: Scenario, found: Evaluation, normal: Evaluation | None) -> pd.DataFrame:
    """The table of one regime, given the normal one where it was played."""
    left = found.per_path["shares_left"] <= LEFT * found.problem.size
    completed = 100 * left.groupby(found.per_path["agent"], observed=True).mean()
    rows = found.per_agent.assign(completed_percent=completed).rename_axis("agent").reset_index()
    front = {"label": scenario.label, "regime": scenario.regime, "factor": scenario.factor}
    for i, (name, value) in enumerate(front.items()):
        rows.insert(i, name, value)
    rows = rows.assign(agent=rows["agent"].astype(str), factor=rows["factor"].astype(float))
    bound, best = _references(found)
    rows = rows.assign(bound_bps=bound, best_bps=best, no_bound="" if found.bound_bps is not None else found.on_bound)
    rows["regret"] = rows["objective_mean"] - (bound if np.isnan(best) else best)
    rows["regret_se"] = rows["objective_se"].where(rows["regret"].notna())
    added = [_added(found, normal, agent) for agent in rows["agent"]]
    rows[["added_regret", "added_regret_se"]] = np.array(added)
    return rows


def _references(found: Evaluation) -> tuple[float, float]:
    """The bound and the best achievable value, NaN where there is none. [bps]"""
    bound = np.nan if found.bound_bps is None else found.bound_bps
    return bound, np.nan if found.optimum is None else found.optimum.value_bps


def _added(found: Evaluation, normal: Evaluation | None, agent: str) -> tuple[float, float]:
    """How much more an agent regrets than in the normal regime, and its standard error. [bps]

    Where both regimes draw the same factors, path i is made of the same numbers in both, so that the error is that of
    the difference; else paths are independent of each other, or no pairs, and errors add up as squares.
    """
    who = agent.removesuffix(TOLD)
    if normal is None or who not in normal.per_agent.index:
        return np.nan, np.nan
    (bound, best), (bound_there, best_there) = _references(found), _references(normal)
    here, there = (e.per_agent.loc[name].to_dict() for e, name in ((found, agent), (normal, who)))
    reference = bound if np.isnan(best) else best
    reference_there = bound_there if np.isnan(best_there) else best_there
    added = float(here["objective_mean"] - reference - (there["objective_mean"] - reference_there))
    if np.isnan(added):
        return np.nan, np.nan
    if found.problem.pairs_with(normal.problem):
        one, other = found.estimates[agent], normal.estimates[who]
        raw = _objective(found, agent) - _objective(normal, who)
        apart = difference(one, other, raw, found.errors)
        return apart.mean - (reference - reference_there), apart.se
    return added, float(np.hypot(here["objective_se"], there["objective_se"]))


def _objective(found: Evaluation, agent: str) -> np.ndarray:
    """The objective of each path as it is. [bps]"""
    return np.asarray(found.per_path.loc[found.per_path["agent"] == agent, "objective"])


def _ranked(found: Evaluation, seed: int) -> dict[str, Any]:
    """The best agent and the next, and how surely the one is before the other, and before all."""
    order = [name for name in found.per_agent.index.astype(str) if not name.endswith(TOLD)]
    if len(order) == 1:
        return {"best": order[0], "runner_up": None}
    costs = np.stack([found.estimates[name].values for name in order])  # best first
    difference = costs[0] - costs[1]
    low, high = found.errors.interval(difference)
    return {
        "best": order[0],
        "runner_up": order[1],
        "difference": float(difference.mean()),
        "low": low,
        "high": high,
        "probability": 100 * probability_of_being_best(costs, found.errors, seed)[0],
    }


def probability_of_being_best(costs: np.ndarray, errors: Errors, seed: int = 0) -> np.ndarray:
    """How often each agent's mean cost is the lowest, over resamples of the paths; equals share.

    Args:
        costs: of each agent on the same paths. Shape: (n_agents, n_paths).
        errors: how paths are resampled.
        seed: of the bootstrap.

    Returns:
        Probabilities that add up to one; NaN where paths are too few to say. Shape: (n_agents,).

    >>> from exec_env.base.bootstrap import Independent
    >>> costs = np.array([[1.0, 2.0, 3.0], [1.5, 2.5, 3.5]])
    >>> probability_of_being_best(costs, Independent()).tolist()
    [1.0, 0.0]
    """
    resampled = errors.resampled(costs, seed)
    if np.isnan(resampled).any():
        return np.full(len(costs), np.nan)
    least = resampled <= resampled.min(1, keepdims=True) + 1e-12 * np.abs(costs.mean(1)).max()
    return (least / least.sum(1, keepdims=True)).mean(0)


def _shown(rows: pd.DataFrame) -> pd.DataFrame:
    """The main columns as text."""
    columns = {
        "J": rows["objective_mean"].map("{:.3f}".format) + rows["objective_se"].map(" ± {:.3f}".format),
        "regret": rows["regret"].map("{:.3f}".format) + rows["regret_se"].map(" ± {:.3f}".format),
        "added": rows["added_regret"].map("{:+.3f}".format) + rows["added_regret_se"].map(" ± {:.3f}".format),
        "above bound %": rows["gap_percent"].map("{:+.2f}".format),
        "shortfall": rows["shortfall_mean"].map("{:.2f}".format) + rows["shortfall_se"].map(" ± {:.2f}".format),
        "std": rows["shortfall_std"].map("{:.1f}".format),
        "Sharpe": rows["sharpe"].map("{:.3f}".format),
        "CVaR 95": rows["cvar95"].map("{:.1f}".format),
        _COMPLETED: rows["completed_percent"].map("{:.1f}".format),
    }
    shown = pd.DataFrame(columns).set_index(rows["agent"].to_numpy())
    return shown.map(lambda cell: "-" if "nan" in cell.partition("±")[0] else cell.replace("± nan", ""))
