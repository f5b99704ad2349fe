"""Datasets of episodes in Minari's layout, with what made them inside, and checked when they are read.

``minari.load_dataset`` reads them by name (``MINARI_DATASETS_PATH`` being the folder they are in), and
``minari.MinariDataset(folder / "data")`` by path. Minari's own writer makes some 400 episodes a second, most of it
HDF5's bookkeeping for five chunked arrays per episode; the same layout is written here without chunks, eight times
faster.
"""

import json
import math
import os
import platform
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, fields
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from exec_env.base import extras
from exec_env.base.errors import InputError
from exec_env.base.files import new_folder, require_regular, write_bytes
from exec_env.base.validation import from_mapping
from exec_env.envs.reward import Reward
from exec_env.harness.offline.collect import FRACTION, Episodes, Recorded
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.one_asset import observation
from exec_env.one_asset.observation import Observation

_KEY = "exec_env"  # of the provenance among Minari's metadata
_FORMAT = 2
_SAID = {
    **{"env": str, "options": dict, "market": dict, "order": dict, "reward": dict, "randomise": dict | None},
    **{"tape": dict | None, "agents": list, "seed": int, "episodes": int, "format": int, "action": str},
    **{"observation": list, "return_mean": float, "return_std": float, "versions": dict, "sha256": str},
}
"""Fields of the provenance, every one of which must be there."""
_DATA = "main_data.hdf5"
_D = len(Observation._fields)


@dataclass(frozen=True)
class Dataset:
    """Episodes as they were read, and what made them."""

    path: Path
    episodes: Episodes
    provenance: dict[str, Any]
    """Plain values: env, options, market, order, reward, randomise, tape, agents, seed, episodes (see
    ``exec_env.harness.offline``), action, observation, return_mean, return_std, versions, and sha256 of all that and
    the episodes."""
    market: Market
    order: Order
    reward: Reward


def require_packages() -> None:
    """Say what to install where Minari is missing.

    Raises:
        MissingPackage: when it, or what it needs for HDF5, is not installed.
    """
    extras.require_packages(*extras.packages_of("offline"))


def check_name(folder: str | Path) -> Path:
    """The folder of a dataset that does not exist yet; its name is the dataset's, as Minari wants it.

    Raises:
        InputError: for a name that Minari does not take, or a folder that exists.
    """
    folder = Path(folder)
    if not re.fullmatch(r"[-\w]+-v\d+", folder.name):
        raise InputError(
            f"{folder}: a dataset's name must be letters, digits, '-' and '_', and end in a version, as in twap-v0"
        )
    if folder.exists():
        raise InputError(f"{folder} exists: choose another folder, so that nothing is overwritten")
    return folder


