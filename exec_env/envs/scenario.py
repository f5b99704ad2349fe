"""Stress tests of a problem: what happens, how severely, and the options that make it happen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from exec_env.base.errors import InputError
from exec_env.base.validation import listed, unknown

NORMAL = "normal"
"""The scenario without any stress."""


@dataclass(frozen=True)
class Scenario:
    """A stress test: options that put a problem under stress."""

    regime: str
    """What happens."""
    factor: float | None
    """How severe: what the regime multiplies by; None where that cannot be said in one number."""
    options: Mapping[str, Any]
    """Options of the problem, over those that it has."""
    label: str
    """What the scenario is called in tables and pictures."""
    told: bool = True
    """Whether baselines can be built for it, from the problem under stress."""
    keeps: tuple[str, ...] = ()
    """Options of ``Problem.calm`` that are not reset for this scenario, so that the user's values hold."""


def chosen(scenarios: Sequence[Scenario], names: Sequence[str] | None) -> list[Scenario]:
    """Those of these names, in the order of the names; all where no names are given.

    Raises:
        InputError: for an unknown name, one that comes twice, or none.
    """
    if names is None:
        return list(scenarios)
    known = {s.regime: s for s in scenarios}
    found = []
    for name in listed("regimes", "a list of names", names):
        if not isinstance(name, str) or name not in known:
            raise InputError(unknown("regime", name, known))
        if known[name] in found:
            raise InputError(f"regime {name!r} is named twice")
        found.append(known[name])
    if not found:
        raise InputError(f"no regimes: name at least one of {', '.join(known)}")
    return found
