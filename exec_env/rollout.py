"""Many executions in lockstep over a tape: how agents are compared on the same paths."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from exec_env.actions import ActionMode, Decoder
from exec_env.execution import Book, Fill, Slice, opening, terms, trade
from exec_env.market import Market
from exec_env.observation import Observer, stack
from exec_env.order import Order
from exec_env.tape import Tape


class Step(NamedTuple):
    """One slice of all paths. Shape of each entry's columns: (n_paths,)."""

    before: Book
    now: Slice
    fill: Fill
    after: Book


def rollout(
    act: Callable[[np.ndarray], Any], tape: Tape, market: Market, order: Order, mode: ActionMode
) -> Iterator[Step]:
    """Execute ``order`` on every path of ``tape``: slice by slice what the environments do, path by path the same.

    Args:
        act: from observations (n_paths, 10) to actions (n_paths,) or (n_paths, 1).
        tape: the paths.
        market: gives the constants of execution and the units of observations.
        order: the order.
        mode: meaning of the actions.
    """
    observe, constants = Observer(market, order), terms(market, order)
    decode = Decoder(mode, order).many
    book = opening(np.full(tape.n_paths, order.shares), np.zeros(tape.n_paths))
    for t in range(order.n_steps):
        now, left = tape.at(t), order.n_steps - t
        observations = stack(observe(book, observe.market(now), left), tape.n_paths)
        values = decode(act(observations), tape.n_paths)
        asked = mode.shares(values, book.remaining, left, now.volume)
        after, fill = trade(book, now, asked, constants, left == 1)
        yield Step(book, now, fill, after)
        book = after
