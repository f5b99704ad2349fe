"""The calibration's command line, run for real, and the scripts that play on its market."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from exec_env.calibration import simulate
from exec_env.cli import calibrate, evaluate, schedule, stress, train
from exec_env.data.market_file import MarketFile, Parameter
from exec_env.market.market import Market
from exec_env.one_asset.options import make_problem

TINY = ["--n-steps", "4", "--episodes", "20", "--quiet"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trades and quotes of ten days: Parquet and CSV, one with names of its own."""
    folder = tmp_path_factory.mktemp("data")
    quotes, trades = (
        pd.concat(part) for part in zip(*simulate.sessions(Market(temporary_impact=1e-6), 10, 0), strict=True)
    )
    quotes.assign(time=pd.to_datetime(quotes["time"])).to_parquet(folder / "quotes.parquet")
    trades.assign(time=pd.to_datetime(trades["time"])).rename(columns={"price": "px"}).to_csv(
        folder / "trades.csv", index=False
    )
    return folder


@pytest.mark.long
@pytest.mark.usefixtures("undrawn")
def test_from_trades_and_quotes_to_a_market_that_every_script_plays_on(
    data: Path, tmp_path: Path, call: Callable[..., Any]
) -> None:
    market, slices = tmp_path / "market.yaml", tmp_path / "slices.csv"
    files = [data / "trades.csv", data / "quotes.parquet", "--columns", "price=px"]
    status, out, err = call(calibrate, *files, "--out", market, "--slices", slices)
    assert status == 0, err
    assert "temporary_impact" in out
    found = MarketFile.load(market)
    assert found.parameters["temporary_impact"].source == "data"
    assert found.parameters["temporary_impact"].value == pytest.approx(1e-6, rel=0.3)
    assert [s["holds"] for s in found.sources] == ["trades", "quotes"]
    status, out, err = call(evaluate, "twap", "adaptive", "--market", market, *TINY, "--out", tmp_path / "evaluation")
    assert status == 0, err
    assert "adaptive" in out
    status, out, err = call(
        evaluate, "twap", "--tape", slices, "--market", market, "--shares", 9, *TINY, "--out", tmp_path / "t"
    )
    assert status == 0, err
    status, out, err = call(schedule, "static", "--market", market, "--n-steps", 4, "--out", tmp_path / "schedule")
    assert status == 0, err
    status, out, err = call(
        stress, "twap", "--told", "--regimes", "normal", "--market", market, *TINY, "--out", tmp_path / "s"
    )
    assert status == 0, err
    small = ["--steps", 64, "--num-envs", 16, "--intervals", 1, "--check-episodes", 8, "--hidden", 4, "--warm-up", 32]
    small += ["--batch-size", 16, "--n-steps", 4, "--quiet"]
    status, out, err = call(train, "dqn", "--market", market, "--run", tmp_path / "run", *small)
    assert status == 0, err
    assert str(market) in (tmp_path / "run" / "config.yaml").read_text()
    # The run keeps a copy of its market, and does not go on with another.
    kept = tmp_path / "run" / "market.yaml"
    assert MarketFile.load(kept).parameters == found.parameters
    other = found.parameters | {"volatility": Parameter(0.5)}
    replace(found, parameters=other).save(kept)
    status, out, err = call(train, "--resume", tmp_path / "run", "--quiet")
    assert status == 2
    assert "has changed since the run began" in err
    status, out, err = call(calibrate, *files, "--out", market)
    assert (status, out) == (2, "")
    assert "exists: choose another file" in err


def test_a_market_of_the_first_part_of_the_slices_does_not_know_the_rest_which_is_there_to_play(tmp_path: Path) -> None:
    rng, n = np.random.default_rng(0), 120
    mid, volume = 100 + rng.normal(0, 0.05, n).cumsum(), rng.lognormal(10, 0.4, n)
    time = pd.date_range("2024-01-02", periods=n, freq="5min")
    frame = pd.DataFrame({"time": time, "mid": mid, "spread": 0.02, "volume": volume})
    frame.to_csv(tmp_path / "data.csv", index=False)
    outputs = ["--out", str(tmp_path / "market.yaml"), "--slices", str(tmp_path / "slices.csv")]
    calibrate.main([str(tmp_path / "data.csv"), *outputs, "--split", "0.6", "--quiet"])
    assert len(pd.read_csv(tmp_path / "slices.csv")) == n
    file = MarketFile.load(tmp_path / "market.yaml")
    tape = make_problem(tape=tmp_path / "slices.csv", tape_split=0.6, shares=1e4, n_steps=10)
    assert file.sample["slices"] == 72
    assert file.market().daily_volume == pytest.approx(tape.market.daily_volume)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "error: name the files with the data"),
        (["none.csv"], "error: none.csv: no such file"),
        (["none.csv", "--columns", "price"], "error: --columns 'price': must read OURS=COLUMN"),
        (["none.csv", "--minutes", "0"], "error: minutes = 0.0: must be in (0, 1440]"),
        (["none.csv", "--prior", "clasic"], "error: unknown preset 'clasic'; did you mean 'classic'"),
        (["--exponent", "fit", "--simulated-truth", "1"], "error: --exponent fit: --simulated-truth takes the number"),
        (["none.csv", "--out", "a.yaml", "--report", "a.yaml"], "error: a.yaml: named for two results"),
        (["none.csv", "--simulated-truth", "1"], "error: --simulated-truth goes without files of data"),
    ],
)
def test_what_the_user_can_mend_is_one_line(arguments: list[str], message: str, call: Callable[..., Any]) -> None:
    status, _out, err = call(calibrate, *arguments)
    assert status == 2
    assert err.startswith(message)
    assert len(err.strip().split("\n")) == 1


def test_help_teaches(call: Callable[..., Any]) -> None:
    status, out, _ = call(calibrate, "--help")
    assert status == 0
    assert "Examples:" in out
    assert "--simulated-truth" in out
