"""Files of a run: written whole or not at all, and read without running anything that they contain."""

import os
import pickle
import warnings
from pathlib import Path
from typing import Any

import yaml

from exec_env.base.errors import InputError
from exec_env.base.extras import importing


def write_yaml(path: Path, values: dict[str, Any]) -> None:
    """Write plain values as YAML."""
    _replace(path, lambda partial: partial.write_text(yaml.safe_dump(values, sort_keys=False, allow_unicode=True)))


def read_yaml(path: Path, kind: str = "run") -> dict[str, Any]:
    """Read a YAML mapping of plain values; ``kind`` is that of the folder it should be in.

    Raises:
        InputError: when the file is missing, is no YAML, or would build anything but plain values.
    """
    try:
        values = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; is {path.parent} a {kind} folder?") from None
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:  # PyYAML's ValueError: 2024-02-31
        raise InputError(f"{path}: not a configuration: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: not a configuration: it holds no fields")
    return values


def yaml_value(text: str, what: str) -> Any:
    """A value as YAML writes it: a number, a name, a list.

    Raises:
        InputError: naming ``what``, for anything that is no plain value.
    """
    try:
        return yaml.safe_load(text)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise InputError(f"{what} = {text!r}: no value: {' '.join(str(error).split())}") from None


def write_tensors(path: Path, values: dict[str, Any]) -> None:
    """Write tensors and plain numbers.

    Raises:
        MissingPackage: without torch.
    """
    with importing(path.name):
        import torch

    _replace(path, lambda partial: torch.save(values, partial))


def read_tensors(path: Path) -> dict[str, Any]:
    """Read tensors and plain numbers.

    Raises:
        InputError: when the file is missing, corrupt, or holds anything else.
        MissingPackage: without torch.
    """
    with importing(path.name):
        import torch

    try:
        with warnings.catch_warnings(action="ignore"):
            values = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except pickle.UnpicklingError:
        raise InputError(f"{path}: corrupt, or not a file of weights: it holds more than tensors and numbers") from None
    except Exception as error:  # a damaged file can make the reader fail in any way
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"{path}: corrupt, or not a file of weights: {first[:200]}") from error
    if not isinstance(values, dict):
        raise InputError(f"{path}: not a file of weights: it holds a {type(values).__name__}")
    return values


def new_folder(folder: str | Path) -> Path:
    """Create a folder that does not exist yet.

    Raises:
        InputError: when it exists, so that no result is overwritten.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise InputError(f"{folder} exists: choose another folder, so that nothing is overwritten") from None
    except OSError as error:
        raise InputError(f"{folder}: cannot be created: {error.strerror}") from None
    return folder


def free_folder(stem: str | Path) -> Path:
    """``stem-1``, or the first number that is free; not created yet."""
    number = 1
    while (folder := Path(f"{stem}-{number}")).exists():
        number += 1
    return folder


def new_file(path: str | Path) -> Path:
    """A file that does not exist yet and can be created; not created yet.

    Raises:
        InputError: when it exists, so that no result is overwritten, or its folder cannot be written to.
    """
    path = Path(path)
    if path.exists():
        raise InputError(f"{path} exists: choose another file, so that nothing is overwritten")
    nearest = next(folder for folder in path.absolute().parents if folder.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise InputError(f"{path}: cannot be created: {nearest} is no folder that can be written to")
    return path


def write_text(path: Path, text: str) -> None:
    """Write a text file, and the folders it is in.

    Raises:
        InputError: when it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, lambda partial: partial.write_text(text, encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from None


def _replace(path: Path, write: Any) -> None:
    """Write beside the file, then rename: a kill in between leaves the old file whole."""
    partial = path.with_name(path.name + ".partial")
    write(partial)
    os.replace(partial, path)
