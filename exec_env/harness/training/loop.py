"""Training: one loop for every learner, a run folder that keeps everything, and a way to go on."""

import platform
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from gymnasium.vector import AutoresetMode
from tqdm import tqdm

from exec_env.base.csv_files import read_csv, write_csv
from exec_env.base.errors import InputError, UnknownOption
from exec_env.base.files import new_folder, read_tensors, read_yaml, write_tensors, write_yaml
from exec_env.base.inputs import refuse_changed
from exec_env.base.seeds import child_seed
from exec_env.base.validation import from_mapping, require, unexpected
from exec_env.envs.factory import kept_options, plain
from exec_env.envs.problem import Problem
from exec_env.envs.rollout import acting, totals
from exec_env.envs.vector import native
from exec_env.harness.agents import BEST, LAST, Learner, Setup, agent_class, normalise, resolve
from exec_env.harness.evaluation import find_bound
from exec_env.harness.training.hyperparameters import TrainConfig, settings
from exec_env.harness.training.weights import Head

_TRAINING, _VALIDATION = 1, 2  # streams of seeds, so that no path is shared between them


def train(
    agent: str,
    run: str | Path,
    config: TrainConfig | None = None,
    agent_config: Any = None,
    progress: bool = False,
    **options: Any,
) -> Learner:
    """Train a learner and keep everything in a new folder ``run``.

    The folder holds ``config.yaml``; ``best/`` and ``last/``, the agent as it was at its best check and at its last;
    ``market.yaml``, a copy of the market file if there is one; ``checkpoint.pt`` (to go on); ``progress.csv`` and
    TensorBoard events (the log); and, once training has ended, ``summary.yaml`` and ``learning_curve.png``.

    Args:
        agent: name of a learner.
        run: folder to create.
        config: what to train on; by default the agent's own settings, see ``hyperparameters.settings``.
        agent_config: the learner's own ``Config``; by default its settings for the environment.
        progress: whether to show a progress bar.
        **options: of the problem: fields of Market and Order, ``preset``, ``action``, ``tape`` ... Of a tape with
            ``tape_split`` the training part alone is played, in training and in its checks. Functions are kept by their
            import path.

    Raises:
        InputError: for a folder that exists, an unknown agent, and whatever the environment refuses.
    """
    _learner_class(agent)
    config = config or settings(agent)[0]
    agent_config = agent_config or settings(agent, config.env)[1]
    problem, learner = build(agent, config, agent_config, options)
    described = {"agent": normalise(agent), "train": asdict(config), "options": kept_options(problem.settled(options))}
    run = new_folder(run)
    described |= problem.provenance()
    described |= {"agent_config": plain(asdict(agent_config)), "made_with": _versions()}
    write_yaml(run / "config.yaml", described | getattr(learner, "provenance", {}))
    problem.save(run)
    return _loop(learner, run, config, problem, options, 0, progress)


def build(agent: str, config: TrainConfig, agent_config: Any, options: dict[str, Any]) -> tuple[Problem, Learner]:
    """The problem and the fresh learner that ``train`` begins with; nothing is written.

    Raises:
        InputError: for an agent that does not learn, and for what it or the environment refuses.
    """
    cls = _learner_class(agent)
    if options.get("tape_part") == "evaluation":
        raise InputError("tape_part = 'evaluation': these rows are for evaluation, so nothing is trained on them")
    env = _env(config, options, 1)
    problem = env.problem
    resolve(problem.reference, problem)  # every check compares with it
    total = config.intervals * config.per_interval
    setup = Setup(total, config.per_interval, config.num_envs, config.seed, config.device)
    learner = cls.build(agent_config, Head.of(problem), setup)
    if hasattr(learner, "check_env"):
        learner.check_env(env)
    if config.stop_gap is not None:
        bound, why = find_bound(problem)
        if bound is None or bound <= 0:
            reason = f"there is no bound: {why}" if bound is None else f"needs a bound above 0, not {bound:.4g} bps"
            raise InputError(f"TrainConfig.stop_gap = {config.stop_gap}: {reason}")
    if hasattr(learner, "score") and not np.isfinite(learner.score(*np.zeros((2, config.check_episodes)))):
        raise InputError(
            f"TrainConfig.check_episodes = {config.check_episodes}: too few for a score by which {agent} is ranked"
        )
    return problem, learner


