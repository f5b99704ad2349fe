"""Tuning: a search for hyper-parameters, judged on the validation paths of training.

Trials come in batches of fixed size. What a batch tries follows from the study's settings and the batches before it
alone, so that neither the number of workers, nor their speed, nor an interruption changes the outcome.
"""

import math
import typing
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import optuna
import pandas as pd
import yaml
from matplotlib.figure import Figure
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError
from tqdm import tqdm

from exec_env.base.csv_files import write_csv
from exec_env.base.errors import InputError, Interrupted, NoBound
from exec_env.base.files import new_folder, read_yaml, require_regular, write_text, write_yaml
from exec_env.base.inputs import refuse_changed
from exec_env.base.validation import Bounds, Count, check_fields, from_mapping, is_finite, require_count, unknown
from exec_env.harness.agents import agent_class, normalise
from exec_env.harness.inputs import inputs_of
from exec_env.harness.jobs import training_task
from exec_env.harness.jobs.tasks import Result, Run, Task, difference, plain, run_tasks
from exec_env.harness.training.hyperparameters import TrainConfig, search_space, settings
from exec_env.harness.training.loop import build

_FIRST_SEED = 1_000
"""Of training: far from the seeds of results, so that nothing is chosen for the runs that are reported."""
_TRIALS = 20
"""Of a new study, where nothing else is said."""
_FIXED = ("env", "seed", "device", "threads")
"""Fields of TrainConfig that no search can change."""


