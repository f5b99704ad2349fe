"""Evaluation: every agent on the same market paths."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from tqdm import tqdm

from exec_env.base.bootstrap import FEW_BLOCKS, Blocks, Errors
from exec_env.base.errors import InputError, NoBound
from exec_env.base.files import new_folder, write_yaml
from exec_env.base.validation import require_count
from exec_env.envs.factory import kept_options
from exec_env.envs.problem import Bound, Problem
from exec_env.envs.registry import get_spec, problem_of
from exec_env.envs.rollout import Step, acting, totals
from exec_env.harness.agents import Agent, resolve_all
from exec_env.harness.metrics import summarise
from exec_env.harness.provenance import about_training
from exec_env.market.paths import Paths

_CHUNK = 4096  # paths in memory at once


@dataclass(frozen=True, repr=False)
class Evaluation:
    """What every agent did on the same paths."""

    per_path: pd.DataFrame
    """One row per agent and path: agent, path; shortfall, its components, risk and objective [bps]; shares_left for the
    closing block [shares]; participation, traded over market volume until done; block_cost, what the closing block
    costs where the cap left shares for it [$]. On a tape also row, at which
    the path begins, counted from 0; where fills walk its book also trades and beyond_book, slices with a trade and
    those of them that went beyond the last level."""
    examples: pd.DataFrame
    """The first few paths slice by slice: agent, path, step; inventory before, shares, participation, mid, fill_price,
    half_spread, log_liquidity."""
    problem: Problem
    bound_bps: float | None
    """Lower bound on J of any policy [bps]; None where there is none."""
    on_bound: str = ""
    """Why there is none, or what it leaves out of the costs."""
    notes: tuple[str, ...] = ()
    """What a reader of the table should know: agents that were trained on something else."""
    optimum: Any = None
    """The best achievable value, with ``value_bps`` and ``error_bps``, where it was asked for and can be computed."""
    interval: Any = None
    """The statistical interval for it, where one was asked for and there is one; see ``exec_env.optimum.dual``."""
    settings: dict[str, Any] = field(default_factory=dict)
    """What was evaluated: environment, episodes, seed, options."""

    @cached_property
    def errors(self) -> Errors:
        """Where standard errors come from: of a tape, whose episodes overlap, from blocks of time."""
        rows = None
        if "row" in self.per_path:
            rows = self.per_path.loc[self.per_path["agent"] == self.per_path["agent"].iloc[0], "row"].to_numpy()
        return self.problem.errors(rows)

    @cached_property
    def per_agent(self) -> pd.DataFrame:
        """One row per agent; see ``exec_env.harness.metrics.summarise`` for the columns."""
        return summarise(self.per_path, self.bound_bps, self.errors, self.problem.reference)

    @property
    def remarks(self) -> list[str]:
        """Sentences that belong to the table, ``notes`` among them."""
        lines, reference = [*self.on_errors, *self.problem.remarks_on(self.per_path)], self.problem.reference
        if self.bound_bps is not None and self.on_bound:
            lines.append(self.on_bound)
        if reference not in self.settings["agents"]:
            lines.append(f"{reference} was not among the agents, so nothing is compared with it")
        return [*lines, *self.notes]

    @property
    def on_errors(self) -> list[str]:
        """Where errors and intervals are from, if not from independent paths, and whether there is enough of it."""
        blocks = self.errors
        if not isinstance(blocks, Blocks):
            return []
        lines = [
            "episodes of a tape overlap, so that errors and intervals are from a bootstrap of blocks of "
            f"{blocks.length} starts in a row, of which there are {blocks.n_blocks}"
        ]
        if blocks.n_blocks < 2:
            lines.append("with so few there are none: take a longer tape or fewer slices")
        elif blocks.n_blocks < FEW_BLOCKS:
            lines.append(f"with only {blocks.n_blocks} blocks intervals are too narrow to trust")
        return lines

    def __repr__(self) -> str:
        """One line; ``table()`` says more."""
        said = f"{len(self.per_agent)} agents on {self.settings['episodes']:,} paths of {self.settings['env']}"
        best = self.per_agent.iloc[0]
        return f"<Evaluation of {said}; best: {best.name}, J = {best['objective_mean']:.3f} bps>"

    def _repr_html_(self) -> str:
        """The table, as notebooks show it."""
        lines = "".join(f"<li>{escape(line)}</li>" for line in self._lines())
        return f"{self._shown().to_html()}<ul>{lines}</ul>"

    def table(self) -> str:
        """The main columns as text, for a terminal."""
        return "\n".join([self._shown().to_string(), *self._lines()])

    def _shown(self) -> pd.DataFrame:
        """The main columns as text."""
        t, other = self.per_agent, self.problem.reference.upper()
        shown = pd.DataFrame(
            {
                "J": t["objective_mean"].map("{:.3f}".format) + t["objective_se"].map(" ± {:.3f}".format),
                "gap %": t["gap_percent"].map("{:+.2f}".format),
                f"of {other}'s gap closed %": t["gap_closed_percent"].map("{:.1f}".format),
                f"J - {other} [95 %]": [
                    f"{d:+.3f} [{a:+.3f}, {b:+.3f}]" for d, a, b in zip(t["diff"], t.diff_low, t.diff_high, strict=True)
                ],
                "shortfall": t["shortfall_mean"].map("{:.2f}".format) + t["shortfall_se"].map(" ± {:.2f}".format),
                "std": t["shortfall_std"].map("{:.1f}".format),
                "CVaR 95": t["cvar95"].map("{:.1f}".format),
                "wins %": (100 * t["win_rate"]).map("{:.1f}".format),
                "left": t["shares_left"].map("{:,.6g}".format),
            },
            index=t.index,
        )
        return shown.map(lambda cell: "-" if "nan" in cell and "±" not in cell else cell.replace("± nan", ""))

    def _lines(self) -> list[str]:
        """What has to be said of the table."""
        bound = f"no bound: {self.on_bound}" if self.bound_bps is None else f"lower bound {self.bound_bps:.3f}"
        lines = [
            self.problem.describe(),
            f"bps of the arrival notional; ± is one standard error; {bound}",
            "J: expected shortfall, without price moves of mean zero, + charge for risk; gap: J above the lower bound",
            f"shortfall, std, CVaR 95: realised; wins: paths with less of it than {self.problem.reference.upper()}'s; "
            "left: shares for the closing block, mean",
        ]
        if best := self.optimum:
            lines.append(f"best achievable {best.value_bps:.3f}, numerical error {best.error_bps:.1g} ({best.method})")
            if self.bound_bps and self.bound_bps > 0:
                lines[-1] += f", {100 * (best.value_bps / self.bound_bps - 1):+.2f} % above the bound"
        lines += [self.interval.describe()] if self.interval else []
        return lines + self.remarks

    def save(self, folder: str | Path, plots: bool = True) -> Path:
        """Write tables, settings and pictures to a new folder.

        Raises:
            InputError: when the folder exists.
        """
        folder = new_folder(folder)
        best = {"best_bps": self.optimum.value_bps, "best_error_bps": self.optimum.error_bps} if self.optimum else {}
        best |= {"interval": asdict(self.interval)} if self.interval is not None else {}
        write_yaml(folder / "evaluation.yaml", self.settings | {"bound_bps": self.bound_bps} | best)
        self.per_agent.to_csv(folder / "per_agent.csv")
        self.per_path.to_csv(folder / "per_path.csv", index=False, float_format="%.8g")
        self.examples.to_csv(folder / "examples.csv", index=False, float_format="%.8g")
        if plots:
            from exec_env.harness.reports.plots import save_evaluation

            save_evaluation(self, folder)
        return folder


def evaluate(
    agents: Iterable[str | Path | Agent],
    env_id: str = "AlmgrenChriss-v0",
    episodes: int = 10_000,
    seed: int = 0,
    starts: Literal["random", "rolling"] = "random",
    n_examples: int = 3,
    progress: bool = False,
    optimum: bool = False,
    certify: int = 0,
    **options: Any,
) -> Evaluation:
    """Run every agent on the same ``episodes`` paths.

    Agents act in their own action mode. Path e is the one that the environment seeded with ``seed`` plays in its
    episode e. Agents run side by side in threads, so one that draws random numbers needs a generator of its own.

    Args:
        agents: names, run folders, "module:Class" or objects; see ``exec_env.harness.agents.resolve``.
        env_id: a registered id; "module:Id-v0" imports the module first.
        episodes: number of paths.
        seed: of the paths.
        starts: where episodes of a recorded tape begin: at random rows, or every row that fits, evenly spread when
            there are more of these than episodes.
        n_examples: paths kept slice by slice.
        progress: whether to show a progress bar.
        optimum: whether to compute the best achievable value too; it takes seconds.
        certify: paths of a statistical interval for it; 0: none. A thousand take seconds.
        **options: of the problem: fields of Market and Order, ``preset``, ``tape``. Of a tape with ``tape_split`` the
            evaluation part, unless another ``tape_part`` is named.

    Raises:
        InputError: for unknown agents and ids, and impossible values.
        UnknownOption: for an option that the problem does not take.

    >>> evaluate(["twap"], episodes=4).per_agent.shape
    (1, 15)
    """
    require_count(episodes=episodes, certify=certify or 1)
    require_count(0, seed=seed)
    options = for_evaluation(env_id, options)
    problem = problem_of(env_id, **options)
    for name in problem.training_only:
        if name in options:
            raise InputError(
                f"{name} = {options[name]!r}: has no effect here: each agent acts in its own action mode, for J"
            )
    optimum = optimum or certify > 0
    return evaluate_on(problem, agents, env_id, episodes, seed, starts, n_examples, progress, optimum, options, certify)


def evaluate_on(
    problem: Problem,
    agents: Iterable[str | Path | Agent],
    env_id: str,
    episodes: int,
    seed: int,
    starts: Literal["random", "rolling"],
    n_examples: int,
    progress: bool,
    optimum: bool,
    options: dict[str, Any],
    certify: int = 0,
) -> Evaluation:
    """``evaluate`` on a problem that is made already, of which ``env_id`` and ``options`` are only written down."""
    if not isinstance(agents, Iterable):
        raise InputError(f"agents = {agents!r}: must be names, run folders or agents")
    agents = [agents] if isinstance(agents, str | Path) else list(agents)
    resolved = resolve_all(agents, problem)
    bound, why = find_bound(problem)
    best, why_not = find_optimum(problem) if optimum else (None, ())
    interval = None
    if certify and best:
        interval, why_not = _find("interval for the best achievable value", problem.certify, certify, seed, progress)
    rows = _rows(problem, episodes, starts)
    if rows is not None:
        episodes = rows.size
    # An agent that takes part twice, as one object, is not in two threads at once.
    groups = [[label for label, agent in resolved.items() if agent is one] for one in _different(resolved.values())]
    frames, examples = [], []
    with (
        tqdm(total=len(resolved) * episodes, unit=" paths", disable=not progress, desc="evaluate") as bar,
        one_thread_each(),
        ThreadPoolExecutor(min(len(groups), os.cpu_count() or 1)) as threads,
    ):
        first = 0
        for paths in _chunks(problem, episodes, seed, rows):

            def run(
                labels: list[str], paths: Paths = paths, first: int = first
            ) -> list[tuple[pd.DataFrame, pd.DataFrame]]:
                shown = max(0, n_examples - first)
                return [_run(label, resolved[label], paths, problem, first, shown) for label in labels]

            for done in threads.map(run, groups):
                for table, example in done:
                    frames.append(table)
                    examples.append(example)
                    bar.update(paths.n_paths)
            first += paths.n_paths
    per_path = pd.concat(frames, ignore_index=True)
    per_path["agent"] = pd.Categorical(per_path["agent"], categories=list(resolved))
    per_path = per_path.sort_values(["agent", "path"], kind="stable", ignore_index=True)
    settings: dict[str, Any] = {"env": env_id, "episodes": first, "seed": int(seed), "agents": list(resolved)}
    settings |= {"options": kept_options(options, strict=False)}
    trained = [note for agent in agents for note in about_training(agent, problem, env_id, settings["options"])]
    notes = (*problem.remarks(), *trained)
    examples_frame = pd.concat(examples, ignore_index=True)
    return Evaluation(per_path, examples_frame, problem, bound, why, (*notes, *why_not), best, interval, settings)


def for_evaluation(env_id: str, options: dict[str, Any]) -> dict[str, Any]:
    """Options of a problem, of the evaluation part where a tape is split and no part is named."""
    whole = get_spec(env_id).options | options
    tape = whole.get("tape")
    cut = None if isinstance(tape, str | Path) else getattr(tape, "split", None)
    split = whole.get("tape_split") is not None or cut is not None
    return options | ({"tape_part": "evaluation"} if split and whole.get("tape_part") is None else {})


def bound(env_id: str = "AlmgrenChriss-v0", **options: Any) -> Bound:
    """The proven lower bound on what any policy can achieve.

    Args:
        env_id: a registered id.
        **options: of the problem.

    Raises:
        NoBound: where there is none, with the reason.
        InputError: as ``evaluate``.

    >>> round(bound("AlmgrenChrissClassic-v0").value_bps, 3)
    18.289
    """
    return problem_of(env_id, **for_evaluation(env_id, options)).bound()


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Networks calculate in the thread they are called from, so that results do not depend on how many there are."""
    torch = sys.modules.get("torch")  # without networks it need not be there
    if torch is None:
        yield
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _different(agents: Iterable[Agent]) -> list[Agent]:
    """The different objects among agents."""
    return list({id(agent): agent for agent in agents}.values())


