"""Pictures of fixed schedules: holdings by the clock, and expected cost against risk."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from exec_env.base.units import amount
from exec_env.harness.reports.plots import GREY, tidy

_URGENT = "plasma"  # a colour map: the more urgent, the lighter
_NEAR = 0.14  # part of a picture that a label takes
_LABELS = 8  # of the time axis, at most


class Place(NamedTuple):
    """What a schedule costs, and how much that varies."""

    std: float  # [bps]
    cost: float  # expected [bps]
    label: str


def shades(names: Sequence[str]) -> dict[str, Any]:
    """A colour for each of some schedules, in their order."""
    from matplotlib import colormaps

    return dict(zip(names, colormaps[_URGENT](np.linspace(0.1, 0.8, len(names))), strict=True))


def holdings(held: Mapping[str, np.ndarray], even: str, times: Sequence[str], unit: str, title: str) -> Figure:
    """Shares that are left at the boundaries of slices, every schedule drawn in the same way.

    Args:
        held: shares left at each boundary, by name. Shape of each: (n_steps + 1,).
        even: name of the one that others are compared with, in grey.
        times: of the boundaries.
        unit: of the times.
        title: of the picture.
    """
    figure = Figure(figsize=(7.5, 4.2), layout="constrained")
    axes = figure.subplots()
    palette = shades([name for name in held if name != even])
    marker = "." if len(times) <= 60 else ""
    for name, left in held.items():
        style: dict[str, Any] = {"color": GREY, "ls": "--"} if name == even else {"color": palette[name]}
        axes.plot(range(len(left)), left, marker=marker, lw=1.5, label=name, **style)
    n = len(times) - 1
    step = next(k for k in (1, 2, 3, 4, 6, *range(12, 12 * n + 13, 12)) if n <= _LABELS * k)  # as clocks are divided
    shown = [*(k for k in range(0, n, step) if n - k > step / 2), n]
    axes.set_xticks(shown, [times[k] for k in shown])
    axes.yaxis.set_major_formatter(lambda x, _: amount(x))
    axes.set(xlabel=f"time [{unit}]", ylabel="shares left", title=title, ylim=(0, None))
    axes.legend(frameon=False)
    tidy(axes)
    return figure


def frontier(
    points: Sequence[Place],
    marked: Mapping[str, Place],
    dollars_per_bps: float,
    title: str,
) -> Figure:
    """The efficient frontier, with what its points are, and the places of some schedules.

    Args:
        points: of the frontier, in order; labels that are empty, or too near another, are not shown.
        marked: schedules to mark, by name.
        dollars_per_bps: what a basis point of the order is. [$]
        title: of the picture.
    """
    figure = Figure(figsize=(7.5, 4.8), layout="constrained")
    axes = figure.subplots()
    axes.plot([p.std for p in points], [p.cost for p in points], color="#0072B2", label="efficient frontier")
    labelled = _apart([p for p in points if p.label])
    axes.plot([p.std for p in labelled], [p.cost for p in labelled], "o", ms=4, color="#0072B2")
    for p in labelled:
        _note(axes, p, (6, 6))
    palette = shades(list(marked))
    for name, p in marked.items():
        axes.plot(p.std, p.cost, "D", ms=8, color=palette[name], mec="white", label=name, zorder=3)
    axes.set(xlabel="standard deviation [bps]", ylabel="expected cost [bps]", title=title)
    axes.margins(x=0.15, y=0.1)
    scale = (lambda x: x * dollars_per_bps, lambda x: x / dollars_per_bps)
    top, right = axes.secondary_xaxis("top", functions=scale), axes.secondary_yaxis("right", functions=scale)
    for other, axis in ((top, top.xaxis), (right, right.yaxis)):
        other.tick_params(labelsize=8)
        axis.set_major_formatter(lambda x, _: f"{amount(x)} $")
    axes.legend(frameon=False)
    return figure


def _apart(places: Sequence[Place]) -> list[Place]:
    """Those whose labels do not stand on that of one before."""
    found: list[Place] = []
    reach = _NEAR * np.ptp([place[:2] for place in places], axis=0) if len(places) > 1 else np.zeros(2)
    for place in places:
        if all((np.abs(np.subtract(place[:2], other[:2])) > reach).any() for other in found):
            found.append(place)
    return found


def _note(axes: Axes, place: Place, offset: tuple[int, int]) -> None:
    axes.annotate(
        place.label, (place.std, place.cost), xytext=offset, textcoords="offset points", fontsize=8, color="0.3"
    )
