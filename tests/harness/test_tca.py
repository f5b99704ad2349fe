"""What a real order cost: components that sum to the shortfall, and the simulated market's own costs found again."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from exec_env.base.errors import InputError
from exec_env.baselines.twap import TWAP
from exec_env.cli import tca
from exec_env.data.executions import Executions
from exec_env.data.market_file import UNITS, MarketFile, Parameter
from exec_env.data.tape import Tape
from exec_env.envs.rollout import acting, rollout
from exec_env.harness.tca import COMPONENTS, CostAnalysis, analyse
from exec_env.market.execution import price_per_share
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.one_asset.options import make_problem

START = pd.Timestamp("2026-01-05 14:30", tz="UTC")
MINUTES = 5


def a_tape(seed: int, n: int = 40) -> Tape:
    rng = np.random.default_rng(seed)
    time = pd.date_range(START, periods=n, freq=f"{MINUTES}min")
    mid = 50 * np.exp(np.cumsum(rng.normal(0, 0.002, n)))
    return Tape(time, mid, rng.uniform(0.01, 0.04, n), rng.uniform(4e4, 9e4, n))


def some_fills(seed: int, tape: Tape, side: str) -> Executions:
    """Fills at random times, sizes and fees, near the tape's prices."""
    rng = np.random.default_rng(seed)
    k = int(rng.integers(1, 30))
    time = pd.DatetimeIndex(np.sort(tape.time[0] + pd.to_timedelta(rng.uniform(0, 39 * MINUTES * 60, k), unit="s")))
    row = ((time - tape.time[0]).total_seconds().to_numpy() // (MINUTES * 60)).astype(int)
    price = tape.mid[row] + rng.normal(0, 0.1, k)
    return Executions(time, price, rng.uniform(1, 5000, k), rng.uniform(0, 5, k), side)


def mirrored(tape: Tape, fills: Executions, about: float) -> tuple[Tape, Executions]:
    """The market upside down, where a buy is what a sell was."""
    other = "buy" if fills.side == "sell" else "sell"
    return replace(tape, mid=2 * about - tape.mid), replace(fills, price=2 * about - fills.price, side=other)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(50))
