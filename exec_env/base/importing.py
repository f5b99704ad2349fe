"""Functions and classes by their import path, ``module:name``: how files keep them."""

import importlib
from typing import Any

from exec_env.base.errors import InputError


def path_of(thing: Any, what: str) -> str:
    """The import path of a function or class.

    Raises:
        InputError: where it has none that leads back to it, as a lambda or a function inside another.
    """
    module, name = getattr(thing, "__module__", None), getattr(thing, "__qualname__", "")
    if module and name and "<" not in name and module != "__main__":
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
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not (module == error.name or module.startswith(f"{error.name}.")):
            raise  # the module is there, and lacks something itself
        raise InputError(f"{what} = {path!r}: there is no module {error.name!r}") from None
    for part in name.split("."):
        if not hasattr(found, part):
            raise InputError(f"{what} = {path!r}: module {module!r} has no {name!r}")
        found = getattr(found, part)
    return found
