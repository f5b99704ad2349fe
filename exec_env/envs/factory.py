"""From a factory, or its import path, and options to a problem."""

import inspect
from typing import TYPE_CHECKING, Any

import numpy as np

from exec_env.base.errors import InputError, UnknownOption
from exec_env.base.importing import imported
from exec_env.base.validation import unexpected

if TYPE_CHECKING:  # it imports pandas and SciPy, and to register takes neither
    from exec_env.envs.problem import Problem

ONE_ASSET = "exec_env.one_asset.options:make_problem"
"""Factory of the problem of one order in one asset, which all our own ids have."""


def build_problem(problem: Any, options: dict[str, Any], caller: str) -> "Problem":
    """The problem that a factory, or its import path, makes of options.

    Raises:
        InputError: for a factory that makes no ``Problem``, and whatever the factory refuses.
        UnknownOption: for an option that the factory does not take.
    """
    factory = imported(problem, "problem") if isinstance(problem, str) else problem
    taken = inspect.signature(factory).parameters
    if not any(p.kind == p.VAR_KEYWORD for p in taken.values()):
        for name in options:
            if name not in taken:
                raise UnknownOption(unexpected(getattr(factory, "__name__", caller), name, taken))
    from exec_env.envs.problem import Problem

    made = factory(**options)
    if not isinstance(made, Problem):
        raise InputError(f"problem = {problem!r}: made {made!r}, which is no exec_env.Problem")
    return made


def plain(value: Any) -> Any:
    """A value as YAML and JSON keep it: NumPy numbers as numbers, tuples and arrays as lists; others as they are."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    return value
