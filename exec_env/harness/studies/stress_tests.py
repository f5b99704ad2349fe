"""Agents under stress: every regime on its own common paths, through ``evaluate``; who is best, and how surely."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from tqdm import tqdm

from exec_env.base.bootstrap import Errors
from exec_env.base.errors import InputError
from exec_env.base.files import new_folder, write_yaml
from exec_env.base.validation import require_count, unknown
from exec_env.envs.registry import get_spec
from exec_env.harness.agents import Agent, resolve_all
from exec_env.harness.evaluation import Evaluation, evaluate
from exec_env.harness.provenance import looked_ahead, seen
from exec_env.market.market import Market
from exec_env.market.paths import Normals
from exec_env.market.stress import STRESSES
from exec_env.one_asset.actions import ActionMode
from exec_env.one_asset.presets import get_preset
from exec_env.one_asset.problem import Problem, for_evaluation, make_problem

NORMAL, SWITCHING, RANDOMISED = "normal", "regime-switching", "randomised"
NAMES = (NORMAL, *(name for name in STRESSES if name != "none"), SWITCHING)
"""Regimes that agents are put under."""
_COMPLETED = "≤ 1 % left %"  # see LEFT
TOLD = " (told)"
"""What the label of an agent ends with that was built from the market under stress."""
LEFT = 0.01
"""A path counts as completed where no more than this part of the order is left for the closing block. That is no
failure of itself: what is left may be so on purpose, where a block costs less than a larger trade before it."""
_CALM = {
    f.name: f.default for f in fields(Market) if f.name.startswith(("stress", "regime_"))
}  # what a market without stress has
_VARIED = ("stress", "stress_factor", "stress_onset", "stress_onset_end", "regime_rate")  # given by a scenario


@dataclass(frozen=True)
class Scenario:
    """A regime at a severity."""

    regime: str
    factor: float | None
    """What the regime multiplies by; None where there is none."""
    options: dict[str, Any]
    """Of ``evaluate``."""
    label: str
    """What it is called in tables and pictures."""


def scenarios(
    regimes: Sequence[str] = NAMES,
    severities: Sequence[float] = (),
    onset: float = 0.5,
    onset_end: float | None = None,
) -> list[Scenario]:
    """Regimes by name, each at its own severity or at all of those given.

    Args:
        regimes: of ``NAMES``.
        severities: factors. Of liquidity (of what a shock leaves of it, of liquidity in the poor regime), volatility or
            impact, whichever the regime multiplies.
        onset: part of the horizon after which a stress begins.
        onset_end: the onset is uniform between ``onset`` and this; None: it is fixed.

    Raises:
        InputError: for an unknown regime, one that is named twice, or none; for impossible severities and onsets.

    >>> [s.label for s in scenarios(["normal", "liquidity-collapse"], [0.5, 0.1])]
    ['normal', 'liquidity-collapse × 0.5', 'liquidity-collapse × 0.1']
    """
    found = []
    for name in regimes:
        if name not in NAMES:
            raise InputError(unknown("regime", name, NAMES))
        if name == NORMAL:
            found.append(Scenario(name, None, {}, name))
            continue
        for factor in severities or (None,):
            options: dict[str, Any]
            if name == SWITCHING:
                options = {"regime_rate": 2.0} | ({} if factor is None else {"regime_liquidity": factor})
            else:
                options = {"stress": name, "stress_onset": onset, "stress_onset_end": onset_end}
                options |= {} if factor is None else {"stress_factor": factor}
            label = name if factor is None else f"{name} × {factor:g}"
            found.append(Scenario(name, factor, options, label))
    if not found:
        raise InputError(f"no regimes: name at least one of {', '.join(NAMES)}")
    for factor in severities:
        try:
            Market(stress="liquidity-collapse", stress_factor=factor)
        except ValueError as error:
            allowed = str(error).partition(": ")[2].removesuffix(", or None")
            raise InputError(f"severity = {factor!r}: {allowed}") from None
    labels = [s.label for s in found]
    for scenario in found:
        if labels.count(scenario.label) > 1:
            raise InputError(f"regime {scenario.label!r} is named twice")
        Market(**scenario.options)  # refuses onsets that cannot be
    return found


@dataclass(frozen=True)
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
        self.table.to_csv(folder / "stress.csv", index=False)
        self.best.to_csv(folder / "best.csv", index=False)
        heat_map(self).savefig(folder / "heat_map.png", dpi=130)
        if self.table.groupby("regime")["factor"].nunique().max() > 1:
            severities(self).savefig(folder / "severity.png", dpi=130)
        return folder


def stress(
    agents: Iterable[str | Path | Agent],
    among: Sequence[Scenario],
    env_id: str = "AlmgrenChriss-v0",
    episodes: int = 10_000,
    seed: int = 0,
    starts: Literal["random", "rolling"] = "random",
    told: Sequence[str] = (),
    progress: bool = False,
    optimum: bool = False,
    **overrides: Any,
) -> Stressed:
    """Put every agent under every regime; within a regime all play the same paths.

    Args:
        agents: as of ``evaluate``. Baselines are built from the market without stress: nobody told them.
        among: regimes, from ``scenarios``; the normal one is played first.
        env_id: a registered id.
        episodes: number of paths of each regime.
        seed: of the paths.
        starts: where episodes of a recorded tape begin.
        told: names of baselines that take part once more, built from the market under stress. One that cannot in some
            regime is left out of it, and a note says why.
        progress: whether to show a progress bar.
        optimum: whether to compute the best achievable value of each regime too; it takes seconds for each.
        **overrides: fields of Market and Order, ``preset``, ``tape``; with ``randomise`` there is one regime more, of
            paths drawn as in training.

    Raises:
        InputError: as ``evaluate``; for fields that the regimes vary; when no regime can be.
    """
    require_count(episodes=episodes)
    require_count(0, seed=seed)
    for name in _VARIED:
        if name in overrides:
            raise InputError(f"{name} = {overrides[name]!r}: is what regimes vary; give it to scenarios instead")
    # The normal regime first: the others are compared with it.
    among, drawn = sorted(among, key=lambda s: s.regime != NORMAL), overrides.pop("randomise", None)
    if drawn is not None:
        among.append(Scenario(RANDOMISED, None, {"randomise": drawn}, RANDOMISED))
    overrides = for_evaluation(overrides)
    start: dict[str, Any] = {"preset": get_spec(env_id).preset} | overrides
    # Normal is without any stress, also where the environment has one.
    given = vars(get_preset(start["preset"]).market) | overrides
    calm = {name: default for name, default in _CALM.items() if given[name] != default}
    problem = make_problem(**(start | calm))
    agents = [agents] if isinstance(agents, str | Path) else list(agents)
    unaware = {
        name: _Labelled(name, agent) for name, agent in resolve_all(agents, problem.market, problem.order).items()
    }
    # Who cannot be told anything is refused; who cannot be told of one regime is left out of that.
    knowing = {next(iter(resolve_all([name], problem.market, problem.order))) + TOLD: name for name in told}
    labels = [*unaware, *knowing]
    tables, best, notes = [], [], list[str]()
    possible = _possible(among, start, overrides, calm, notes)
    normal: Evaluation | None = None
    for scenario, here, options in tqdm(possible, unit=" regimes", disable=not progress, desc="stress"):
        taking_part = list(unaware.values())
        for label, name in knowing.items() if scenario.regime not in (NORMAL, RANDOMISED) else ():
            try:
                (agent,) = resolve_all([name], here.market, here.order).values()
            except ValueError as error:
                notes.append(f"{label} left out of {scenario.label}: {error}")
            else:
                taking_part.append(_Labelled(label, agent))
        found = evaluate(taking_part, env_id, episodes, seed, starts, n_examples=0, optimum=optimum, **options)
        normal = found if scenario.regime == NORMAL else normal
        notes += [note for note in found.on_errors if note not in notes]
        left_out = [found.on_bound] if found.bound_bps is not None and found.on_bound else []
        notes += [f"{scenario.label}: {note}" for note in (*found.beyond_book, *left_out)]
        tables.append(_rows(scenario, found, normal))
        best.append({"label": scenario.label} | _ranked(found, seed))
    settings = {"env": env_id, "episodes": episodes, "seed": seed, "agents": labels}
    own = [{k: v for k, v in options.items() if k not in overrides or v != overrides[k]} for *_, options in possible]
    settings |= {"regimes": [s.label for s, *_ in possible], "options": own}
    settings |= {
        "overrides": {k: v if isinstance(v, int | float | str | dict | None) else str(v) for k, v in overrides.items()}
    }
    notes += [*looked_ahead(problem), *(note for agent in agents for note in seen(agent, problem))]
    table = pd.concat(tables, ignore_index=True)
    settings["agents"] = [name for name in labels if name in set(table["agent"])]
    return Stressed(table, pd.DataFrame(best), tuple(notes), settings)


def _possible(
    among: Sequence[Scenario],
    start: dict[str, Any],
    overrides: dict[str, Any],
    calm: dict[str, Any],
    notes: list[str],
) -> list[tuple[Scenario, Problem, dict[str, Any]]]:
    """Regimes that this problem can be put under, with the problem and what ``evaluate`` takes; notes on the others.

    Raises:
        InputError: of the first, when there is none; and of the randomised one, whose ranges are the user's own.
    """
    found, refused = [], list[ValueError]()
    for scenario in among:
        # The poor regime keeps what is said of it.
        own = {k: v for k, v in calm.items() if scenario.regime != SWITCHING or not k.startswith("regime_")}
        options = overrides | own | scenario.options
        try:
            found.append((scenario, make_problem(**(start | options)), options))
        except ValueError as error:
            if scenario.regime == RANDOMISED:
                raise
            notes.append(f"{scenario.label} left out: {error}")
            refused.append(error)
    if not found:
        raise refused[0]
    return found


class _Labelled:
    """An agent under a name of ours."""

    def __init__(self, name: str, agent: Agent) -> None:
        self.name, self._agent = name, agent
        self.action_mode: str | ActionMode = agent.action_mode

    def act(self, observations: np.ndarray) -> np.ndarray:
        return self._agent.act(observations)


def _rows(scenario: Scenario, found: Evaluation, normal: Evaluation | None) -> pd.DataFrame:
    """The table of one regime, given the normal one where it was played."""
    left = found.per_path["shares_left"] <= LEFT * found.problem.order.shares
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
    one, other = found.problem, normal.problem
    if one.ranges is None and Normals.used(one.market) == Normals.used(other.market):
        costs = [
            e.per_path.loc[e.per_path["agent"] == name, "objective"].to_numpy()
            for e, name in ((found, agent), (normal, who))
        ]
        return added, found.errors.standard_error(costs[0] - costs[1])
    return added, float(np.hypot(here["objective_se"], there["objective_se"]))


def _ranked(found: Evaluation, seed: int) -> dict[str, Any]:
    """The best agent and the next, and how surely the one is before the other, and before all."""
    order = [name for name in found.per_agent.index.astype(str) if not name.endswith(TOLD)]
    if len(order) == 1:
        return {"best": order[0], "runner_up": None}
    by_agent = dict(tuple(found.per_path.groupby("agent", observed=True)["objective"]))
    costs = np.stack([by_agent[name].to_numpy() for name in order])  # best first
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