def find_bound(problem: Problem) -> tuple[float | None, str]:
    """Lower bound on J [bps], and what it leaves out of the costs, if anything; or None, and why there is none."""
    try:
        found = problem.bound()
    except NoBound as error:
        return None, str(error)
    return found.value_bps, found.left_out


def find_optimum(problem: Problem) -> tuple[Any, tuple[str, ...]]:
    """The best achievable value, or None and a note on why there is none."""
    return _find("best achievable value", problem.optimum)


def _find(what: str, by: Callable[..., Any], *args: Any) -> tuple[Any, tuple[str, ...]]:
    """What can be found of the optimum, or None and a note on why it cannot."""
    try:
        return by(*args), ()
    except NoBound as error:
        return None, (f"no {what}: {error}",)


def _rows(problem: Problem, episodes: int, starts: str) -> np.ndarray | None:
    """Rows of a recorded tape at which rolling episodes begin; None where starts are drawn."""
    if starts not in ("random", "rolling"):
        raise InputError(f"starts = {starts!r}: must be 'random' or 'rolling'")
    possible = problem.starts()
    if possible is None or starts == "random":
        return None
    return possible[np.linspace(0, possible.size - 1, min(episodes, possible.size)).round().astype(int)]


def _chunks(problem: Problem, episodes: int, seed: int, rows: np.ndarray | None) -> Iterator[Paths]:
    """The paths, some at a time; how many at a time changes nothing in them."""
    rng = np.random.default_rng(seed)
    for i in range(0, episodes, _CHUNK):
        if rows is not None:
            paths = problem.at(rows[i : i + _CHUNK], rng)
        else:
            paths = problem.sample([rng], min(_CHUNK, episodes - i))
        yield paths.by_slice()


