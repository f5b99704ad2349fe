"""Hyper-parameters as data: a YAML file beside the agent's module, with a section per environment.

``default`` holds what every environment starts from, ``<EnvId>`` what is different there, each with the parts ``train``
(fields of TrainConfig) and ``agent`` (fields of the agent's Config); ``search`` holds the ranges that tuning looks in.
"""

import inspect
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from exec_env.harness.agent import agent_class
from exec_env.harness.storage import read_yaml
from exec_env.harness.train import TrainConfig
from exec_env.registry import ENVIRONMENTS
from exec_env.validation import from_mapping, unknown


def read(agent: str) -> dict[str, Any]:
    """The whole file of an agent; empty when it has none.

    Raises:
        ValueError: naming the file, and the section or field that does not exist.
    """
    path = _path(agent)
    if not path.exists():
        return {}
    values = read_yaml(path)
    parts = {"train": TrainConfig, "agent": agent_class(agent).Config}
    for section, content in values.items():
        if section == "search":
            continue
        if section not in ("default", *ENVIRONMENTS):
            raise ValueError(f"{path}: {unknown('section', section, ('default', 'search', *ENVIRONMENTS))}")
        for part, given in (content or {}).items():
            if part not in parts:
                raise ValueError(f"{path}: {section}: {unknown('part', part, parts)}")
            names = [f.name for f in fields(parts[part])]
            for name in given or {}:
                if name not in names:
                    raise ValueError(f"{path}: {section}: {unknown(f'field of {parts[part].__name__}', name, names)}")
    return values


def settings(
    agent: str, env: str, train: dict[str, Any] | None = None, agent_fields: dict[str, Any] | None = None
) -> tuple[TrainConfig, Any]:
    """What an agent is trained with on an environment.

    The dataclasses' defaults, then the file's ``default``, then its section of the environment, then the arguments.

    Raises:
        ValueError: for what is unknown or not allowed.
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


def _path(agent: str) -> Path:
    return Path(inspect.getfile(agent_class(agent))).with_suffix(".yaml")
