"""Many executions in lockstep over a tape, of arrays or of tensors: how agents are compared on the same paths."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from exec_env.market.execution import Fill, Slice, State, opening, terms, trade
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.market.paths import Paths
from exec_env.one_asset.actions import ActionMode, Decoder
from exec_env.one_asset.observation import Observer, stack


class Step(NamedTuple):
    """One slice of all paths. Shape of each entry's columns: (n_paths,)."""

    before: State
    now: Slice
    fill: Fill
    after: State


def executor(
    act: Callable[[Any], Any], market: Market, order: Order, mode: ActionMode, like: Any = None
) -> Callable[[State, Slice, Any, bool], Step]:
    """One slice, whatever came before it: what the agent sees, does and gets.

    Args:
        act: from observations (n_paths, 10) to actions (n_paths,) or (n_paths, 1); tensors where the tape is.
        market: gives the constants of execution and the units of observations.
        order: the order.
        mode: meaning of the actions.
        like: a tensor of the paths, where they are tensors.

    Returns:
        A function of the books, the slice, how many slices are left with this one, and whether it is the last.
    """
    observe, constants = Observer(market, order), terms(market, order)
    decode = Decoder(mode, order, like).many

    def step(book: State, now: Slice, left: Any, last: bool) -> Step:
        n = len(now.volume)
        observations = stack(observe(book, observe.market(now), left), n)
        values = decode(act(observations), n)
        asked = mode.shares(values, book.remaining, left, now.volume)
        after, fill = trade(book, now, asked, constants, last)
        return Step(book, now, fill, after)

    return step


def rollout(
    act: Callable[[Any], Any],
    tape: Paths,
    market: Market,
    order: Order,
    mode: ActionMode,
    prepare: Callable[[Any], Any] = lambda step: step,
) -> Iterator[Step]:
    """Execute ``order`` on every path of ``tape``: slice by slice what the environments do, path by path the same.

    Args:
        tape: the paths.
        act: as of ``executor``, like the rest.
        market: likewise.
        order: likewise.
        mode: likewise.
        prepare: applied to the function of one slice before it is used, such as ``torch.compile``.
    """
    zero = 0.0 * tape.slices.volume[:, 0]
    execute = prepare(executor(act, market, order, mode, zero))
    book = opening(order.shares + zero, zero)
    for t in range(order.n_steps):
        left = order.n_steps - t
        step = execute(book, tape.at(t), left, left == 1)
        yield step
        book = step.after