def resume(run: str | Path, progress: bool = False) -> Learner:
    """Go on with a run from its last checkpoint; the result is that of a run that was never interrupted.

    Raises:
        InputError: when the folder is no run, or its files are corrupt.
    """
    run = Path(run)
    described = read_yaml(run / "config.yaml")
    for part in ("agent", "train", "options", "agent_config"):
        if part not in described:
            raise InputError(f"{run / 'config.yaml'}: has no field {part!r}")
    where = str(run / "config.yaml")
    config = from_mapping(TrainConfig, described["train"], where)
    cls = _learner_class(str(described["agent"]))
    options = described["options"]
    if not isinstance(options, dict):
        raise InputError(f"{where}: expected options of the environment, found {type(options).__name__}")
    for name in options:
        if not isinstance(name, str):
            raise InputError(f"{where}: options: {name!r}: must be a name")
    agent_config = from_mapping(cls.Config, described["agent_config"], where)
    _env(config, options, 1).problem.check_saved(run, options)
    problem, learner = build(str(described["agent"]), config, agent_config, options)
    ours, theirs = (getattr(learner, "provenance", {}).get("dataset"), described.get("dataset"))
    if ours is not None:
        now = {"dataset": {"file": str(agent_config.dataset), "sha256": ours["sha256"]}}
        refuse_changed({"dataset": theirs}, now, "the run began", "put the old one back, or train a new run")
    done = 0
    if (run / "checkpoint.pt").exists():
        state = read_tensors(run / "checkpoint.pt")
        try:
            done = int(state["intervals"])
            learner.load_state_dict(state["learner"])
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise InputError(f"{run / 'checkpoint.pt'}: does not fit this run: {str(error).splitlines()[0]}") from None
    return _loop(learner, run, config, problem, options, done, progress)


def _learner_class(name: str) -> Any:
    cls = agent_class(name)
    if not hasattr(cls, "learn"):
        raise InputError(f"agent {name!r} does not learn; evaluate it as it is")
    return cls


def _env(config: TrainConfig, options: dict[str, Any], num_envs: int) -> Any:
    """The vector environment, which resets in the same step: no step of a learner is without effect."""
    for name in ("num_envs", "autoreset_mode", "render_mode", "problem", "wrappers"):
        if name in options:
            raise UnknownOption(unexpected("train", name, []))
    return native(config.env, num_envs, AutoresetMode.SAME_STEP, **options)


def _loop(
    learner: Learner,
    run: Path,
    config: TrainConfig,
    problem: Problem,
    options: dict[str, Any],
    done: int,
    progress: bool,
) -> Learner:
    """Learn, check, log and save, interval by interval.

    Every interval begins on paths of its own seed, which is why a run that goes on from a checkpoint ends where an
    uninterrupted one does.
    """
    import torch
    from torch.utils.tensorboard import SummaryWriter

    check = _Check(problem, config, getattr(learner, "drawn_from", lambda problem: problem))
    per_interval = config.per_interval
    log = _Log(run / "progress.csv", done)
    total = config.intervals * per_interval
    env = _env(config, options, config.num_envs)
    threads = torch.get_num_threads()
    torch.set_num_threads(config.threads)
    writer = SummaryWriter(str(run / "tensorboard"), purge_step=learner.steps + 1)
    try:
        with tqdm(
            total=total, initial=done * per_interval, unit=" steps", unit_scale=True, disable=not progress
        ) as bar:
            bar.set_description("train")
            for interval in range(done, config.intervals):
                if log.stopped(config):
                    break
                began = time.perf_counter()
                latest: dict[str, float] = {}

                def report(steps: int, values: dict[str, float], latest: dict[str, float] = latest) -> None:
                    bar.update(steps)
                    latest.update(values)

                learner.learn(env, per_interval, child_seed(config.seed, _TRAINING, interval), report)
                row = {"interval": interval + 1, "steps": learner.steps} | check(learner) | latest
                row["seconds"] = log.seconds + time.perf_counter() - began
                for name in ("objective", "score"):
                    if not np.isfinite(row.get(name, 0.0)):
                        raise InputError(
                            f"{run}: the {name} is {row[name]} after {learner.steps} steps: learning diverged; "
                            "try a smaller learning rate"
                        )
                log.add(row)
                for key, value in row.items():
                    writer.add_scalar(f"train/{key}", value, learner.steps)
                bar.set_postfix_str(check.describe(row))
                if log.best["interval"] == interval + 1:
                    learner.save(run / BEST)
                learner.save(run / LAST)
                write_tensors(run / "checkpoint.pt", {"intervals": interval + 1, "learner": learner.state_dict()})
    finally:
        env.close()
        writer.close()
        torch.set_num_threads(threads)
    from exec_env.harness.reports.plots import save_learning_curve

    save_learning_curve(log.frame(), check.twap, check.bound, run / "learning_curve.png")
    updates = getattr(learner, "updates", None)
    write_yaml(run / "summary.yaml", log.summary() | ({} if updates is None else {"updates": int(updates)}))
    return learner