@dataclass(frozen=True)
class Settings:
    """All that the outcome of a study depends on."""

    agent: str
    """Name of a learner."""
    env: str
    """Environment id."""
    options: dict[str, Any]
    """Of the environment."""
    train: dict[str, Any]
    """Fields of TrainConfig, where no trial changes them."""
    agent_config: dict[str, Any]
    """Fields of the agent's Config, where no trial changes them."""
    search: dict[str, Any]
    """By field, ``{low, high, log}`` or ``{choices}``."""
    seeds: Count = 1
    """Training runs of a trial; their mean counts."""
    batch: Count = 4
    """Trials that are chosen together, and can run side by side."""
    seed: Annotated[int, Bounds(low=0)] = 0
    """Of the search."""

    def __post_init__(self) -> None:
        check_fields(self)
        _require_learner(self.agent)
        _ = self.space  # says what is wrong with it

    @classmethod
    def resolve(
        cls,
        agent: str,
        env: str,
        options: dict[str, Any] | None = None,
        train: dict[str, Any] | None = None,
        agent_fields: dict[str, Any] | None = None,
        search: dict[str, Any] | None = None,
        **study: Any,
    ) -> "Settings":
        """Fill in what the agent's file of hyper-parameters says, as for training.

        Raises:
            InputError: naming what is unknown, not allowed or missing.
        """
        _require_learner(agent)
        config, agent_config = settings(agent, env, train, agent_fields)
        search = search or search_space(agent)
        fixed = {k: v for k, v in asdict(config).items() if k not in ("env", "seed")}
        filled = plain([options or {}, fixed, asdict(agent_config), search])
        return cls(normalise(agent), env, *filled, **study)

    def described(self) -> dict[str, Any]:
        """As it is kept in the study's folder."""
        return asdict(self)

    def configs(self, params: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """TrainConfig (without env and seed) and agent Config of a trial, as plain fields."""
        values = {name: self._value(name, label) for name, label in params.items()}
        own = {name: value for name, value in values.items() if name in self.own}
        return self.train | {k: v for k, v in values.items() if k not in own}, self.agent_config | own

    @cached_property
    def own(self) -> dict[str, Any]:
        """Types of the fields of the agent's Config."""
        config: Any = agent_class(self.agent).Config
        hints = typing.get_type_hints(config)
        return {f.name: hints[f.name] for f in fields(config)}

    def _value(self, name: str, label: Any) -> Any:
        """The choice behind a label; a number is its own label."""
        choices = self.search[name].get("choices")
        return label if choices is None else next(c for c in choices if _label(c) == label)

    @cached_property
    def space(self) -> dict[str, BaseDistribution]:
        """``search`` as Optuna wants it.

        Raises:
            InputError: naming a field that does not exist, or a range that is none.
        """
        train = {k: v for k, v in typing.get_type_hints(TrainConfig).items() if k not in _FIXED}
        hints = train | self.own
        if not isinstance(self.search, dict) or not self.search:
            raise InputError(f"agent {self.agent!r}: has no search space; name a file with --search")
        space = {}
        for name, entry in self.search.items():
            if name not in hints:
                raise InputError(f"search: {unknown(f'field of {self.agent} or TrainConfig', name, hints)}")
            space[name] = _distribution(name, entry, whole=hints[name] is int)
        for name, entry in self.search.items():  # the dataclasses say what they refuse
            for value in entry.get("choices") or (entry["low"], entry["high"]):
                changed, agent_config = self.configs({name: _label(value) if "choices" in entry else value})
                from_mapping(TrainConfig, changed, f"search: {name}")
                from_mapping(agent_class(self.agent).Config, agent_config, f"search: {name}")
        return space


def _require_learner(agent: str) -> None:
    if not hasattr(agent_class(agent), "learn"):
        raise InputError(f"agent {agent!r} does not learn, so there is nothing to tune")


def _distribution(name: str, entry: Any, whole: bool) -> BaseDistribution:
    where = f"search: {name} = {entry!r}"
    if not isinstance(entry, dict) or set(entry) not in ({"low", "high"}, {"low", "high", "log"}, {"choices"}):
        raise InputError(f"{where}: must be {{low, high}}, {{low, high, log}} or {{choices}}")
    if "choices" in entry:
        choices = entry["choices"]
        if not isinstance(choices, list) or not choices:
            raise InputError(f"{where}: choices must be a list of at least one")
        return CategoricalDistribution([_label(choice) for choice in choices])
    low, high, log = entry["low"], entry["high"], entry.get("log", False)
    for end in (low, high):
        if not is_finite(end) or (whole and not isinstance(end, int)):
            raise InputError(f"{where}: {end!r} must be a {'whole' if whole else 'finite'} number")
    if not low < high:
        raise InputError(f"{where}: low must be below high")
    if not isinstance(log, bool) or (log and low <= 0):
        raise InputError(f"{where}: log must be true or false, and true only for a low above 0")
    return IntDistribution(low, high, log=log) if whole else FloatDistribution(float(low), float(high), log=log)


def _label(choice: Any) -> Any:
    """A choice as Optuna can keep it: a list becomes text."""
    if choice is None or isinstance(choice, bool | int | float | str):
        return choice
    return yaml.safe_dump(choice, default_flow_style=True).strip()


def open_study(folder: Path, wanted: Settings, trials: int | None = None) -> int:
    """Begin a study in a new folder, or check that the one in an old folder is the same.

    Returns:
        Trials in all: ``trials``, by default 20, but never fewer than an old study has.

    Raises:
        InputError: naming the setting that differs or that lets every trial fail, or a folder that holds something
            else.
    """
    path = folder / "study.yaml"
    inputs = inputs_of(wanted.env, wanted.options, wanted.agent_config.get("dataset"))
    if path.exists():
        was, least = read_study(folder)
        way_out = "put the old one back, or choose another --study"
        refuse_changed(read_yaml(path, "study").get("inputs"), inputs, "the study began", way_out)
        if changed := difference(was.described(), wanted.described()):
            raise InputError(
                f"{path}: the study was begun with {changed}; choose another --study, or --resume this one"
            )
        trials = max(trials or least, least)
    else:
        trials = trials or _TRIALS
        _require_one_that_runs(wanted, trials)
        new_folder(folder)
    write_yaml(path, {"trials": trials, "settings": wanted.described()} | ({"inputs": inputs} if inputs else {}))
    return trials


def _require_one_that_runs(wanted: Settings, trials: int) -> None:
    """Refuse settings that let every trial of the first batch fail before it begins."""
    refused = None
    for params in propose(wanted, [], min(wanted.batch, trials)):
        train, agent_config = wanted.configs(params)
        try:
            config = from_mapping(TrainConfig, train | {"env": wanted.env}, f"{wanted.agent}: train")
            learner = from_mapping(agent_class(wanted.agent).Config, agent_config, f"{wanted.agent}: agent")
            build(wanted.agent, config, learner, wanted.options)
        except (InputError, NoBound) as error:
            refused = refused or error
        else:
            return
    if refused is not None:
        raise refused


def read_study(folder: Path) -> tuple[Settings, int]:
    """Settings of a study, and how many trials it is to have.

    Raises:
        InputError: when the folder holds none, or one that was spoilt.
    """
    path = folder / "study.yaml"
    described = read_yaml(path, "study")
    for part in ("settings", "trials"):
        if part not in described:
            raise InputError(f"{path}: has no field {part!r}")
    require_count(**{f"{path}: trials": described["trials"]})
    return from_mapping(Settings, described["settings"], str(path)), described["trials"]


def tune(folder: Path, run: Run, bar: tqdm) -> list[FrozenTrial]:
    """Run the trials of a study that are not finished.

    Args:
        folder: of a study that ``open_study`` began; trials are kept in ``study.db``, their runs in ``trials/``.
        run: from ``exec_env.harness.jobs.tasks.workers``.
        bar: advances by one per training run, and shows the best trial so far.

    Returns:
        All trials, in order. One whose settings an agent refuses, or that diverges, has failed.

    Raises:
        Interrupted: when a machine let runs fail; the same command tries them again.
        RuntimeError: when a bug did, with the traceback of the run.
    """
    wanted, trials = read_study(folder)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    database = folder / "study.db"
    what = f"{database}: spoilt, or no database of a study"
    require_regular(database, what)
    try:
        storage = optuna.storages.RDBStorage(f"sqlite:///{database}")
    except (SQLAlchemyError, RuntimeError) as error:
        raise InputError(f"{what}: {str(error).splitlines()[0]}") from None
    try:
        study = optuna.create_study(storage=storage, study_name=f"{wanted.agent} {wanted.env}", load_if_exists=True)
        bar.update(min(len(study.trials), trials) * wanted.seeds)
        while (done := len(study.trials)) < trials:
            first = done - done % wanted.batch
            proposed = propose(wanted, study.trials[:first], min(wanted.batch, trials - first))[done - first :]
            tasks = {number: _tasks(wanted, number, params) for number, params in enumerate(proposed, done)}
            failures = run_tasks([task for batch in tasks.values() for task in batch], folder / "trials", run, bar)
            for key, failure in failures.items():
                if failure.trace:
                    raise RuntimeError(f"{key} failed, --resume tries again: {failure.reason}\n{failure.trace}")
                if not failure.refused:
                    raise Interrupted(f"{key} failed, --resume tries again: {failure.reason}")
            for params, batch in zip(proposed, tasks.values(), strict=True):
                reasons = [failures[task.key].reason for task in batch if task.key in failures]
                study.add_trial(_told(wanted, params, [folder / "trials" / task.key for task in batch], reasons))
            if best := ranked(study.trials)[:1]:
                bar.set_description(f"best {best[0].value:.4g} by trial {best[0].number}")
        return study.trials
    except SQLAlchemyError as error:
        raise InputError(f"{what}: {str(error).splitlines()[0]}") from None
    finally:
        storage.remove_session()
        storage.engine.dispose()


def propose(wanted: Settings, told: list[FrozenTrial], count: int) -> list[dict[str, Any]]:
    """What the next trials of a batch try: a function of the settings and of the trials told before it.

    The very first trial is the settings as they are, where they lie in the search space. The first of a longer batch
    are those of a shorter one.
    """
    seed = int(np.random.SeedSequence([wanted.seed, len(told)]).generate_state(1)[0])
    sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)
    study = optuna.create_study(sampler=sampler)
    study.add_trials(told)
    base = wanted.train | wanted.agent_config
    labels = {name: _label(base[name]) for name in wanted.space}
    if not told and all(_contains(space, labels[name]) for name, space in wanted.space.items()):
        study.enqueue_trial(labels)
    return [study.ask(wanted.space).params for _ in range(count)]


