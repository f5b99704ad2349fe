"""A dry run of live execution on a recorded tape: its slices are the snapshots, and fills are the environment's."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from exec_env.base.errors import InputError
from exec_env.market.execution import price_per_share
from exec_env.one_asset.core import OrderInMarket
from exec_env.one_asset.live import LiveExecutor


def rehearse(live: LiveExecutor, problem: OrderInMarket, row: int | None = None) -> Iterator[dict[str, Any]]:
    """Child orders and their fills, in plain values, until the order is done.

    The mid of a snapshot is that of the tape, moved by our permanent impact. There is no closing block: what is left
    after the last slice is for ``LiveExecutor.report``.

    Args:
        live: made for a rehearsal.
        problem: on a tape.
        row: of the tape that the order begins at; by default the first that has as many slices after it.

    Raises:
        InputError: where there is no tape, and for a ``row`` that no episode begins at.
    """
    tape, starts = problem.tape, problem.starts()
    if tape is None or starts is None:
        raise InputError("a rehearsal is on a tape, and there is none")
    first = int(starts[0]) if row is None else row
    paths = problem.at(np.array([first]), np.random.default_rng(0))
    sign, arrival, state = problem.order.sign, float(paths.arrival_price[0]), problem.opening()
    for t, now in enumerate(paths.path(0)):
        if live.done:
            return
        message = {
            "time": tape.time[first + t].isoformat(),
            "mid": arrival + sign * state.price_move,
            "spread": 2 * now.half_spread,
            "volume": now.volume,
            "log_liquidity": now.log_liquidity,
            "signal": now.drift / (problem.market.arrival_price * problem.order.slice_length),
        }
        if tape.features:
            message["features"] = {name: float(column[first + t]) for name, column in tape.features.items()}
        answer = live.answer(message)
        yield answer
        state, fill = problem.step(state, now, answer["shares"], problem.n_steps)  # never the last: no block closes it
        price = arrival + sign * price_per_share(fill.shares, fill.touch, fill.shortfall, fill.fees)
        told = {"fill": fill.shares, "price": price, "child": answer["child"]}
        live.filled(told)
        yield told
