"""What the schedule functions return: steps with named fields that turn into a frame and plot themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def new_axes() -> Axes:
    """Axes of a figure of their own; nothing is shown or registered."""
    from matplotlib.figure import Figure

    axes = Figure(figsize=(6, 4), layout="constrained").subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def save(axes: Axes, path: Path) -> None:
    """Write the figure that ``axes`` belongs to."""
    figure = axes.get_figure(root=True)
    if figure is not None:
        figure.savefig(path, dpi=130)


@dataclass(frozen=True)
class Steps:
    """A schedule step by step."""

    steps: Sequence[NamedTuple]
    """One entry per period."""

    def to_frame(self) -> pd.DataFrame:
        """The steps as a frame, one row per period."""
        return pd.DataFrame(self.steps)

    def plot(self, y: str, axes: Axes | None = None, **style: Any) -> Axes:
        """Field ``y`` of the steps against time, on given or new axes; ``axes.figure.savefig(...)`` keeps it."""
        axes = axes or new_axes()
        frame = self.to_frame()
        axes.plot(frame["time"], frame[y], **style)
        axes.set(xlabel="time [periods]", ylabel=y.replace("_", " "))
        return axes
