"""Files that a study or a task is made from, as its settings name them."""

from collections.abc import Mapping
from typing import Any

from exec_env.base.inputs import named
from exec_env.envs.registry import problem_of


def inputs_of(env_id: str, options: Mapping[str, Any], dataset: str | None = None) -> dict[str, Any]:
    """Of a problem, and of a dataset, by checksum; empty where they name none."""
    found = named(problem_of(env_id, **options).provenance().get("inputs", {}), options)
    if dataset:
        from exec_env.harness.offline.dataset import checksum

        found["dataset"] = {"file": str(dataset), "sha256": checksum(dataset)}
    return found