def test_components_sum_to_the_shortfall_and_a_buy_mirrors_a_sell(seed: int) -> None:
    tape, rng = a_tape(seed), np.random.default_rng(seed)
    fills = some_fills(seed, tape, "sell")
    filled = fills.shares.sum()
    shares, arrival = filled * rng.uniform(1, 1.5), START
    found = analyse(fills, tape, shares=shares, arrival=arrival)
    price, end = tape.mid[0], tape.mid[int((fills.time[-1] - START).total_seconds() // (MINUTES * 60))]
    cash = (fills.price * fills.shares).sum() - fills.fees.sum() + end * (shares - filled)
    assert found.shortfall == pytest.approx(price * shares - cash, rel=1e-9, abs=1e-9 * price * shares)
    assert list(found.components.index) == list(COMPONENTS)
    by_fill = found.per_fill[[f"{name} [$]" for name in COMPONENTS[:-1]]].sum().to_numpy()
    assert by_fill == pytest.approx(found.components[:-1].to_numpy(), rel=1e-9, abs=1e-9 * price * shares)

    buy = analyse(*mirrored(tape, fills, price)[::-1], shares=shares, arrival=arrival)
    assert buy.components.to_numpy() == pytest.approx(found.components.to_numpy(), abs=1e-9 * price * shares)
    assert buy.benchmarks["slippage [$]"].to_numpy() == pytest.approx(
        found.benchmarks["slippage [$]"].to_numpy(), abs=1e-9 * price * shares
    )


MARKET = MarketFile({name: Parameter(getattr(Market(), name)) for name in UNITS}, sample={"hours_per_day": 6.5})


def traded_by_twap(tmp_path: Path) -> tuple[Tape, Executions, Path, list[float]]:
    """TWAP's fills on a tape, the tape with its push in the mids, the market's file, and its costs by the equations."""
    quiet, order = a_tape(3), Order(shares=200_000.0, n_steps=12, max_participation=None)
    quiet = replace(quiet, spread=np.full(40, 0.02), volume=np.full(40, 64_000.0))
    file = tmp_path / "market.yaml"
    MARKET.save(file)
    problem = make_problem(tape=quiet, market=file, order=replace(order, slice_length=quiet.slice_length))
    agent, paths = TWAP(problem.market, problem.order), problem.at(np.array([4]), np.random.default_rng(0))
    steps = list(rollout(acting(agent, 1, problem), paths, problem, problem.actions(agent.action_mode)))
    moved = quiet.mid.copy()
    price, at, sold, costs = [], [], [], np.zeros(4)
    for t, step in enumerate(steps):
        moved[4 + t] = quiet.mid[4] + step.before.price_move[0] - step.before.transient[0]
        fill = step.fill
        price.append(quiet.mid[4] + float(price_per_share(fill.shares, fill.touch, fill.shortfall, fill.fees)[0]))
        at.append(quiet.time[4 + t] + pd.Timedelta("1min"))
        sold.append(float(fill.shares[0]))
        costs += [fill.spread[0], fill.temporary[0], fill.transient[0] + fill.permanent[0], fill.shortfall[0]]
    fills = Executions(pd.DatetimeIndex(at), np.array(price), np.array(sold), np.zeros(len(sold)), "sell")
    return replace(quiet, mid=moved), fills, file, list(costs)


def analysed(tmp_path: Path) -> tuple[CostAnalysis, list[float]]:
    tape, fills, file, costs = traded_by_twap(tmp_path)
    return analyse(fills, tape, market=str(file), max_participation=None, agents=["twap", "almgren-chriss"]), costs


def test_with_a_calibrated_market_its_own_costs_are_found_again_and_the_same_agent_pays_the_same(
    tmp_path: Path,
) -> None:
    found, (spread, temporary, push, shortfall) = analysed(tmp_path)
    assert found.components["spread"] == pytest.approx(spread, rel=1e-9)
    assert found.components["concession"] == pytest.approx(temporary, rel=1e-9)
    assert found.components["impact"] == pytest.approx(push, rel=1e-9)
    assert found.shortfall == pytest.approx(shortfall, rel=1e-9)
    # Its push is taken out of the mids before it is played again, so that it is not there twice.
    costs = found.alternatives["shortfall [bps]"]
    assert costs["twap"] == pytest.approx(costs["fills"], rel=1e-9)
    expected = found.alternatives["expected [bps]"]
    assert expected["fills"] == pytest.approx((spread + temporary + push) * found.to_bps, rel=1e-9)
    assert expected["twap"] == pytest.approx(expected["fills"], rel=1e-9)


def test_a_fill_by_hand() -> None:
    # Decided at 100; filled a slice later at 98.90, where the mid is 99 and the spread 0.10; 98 at the end.
    time = pd.date_range(START, periods=3, freq="5min")
    tape = Tape(time, np.array([100.0, 99.0, 98.0]), np.full(3, 0.1), np.full(3, 1000.0))
    fills = Executions(time[1:2], np.array([98.9]), np.array([60.0]), np.array([1.5]), "sell")
    found = analyse(fills, tape, shares=100.0, arrival=START, deadline=time[2])
    costs = {"delay": 60.0, "timing": 0, "impact": 0, "spread": 3.0, "concession": 3.0, "fees": 1.5, "unfilled": 80.0}
    assert found.components.to_dict() == pytest.approx(costs)
    assert found.shortfall * found.to_bps == pytest.approx(147.5)
    assert found.benchmarks["price [$]"].to_dict() == pytest.approx(
        {"arrival": 100.0, "twap": (99.5 + 98.5 + 98.0) / 3, "vwap": (99.5 + 98.5 + 98.0) / 3, "deadline": 98.0}
    )
    assert found.benchmarks.loc["arrival", "slippage [$]"] == pytest.approx(66.0)
    assert any("40 of 100 shares are not among the fills" in remark for remark in found.remarks)


def test_an_order_within_the_last_slice_is_measured_from_that_slice() -> None:
    time = pd.date_range(START, periods=3, freq="5min")
    tape = Tape(time, np.array([100.0, 99.0, 98.0]), np.full(3, 0.1), np.full(3, 1000.0))
    fills = Executions(time[2:] + pd.Timedelta("1min"), np.array([97.9]), np.array([60.0]), np.zeros(1), "sell")
    found = analyse(fills, tape, agents=["twap"], max_participation=None)
    assert found.arrival_price == 98.0
    assert found.shortfall == pytest.approx(60 * 0.1)
    assert found.benchmarks.loc["twap", "price [$]"] == 98.0


def fills_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "fills.csv"
    path.write_text(text)
    return path


HEAD, ROWS = "time,price,shares", ["2026-01-05 14:31:00Z,50.0,100", "2026-01-05 14:36:00Z,50.1,200"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\n".join([HEAD, *ROWS, ROWS[1]]), "row 3 has the same time, price and size as row 2"),
        (
            "\n".join([HEAD + ",exec_id", ROWS[0] + ",a", ROWS[1] + ",b", ROWS[1] + ",a"]),
            "row 3 has the same 'exec_id' as row 1",
        ),
        ("\n".join([HEAD + ",side", ROWS[0] + ",buy", ROWS[1] + ",sell"]), "row 2, 'side': fills of both sides"),
        ("\n".join([HEAD, ROWS[0], "2026-01-05 14:36:00Z,50.1,-200"]), "row 2, 'size': -200.0 "),
        ("time,bid,ask\n2026-01-05 14:31:00Z,50.0,50.1", "holds quotes; fills need time, price, size"),
        (HEAD, "no rows"),
    ],
)
def test_a_file_of_fills_that_cannot_be_right_is_refused_by_its_row(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Executions.read(fills_file(tmp_path, text + "\n"))


def test_two_fills_with_ids_of_their_own_may_be_alike_and_fees_are_taken(tmp_path: Path) -> None:
    path = fills_file(tmp_path, f"{HEAD},trade_id,commission,side\n{ROWS[0]},7,0.5,sell\n{ROWS[0]},8,0.25,sell\n")
    fills = Executions.read(path)
    assert fills.shares.tolist() == [100.0, 100.0]
    assert fills.fees.tolist() == [0.5, 0.25]
    assert fills.side == "sell"


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        ({"side": None}, {}, "does not say its side"),
        ({}, {"side": "buy"}, "are of a sell"),
        ({}, {"shares": 50.0}, "are 100, which is more"),
        ({"price": np.array([80.0])}, {}, "row 1: filled at 80, where the mid of recording is"),
        ({"time": pd.DatetimeIndex([START - pd.Timedelta("1h")])}, {}, "row 1: 2026-01-05 13:30:00.* is in no slice"),
        ({}, {"arrival": START + pd.Timedelta("1h")}, "is before the order's arrival"),
        ({}, {"deadline": START}, "is after the order's deadline"),
        ({}, {"arrival": "soon"}, "arrival = 'soon': must be a time"),
        ({}, {"shares": "4%adv"}, "shares = '4%adv': has no daily volume to be a part of"),
        ({}, {"arrival_price": -1}, "arrival_price = -1: must be a number > 0"),
    ],
)
def test_fills_that_are_not_of_the_order_or_the_tape_are_refused(
    change: dict[str, object], options: dict[str, object], said: str
) -> None:
    tape = a_tape(0)
    at = START + pd.Timedelta("11min")
    fills = Executions(pd.DatetimeIndex([at]), tape.mid[2:3], np.array([100.0]), np.zeros(1), "sell")
    with pytest.raises(InputError, match=said):
        analyse(replace(fills, **change), tape, **options)  # type: ignore[arg-type]


