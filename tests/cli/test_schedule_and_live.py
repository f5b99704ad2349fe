"""The command lines for schedules and for live execution, run for real."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from exec_env.cli import live, schedule
from exec_env.data.market_file import UNITS, MarketFile, Parameter
from exec_env.harness import evaluate
from exec_env.market.market import Market


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [
        "almgren-chriss",
        "static",
        *(pytest.param(m, marks=pytest.mark.long) for m in ("garleanu-pedersen", "lqr", "vwap")),
    ],
)
def test_a_schedule_is_printed_plotted_and_kept(model: str, tmp_path: Path, call: Callable[..., Any]) -> None:
    order = ("--n-steps", "5", "--shares", "20000")
    status, out, err = call(schedule, model, *order, "--out", str(tmp_path / "out"))
    assert status == 0, err
    assert "kappa" in out
    frame = pd.read_csv(tmp_path / "out" / "schedule.csv")
    assert frame["trade [shares]"].sum() == pytest.approx(20_000)
    assert {f.name for f in (tmp_path / "out").iterdir()} >= {"schedule.png", "frontier.png", "frontier.csv"}
    status, out, err = call(schedule, model, "--out", str(tmp_path / "out"))
    assert status == 2
    assert "exists" in err


@pytest.mark.long
@pytest.mark.parametrize("model", ["almgren-chriss", "static"])
def test_schedule_and_evaluation_agree_on_what_an_order_costs_under_its_cap(
    model: str, tmp_path: Path, call: Callable[..., Any]
) -> None:
    stock = {"arrival_price": 40.0, "daily_volume": 3e6, "volatility": 0.018, "half_spread": 1.5}
    order = stock | {"shares": 250_000.0, "n_steps": 24}
    options = [part for name, value in order.items() for part in (f"--{name.replace('_', '-')}", value)]
    status, out, err = call(schedule, model, *options, "--out", tmp_path / "out")
    assert status == 0, err
    summary = pd.read_csv(tmp_path / "out" / "summary.csv", index_col=0)
    found = evaluate([model, "twap"], episodes=4000, seed=2, n_examples=0, **order).per_agent
    for agent in (model, "twap"):
        ours, row = summary.loc[agent], found.loc[agent]
        assert abs(ours["J [bps]"] - row.objective_mean) < 3 * np.hypot(ours["± [bps]"], row.objective_se)
        # The realised shortfall has the noise of the price too.
        assert abs(ours["expected cost [bps]"] - row.shortfall_mean) < 3 * np.hypot(ours["± [bps]"], row.shortfall_se)
    said = r"on average the cap costs \d+\.\d+ bps and leaves .* shares to the closing block, some in \d+ % of paths"
    assert re.search(said, out)


@pytest.mark.slow
def test_a_schedule_keeps_to_the_cap_and_says_what_is_left(tmp_path: Path, call: Callable[..., Any]) -> None:
    given = ("--n-steps", "4", "--max-participation", "0.1")
    status, out, err = call(schedule, "almgren-chriss", *given, "--out", tmp_path / "out")
    assert status == 0, err
    frame = pd.read_csv(tmp_path / "out" / "schedule.csv")
    assert frame["trade [shares]"].tolist() == pytest.approx(4 * [0.1 * 5e6 / 78])
    assert frame["at cap"].tolist() == 4 * ["yes"]
    left = 200_000 - 0.4 * 5e6 / 78
    assert frame["remaining [shares]"].iloc[-1] == pytest.approx(left)
    assert f"the cap of 10 % binds in slices 1-4 and leaves {left:,.6g} shares to the closing block" in out


@pytest.mark.slow
def test_who_seeks_risk_gets_the_published_schedule_and_too_much_of_it_one_error(
    tmp_path: Path, call: Callable[..., Any]
) -> None:
    paper = ("almgren-chriss", "--preset", "almgren-chriss-2001")
    status, out, err = call(schedule, *paper, "--risk-aversion", "-2e-7", "--out", tmp_path / "out")
    assert status == 0, err
    trades = pd.read_csv(tmp_path / "out" / "schedule.csv")["trade [shares]"]
    assert trades.tolist() == pytest.approx([89_944, 159_108, 216_180, 256_822, 277_946], abs=0.5)
    status, out, err = call(schedule, *paper, "--risk-aversion", "-2e-6", "--out", tmp_path / "more")
    assert (status, out) == (2, "")
    assert err.startswith("error: risk_aversion = -2e-06: must be above -1.005e-06 for cost + λ variance to have a")


@pytest.mark.slow
def test_a_small_order_is_printed_with_four_digits_of_its_trades(tmp_path: Path, call: Callable[..., Any]) -> None:
    _, out, err = call(schedule, "twap", "--shares", "2", "--n-steps", "5", "--out", str(tmp_path / "out"))
    first = out.splitlines()[2].split()
    assert first == ["1", "00:00", "00:05", "0.4000", "40.00", "0.000624", "1.6000"], err


@pytest.mark.slow
def test_several_risk_aversions_are_one_table_each_and_lines_of_one_picture(
    tmp_path: Path, call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[list[str]] = []
    holdings = schedule.schedule_plots.holdings
    monkeypatch.setattr(
        schedule.schedule_plots, "holdings", lambda held, *of: drawn.append([*held]) or holdings(held, *of)
    )
    day = ("--start", "09:30", "--end", "15:30", "--n-steps", "6", "--max-participation", "None")
    aversions = ("--risk-aversion", "1e-7", "1e-6", "1e-5")
    status, out, err = call(schedule, *day, *aversions, "--out", tmp_path / "out")
    assert status == 0, err
    names = [f"almgren-chriss λ = {text}" for text in aversions[1:]]
    assert drawn == [["twap", *names]]
    assert all(f"{name}:" in out for name in names)
    frame = pd.read_csv(tmp_path / "out" / "schedule.csv")
    assert frame["from [clock]"].tolist()[:7] == ["09:30", "10:30", "11:30", "12:30", "13:30", "14:30", "09:30"]
    first = frame[frame["slice"] == 1].set_index("risk aversion [1/$]")["trade [shares]"]
    assert first.is_monotonic_increasing
    summary = pd.read_csv(tmp_path / "out" / "summary.csv", index_col=0)
    assert [*summary.index] == [*names, *(name.replace("almgren-chriss", "twap") for name in names)]
    assert summary["J [bps]"].to_numpy()[3:] == pytest.approx(
        summary["expected cost [bps]"].to_numpy()[3:]
        + np.array([1e-7, 1e-6, 1e-5]) * summary["std [$]"].to_numpy()[3:] ** 2 / 2000
    )
    frontier = pd.read_csv(tmp_path / "out" / "frontier.csv")
    assert (frontier["std [$]"] / frontier["std [bps]"]).to_numpy() == pytest.approx(2000.0)  # of 20 M$


def test_a_risk_aversion_that_is_named_twice_is_refused(tmp_path: Path, call: Callable[..., Any]) -> None:
    status, _, err = call(schedule, "--risk-aversion", "1e-6", "0.000001", "--out", tmp_path / "out")
    assert (status, err) == (2, "error: --risk-aversion 1e-6 0.000001: a number is named twice\n")


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
