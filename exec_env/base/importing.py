"""Functions and classes by their import path, ``module:name``: how files keep them."""

import importlib
import sys
from typing import Any

from exec_env.base.errors import InputError


def path_of(thing: Any, what: str) -> str:
    """The import path of a function or class.

    Raises:
        InputError: where none leads back to it, as to a lambda, a method of an object or a function inside another.
    """
    module, name = getattr(thing, "__module__", None), getattr(thing, "__qualname__", "")
    if module and name and "<" not in name and module != "__main__":
        found: Any = sys.modules.get(module)
        for part in name.split("."):
            found = getattr(found, part, None)
        if found is thing:
            return f"{module}:{name}"
    raise InputError(
        f"{what} = {thing!r}: cannot be kept in a file; define it by name at the top of a module, "
        "so that it has an import path, module:name"
    )


def imported(path: str, what: str) -> Any:
    """What ``module:name`` leads to.

    An error inside the module is the module's own and keeps its traceback.

    Raises:
        InputError: where there is no such module, or no such name in it.
    """
    module, colon, name = path.partition(":")
    if not (module and colon and name):
        raise InputError(f"{what} = {path!r}: must read module:name")
    found = import_module(module, f"{what} = {path!r}")
    for part in name.split("."):
        if not hasattr(found, part):
            raise InputError(f"{what} = {path!r}: module {module!r} has no {name!r}")
        found = getattr(found, part)
    return found


def import_module(module: str, what: str) -> Any:
    """The module of that name; an error inside it is its own and keeps its traceback.

    Raises:
        InputError: where there is none; the sentence begins with ``what``.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not (module == error.name or module.startswith(f"{error.name}.")):
            raise  # the module is there, and lacks something itself
        raise InputError(f"{what}: there is no module {error.name!r}") from None
