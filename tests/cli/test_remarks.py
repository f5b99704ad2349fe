"""What command lines say of costs: impact that was scaled, and fills below zero."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from exec_env.cli import collect, evaluate, live, schedule, train

NOTE = "impact that is not given follows σ S0 / V: "


@pytest.mark.long
def test_command_lines_say_it_once(tmp_path: Path, call: Callable[..., Any]) -> None:
    market = ["--arrival-price", "40"]
    status, out, err = call(evaluate, "twap", *market, "--episodes", 3, "--quiet", "--out", tmp_path / "evaluation")
    assert status == 0, err
    assert (out + err).count(NOTE) == 1
    snapshot = {"time": "2026-01-05T09:30:00", "mid": 40.0, "spread": 0.05, "volume": 60000}
    status, out, err = call(live, "twap", *market, "--assume-filled", text=json.dumps(snapshot))
    assert status == 0, err
    assert err.count(NOTE) == 1
    assert NOTE not in out
    status, out, err = call(live, "twap", "--assume-filled", text=json.dumps(snapshot))
    assert err == ""
    small = [
        "--steps",
        64,
        "--num-envs",
        4,
        "--n-steps",
        4,
        "--check-episodes",
        4,
        "--intervals",
        1,
        "--warm-up",
        8,
        "--quiet",
    ]
    status, out, err = call(train, "dqn", *market, *small, "--quiet", "--run", tmp_path / "run")
    assert status == 0, err
    assert (out + err).count(NOTE) == 1


@pytest.mark.long
def test_a_schedule_says_it_and_costs_what_the_scaled_market_does(tmp_path: Path, call: Callable[..., Any]) -> None:
    stock = ["--arrival-price", 40, "--daily-volume", 3e6, "--volatility", 0.018, "--half-spread", 1.5]
    order = ["--shares", 250_000, "--n-steps", 24, "--max-participation", "None"]
    status, out, err = call(schedule, "twap", *stock, *order, "--out", tmp_path / "out")
    assert status == 0, err
    assert err.count(NOTE) == 1
    assert "30.1" in next(line for line in out.splitlines() if line.startswith("twap"))
    status, out, err = call(schedule, "twap", "--shares", 1_000_000_000, "--out", tmp_path / "huge")
    assert status == 0, err
    assert "fills below zero: impact takes the price from 100 to -" in err


def test_recording_says_it(tmp_path: Path, call: Callable[..., Any]) -> None:
    pytest.importorskip("minari")
    options = ["twap", "--arrival-price", 40, "--episodes", 2, "--quiet", "--out", tmp_path / "twap-v0"]
    status, _, err = call(collect, *options)
    assert status == 0, err
    assert err.count(NOTE) == 1


def test_an_order_that_no_market_takes_is_remarked_on(call: Callable[..., Any]) -> None:
    snapshot = json.dumps({"time": "2026-01-05T09:30:00", "mid": 100.0, "spread": 0.02, "volume": 60000})
    status, _, err = call(live, "twap", "--shares", 1_000_000_000, "--assume-filled", text=snapshot)
    assert status == 0, err
    assert "fills below zero: impact takes the price from 100 to -" in err
    assert "fills below zero" not in call(live, "twap", "--arrival-price", 0.0001, text=snapshot)[2]
