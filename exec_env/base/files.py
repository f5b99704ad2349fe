"""Files of a run: written whole or not at all, and read without running anything that they contain."""

import json
import os
import pickle
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Any

import yaml

from exec_env.base import plain_yaml
from exec_env.base.errors import InputError
from exec_env.base.extras import importing

try:
    import fcntl
except ImportError:  # of Windows
    fcntl = None  # type: ignore[assignment]

_ENDS, _MARK = b"PK\x05\x06", b"sha256:"  # what a ZIP archive ends with: 22 bytes and a comment, here ours
_LENGTH = len(_MARK) + 64


def write_yaml(path: Path, values: dict[str, Any]) -> None:
    """Write plain values as YAML.

    Raises:
        InputError: when it cannot be written.
    """
    write_bytes(path, yaml.safe_dump(values, sort_keys=False, allow_unicode=True).encode())


def read_yaml(path: Path, kind: str = "run") -> dict[str, Any]:
    """Read a YAML mapping of plain values; ``kind`` is that of the folder it should be in.

    Raises:
        InputError: when the file is missing, is no YAML, or would build anything but plain values.
    """
    what = f"{path}: not a configuration"
    try:
        values = plain_yaml.parse(_read(path, what, plain_yaml.LONGEST).decode("utf-8-sig"), what)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; is {path.parent} a {kind} folder?") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{what}: not UTF-8: {error.reason} at byte {error.start}") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: not a configuration: it holds no fields")
    return values


def write_tensors(path: Path, values: dict[str, Any]) -> None:
    """Write tensors and plain numbers, and the checksum of all that as the comment of the archive that they are.

    Raises:
        InputError: when it cannot be written.
        MissingPackage: without torch.
    """
    with importing(path.name):
        import torch

    buffer = BytesIO()
    torch.save(values, buffer)
    content = buffer.getvalue()[:-2] + _LENGTH.to_bytes(2, "little")
    write_bytes(path, content + _MARK + sha256(content).hexdigest().encode())


def read_tensors(path: Path) -> dict[str, Any]:
    """Read tensors and plain numbers, and compare with their checksum; files of old have none.

    Raises:
        InputError: when the file is missing, corrupt, or holds anything else.
        MissingPackage: without torch.
    """
    with importing(path.name):
        import torch

    what = f"{path}: corrupt, or not a file of weights"
    try:
        content = _read(path, what)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    without = content[-22:-18] == _ENDS and content[-2:] == bytes(2)
    if not without and content[-_LENGTH:] != _MARK + sha256(content[:-_LENGTH]).hexdigest().encode():
        raise InputError(f"{what}: its checksum is not that of its content")
    try:
        with warnings.catch_warnings(action="ignore"):
            values = torch.load(BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise InputError(f"{what}: it holds more than tensors and numbers") from None
    except Exception as error:  # a damaged file can make the reader fail in any way
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"{what}: {first[:200]}") from error
    if not isinstance(values, dict):
        raise InputError(f"{path}: not a file of weights: it holds a {type(values).__name__}")
    return values


def read_array(path: Path) -> Any:
    """A file of one NumPy array of numbers, as floats.

    Raises:
        InputError: when it is missing, corrupt, or holds anything else.
    """
    import numpy as np

    what = f"{path}: corrupt, or not a file of numbers"
    try:
        values = np.lib.format.read_array(BytesIO(_read(path, what)), allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except Exception as error:  # a damaged file can make the reader fail in any way
        raise InputError(f"{what}: {' '.join(str(error).split())[:200]}") from None
    if values.dtype.kind not in "iuf":
        raise InputError(f"{what}: it holds {values.dtype}")
    return values.astype(float)


def _read(path: Path, what: str, most: float = float("inf")) -> bytes:
    """The bytes of a regular file: to open a pipe would wait for whoever writes into it.

    Raises:
        InputError: beginning with ``what``, for anything else, and for more than ``most`` bytes.
        FileNotFoundError: where there is none.
    """
    require_regular(path, what)
    try:
        if path.stat().st_size > 4 * most:  # of a character
            raise InputError(f"{what}: {path.stat().st_size:,} bytes; at most {4 * most:,.0f} are read")
        return path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InputError(f"{what}: {error.strerror}") from None


def require_regular(path: Path, what: str) -> None:
    """Refuse what is there and no file that can be read twice: a folder, a pipe, a device.

    Raises:
        InputError: beginning with ``what``.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:  # Python's, of a name with a zero byte
        raise InputError(f"{what}: {getattr(error, 'strerror', None) or error}") from None
    if not S_ISREG(mode):
        raise InputError(f"{what}: {'a folder' if S_ISDIR(mode) else 'no regular file'}")


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


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write plain values as JSON, on the disk when it returns.

    Raises:
        InputError: when it cannot be written.
    """
    write_bytes(path, json.dumps(values, allow_nan=False).encode(), synced=True)


def read_json(path: Path, what: str) -> dict[str, Any]:
    """Read a JSON object; ``what`` says of what it is.

    Raises:
        InputError: when the file is missing, or is none.
    """
    begin = f"{path}: not {what}"
    try:
        values = json.loads(_read(path, begin).decode())
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(f"{begin}: {' '.join(str(error).split())[:200]}") from None
    if not isinstance(values, dict):
        raise InputError(f"{begin}: it holds no fields")
    return values


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold a file against other processes that ask likewise, until this one ends, however it ends.

    Raises:
        InputError: where another process holds it.
    """
    if fcntl is None:
        yield
        return
    lock = path.with_name(path.name + ".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = lock.open("a")
    except OSError as error:
        raise InputError(f"{lock}: cannot be written: {error.strerror}") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(f"{path}: another process goes on with it") from None
        yield


def write_text(path: Path, text: str) -> None:
    """Write a text file, and the folders it is in.

    Raises:
        InputError: when it cannot be written.
    """
    write_bytes(path, text.encode(errors="backslashreplace"))  # of names of files that are no text


def write_bytes(path: Path, content: bytes, synced: bool = False) -> None:
    """Write a file, and the folders it is in: beside it, then renamed, so that a kill leaves the old one whole.

    Args:
        path: the file.
        content: all of it.
        synced: whether it is on the disk when this returns, so that a loss of power leaves it too.

    Raises:
        InputError: when it cannot be written, as on a disk that is full.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content)
        if synced:
            with partial.open("r+b") as file:
                os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise InputError(f"{path}: cannot be written: {error.strerror}") from None
