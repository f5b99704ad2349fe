"""What offline learners make of TWAP's episodes, by how much exploration noise there is in them.

The protocol is that of the published studies: 1000 episodes of TWAP, 10 000 updates on batches of 256, then 100
episodes to evaluate, which say little, and here 100 000 beside them. Without noise a dataset holds one action per
state, and nothing can be learned from it but that action.
"""

import re
from dataclasses import asdict, dataclass, replace
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import pandas as pd
import yaml
from matplotlib.figure import Figure
from scipy import stats

from exec_env.base import plain_yaml
from exec_env.base.errors import InputError
from exec_env.base.files import read_array
from exec_env.base.seeds import child_seed
from exec_env.base.validation import Bounds, Count, check_fields
from exec_env.envs.registry import get_spec, problem_of
from exec_env.harness.agents import BEST, LAST, agent_class, normalise
from exec_env.harness.evaluation import evaluate, find_bound
from exec_env.harness.jobs import training_task
from exec_env.harness.jobs.tasks import Result, Task, plain
from exec_env.harness.metrics import REFERENCE
from exec_env.harness.offline import dataset
from exec_env.harness.offline.collect import Member, Noise, record
from exec_env.harness.reports.plots import colours
from exec_env.harness.training.hyperparameters import settings

BASELINES = ("twap", "vwap", "ac-neutral", "ac-averse", "adaptive", "optimal")
"""Almgren-Chriss is that of a trader without risk aversion, and of one with the problem's."""
CLONE = "bc"
"""The control: what imitation alone makes of the same dataset."""
FEW = 100
"""Episodes that published studies evaluate on."""
_DATA = 5  # stream of seeds of the datasets