def save(recorded: Recorded, folder: str | Path) -> Path:
    """Write a dataset to a new folder, whole or not at all.

    Raises:
        InputError: as ``check_name`` and ``require_packages``; for options that only exist in memory.
    """
    require_packages()
    folder, episodes = check_name(folder), recorded.episodes
    returns = episodes.returns
    provenance = recorded.provenance | {
        "format": _FORMAT,
        "action": FRACTION.name,
        "observation": list(Observation._fields),
        "return_mean": float(returns.mean()),
        "return_std": float(returns.std()),
        "versions": _versions(),
    }
    try:
        json.dumps(provenance)
    except TypeError as error:
        raise InputError(f"{folder}: options that only exist in memory cannot be kept: {error}; name a file") from None
    provenance["sha256"] = _checksum(provenance, episodes)
    partial = new_folder(folder.with_name(f"{folder.name}.partial-{os.getpid()}"))
    try:
        _save(new_folder(partial / "data"), folder.name, recorded, provenance)
        os.rename(partial, folder)
    except (OSError, RuntimeError) as error:  # HDF5's of a disk that is full: both, and without a number
        raise InputError(f"{folder}: cannot be written: {' '.join(str(error).split())[:200]}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _save(data: Path, name: str, recorded: Recorded, provenance: dict[str, Any]) -> None:
    """Episodes and Minari's metadata into an empty folder."""
    from minari.dataset.minari_storage import MinariStorage

    episodes = recorded.episodes
    # Its folder's relative path would be taken twice.
    storage = MinariStorage.new(
        data.resolve(), observation.space(), FRACTION.space(Order()), recorded.spec, "hdf5", jpeg_encoding=False
    )
    _write(data / _DATA, episodes)
    agents = ", ".join(sorted({a["agent"] for a in provenance["agents"]}))
    storage.update_metadata(
        {
            "dataset_id": name,
            "minari_version": version("minari"),
            "algorithm_name": agents,
            "description": f"{len(episodes)} episodes of {agents} on {provenance['env']}",
            "requirements": [f"exec-env=={version('exec-env')}"],
            "total_episodes": len(episodes),
            "total_steps": int(episodes.lengths.sum()),
            "dataset_size": storage.get_size(),
            _KEY: provenance,
        }
    )


def _checksum(provenance: dict[str, Any], episodes: Episodes) -> str:
    """Of the episodes and of what is said about them, so that neither can change without the other."""
    said = json.dumps({k: v for k, v in provenance.items() if k != "sha256"}, sort_keys=True)
    return sha256(f"{episodes.sha256} {said}".encode()).hexdigest()


def load(path: str | Path) -> Dataset:
    """Read a dataset that ``save`` wrote, and check it: what is said of it, shapes, ends, ranges, and the checksum.

    Args:
        path: its folder.

    Raises:
        InputError: one sentence that names the folder and says what is wrong with it.
    """
    require_packages()
    path = Path(path)
    data, said = _said(path)
    where = f"dataset {path}: metadata"
    for name, kind in _SAID.items():
        if name not in said:
            raise InputError(f"{where}: has no field {name!r}")
        if not isinstance(said[name], kind) or (kind is float and not math.isfinite(said[name])):
            raise InputError(f"{where}: {name} = {said[name]!r}: is nothing that exec-env collect writes")
    if said.get("observation") != list(Observation._fields):
        raise InputError(
            f"{where}: observation = {said.get('observation')}: this version's entries are {list(Observation._fields)}"
        )
    if said.get("action") != FRACTION.name:
        raise InputError(f"{where}: action = {said.get('action')!r}: must be {FRACTION.name!r}")
    market, order, reward = (_whole(cls, said[cls.__name__.lower()], where) for cls in (Market, Order, Reward))
    try:
        require_regular(data / _DATA, f"{_DATA}")
        episodes = _read(data / _DATA, order.n_steps)
    except InputError as error:
        raise InputError(f"dataset {path}: {error}") from None
    except Exception as error:  # a damaged file can make the reader fail in any way
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"dataset {path}: corrupt: {first[:200]}") from error
    if len(episodes) != said["episodes"]:
        raise InputError(f"dataset {path}: corrupt: holds {len(episodes)} episodes, not {said['episodes']}")
    if not np.isclose(episodes.returns.mean(), said["return_mean"], rtol=1e-9):
        raise InputError(
            f"dataset {path}: corrupt: its mean return is {episodes.returns.mean():.6g}, not {said['return_mean']}"
        )
    if _checksum(said, episodes) != said["sha256"]:
        raise InputError(
            f"dataset {path}: corrupt: its checksum is not the one it was recorded with; "
            "episodes or metadata were changed"
        )
    return Dataset(path, episodes, said, market, order, reward)


def checksum(path: str | Path) -> str:
    """The checksum that a dataset was recorded with; ``load`` compares it with the episodes."""
    return str(_said(Path(path))[1].get("sha256"))


def _said(path: Path) -> tuple[Path, dict[str, Any]]:
    """The folder of the data, and what is said of it, of which only the format is checked."""
    if not path.exists():
        raise InputError(f"dataset {path}: no such folder; exec-env collect records one")
    data = path / "data" if (path / "data").is_dir() else path
    try:
        require_regular(data / "metadata.json", f"dataset {path}: no Minari dataset: metadata.json is")
        metadata = json.loads((data / "metadata.json").read_text())
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"dataset {path}: no Minari dataset: {' '.join(str(error).split())}") from None
    said = metadata.get(_KEY) if isinstance(metadata, dict) else None
    if not isinstance(said, dict) or said.get("format") != _FORMAT:
        raise InputError(f"dataset {path}: was not recorded by this version of exec-env collect")
    return data, said


def _whole(cls: type[Any], values: dict[str, Any], where: str) -> Any:
    """``cls`` from all of its fields: one that is missing must not become today's default."""
    made = from_mapping(cls, values, where)
    for field in fields(cls):
        if field.name not in values:
            raise InputError(f"{where}: has no field '{cls.__name__.lower()}.{field.name}'")
    return made