def _contains(space: BaseDistribution, value: Any) -> bool:
    if isinstance(space, CategoricalDistribution):
        return value in space.choices
    return is_finite(value) and space._contains(space.to_internal_repr(value))


def _tasks(wanted: Settings, number: int, params: dict[str, Any]) -> list[Task]:
    train, agent_config = wanted.configs(params)
    common = {"agent": wanted.agent, "agent_config": agent_config, "options": wanted.options}
    seeds = range(_FIRST_SEED, _FIRST_SEED + wanted.seeds)
    return [
        Task(
            f"trial-{number:04}/seed-{seed}", train_once, common | {"train": train | {"env": wanted.env, "seed": seed}}
        )
        for seed in seeds
    ]


def train_once(agent: str, agent_config: dict[str, Any], options: dict[str, Any], train: dict[str, Any]) -> Result:
    """One training run of a trial; its log and summary are kept, its weights are not."""
    with training_task.training(agent, train, agent_config, options) as run:
        files = {name: content for name, content in training_task.files(run).items() if "best" not in name}
        return Result(f"J {training_task.summary(run)['objective']:.3f} bps", files)


def _told(wanted: Settings, params: dict[str, Any], runs: list[Path], reasons: list[str]) -> FrozenTrial:
    """A trial with its value: the mean gap [%] of its runs, or where there is no bound, objective [bps]."""
    common: dict[str, Any] = {"params": params, "distributions": wanted.space}
    if not reasons:
        summaries = [training_task.summary(run, "objective", "seconds") for run in runs]
        name = measure(summaries[0])
        value = float(np.mean([float(summary[name]) for summary in summaries]))
        if math.isfinite(value):
            attributes = {"measure": name, "seconds": float(sum(summary["seconds"] for summary in summaries))}
            return optuna.trial.create_trial(value=value, user_attrs=attributes, **common)
        reasons = [f"{name} = {value}"]
    return optuna.trial.create_trial(state=TrialState.FAIL, user_attrs={"reason": reasons[0]}, **common)


