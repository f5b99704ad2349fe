"""Many executions in lockstep over paths, of arrays or of tensors: how agents are compared on the same market."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from exec_env.base.errors import InputError
from exec_env.envs.features import Sight
from exec_env.envs.problem import Actions, Problem
from exec_env.market.execution import bps
from exec_env.market.paths import Paths


class Step(NamedTuple):
    """One slice of all paths. Shape of each entry's columns: (n_paths, ...)."""

    before: Any
    now: Any
    fill: Any
    after: Any


def acting(agent: Any, n: int, problem: Problem, paths: Paths | None = None) -> Callable[[Any], Any]:
    """What an agent does from slice to slice on ``n`` paths in lockstep: observations to actions.

    An agent with ``told(paths)`` is an oracle, no policy: what that returns acts on these ``paths`` and knows them.

    An agent with ``initial_state(n)`` has a memory: its ``act(observations, state)`` returns actions and the next
    state. An agent with ``names`` acts on these entries of the observation; others on the problem's own.

    Raises:
        InputError: where the observation has no such entry.
    """
    if paths is not None and hasattr(agent, "told"):
        agent = agent.told(paths)
    columns = columns_of(agent, problem)

    def seen(observations: Any) -> Any:
        return observations if columns is None else observations[:, columns]

    if not hasattr(agent, "initial_state"):
        return agent.act if columns is None else lambda observations: agent.act(seen(observations))
    memory = agent.initial_state(n)

    def act(observations: Any) -> Any:
        nonlocal memory
        answer = agent.act(seen(observations), memory)
        if not isinstance(answer, tuple) or len(answer) != 2:
            raise TypeError(f"{type(agent).__name__}.act: has a memory, so it must return (actions, state)")
        actions, memory = answer
        return actions

    return act


def columns_of(agent: Any, problem: Problem) -> list[int] | None:
    """Which entries an agent, or one of this class, acts on; None where it is all of them.

    Raises:
        InputError: where the observation has no such entry.
    """
    there = (*problem.names, *problem.recorded, *problem.features)
    wanted, cls = tuple(getattr(agent, "names", problem.names)), agent if isinstance(agent, type) else type(agent)
    for name in wanted:
        if name not in there:
            raise InputError(
                f"{cls.__name__}: it acts on {name!r}, which is not in the observation of this problem: "
                f"{', '.join(there)}"
            )
    return None if wanted == there else [there.index(name) for name in wanted]


def executor(
    act: Callable[[Any], Any], problem: Problem, actions: Actions, like: Any = None
) -> Callable[[Any, Any, Any], Step]:
    """One slice, whatever came before it: what the agent sees, does and gets.

    Args:
        act: from observations (n_paths, entries) to actions; tensors where the paths are.
        problem: what is executed.
        actions: meaning of the actions.
        like: a tensor of the paths, where they are tensors.

    Returns:
        A function of the states, the slice, and how many slices are left with this one.
    """
    sight, decode, ask = Sight(problem), (actions if like is None else actions.like(like)).many, actions.ask

    def step(state: Any, now: Any, left: Any) -> Step:
        n = len(state[0])
        observations = sight.stack(state, problem.seen(now), left, n)
        values = decode(act(observations), n)
        after, fill = problem.step(state, now, ask(values, state, now, left), left)
        return Step(state, now, fill, after)

    return step


def rollout(
    act: Callable[[Any], Any],
    paths: Paths,
    problem: Problem,
    actions: Actions,
    prepare: Callable[[Any], Any] = lambda step: step,
) -> Iterator[Step]:
    """Execute a problem on every path: slice by slice what the environments do, path by path the same.

    Args:
        act: from ``acting``, or as of ``executor``, like the rest.
        paths: of the problem, or of one with other parameters and the same columns.
        problem: likewise.
        actions: likewise.
        prepare: applied to the function of one slice before it is used, such as ``torch.compile``.
    """
    zero = paths.zeros
    execute = prepare(executor(act, problem, actions, zero))
    state = problem.opening(zero)
    for t in range(problem.n_steps):
        step = execute(state, paths.at(t), problem.n_steps - t)
        yield step
        state = step.after


def totals(
    act: Callable[[Any], Any],
    paths: Paths,
    problem: Problem,
    actions: Actions,
    costs: tuple[str, ...] = ("objective", "shortfall"),
    watch: Callable[[int, Step], None] | None = None,
    tally: bool = False,
) -> dict[str, np.ndarray]:
    """Sums over the episode of each path.

    Args:
        act: as of ``rollout``, like ``paths``, ``problem`` and ``actions``.
        paths: of arrays.
        problem: likewise.
        actions: likewise.
        costs: fields of the fill to sum; in bps of the arrival notional in what is returned.
        watch: called with each slice's number and what happened in it.
        tally: whether ``Problem.tally`` is summed too, and turned into columns by ``Problem.outcome``.

    Returns:
        By name a column of shape (n_paths,).
    """
    sums = {name: np.zeros(paths.n_paths) for name in costs}
    more: dict[str, Any] = {}
    for t, step in enumerate(rollout(act, paths, problem, actions)):
        for name, total in sums.items():
            total += getattr(step.fill, name)
        for name, value in problem.tally(step.before, step.now, step.fill).items() if tally else ():
            more[name] = more.get(name, 0.0) + value
        if watch is not None:
            watch(t, step)
    to_bps = bps(problem.notional(paths.arrival_price))
    return {name: to_bps * total for name, total in sums.items()} | (problem.outcome(more) if tally else {})