def _rows(episodes: Episodes) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """Each episode's member, and its arrays as Minari names them."""
    for e, n in enumerate(episodes.lengths.tolist()):
        ends = np.zeros(n, bool)
        ends[-1] = True
        yield (
            int(episodes.members[e]),
            {
                "observations": episodes.observations[e, : n + 1],
                "actions": episodes.actions[e, :n],
                "rewards": episodes.rewards[e, :n],
                "terminations": ends,
                "truncations": np.zeros(n, bool),
            },
        )


def _write(path: Path, episodes: Episodes) -> None:
    """A group per episode. The low-level interface takes a third of the time of the other one."""
    import h5py
    from h5py import h5a, h5d, h5g, h5s, h5t

    types = {dtype: h5t.py_create(np.dtype(dtype), logical=True) for dtype in (np.float32, np.float64, np.bool_)}
    scalar = h5s.create(h5s.SCALAR)
    flags: dict[tuple[str, int], Any] = {}
    # In memory: HDF5 that cannot write to a disk cannot close the file either, and says so again and again.
    with h5py.File(path, "w", driver="core", backing_store=False) as file:
        for e, (member, arrays) in enumerate(_rows(episodes)):
            group = h5g.create(file.id, f"episode_{e}".encode())
            n = len(arrays["rewards"])
            for name, value in (("id", e), ("total_steps", n), ("member", member)):
                h5a.create(group, name.encode(), h5t.NATIVE_INT64, scalar).write(np.array(value))
            for name, array in arrays.items():
                if (name, n) in flags:  # episodes of one length have the same ends: they share them
                    h5py.h5o.link(flags[name, n], group, name.encode())
                    continue
                dataset = h5d.create(group, name.encode(), types[array.dtype.type], h5s.create_simple(array.shape))
                dataset.write(h5s.ALL, h5s.ALL, np.ascontiguousarray(array))
                if array.dtype == bool:
                    flags[name, n] = dataset
        file.flush()
        content = file.id.get_file_image()
    write_bytes(path, content)


def _read(path: Path, n_steps: int) -> Episodes:
    """What ``_write`` wrote, each episode checked by itself."""
    import h5py
    from h5py import h5d, h5g, h5s

    with h5py.File(path, "r") as file:
        count = len(file)
        seen, actions = np.zeros((count, n_steps + 1, _D), np.float32), np.zeros((count, n_steps, 1), np.float32)
        rewards, lengths, members = np.zeros((count, n_steps)), np.zeros(count, int), np.zeros(count, int)
        for e in range(count):
            group, arrays = h5g.open(file.id, f"episode_{e}".encode()), {}
            for name in ("observations", "actions", "rewards", "terminations", "truncations"):
                dataset = h5d.open(group, name.encode())
                arrays[name] = np.empty(dataset.shape, dataset.dtype)
                dataset.read(h5s.ALL, h5s.ALL, arrays[name])
            n = len(arrays["rewards"])
            if not 1 <= n <= n_steps:
                raise InputError(f"episode {e}: has {n} slices, but its order has {n_steps}")
            wanted = {"observations": (n + 1, _D), "actions": (n, 1)} | dict.fromkeys(list(arrays)[2:], (n,))
            for name, array in arrays.items():
                if array.shape != wanted[name]:
                    raise InputError(f"episode {e}: {name} has shape {array.shape}, not {wanted[name]}")
                if not np.isfinite(array).all():
                    raise InputError(f"episode {e}: {name} has an entry that is not finite")
            if arrays["truncations"].any() or arrays["terminations"].tolist() != [False] * (n - 1) + [True]:
                raise InputError(f"episode {e}: must be terminated at its last step, and nowhere else")
            if arrays["actions"].min() < 0 or arrays["actions"].max() > 1:
                raise InputError(f"episode {e}: actions must be fractions of what is left, in [0, 1]")
            seen[e, : n + 1], actions[e, :n], rewards[e, :n] = (arrays[k] for k in list(arrays)[:3])
            lengths[e], members[e] = n, file[f"episode_{e}"].attrs["member"]
    return Episodes(seen, actions, rewards, lengths, members)


def _versions() -> dict[str, str]:
    packages = ("exec-env", "gymnasium", "minari", "numpy", "h5py")
    return {"python": platform.python_version()} | {p: version(p) for p in packages}