@dataclass(frozen=True)
class Study:
    """What is learned from what, and how it is judged."""

    env: str = "AlmgrenChrissContinuous-v0"
    """Environment id."""
    learners: tuple[str, ...] = (CLONE, "td3-bc", "bcq")
    """Offline learners, each with settings of its own if need be, as in "td3-bc,alpha=40"; one must be bc."""
    noises: tuple[Noise, ...] = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8)
    """Standard deviations of the noise on TWAP's trades, in multiples of them."""
    seeds: tuple[Annotated[int, Bounds(low=0)], ...] = (0, 1, 2, 3, 4)
    """Of dataset, weights and batches."""
    episodes: Count = 1000
    """Episodes of a dataset."""
    updates: Count = 10_000
    """Gradient updates of a learner."""
    evaluation_episodes: Count = 100_000
    """Paths that everybody is evaluated on; none is in a dataset."""
    evaluation_seed: Annotated[int, Bounds(low=0)] = 20261121
    """Of these paths."""

    def __post_init__(self) -> None:
        check_fields(self)
        get_spec(self.env)
        for name in ("noises", "seeds", "learners"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise InputError(f"Study.{name} = {values!r}: must be at least one, and all different")
        if CLONE not in self.learners:
            raise InputError(f"Study.learners = {self.learners!r}: must hold {CLONE!r}, the control")
        for learner in self.learners:
            split(learner)


def split(learner: str) -> tuple[str, dict[str, Any]]:
    """Name and settings of "NAME,FIELD=VALUE,...".

    Raises:
        InputError: for an agent that does not learn offline, or a setting that it lacks, or that is the study's.

    >>> split("td3-bc,alpha=40,hidden=[64,64]")
    ('td3-bc', {'alpha': 40, 'hidden': [64, 64]})
    """
    name, *given = re.split(r",(?![^\[]*\])", learner)  # at commas outside brackets
    fields: dict[str, Any] = {}
    try:
        for text in given:
            field, equals, value = (part.strip() for part in text.partition("="))
            if not equals or "/" in text:
                raise InputError(f"{text!r} must read FIELD=VALUE")
            if field in fields:
                raise InputError(f"{field} is given twice")
            if field in _STUDYS:
                raise InputError(f"{field} is for the study to say")
            fields[field] = _value(value)
        if not hasattr(getattr(agent_class(name), "Config", None), "dataset"):
            raise InputError(f"{name!r} does not learn from a dataset")
        settings(normalise(name), agent_fields=fields)  # says what is unknown
    except InputError as error:
        raise InputError(f"learner {learner!r}: {error}") from None
    return normalise(name), fields


_STUDYS = ("dataset", "select")


def _value(text: str) -> Any:
    """A number, or whatever else YAML makes of the text; to YAML itself 1e-4 is no number."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:  # no such number
            continue
    return plain_yaml.parse(text, f"{text!r} is no value")


def tasks(study: Study) -> list[Task]:
    """A task per baseline, per noise (the policy that is learned from), and per noise, learner and seed."""
    common = {"env": study.env, "evaluation": {"episodes": study.evaluation_episodes, "seed": study.evaluation_seed}}
    made = [Task(f"baselines/{name}", baseline, {"name": name} | common) for name in BASELINES]
    for noise in study.noises:
        made.append(Task(f"noise-{noise:g}/behaviour", behaviour, {"noise": noise} | common))
        for learner in study.learners:
            name, given = split(learner)
            train, agent = settings(name, study.env, {"steps": study.updates}, given)
            config = plain({"train": asdict(train), "agent_config": asdict(agent)})
            for seed in study.seeds:
                arguments = {"agent": name, "noise": noise, "seed": seed, "episodes": study.episodes} | config
                made.append(Task(f"noise-{noise:g}/{learner}/seed-{seed}", learn, arguments | common))
    return made


def baseline(name: str, env: str, evaluation: dict[str, Any]) -> Result:
    """A schedule on the common paths: ``objective.npy``, J of each [bps]."""
    problem: Any = problem_of(env)
    agent: Any = name
    if name.startswith("ac-"):
        aversion = 0.0 if name == "ac-neutral" else problem.order.risk_aversion
        agent = agent_class("almgren-chriss")(problem.market, replace(problem.order, risk_aversion=aversion))
    found = evaluate([agent], env, n_examples=0, **evaluation).per_path["objective"].to_numpy()
    return Result(f"{name}: J {found.mean():.2f} bps", {"objective.npy": _npy(found)})


def behaviour(noise: float, env: str, evaluation: dict[str, Any]) -> Result:
    """The policy that is learned from, noise included, on the common paths: ``objective.npy``."""
    returns = record([Member(REFERENCE, noise=noise)], env, **evaluation).episodes.returns
    return Result(f"noise {noise:g} behaviour: J {-returns.mean():.2f} bps", {"objective.npy": _npy(-returns)})


def learn(
    agent: str,
    noise: float,
    seed: int,
    episodes: int,
    train: dict[str, Any],
    agent_config: dict[str, Any],
    env: str,
    evaluation: dict[str, Any],
) -> Result:
    """Record, learn, evaluate: the run folder, and ``objective-last.npy`` and ``objective-best.npy``.

    The last check is what someone without a simulator has; the best one is chosen on the simulator, on paths of its
    own.
    """
    with TemporaryDirectory(prefix="exec-env-") as temporary:
        # The same for every learner. Its paths are nobody's else.
        recorded = record([Member(REFERENCE, noise=noise)], env, episodes, child_seed(seed, _DATA))
        made_by = f"exec-env collect {REFERENCE} --noise {noise!r} --env {env} --episodes {episodes}"
        made_by += f" --seed {recorded.provenance['seed']}"
        folder = dataset.save(recorded, Path(temporary) / "twap-v0")
        own = agent_config | {"dataset": str(folder), "select": "simulator"}
        with training_task.training(agent, train | {"seed": seed}, own, {}) as run:
            found = evaluate([run / LAST, run / BEST], env, n_examples=0, **evaluation).per_path
            files = training_task.files(run) | {f"{LAST}/{n}": (run / LAST / n).read_bytes() for n in _AGENT}
    for name in ("config.yaml", *(f"{part}/agent.yaml" for part in (LAST, BEST))):
        files[name] = _naming(made_by, files[name])
    said = []
    for part in (LAST, BEST):
        objective = found.loc[found["agent"] == f"{agent}/{part}", "objective"].to_numpy()
        files[f"objective-{part}.npy"] = _npy(objective)
        said.append(f"{part} {objective.mean():.2f}")
    return Result(f"noise {noise:g} {agent} seed {seed}: J {', '.join(said)} bps", files)


_AGENT = ("agent.yaml", "weights.pt")


def _naming(made_by: str, content: bytes) -> bytes:
    """A run's YAML that names, instead of a dataset that is gone, the command that records it again."""
    values = plain_yaml.parse(content.decode(), "a run's YAML")
    values["agent_config" if "agent_config" in values else "config"]["dataset"] = made_by
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True).encode()


