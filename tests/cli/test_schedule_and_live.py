"""The command lines for schedules and for live execution, run for real."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from exec_env.cli import live, schedule
from exec_env.data.market_file import UNITS, MarketFile, Parameter
from exec_env.market.market import Market


@pytest.mark.slow
@pytest.mark.parametrize("model", ["almgren-chriss", "static", "garleanu-pedersen", "lqr", "vwap"])
def test_a_schedule_is_printed_plotted_and_kept(model: str, tmp_path: Path, call: Callable[..., Any]) -> None:
    status, out, err = call(schedule, model, "--n-steps", "5", "--out", str(tmp_path / "out"))
    assert status == 0, err
    assert "kappa" in out
    frame = pd.read_csv(tmp_path / "out" / "schedule.csv")
    assert frame["trade"].sum() == pytest.approx(200_000)
    assert {f.name for f in (tmp_path / "out").iterdir()} >= {"schedule.png", "frontier.png", "frontier.csv"}
    status, out, err = call(schedule, model, "--out", str(tmp_path / "out"))
    assert status == 2
    assert "exists" in err


def test_a_small_order_is_printed_with_four_digits_of_its_trades(tmp_path: Path, call: Callable[..., Any]) -> None:
    _, out, err = call(schedule, "twap", "--shares", "2", "--n-steps", "5", "--out", str(tmp_path / "out"))
    assert out.splitlines()[1].split() == ["1", "0.4000", "1.6000"], err


def test_live_reads_snapshots_and_writes_child_orders(call: Callable[..., Any]) -> None:
    lines = []
    for minute in range(0, 20, 5):
        lines.append({"time": f"2026-01-05T09:{30 + minute}:00", "mid": 100.0, "spread": 0.05, "volume": 60000})
    text = "\n".join([json.dumps(lines[0]), "nonsense", json.dumps(lines[0]), *map(json.dumps, lines[1:])])
    status, out, err = call(live, "twap", "--shares", "1000", "--n-steps", "4", "--assume-filled", text=text)
    assert status == 0, err
    said = [json.loads(line) for line in out.splitlines()]
    assert [s["shares"] for s in said if "shares" in s] == [250.0] * 4
    assert [s["error"].split(":")[0] for s in said if "error" in s] == ["not a JSON object", "snapshot"]
    assert said[-1]["done"]
    assert said[-1]["left"] == 0.0
    assert said[-1]["shortfall_bps"] == pytest.approx(2.5)


def test_live_has_the_trading_day_of_the_market_file(tmp_path: Path, call: Callable[..., Any]) -> None:
    parameters = {name: Parameter(getattr(Market(), name)) for name in UNITS}
    MarketFile(parameters, 1 / 1440, {"hours_per_day": 24}).save(tmp_path / "market.yaml")
    snapshots = [
        {"time": f"2026-01-05T09:{30 + minute}:00", "mid": 100.0, "spread": 0.05, "volume": 60000} for minute in (0, 1)
    ]
    order = ["--market", str(tmp_path / "market.yaml"), "--shares", "100", "--n-steps", "2", "--assume-filled"]
    _status, out, _err = call(live, "twap", *order, text="\n".join(map(json.dumps, snapshots)))
    assert [json.loads(line).get("shares") for line in out.splitlines()[:2]] == [50.0, 50.0], out


@pytest.mark.parametrize("script", [schedule, live])
def test_help_teaches(script: Any, call: Callable[..., Any]) -> None:
    status, out, _ = call(script, "--help")
    assert status == 0
    assert "Examples:" in out
    assert "--risk-aversion" in out
