"""Hyper-parameters as data: a YAML file beside the agent's module, with a section per environment.

``default`` holds what every environment starts from, ``<EnvId>`` what is different there, each with the parts ``train``
(fields of TrainConfig) and ``agent`` (fields of the agent's Config); ``search`` holds the ranges that tuning looks in.
"""

import inspect
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Any

from exec_env.base.errors import InputError
from exec_env.base.files import read_yaml
from exec_env.base.validation import Bounds, Count, Finite, check_fields, from_mapping, unknown
from exec_env.envs.registry import ENVIRONMENTS, get_spec
from exec_env.harness.agents import agent_class


@dataclass(frozen=True)
class TrainConfig:
    """What to train on, and for how long."""

    env: str = "AlmgrenChriss-v0"
    """Environment id."""
    steps: Count = 3_000_000
    """Environment steps to learn from."""
    seed: Annotated[int, Bounds(low=0)] = 0
    """Of weights, exploration and training paths."""
    num_envs: Count = 256
    """Environments that run side by side."""
    intervals: Count = 20
    """Parts that training is cut into; after each the agent is checked, logged and saved."""
    check_episodes: Count = 4_000
    """Paths of each check; the same ones every time. Never trained on, but on a tape both come from the same rows,
    those for training where it is split."""
    stop_gap: Finite | None = None
    """Stop early once a check's gap to the bound [%] is this or less."""
    patience: Count | None = None
    """Stop early after so many checks in a row without a new best one."""
    device: str = "cpu"
    """Torch device of the networks."""
    threads: Count = 1
    """Torch threads. Small networks are fastest, and machines give the same results, with one."""

    def __post_init__(self) -> None:
        check_fields(self)
        get_spec(self.env)
        if self.steps < self.intervals * self.num_envs:
            raise InputError(
                f"TrainConfig.steps = {self.steps}: must be at least intervals × num_envs "
                f"= {self.intervals * self.num_envs}"
            )

    @property
    def per_interval(self) -> int:
        """Steps of an interval: as many in each environment, so ``steps`` is rounded up."""
        return -(-self.steps // (self.intervals * self.num_envs)) * self.num_envs


def read(agent: str) -> dict[str, Any]:
    """The whole file of an agent; empty when it has none.

    Raises:
        InputError: naming the file, and the section or field that does not exist.
    """
    path = _path(agent)
    if not path.exists():
        return {}
    values = read_yaml(path)
    parts = {"train": TrainConfig, "agent": agent_class(agent).Config}
    for section, content in values.items():
        _require_mapping(content, f"{path}: {section}")
        if section == "search":
            continue
        if section not in ("default", *ENVIRONMENTS):
            raise InputError(f"{path}: {unknown('section', section, ('default', 'search', *ENVIRONMENTS))}")
        for part, given in (content or {}).items():
            if part not in parts:
                raise InputError(f"{path}: {section}: {unknown('part', part, parts)}")
            _require_mapping(given, f"{path}: {section}: {part}")
            names = [f.name for f in fields(parts[part]) if (part, f.name) != ("train", "env")]  # the section says it
            for name in given or {}:
                if name not in names:
                    raise InputError(f"{path}: {section}: {unknown(f'field of {parts[part].__name__}', name, names)}")
    return values


def settings(
    agent: str,
    env: str = TrainConfig.env,
    train: dict[str, Any] | None = None,
    agent_fields: dict[str, Any] | None = None,
) -> tuple[TrainConfig, Any]:
    """What an agent is trained with on an environment.

    The dataclasses' defaults, then the file's ``default``, then its section of the environment, then the arguments.

    Raises:
        InputError: for what is unknown or not allowed.
    """
    cls, file = agent_class(agent).Config, read(agent)
    merged: dict[str, dict[str, Any]] = {"train": {}, "agent": {}}
    for section in (file.get("default"), file.get(env), {"train": train, "agent": agent_fields}):
        for part, given in (section or {}).items():
            merged[part] |= given or {}
    where = str(_path(agent)) if file else agent
    config = from_mapping(TrainConfig, asdict(TrainConfig()) | merged["train"] | {"env": env}, where)
    return config, from_mapping(cls, merged["agent"], where)


def search_space(agent: str) -> dict[str, Any]:
    """Ranges by field, as the file has them; empty when it has none."""
    return read(agent).get("search") or {}


def _require_mapping(content: Any, where: str) -> None:
    if content is not None and not isinstance(content, dict):
        raise InputError(f"{where} = {content!r}: must be a mapping of names to values")


def _path(agent: str) -> Path:
    return Path(inspect.getfile(agent_class(agent))).with_suffix(".yaml")
