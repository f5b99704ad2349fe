"""Evaluation: every agent on the same market paths."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from tqdm import tqdm

from exec_env.base.errors import InputError, NoBound
from exec_env.base.seeds import block_rng
from exec_env.base.validation import listed, require_count, require_flag, shown
from exec_env.envs.factory import kept_options
from exec_env.envs.problem import Bound, Problem
from exec_env.envs.registry import get_spec, problem_of
from exec_env.envs.rollout import Step, acting, totals
from exec_env.envs.variates import Drawn, Followed, Variates
from exec_env.harness.agents import AGENTS, Agent, resolve_all
from exec_env.harness.estimates import PREFIX, pays
from exec_env.harness.provenance import about_training
from exec_env.harness.table import Evaluation, says_little
from exec_env.market.paths import Paths

BLOCK = 4096
"""Paths that are drawn together and are in memory at once: block k is from ``SeedSequence([seed, k])``, whichever other
blocks are drawn."""
MOST_PATHS = 10**9
_CERTIFY = 500  # paths of the interval for the best achievable value where no number is given


def evaluate(
    agents: Iterable[str | Path | Agent],
    env_id: str = "AlmgrenChriss-v0",
    episodes: int = 10_000,
    seed: int = 0,
    starts: Literal["random", "rolling"] = "random",
    n_examples: int = 3,
    progress: bool = False,
    optimum: bool = False,
    certify: int | None = None,
    **options: Any,
) -> Evaluation:
    """Run every agent on the same ``episodes`` paths.

    Agents act in their own action mode. Paths are drawn in blocks of ``BLOCK``, each from a seed of its own, so that
    any block can be drawn anywhere; they are not those of an environment seeded with ``seed``. Agents run side by side
    in threads, so one that draws random numbers needs a generator of its own.

    J is estimated with the control variates that the problem has (``exec_env.harness.estimates``), agent by agent.

    Args:
        agents: names, run folders, "module:Class" or objects; see ``exec_env.harness.agents.resolve``.
        env_id: a registered id; "module:Id-v0" imports the module first.
        episodes: number of paths.
        seed: of the paths.
        starts: where episodes of a recorded tape begin: at random rows, or every row that fits, evenly spread when
            there are more of these than episodes.
        n_examples: paths kept slice by slice.
        progress: whether to show a progress bar.
        optimum: whether to compute the best achievable value too, which takes seconds; it is also computed where the
            bound is seen to say little.
        certify: paths of a statistical interval for it; 0: none. A thousand take seconds. By default 500 where
            ``optimum`` is asked for.
        **options: of the problem: fields of Market and Order, ``preset``, ``tape``. Of a tape with ``tape_split`` the
            evaluation part, unless another ``tape_part`` is named.

    Raises:
        InputError: for unknown agents and ids, and impossible values.
        UnknownOption: for an option that the problem does not take.

    >>> evaluate(["twap"], episodes=4).per_agent.shape
    (1, 25)
    """
    require_flag(progress=progress, optimum=optimum)
    if certify is None:
        certify = _CERTIFY if optimum else 0
    require_count(high=MOST_PATHS, episodes=episodes)
    require_count(0, MOST_PATHS, certify=certify, n_examples=n_examples)
    require_count(0, seed=seed)
    options = for_evaluation(env_id, options)
    problem = problem_of(env_id, **options)
    for name in problem.training_only:
        if name in options:
            raise InputError(
                f"{name} = {options[name]!r}: has no effect here: each agent acts in its own action mode, for J"
            )
    wanted = True if optimum or certify > 0 else None
    return evaluate_on(problem, agents, env_id, episodes, seed, starts, n_examples, progress, wanted, options, certify)


def evaluate_on(
    problem: Problem,
    agents: Iterable[str | Path | Agent],
    env_id: str,
    episodes: int,
    seed: int,
    starts: Literal["random", "rolling"],
    n_examples: int,
    progress: bool,
    optimum: bool | None,
    options: dict[str, Any],
    certify: int = 0,
) -> Evaluation:
    """``evaluate`` on a problem that is made already, of which ``env_id`` and ``options`` are only written down.

    Where ``optimum`` is None, the best achievable value is computed only where the bound says little.
    """
    agents = listed("agents", AGENTS, agents)
    resolved = resolve_all(agents, problem)
    bound, why = find_bound(problem)
    rows = _rows(problem, episodes, starts)
    if rows is not None:
        episodes = rows.size
    variates = _variates(problem, episodes)
    loose = bound is not None and says_little(bound, variates.best_bps if variates else None)
    best, why_not = find_optimum(problem) if optimum or (optimum is None and loose) else (None, ())
    interval = None
    if certify and best:
        interval, why_not = _find("interval for the best achievable value", problem.certify, certify, seed, progress)
    # An agent that takes part twice, as one object, is not in two threads at once.
    groups = [[label for label, agent in resolved.items() if agent is one] for one in _different(resolved.values())]
    frames, examples = [], []
    names = dict.fromkeys(resolved, variates.names if variates else ())
    with (
        tqdm(total=len(resolved) * episodes, unit=" paths", disable=not progress, desc="evaluate") as bar,
        one_thread_each(),
        ThreadPoolExecutor(min(len(groups), os.cpu_count() or 1)) as threads,
    ):
        first = 0
        for rng, paths in _blocks(problem, episodes, seed, rows):
            wanted = max(names.values(), key=len)
            drawn = variates.on(rng, paths, wanted) if variates else None

            def run(
                labels: list[str], paths: Paths = paths, first: int = first, drawn: Drawn | None = drawn
            ) -> list[tuple[pd.DataFrame, pd.DataFrame]]:
                shown = max(0, n_examples - first)
                followed = [drawn.follow(names[label]) if drawn else None for label in labels]
                return [
                    _run(label, resolved[label], paths, problem, first, shown, along)
                    for label, along in zip(labels, followed, strict=True)
                ]

            for labels, done in zip(groups, threads.map(run, groups), strict=True):
                for label, (table, example) in zip(labels, done, strict=True):
                    frames.append(table)
                    examples.append(example)
                    bar.update(paths.n_paths)
                    if first == 0:
                        names[label] = pays(table, names[label])
            first += paths.n_paths
    per_path = pd.concat(frames, ignore_index=True)
    per_path["agent"] = pd.Categorical(per_path["agent"], categories=list(resolved))
    per_path = per_path.sort_values(["agent", "path"], kind="stable", ignore_index=True)
    settings: dict[str, Any] = {"env": env_id, "episodes": first, "seed": int(seed), "agents": list(resolved)}
    settings |= {"options": kept_options(problem.settled(options), strict=False)}
    trained = [note for agent in agents for note in about_training(agent, problem, env_id, settings["options"])]
    notes = (*problem.remarks(), *trained, *([variates.note] if variates and variates.note else []))
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
    19.1
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
    if not isinstance(starts, str) or starts not in ("random", "rolling"):
        raise InputError(f"starts = {shown(starts)}: must be 'random' or 'rolling'")
    possible = problem.starts()
    if possible is None or starts == "random":
        return None
    return possible[np.linspace(0, possible.size - 1, min(episodes, possible.size)).round().astype(int)]


def _blocks(
    problem: Problem, episodes: int, seed: int, rows: np.ndarray | None
) -> Iterator[tuple[np.random.Generator, Paths]]:
    """The paths, block by block, and the generator of each as it was before they were drawn."""
    for k, first in enumerate(range(0, episodes, BLOCK)):
        rng, again = block_rng(seed, k), block_rng(seed, k)
        if rows is not None:
            paths = problem.at(rows[first : first + BLOCK], rng)
        else:
            paths = problem.sample([rng], min(BLOCK, episodes - first))
        yield again, paths.by_slice()


def _variates(problem: Problem, episodes: int) -> Variates | None:
    """Control variates of the problem, if it has any."""
    try:
        return problem.variates(episodes)
    except NoBound:
        return None


def _run(
    label: str,
    agent: Agent,
    paths: Paths,
    problem: Problem,
    first: int,
    n_examples: int,
    followed: Followed | None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One agent on one block: sums over the episode, and the first few paths slice by slice."""
    numbers = np.arange(first, first + paths.n_paths)
    kept: list[pd.DataFrame] = []

    def watch(t: int, step: Step) -> None:
        if followed is not None:
            followed.watch(t, step.before, step.now, step.fill)
        if n_examples <= 0:
            return
        columns = problem.record(step.before, step.now, step.fill, step.after, paths.arrival_price)
        frame = pd.DataFrame({name: np.asarray(column)[:n_examples] for name, column in columns.items()})
        for name, value in (("step", t), ("path", numbers[:n_examples]), ("agent", label)):
            frame.insert(0, name, value)
        kept.append(frame)

    costs = ("shortfall", *problem.components, "risk", "objective")
    act, actions = acting(agent, paths.n_paths, problem, paths), problem.actions(agent.action_mode)
    sums = totals(act, paths, problem, actions, costs, watch if n_examples > 0 or followed else None, tally=True)
    columns = {"agent": label, "path": numbers} | {name: sums.pop(name) for name in costs}
    # The columns of every table first, then those of a tape.
    for name in ("shares_left", "participation"):
        if name in sums:
            columns[name] = sums.pop(name)
    if paths.rows is not None:
        columns["row"] = paths.rows
    if followed is not None:
        sums |= {PREFIX + name: column for name, column in followed.sums().items()}
    return pd.DataFrame(columns | sums), pd.concat(kept, ignore_index=True) if kept else pd.DataFrame()