def measure(summary: dict[str, Any]) -> str:
    """What a run is judged by."""
    return "gap_percent" if summary.get("gap_percent") is not None else "objective"


def ranked(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """Trials that have a value, best first."""
    return sorted((t for t in trials if t.value is not None), key=lambda t: (t.value, t.number))


def report(folder: Path, trials: list[FrozenTrial], shown: int = 10) -> str:
    """Write ``trials.csv``, ``trials.png`` and ``best.yaml``, a section for the agent's file; returns a table.

    Raises:
        InputError: when every trial failed.
    """
    wanted, _ = read_study(folder)
    best = ranked(trials)
    failed = [t for t in trials if t.value is None]
    if not best:
        raise InputError(f"{folder}: all {len(trials)} trials failed; the last: {trials[-1].user_attrs['reason']}")
    name = best[0].user_attrs["measure"]
    table = pd.DataFrame([{"trial": t.number, name: t.value} | t.params | t.user_attrs for t in trials])
    write_csv(table.drop(columns="measure"), folder / "trials.csv")
    _figure(trials, name, f"{wanted.agent} on {wanted.env}").savefig(folder / "trials.png", dpi=130)
    train, agent_config = wanted.configs(best[0].params)
    section = {"train": {k: train[k] for k in wanted.space if k not in wanted.own}}
    section |= {"agent": {k: agent_config[k] for k in wanted.space if k in wanted.own}}
    section = {part: values for part, values in section.items() if values}
    said = f"best of {len(trials)} trials, {name} {best[0].value:.4g} on validation paths, mean of {wanted.seeds} seeds"
    write_text(folder / "best.yaml", f"# {said}\n" + yaml.safe_dump({wanted.env: section}, sort_keys=False))
    top = table.set_index("trial").loc[[t.number for t in best[:shown]], [name, *wanted.space]]
    lines = [top.to_string(), said]
    lines += [f"{len(failed)} failed; the last: {failed[-1].user_attrs['reason']}"] if failed else []
    if len(best) >= 10 and len(wanted.space) > 1:
        share = importances(trials)
        lines.append("importance: " + ", ".join(f"{k} {v:.0%}" for k, v in share.items()))
    return "\n".join(lines)


def importances(trials: list[FrozenTrial]) -> dict[str, float]:
    """Share of each field in what sets good trials apart (PED-ANOVA), greatest first."""
    study = optuna.create_study()
    study.add_trials(trials)
    return optuna.importance.get_param_importances(study, evaluator=optuna.importance.PedAnovaImportanceEvaluator())


def _figure(trials: list[FrozenTrial], name: str, title: str) -> Figure:
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    done = [t for t in trials if t.value is not None]
    numbers, values = [t.number for t in done], np.array([t.value for t in done], float)
    axes.plot(numbers, values, "o", ms=4, color="#0072B2", label="trial")
    axes.step(numbers, np.minimum.accumulate(values), where="post", color="#D55E00", label="best so far")
    if values.max() > 20 * max(np.median(values), 1e-9) > 0:
        axes.set_yscale("log")  # a few trials that diverge would flatten all others
    axes.set(xlabel="trial", ylabel=f"{name} on validation paths", title=title)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure
