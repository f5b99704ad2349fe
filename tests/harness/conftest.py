"""What the harness's tests share: a small problem, and a recorded market."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

SMALL: dict[str, Any] = {"n_steps": 5, "shares": 25_000.0}
"""The default market over five slices: quick to solve and to train on."""


@pytest.fixture
def small() -> dict[str, Any]:
    return dict(SMALL)


@pytest.fixture
def tape_csv(tmp_path: Path) -> Path:
    """A CSV file of two recorded sessions of 60 slices."""
    rng = np.random.default_rng(0)
    times = [pd.date_range(f"2024-01-0{day} 09:30", periods=60, freq="5min") for day in (2, 3)]
    frame = pd.DataFrame(
        {
            "time": times[0].append(times[1]),
            "mid": 50.0 + 0.05 * np.cumsum(rng.standard_normal(120)),
            "spread": rng.uniform(0.01, 0.03, 120),
            "volume": rng.uniform(50_000.0, 150_000.0, 120),
            "depth": rng.uniform(500.0, 1500.0, 120),
        }
    )
    frame.to_csv(tmp_path / "market.csv", index=False)
    return tmp_path / "market.csv"
