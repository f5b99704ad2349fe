"""The command line for estimates before the trade, run for real."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from exec_env.cli import estimate
from exec_env.cli.estimate import Options, problem_of, shorter, source_of
from exec_env.data.market_file import UNITS, MarketFile, Parameter
from exec_env.market.market import Market

STOCK = ("--price", "40", "--adv", "3m", "--volatility", "1.8%", "--spread", "3bps")


@pytest.mark.slow
def test_an_estimate_is_a_table_a_page_and_csv_that_agree(tmp_path: Path, call: Callable[..., Any]) -> None:
    day = ("--start", "10:00", "--end", "15:00", "--slice-length", "15min", "--horizons", "2h")
    status, out, err = call(estimate, "--shares", "250k", *STOCK, *day, "--out", tmp_path / "out")
    assert (status, err) == (0, "")
    frame = pd.read_csv(tmp_path / "out" / "estimate.csv")
    row = frame[(frame["schedule"] == "even pace") & (frame["horizon [min]"] == 120)].iloc[1]
    assert row["expected cost [$]"] == pytest.approx(row["expected cost [bps]"] * 1000)  # of 10 M$
    page = (tmp_path / "out" / "estimate.html").read_text()
    for text in (f"{row['expected cost [bps]']:.2f}", f"{row['std [$]']:,.0f}", "half of it, 1.5 bps, is paid"):
        assert text in out
        assert text in page
    assert "sell 250,000 shares (8.3 % of a day's volume, 10,000,000 $) in 20 slices of 15 min from 10:00 on" in out
    assert re.search(r"at an even pace J is least over \d h( \d+ min)? \(", out)
    assert not re.search(r'(src|href)="http', page)
    assert len(pd.read_csv(tmp_path / "out" / "frontier.csv")) == 25


@pytest.mark.slow
def test_a_market_file_says_what_is_not_given_and_whose_impact_it_is(tmp_path: Path) -> None:
    parameters = {name: Parameter(getattr(Market(), name)) for name in UNITS}
    parameters["temporary_impact"] = Parameter(1.6e-7, "data", 1e-8)
    MarketFile(parameters, 1 / 1440, {"hours_per_day": 24}).save(tmp_path / "market.yaml")
    given = Options(shares="4%adv", market=tmp_path / "market.yaml", horizon="12h", slice_length="1h")
    problem = problem_of(given)
    assert problem.describe() == "sell 200,000 shares (4 % of a day's volume, 20,000,000 $) in 12 slices of 1 h"
    assert source_of(problem, given).endswith("market.yaml (from η data, γ given, κ given), as it is there")
    assert shorter(problem, given) == [2, 4, 8]
    cheaper = replace(given, price=50.0)
    assert problem_of(cheaper).market.temporary_impact == pytest.approx(8e-8)
    assert source_of(problem_of(cheaper), cheaper).endswith("scaled by σ S0 / V to this price, volatility and volume")


def test_horizons_beyond_a_session_are_whole_sessions() -> None:
    given = Options("250k", price=40.0, adv="3m", volatility="1.8%", spread="3bps", horizon="2d", slice_length="30min")
    assert shorter(problem_of(given), given) == [2, 4, 8, 13]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--shares", "250k", "--price", "40"), "--adv, --volatility, --spread: not given, and there is no --market"),
        (
            ("--shares", "250k", *STOCK, "--horizon", "7min"),
            "--horizon 7min: must be two or more whole slices of 5 min",
        ),
        (("--shares", "250k", *STOCK, "--horizons", "2d"), "--horizons 2d: is beyond the longest, 1 day"),
        (("--shares", "250x", *STOCK), "Order.shares = '250x': unknown unit 'x'"),
        (("--shares", "250k", *STOCK[:-1], "3ticks"), "--spread 3ticks: unknown unit 'ticks'; must be such as 3bps"),
        (("--shares", "250k", *STOCK, "--slice-length", "10s"), "--slice-length: makes 2340 slices; take longer ones"),
        (("--shares", "9m", *STOCK), "Order.shares = 9,000,000: are 300 % of the 3,000,000 shares"),
        (("--shares", "1k", *STOCK, "--end", "15:00"), "end = '15:00': there is no start"),
    ],
)
def test_what_a_trader_can_mend_is_one_line(arguments: tuple[str, ...], said: str, call: Callable[..., Any]) -> None:
    status, out, err = call(estimate, *arguments)
    assert (status, out) == (2, "")
    assert said in err


def test_help_teaches(call: Callable[..., Any]) -> None:
    status, out, _ = call(estimate, "--help")
    assert status == 0
    assert "Examples:" in out
    assert "--spread" in out