@pytest.mark.slow
def test_the_command_prints_and_keeps_the_analysis(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tape, fills, file, _ = traded_by_twap(tmp_path)
    market, mine, out = tmp_path / "market.csv", tmp_path / "fills.csv", tmp_path / "tca"
    local = tape.time.tz_convert("America/New_York").tz_localize(None)
    frame = pd.DataFrame({"time": local, "mid": tape.mid, "spread": tape.spread, "volume": tape.volume})
    frame.to_csv(market, index=False)
    at = fills.time.tz_convert("America/New_York").tz_localize(None)
    pd.DataFrame({"time": at, "px": fills.price, "qty": fills.shares}).to_csv(mine, index=False)
    zone = ["--zone", "America/New_York"]
    tca.main(
        [str(mine), "--tape", str(market), *zone, "--market", str(file), "--side", "sell", "--decision-time",
         "2026-01-05 09:50", "--agents", "twap", "--max-participation", "None", "--out", str(out)]
    )  # fmt: skip
    found = analyse(fills, tape, arrival=tape.time[4], market=str(file), max_participation=None, agents=["twap"])
    said = capsys.readouterr().out
    assert f"{found.shortfall * found.to_bps:,.2f}" in said
    components = pd.read_csv(out / "components.csv", index_col=0)
    assert components["cost [$]"].to_dict() == pytest.approx(found.components.to_dict(), rel=1e-6)
    alternatives = pd.read_csv(out / "alternatives.csv", index_col=0)
    assert alternatives.loc["twap", "shortfall [bps]"] == pytest.approx(found.shortfall * found.to_bps, rel=1e-6)
    assert len(pd.read_csv(out / "per_fill.csv")) == 12
    assert (out / "tca.png").stat().st_size > 10_000
    with pytest.raises(InputError, match="does not say its side"):
        tca.main([str(mine), "--tape", str(market), *zone])
    with pytest.raises(InputError, match="--split: has no effect here"):
        tca.main([str(mine), "--tape", str(market), "--split", "0.5"])
    with pytest.raises(InputError, match="--n-steps: is that of the tape"):
        tca.main([str(mine), "--tape", str(market), "--n-steps", "5"])
    with pytest.raises(InputError, match="--tape: name the market around the fills"):
        tca.main([str(mine)])