def _run(
    label: str, agent: Agent, paths: Paths, problem: Problem, first: int, n_examples: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One agent on one chunk: sums over the episode, and the first few paths slice by slice."""
    numbers = np.arange(first, first + paths.n_paths)
    kept: list[pd.DataFrame] = []

    def watch(t: int, step: Step) -> None:
        columns = problem.record(step.before, step.now, step.fill, step.after, paths.arrival_price)
        frame = pd.DataFrame({name: np.asarray(column)[:n_examples] for name, column in columns.items()})
        for name, value in (("step", t), ("path", numbers[:n_examples]), ("agent", label)):
            frame.insert(0, name, value)
        kept.append(frame)

    costs = ("shortfall", *problem.components, "risk", "objective")
    act, actions = acting(agent, paths.n_paths, problem), problem.actions(agent.action_mode)
    sums = totals(act, paths, problem, actions, costs, watch if n_examples > 0 else None, tally=True)
    columns = {"agent": label, "path": numbers} | {name: sums.pop(name) for name in costs}
    # The columns of every table first, then those of a tape.
    for name in ("shares_left", "participation"):
        if name in sums:
            columns[name] = sums.pop(name)
    if paths.rows is not None:
        columns["row"] = paths.rows
    return pd.DataFrame(columns | sums), pd.concat(kept, ignore_index=True) if kept else pd.DataFrame()
