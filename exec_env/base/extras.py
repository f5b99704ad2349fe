"""Optional parts: which extra brings which package, and one sentence where a package is missing."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager

from exec_env.base.errors import InputError

EXTRA_OF = {
    "torch": "torch",
    "tensorboard": "torch",
    "stable_baselines3": "sb3",
    "sb3_contrib": "recurrent",
    "ray": "ray",
    "optuna": "tune",
    "arch": "results",
    "exchange_calendars": "calendars",
    "bidask": "calibration",
    "statsmodels": "calibration",
    "pyarrow": "calibration",
    "zstandard": "calibration",
    "databento_dbn": "databento",
    "minari": "offline",
    "h5py": "offline",
    "PIL": "offline",
}
"""Packages, as they are imported, and the extra of this distribution that installs each."""

_INCLUDES = {"sb3": ("torch",), "recurrent": ("sb3",)}


class MissingPackage(InputError, ImportError):
    """A package that only some parts need is not installed; the sentence says how to install it."""


def packages_of(extra: str) -> tuple[str, ...]:
    """What an extra installs, as it is imported: an extra that it includes first.

    >>> packages_of("sb3")
    ('torch', 'tensorboard', 'stable_baselines3')
    """
    included = [package for other in _INCLUDES.get(extra, ()) for package in packages_of(other)]
    return (*included, *(package for package, of in EXTRA_OF.items() if of == extra))


def is_installed(extra: str) -> bool:
    """Whether every package of an extra can be imported; nothing is imported to find out."""
    return all(importlib.util.find_spec(package) is not None for package in packages_of(extra))


def require_packages(*packages: str, what: str = "") -> None:
    """Say how to install what is missing, before any work is done.

    Args:
        *packages: as they are imported.
        what: what needs them, for the sentence.

    Raises:
        MissingPackage: when one is not installed.
    """
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise _missing(package, what)


@contextmanager
def importing(what: str = "") -> Iterator[None]:
    """Turn Python's complaint about an optional package into the sentence on how to install it.

    Args:
        what: what needs the package, for the sentence.

    Raises:
        MissingPackage: when a package of an extra is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        # What is there but broken keeps its traceback.
        if package not in EXTRA_OF or importlib.util.find_spec(package) is not None:
            raise
        raise _missing(package, what) from None


def _missing(package: str, what: str) -> MissingPackage:
    needed_by = f"{what}: " if what else ""
    return MissingPackage(f"{needed_by}{package} is not installed: pip install 'exec-env[{EXTRA_OF[package]}]'")
