"""Rows of a tape at which an episode of an order can begin: it runs over no gap but the nights that the order knows."""

import numpy as np

from exec_env.base.errors import InputError
from exec_env.data.slices import NIGHT
from exec_env.market.clock import known_nights
from exec_env.market.order import Order

_DAY = 24 * 3600.0  # [s]


def possible_starts(
    time: np.ndarray, gaps: np.ndarray, rows: tuple[int, int], order: Order, hours_per_day: float, name: str
) -> np.ndarray:
    """Rows that an episode can begin at.

    A night is a gap of more than two hours, however long: a weekend and a holiday too. A session begins with the first
    row after one, or at midnight UTC where a trading day has 24 hours.

    Args:
        time: of all rows, sorted. [s]
        gaps: whether the step after each row but the last is a gap. Shape: (rows − 1,).
        rows: the first that episodes are of, and the first after them.
        order: the order.
        hours_per_day: length of a session. [hour]
        name: what error messages call the data.

    Raises:
        InputError: when there is none.
    """
    (begin, end), n, nightly = rows, order.n_steps, known_nights(order)
    first = np.arange(begin, max(begin, end - n + 1))
    so_far, nights = np.r_[0, np.cumsum(gaps)], gaps & (np.diff(time) > NIGHT)
    passed = sum((nights[first + k].astype(int) for k in np.flatnonzero(nightly)), np.zeros(len(first), int))
    found = first[so_far[first + n - 1] - so_far[first] == passed]
    if order.arrival is not None:
        place = _since_opening(time, nights, hours_per_day)
        found = found[np.abs(place[found] - order.arrival) < order.slice_length / 2]
    if found.size == 0 and (nightly.any() or order.arrival is not None):
        where = "" if order.arrival is None else f" {order.arrival:.4g} day after an opening"
        raise InputError(
            f"{name}: no {n} rows{where} without a gap but the {nightly.sum()} nights of the order among its "
            f"{end - begin} rows; its sessions are those of Order.sessions, {hours_per_day:g} hours being a whole one"
        )
    return found


def _since_opening(time: np.ndarray, nights: np.ndarray, hours_per_day: float) -> np.ndarray:
    """Time since the session of each row began; NaN in a first session that the rows begin in the middle of. [day]"""
    if hours_per_day == 24:
        return time % _DAY / _DAY
    opens = np.r_[0, np.flatnonzero(nights) + 1]
    session = np.r_[0, np.cumsum(nights)]
    since = (time - time[opens][session]) / (3600 * hours_per_day)
    if len(opens) > 1 and time[0] % _DAY > time[opens[1]] % _DAY:
        since[: opens[1]] = np.nan
    return since
