"""Commands on runs play the problem that the runs were trained on, unless an option names another."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from exec_env.agents.dqn import DQNConfig
from exec_env.cli import evaluate, live, report, stress, train
from exec_env.envs.registry import ENVIRONMENTS
from exec_env.harness import TrainConfig
from exec_env.harness import train as train_agent

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("undrawn")]
Call = Callable[..., tuple[int, str, str]]
SETTINGS = DQNConfig(hidden=(8,), warm_up=64, batch_size=16)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    config: dict[str, Any] = {"steps": 128, "intervals": 1, "num_envs": 16, "check_episodes": 4}
    small: dict[str, Any] = {"n_steps": 4, "shares": 20_000.0}
    train_agent("dqn", folder / "buys", TrainConfig(**config), SETTINGS, side="buy", reward="shortfall", **small)
    train_agent("dqn", folder / "again", TrainConfig(**config), SETTINGS, side="buy", randomise="stress", **small)
    train_agent("dqn", folder / "sells", TrainConfig(**config), SETTINGS, **small)
    return {name: folder / name for name in ("buys", "again", "sells")}


@pytest.mark.long
def test_evaluation_plays_the_problem_of_the_run_and_says_so(runs: dict[str, Path], tmp_path: Path, call: Call) -> None:
    options = ["--episodes", 5, "--quiet"]
    status, out, err = call(evaluate, "twap", runs["buys"], *options, "--out", tmp_path / "a")
    assert status == 0, err
    assert re.search(r"buy 20,000 shares \(.*\) in 4 slices", out)
    assert "was trained on" not in out
    assert "problem: that of buys, AlmgrenChriss-v0 with side=buy, n_steps=4, shares=20000.0, and what" in err
    status, out, err = call(evaluate, runs["buys"], *options, "--volatility", 0.05, "--out", tmp_path / "b")
    assert re.search(r"buy 20,000 shares \(.*\) in 4 slices", out)
    assert "buys was trained on AlmgrenChriss-v0" in out  # with another volatility
    status, out, err = call(evaluate, runs["buys"], *options, "--env", "AlmgrenChriss-v0", "--out", tmp_path / "c")
    assert re.search(r"sell 200,000 shares \(.*\) in 40 slices", out)
    assert "problem: that of" not in err


def test_runs_of_different_problems_are_refused_naming_both(runs: dict[str, Path], tmp_path: Path, call: Call) -> None:
    status, _, err = call(evaluate, runs["buys"], runs["sells"], "--episodes", 5, "--quiet", "--out", tmp_path / "a")
    assert status == 2
    assert "buys was trained on AlmgrenChriss-v0 with" in err
    assert "and sells on AlmgrenChriss-v0 with" in err
    both = [runs["buys"], runs["sells"], "--preset", "default", "--n-steps", 4, "--shares", 20000]
    status, _, err = call(evaluate, *both, "--episodes", 5, "--quiet", "--out", tmp_path / "b")
    assert status == 0, err
    # How they were trained (reward, randomised markets) does not make two problems of one.
    alike = [runs["buys"], runs["again"], "--episodes", 5, "--quiet", "--out", tmp_path / "c"]
    assert call(evaluate, *alike)[0] == 0


def test_report_stress_and_live_play_it_too(runs: dict[str, Path], tmp_path: Path, call: Call) -> None:
    page = tmp_path / "report.html"
    status, out, err = call(report, runs["buys"], "--episodes", 5, "--quiet", "--out", page)
    assert status == 0, err
    assert "Buy 20,000 shares" in page.read_text()
    status, out, err = call(
        stress, runs["buys"], "--regimes", "normal", "--episodes", 5, "--quiet", "--out", tmp_path / "stress"
    )
    assert status == 0, err
    assert "problem: that of buys" in err
    snapshot = {"time": "2026-01-05T09:30:00", "mid": 100.0, "spread": 0.05, "volume": 60000}
    status, out, err = call(live, runs["buys"], "--assume-filled", text=json.dumps(snapshot))
    assert status == 0, err
    first = json.loads(out.splitlines()[0])
    assert first["side"] == "buy"
    assert first["left"] == 20_000.0


def test_an_id_of_ones_own_works_on_the_command_line(
    tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("my_ids.py").write_text(
        "import exec_env\nexec_env.register('MyOrder-v0', 'classic', shares=3e4, n_steps=4)\n"
        "exec_env.register('MyOrders-v0', 'tests.envs.tiny:two_orders')\n"
    )
    tiny = ["--steps", 256, "--intervals", 1, "--num-envs", 16, "--check-episodes", 4, "--warm-up", 64, "--quiet"]
    try:
        status, out, err = call(
            train, "dqn", "--env", "my_ids:MyOrders-v0", *tiny, "--set", "n_steps=8", "--run", "run"
        )
        assert status == 0, err
        assert "updates in 256 steps" in out
        status, out, err = call(evaluate, "even", "run", "--episodes", 5, "--quiet")
        assert status == 0, err
        assert "80 shares in 8 slices" in out
        for command, out_of in ((stress, "stressed"), (report, "page.html")):
            status, out, err = call(command, "run", "even", "--episodes", 5, "--quiet", "--out", out_of)
            assert status == 0, err
        status, out, err = call(evaluate, "twap", "--env", "my_ids:MyOrder-v0", "--episodes", 5, "--quiet")
        assert status == 0, err
        assert re.search(r"sell 30,000 shares \(.*\) in 4 slices", out)
        status, out, err = call(evaluate, "even", "--env", "my_ids:MyOrders-v0", "--set", "n_stepz=8", "--quiet")
        assert status == 2
        assert "unexpected keyword argument 'n_stepz'; did you mean 'n_steps'" in err
    finally:
        for env_id in ("MyOrder-v0", "MyOrders-v0"):
            ENVIRONMENTS.pop(env_id, None)
            gym.registry.pop(env_id, None)


def test_training_that_hardly_updates_says_so(tmp_path: Path, call: Call) -> None:
    options = ["--n-steps", 4, "--shares", 20000, "--steps", 256, "--intervals", 1, "--num-envs", 16, "--quiet"]
    status, out, err = call(train, "dqn", *options, "--warm-up", 255, "--run", tmp_path / "run")
    assert status == 0, err
    assert "1 updates in 256 steps: that is little; take more steps, or a shorter warm-up" in out
