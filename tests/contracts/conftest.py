"""What the contract tests share."""

import sys
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="session")
def whole() -> dict[str, Any]:
    """Options of a small order whose episodes all have five slices: no pace sells everything before the last one."""
    return {"n_steps": 5, "shares": 25_000.0, "levels": [0.0, 0.5, 1.0, 1.5]}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Small networks are faster on one, by far where others work on the machine."""
    torch = sys.modules.get("torch")
    before = torch and torch.get_num_threads()
    if torch:
        torch.set_num_threads(1)
    yield
    if torch:
        torch.set_num_threads(before)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests of this folder are contracts."""
    for item in items:
        if "contracts" in item.path.parts:
            item.add_marker(pytest.mark.contract)