class _Check:
    """How good a learner is now: its objective on a fixed set of paths, the bound and TWAP on the same ones."""

    def __init__(self, problem: Problem, config: TrainConfig, drawn_from: Callable[[Problem], Problem]) -> None:
        self._problem, self._reference = problem, problem.reference
        rng = np.random.default_rng(child_seed(config.seed, _VALIDATION))
        self._paths = drawn_from(problem).sample([rng], config.check_episodes)
        self.bound, _ = find_bound(problem)
        self.twap = float(self._costs(resolve(problem.reference, problem)[1])[0].mean())

    def __call__(self, learner: Learner) -> dict[str, float]:
        costs = self._costs(learner)
        objective = float(costs[0].mean())
        row = {"objective": objective, "twap": self.twap}
        if hasattr(learner, "score"):  # what it is after, where that need not be J
            row["score"] = learner.score(*costs)
        return row | ({"gap_percent": 100 * (objective / self.bound - 1)} if self.bound and self.bound > 0 else {})

    def describe(self, row: dict[str, float]) -> str:
        """A few words for the progress bar."""
        gap = f", gap {row['gap_percent']:+.2f} %" if "gap_percent" in row else ""
        return f"J {row['objective']:.2f} bps{gap} ({self._reference.upper()} {self.twap:.2f})"

    def _costs(self, agent: Any) -> tuple[np.ndarray, np.ndarray]:
        """Objective and realised shortfall of each path. [bps]"""
        act = acting(agent, self._paths.n_paths, self._problem, self._paths)
        sums = totals(act, self._paths, self._problem, self._problem.actions(agent.action_mode))
        return sums["objective"], sums["shortfall"]


class _Log:
    """The log as a CSV file; going on drops what came after the checkpoint."""

    def __init__(self, path: Path, done: int) -> None:
        self._path = path
        self._rows: list[dict[Any, Any]] = []
        if done == 0:
            return
        try:
            rows = [_as_written(row) for row in read_csv(path).to_dict("records")]
            self._rows = [row for row in rows if row["interval"] <= done]
            for row in self._rows:
                require(**{name: row[name] for name in ("steps", "objective", "seconds")})
        except (InputError, KeyError, TypeError) as error:
            raise InputError(f"{path}: lost or spoilt, so the run cannot go on with its log: {error!r}") from None

    @property
    def seconds(self) -> float:
        """Time spent so far."""
        return float(self._rows[-1]["seconds"]) if self._rows else 0.0

    @property
    def best(self) -> dict[Any, Any]:
        """The row of the best check; of equal ones the first."""
        return min(self._rows, key=lambda row: row.get("score", row["objective"]))

    def stopped(self, config: TrainConfig) -> bool:
        """Whether the last check ends training early. A function of the log, so that going on decides the same."""
        if not self._rows:
            return False
        last = self._rows[-1]
        if config.stop_gap is not None and last.get("gap_percent", np.inf) <= config.stop_gap:
            return True
        return config.patience is not None and last["interval"] - self.best["interval"] >= config.patience

    def summary(self) -> dict[str, Any]:
        """How training ended, in plain numbers."""
        best, last = self.best, self._rows[-1]
        gap = {"gap_percent": float(best["gap_percent"])} if "gap_percent" in best else {}
        ended = {"intervals": int(last["interval"]), "steps": int(last["steps"]), "seconds": float(last["seconds"])}
        return ended | {"best_interval": int(best["interval"]), "objective": float(best["objective"])} | gap

    def add(self, row: dict[str, Any]) -> None:
        """Write the log with one more row."""
        self._rows.append(_as_written(row))
        write_csv(self.frame(), self._path)

    def frame(self) -> pd.DataFrame:
        return pd.DataFrame(self._rows)


def _as_written(row: dict[Any, Any]) -> dict[Any, Any]:
    """Numbers to eight digits, as the log has them: with more, a run that goes on could find another best."""
    return {k: float(f"{v:.8g}") if isinstance(v, float) else v for k, v in row.items()}


def _versions() -> dict[str, str]:
    packages = ("exec-env", "gymnasium", "numpy", "stable-baselines3", "torch")
    found = {"python": platform.python_version()}
    for package in packages:
        with suppress(PackageNotFoundError):  # an extra
            found[package] = version(package)
    return found
