"""The clock of an order: which of its slices a night comes after, and how a session's volume is spread over slices."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from exec_env.base.csv_files import read_csv
from exec_env.base.errors import InputError
from exec_env.base.validation import is_finite, shown

if TYPE_CHECKING:  # it imports this module
    from exec_env.market.order import Order

PROFILES = ("flat", "u-shaped")
"""Profiles of volume by name."""
_ROUNDING = 1e-6  # slices: 0.07 of 100 of them is 7, although its product is a little more


def ends(order: "Order") -> np.ndarray:
    """Ends of the sessions that an order reaches, in trading time since the first one began. Shape: (sessions,). [day]

    >>> from exec_env.market.order import Order
    >>> ends(Order(arrival=0.5, n_steps=3, slice_length=0.5, sessions=(1.0, 0.5))).tolist()
    [1.0, 1.5, 2.5]
    """
    reach = (order.arrival or 0.0) + float(order.horizon)
    named = np.cumsum(order.sessions)
    last = float(named[-1]) if named.size else 0.0
    whole = last + 1.0 + np.arange(max(np.ceil(reach - last - _ROUNDING * float(order.slice_length)), 0.0))
    return np.r_[named, whole]


def nights(order: "Order") -> np.ndarray:
    """Whether a night comes between each slice and the next one. Shape: (n_steps,), the last one False.

    Without ``Order.arrival`` the horizon begins with a session.

    Raises:
        InputError: for a slice that goes over the end of a session, with the way out.

    >>> from exec_env.market.order import Order
    >>> nights(Order(arrival=0.5, n_steps=5, slice_length=0.25)).tolist()
    [False, True, False, False, False]
    """
    dt, start = float(order.slice_length), order.arrival or 0.0
    at = (ends(order) - start) / dt
    at = at[at < order.n_steps - _ROUNDING]
    after = np.rint(at).astype(int)
    out = np.zeros(order.n_steps, bool)
    if (over := np.flatnonzero(np.abs(at - after) > _ROUNDING * np.maximum(at, 1.0))).size:
        step = int(at[over[0]]) + 1
        raise InputError(
            f"Order.slice_length = {dt:.6g} day: slice {step} goes over the end of a session; take a slice_length of "
            f"which a session is a multiple, such as 1/{max(round(1 / dt), 1)}, and an arrival that is one, such as "
            f"{_nearest(order):.6g}"
        )
    out[after - 1] = True
    return out


def known_nights(order: "Order") -> np.ndarray:
    """The same, but none for an order without ``Order.arrival`` whose slices do not fit sessions."""
    try:
        return nights(order)
    except InputError:
        return np.zeros(order.n_steps, bool)


def of_each(span: Any, n_steps: int) -> list[Any]:
    """One entry of ``Market.spans`` for each slice."""
    return span.tolist() if isinstance(span, np.ndarray) else [span] * n_steps


def _nearest(order: "Order") -> float:
    """The arrival nearest to the order's at which slices of a part of a session begin. [day]"""
    parts = max(round(1 / float(order.slice_length)), 1)
    return min(round((order.arrival or 0.0) * parts), parts - 1) / parts


def has_clock(order: "Order") -> bool:
    """Whether it is known when in a session the order's slices are: it says so, or takes several sessions."""
    return order.arrival is not None or bool(order.sessions) or float(order.horizon) > 1.0 + _ROUNDING


def share_before(profile: Any, u: np.ndarray) -> np.ndarray:
    """Share of a session's volume that comes before the part ``u`` of it.

    Args:
        profile: "u-shaped", high at both ends; or volumes, each of as long a part of the session.
        u: from 0 to 1.

    >>> share_before((3.0, 1.0), np.array([0.25, 0.5, 0.75, 1.0])).tolist()
    [0.375, 0.75, 0.875, 1.0]
    """
    if isinstance(profile, str):
        return 0.5 * u + 2 * (u - 0.5) ** 3 + 0.25  # the integral of 0.5 + 6 (u − 0.5)²
    total = np.r_[0.0, np.cumsum(profile)]
    return np.interp(u, np.linspace(0.0, 1.0, len(total)), total / total[-1])


def profile_of(profile: Any, order: "Order") -> np.ndarray:
    """``Market.profile`` of a market with this profile."""
    if isinstance(profile, str) and profile == "flat":
        return np.ones(order.n_steps)
    if has_clock(order):
        return by_clock(profile, order)
    if not isinstance(profile, str):
        raise InputError(
            "Market.volume_profile is that of a session: Order.arrival must say when in it the order arrives, 0 being "
            "its opening"
        )
    u = (np.arange(order.n_steps) + 0.5) / order.n_steps
    shape = 0.5 + 6 * (u - 0.5) ** 2
    return shape / shape.mean()


def by_clock(profile: Any, order: "Order") -> np.ndarray:
    """Mean volume of each slice over that of the average slice of a session. Shape: (n_steps,).

    A short session has the profile of a whole one in less time, and its volume in proportion to its length.
    """
    closes = ends(order)
    opens = np.r_[0.0, closes[:-1]]
    time = (order.arrival or 0.0) + float(order.slice_length) * np.arange(order.n_steps + 1)
    at = np.minimum(np.searchsorted(closes, time), len(closes) - 1)
    length = closes[at] - opens[at]
    before = opens[at] + length * share_before(profile, np.clip((time - opens[at]) / length, 0.0, 1.0))
    return np.diff(before) / float(order.slice_length)


def known_profile(profile: Any) -> Any:
    """A profile as ``Market`` keeps it: a name, or numbers, those of the file that is named.

    Raises:
        InputError: for a name or a file that is none, and for volumes that are none.
    """
    if not isinstance(profile, str | Path):
        if isinstance(profile, tuple | list) and not any(v > 0 for v in profile if is_finite(v)):
            raise InputError(f"Market.volume_profile = {shown(profile)}: must have some volume")
        return profile
    if str(profile).lower().endswith(".csv"):
        return known_profile(volumes_of(profile))
    if profile not in PROFILES:
        raise InputError(
            f"Market.volume_profile = {shown(profile)}: must be 'flat' or 'u-shaped', a CSV file of volumes, or volumes"
        )
    return profile


def volumes_of(path: str | Path) -> tuple[float, ...]:
    """Volumes of the slices of a session, the column ``volume`` of a CSV file.

    Raises:
        InputError: for a file that has none, and for volumes that are none.
    """
    frame = read_csv(Path(path))
    found = [column for column in frame if str(column).strip().lower() == "volume"]
    if len(found) != 1:
        raise InputError(f"{path}: must have one column 'volume'; has {', '.join(map(str, frame.columns))}")
    volumes, texts = pd.to_numeric(frame[found[0]], errors="coerce").to_numpy(float), frame[found[0]].tolist()
    if (bad := np.flatnonzero(~((volumes >= 0) & (volumes < np.inf)))).size:
        raise InputError(f"{path}: row {bad[0] + 1}, 'volume': {shown(texts[bad[0]])} must be a number >= 0")
    return tuple(volumes.tolist())