def collect(study: Study, work: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tables of finished tasks: of baselines and behaviour policies, and one row per run and choice of its check.

    Columns: ``objective`` (J) and ``objective_se``, and of the first 100 paths alone ``objective_100`` and
    ``objective_100_se`` [bps]; ``gap_percent``; differences in J on the same paths ``diff_twap``, ``diff_behaviour``
    and ``diff_bc`` (of the same seed, check and dataset), negative where better [bps]. Each has a standard error over
    paths, ``_se``, that of a difference being over the paths' differences.
    """
    bound, _ = find_bound(problem_of(study.env))

    def row(objective: np.ndarray) -> dict[str, Any]:
        few = objective[:FEW]
        percent = 100 / bound if bound and bound > 0 else np.nan
        return {
            "objective": objective.mean(),
            "objective_se": stats.sem(objective),
            f"objective_{FEW}": few.mean(),
            f"objective_{FEW}_se": stats.sem(few),
            "gap_percent": percent * objective.mean() - 100,
            "gap_percent_se": percent * stats.sem(objective),
        } | difference("twap", objective - twap)

    def difference(name: str, paired: np.ndarray) -> dict[str, Any]:
        return {f"diff_{name}": paired.mean(), f"diff_{name}_se": stats.sem(paired)}

    twap = read_array(work / "baselines" / REFERENCE / "objective.npy")
    fixed = [{"agent": n} | row(read_array(work / "baselines" / n / "objective.npy")) for n in BASELINES]
    runs = []
    for noise in study.noises:
        here = work / f"noise-{noise:g}"
        played = read_array(here / "behaviour" / "objective.npy")
        fixed.append({"agent": "behaviour", "noise": noise} | row(played))
        for seed in study.seeds:
            for part in (LAST, BEST):
                file = f"seed-{seed}/objective-{part}.npy"
                clone = read_array(here / CLONE / file)
                for learner in study.learners:
                    objective = read_array(here / learner / file)
                    which = {"noise": noise, "agent": learner, "seed": seed, "check": part}
                    against = difference("behaviour", objective - played) | difference(CLONE, objective - clone)
                    runs.append(which | row(objective) | against)
    return pd.DataFrame(fixed), pd.DataFrame(runs)


def summarise(runs: pd.DataFrame) -> pd.DataFrame:
    """One row per noise, agent and check: means over seeds, and 95 % intervals ``_low``, ``_high`` of them.

    An interval has two parts, added in quadrature: Student's over seeds (dataset, weights and batches), and 1.96
    standard errors of the evaluation, whose paths are the same for all seeds, so that it does not get smaller with
    their number. With one seed there is none.
    """
    rows = []
    for (noise, agent, check), group in runs.groupby(["noise", "agent", "check"], sort=False):
        found: dict[str, Any] = {"noise": noise, "agent": agent, "check": check, "seeds": len(group)}
        for name in ("objective", "gap_percent", "diff_twap", "diff_behaviour", "diff_bc"):
            values = group[name].to_numpy()
            n = len(values)
            seeds = stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / n**0.5 if n > 1 else np.nan
            half = np.hypot(seeds, stats.norm.ppf(0.975) * group[f"{name}_se"].mean())
            found |= {name: values.mean(), f"{name}_low": values.mean() - half, f"{name}_high": values.mean() + half}
        rows.append(found)
    return pd.DataFrame(rows)


def findings(summary: pd.DataFrame) -> list[str]:
    """What the table says, in sentences: where learning beats what it learned from, and where it is worse than BC.

    Every comparison is judged by its own 95 % interval, and there are as many as noises, agents and references
    together: nothing is corrected for that, and of those where nothing is different one in twenty would be named.
    """
    said = []
    for agent, rows in summary[summary["check"] == LAST].groupby("agent", sort=False):
        for other, name in (("behaviour", "its behaviour policy"), ("twap", "TWAP"), ("bc", "BC")):
            if agent == CLONE and other == "bc":
                continue
            if rows[f"diff_{other}_high"].isna().all():
                said.append(f"{agent}: no interval with one seed, so that it cannot be told from {name}")
                continue
            better = [f"{noise:g}" for noise in rows.loc[rows[f"diff_{other}_high"] < 0, "noise"]]
            worse = [f"{noise:g}" for noise in rows.loc[rows[f"diff_{other}_low"] > 0, "noise"]]
            text = f"better than {name} at noise {', '.join(better)}" if better else f"nowhere better than {name}"
            said.append(f"{agent}: {text}" + (f"; worse at {', '.join(worse)}" if worse else ""))
    return said


def figure(fixed: pd.DataFrame, summary: pd.DataFrame) -> Figure:
    """J against the noise in the dataset: learners with their intervals, what they learned from, and schedules."""
    picture = Figure(figsize=(9, 5), layout="constrained")
    axes = picture.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    last = summary[summary["check"] == LAST]
    noises = sorted(last["noise"].unique())
    at = {noise: i for i, noise in enumerate(noises)}
    agents = list(map(str, last["agent"].unique()))
    palette, n = colours(agents), len(agents)
    for i, agent in enumerate(agents):
        rows = last[last["agent"] == agent]
        x = rows["noise"].map(at) + 0.06 * (i - (n - 1) / 2)
        spread = np.nan_to_num([rows["objective"] - rows["objective_low"], rows["objective_high"] - rows["objective"]])
        axes.errorbar(x, rows["objective"], spread, marker="o", ms=5, capsize=3, color=palette[agent], label=agent)
    played = fixed[fixed["agent"] == "behaviour"]
    axes.plot(played["noise"].map(at), played["objective"], "k:", marker="x", label="behaviour: TWAP and noise")
    levels = fixed[fixed["agent"].isin(["twap", "ac-averse", "optimal"])]
    for agent, level in zip(levels["agent"], levels["objective"], strict=True):
        axes.axhline(level, color="0.7", lw=1, zorder=0)
        axes.text(1.0, level, f" {agent}", color="0.4", fontsize=8, va="center", transform=axes.get_yaxis_transform())
    low, high = levels["objective"].min(), max(played["objective"].max(), levels["objective"].max())
    axes.set_ylim(low - 0.08 * (high - low), high + 0.25 * (high - low))  # what diverged may leave the picture
    axes.set_xticks(range(len(noises)), [f"{noise:g}" for noise in noises])
    axes.set(xlabel="noise in the dataset [multiples of an even sale]", ylabel="J [bps]")
    axes.legend(frameon=False, fontsize=8)
    return picture


def _npy(array: np.ndarray) -> bytes:
    buffer = BytesIO()
    np.save(buffer, array.astype(np.float32))
    return buffer.getvalue()
