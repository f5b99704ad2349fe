"""What the harness's tests share: a small problem."""

from typing import Any

import pytest

SMALL: dict[str, Any] = {"n_steps": 5, "shares": 25_000.0}
"""The default market over five slices: quick to solve and to train on."""


@pytest.fixture
def small() -> dict[str, Any]:
    return dict(SMALL)
