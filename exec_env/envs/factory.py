"""From a factory, or its import path, and options to a problem."""

import inspect
import json
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from exec_env.base.errors import InputError, UnknownOption
from exec_env.base.importing import imported, path_of
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


def kept_options(options: Mapping[str, Any], strict: bool = True) -> dict[str, Any]:
    """Options as files keep them: functions by their import path, a Market or another dataclass by its fields.

    Files that options name are kept by their whole path, so that they are found from another folder.

    Args:
        options: of a problem.
        strict: whether what only exists in memory is refused; if not, its text stands in its place.

    Raises:
        InputError: for an option that only exists in memory.
    """
    return {key: _kept(key, value, strict) for key, value in options.items()}


def _kept(key: str, value: Any, strict: bool) -> Any:
    name = type(value).__name__
    if is_dataclass(value) and not isinstance(value, type):
        flat = asdict(value)
        value = value if any(isinstance(v, Mapping) for v in flat.values()) else flat
    if key in ("tape", "market") and isinstance(value, str | Path):
        value = str(Path(value).resolve())
    try:
        if callable(value):
            value = path_of(value, key)
        elif isinstance(value, Mapping):
            value = {k: path_of(v, f"{key}: {k}") if callable(v) else v for k, v in value.items()}
        value = plain(str(value) if isinstance(value, Path) else value)
        json.dumps(value)
    except (InputError, TypeError) as error:
        if not strict:
            return str(value)
        if isinstance(error, InputError):
            raise
        raise InputError(f"option {key!r}: a {name} cannot be kept in a run folder; give its name or file") from None
    return value
