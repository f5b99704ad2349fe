"""What tests share: small problems, and one episode of any environment."""

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest
from hypothesis import settings
from matplotlib.figure import Figure

import exec_env  # noqa: F401

# No test is timed: machines are noisy.
settings.register_profile("exec_env", deadline=None)
settings.load_profile("exec_env")

RICH = {
    "liquidity_volatility": 0.6,
    "shock_rate": 8.0,
    "shock_size": 0.5,
    "volume_profile": "u-shaped",
    "slippage_noise": 1.0,
    "signal": 0.05,
    "signal_volatility": 0.2,
}
"""Every feature of the market switched on."""


def recorded_slices(rows: int = 60, seed: int = 0) -> pd.DataFrame:
    """Slices of five minutes with a random price."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "time": pd.date_range("2024-01-02 09:30", periods=rows, freq="5min"),
            "mid": 50.0 + 0.05 * np.cumsum(rng.standard_normal(rows)),
            "spread": rng.uniform(0.01, 0.03, rows),
            "volume": rng.uniform(50_000.0, 150_000.0, rows),
            "depth": rng.uniform(500.0, 1500.0, rows),
        }
    )


def play(env: gym.Env, policy: Callable[[np.ndarray], Any], seed: int | None = None) -> list[dict[str, Any]]:
    """One episode: the information of every step, with observation and reward."""
    observation, _ = env.reset(seed=seed)
    steps, over = [], False
    while not over:
        action = policy(observation)
        observation, reward, terminated, truncated, info = env.step(action)
        over = terminated or truncated
        steps.append(info | {"observation": observation, "reward": reward, "terminated": terminated})
    return steps


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


@pytest.fixture
def same_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first block of an evaluation is drawn as an environment with its seed draws, so that both can be compared."""
    module = importlib.import_module("exec_env.harness.evaluation")
    monkeypatch.setattr(module, "block_rng", lambda seed, k: np.random.default_rng(seed))


@pytest.fixture
def rich() -> dict[str, Any]:
    return dict(RICH)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are made but not drawn, which takes most of the time where a test reads none: files are empty."""
    monkeypatch.setattr(Figure, "draw_without_rendering", lambda figure: None)
    monkeypatch.setattr(Figure, "savefig", lambda _, to, **__: Path(to).touch() if isinstance(to, Path) else None)


@pytest.fixture(scope="session")
def ray_ready(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Ray as tests need it: a home of its own, no login, nothing reported, and this checkout on workers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
        yield
