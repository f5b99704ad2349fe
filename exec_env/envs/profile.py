"""Profiles: columns of a table of episodes that belong side by side, as the regret of one order after the other."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Profile:
    """Columns whose means are shown for each agent, in a table and as a line with intervals."""

    name: str
    """Of its files."""
    label: str
    """What the columns hold, with the unit."""
    across: str
    """What they are numbered by."""
    columns: tuple[str, ...]
    """Of ``Problem.outcome``, in their order."""
