"""A calibrated market's file: what it holds, how it is played on, and what is refused by file and field."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import yaml

from exec_env import Market
from exec_env.data.description import describe
from exec_env.data.market_file import UNITS, MarketFile, Parameter
from exec_env.data.tape import Tape
from exec_env.harness import evaluate
from exec_env.one_asset.options import make_problem

ROOT = Path(__file__).parents[2]


def file(**changed: Any) -> MarketFile:
    values = {name: getattr(Market(), name) for name in UNITS} | changed
    return MarketFile({name: Parameter(value) for name, value in values.items()}, slice_length=1 / 390)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file(volatility=0.03, daily_volume=1e6).save(tmp_path / "market.yaml")
    return tmp_path / "market.yaml"


def test_units_are_those_of_the_fields() -> None:
    source = (ROOT / "exec_env" / "market" / "market.py").read_text()
    for name, unit in UNITS.items():
        documented = re.search(rf'    {name}: .*\n    """([^"]*)"""', source)
        assert documented is not None
        bracket = re.search(r"\[([^\]]+)\]$", documented[1])
        assert unit == (bracket[1] if bracket else "-"), name


def test_an_environment_plays_on_the_file(path: Path) -> None:
    env = gym.make("AlmgrenChriss-v0", market=str(path), side="buy")
    market, order = env.unwrapped.market, env.unwrapped.order  # type: ignore[attr-defined]
    assert (market.volatility, market.daily_volume) == (0.03, 1e6)
    assert order.slice_length == 1 / 390
    assert order.shares == pytest.approx(0.04 * 1e6 * 78 / 390)  # as much of its slices' volume as the preset's
    assert order.side == "buy"
    assert gym.make_vec("AlmgrenChriss-v0", num_envs=2, market=path).unwrapped.market == market  # type: ignore[attr-defined]


def test_a_field_that_is_named_wins_over_the_file_and_stress_stays_the_environments(path: Path) -> None:
    problem = make_problem("extreme-shock", market=path, volatility=0.05, shares=100)
    assert (problem.market.volatility, problem.order.shares) == (0.05, 100)
    assert problem.market.stress == "extreme-shock"
    assert problem.market.daily_volume == 1e6


def test_with_a_tape_the_file_says_how_the_price_answers(path: Path, tape_csv: Path) -> None:
    given = file(temporary_impact=7e-7, resilience=33.0)
    problem = make_problem(market=given, tape=tape_csv, shares=1000, n_steps=10)
    assert problem.tape is not None
    assert (problem.market.temporary_impact, problem.market.resilience) == (7e-7, 33.0)
    assert problem.market.arrival_price == pytest.approx(problem.tape.mid.mean())


@pytest.mark.slow
def test_agents_are_evaluated_on_it_as_on_the_same_market_by_hand(path: Path) -> None:
    ours = evaluate(["twap", "adaptive"], episodes=50, market=str(path)).per_agent["objective_mean"]
    fields: dict[str, Any] = {"slice_length": 1 / 390, "shares": 8_000}
    market = Market(volatility=0.03, daily_volume=1e6)
    theirs = evaluate(["twap", "adaptive"], episodes=50, market=market, **fields).per_agent["objective_mean"]
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_numbers_by_hand_will_do(path: Path) -> None:
    values = yaml.safe_load(path.read_text())
    plain = {name: entry["value"] for name, entry in values["parameters"].items()}
    path.write_text(yaml.safe_dump({"parameters": plain}))
    assert MarketFile.load(path).market() == Market(volatility=0.03, daily_volume=1e6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "value", "why"),
    [
        (["parameters", "volatility", "value"], -1, "Market.volatility = -1: must be a finite number >= 0"),
        (["parameters", "volatility", "value"], "high", "Market.volatility = 'high': must be a finite number >= 0"),
        (
            ["parameters", "volatility", "source"],
            "rumour",
            "volatility: .*source = 'rumour': must be 'data' or 'prior'",
        ),
        (["parameters", "volatility", "standard_error"], -1.0, "volatility: .*standard_error = -1.0: must be >= 0"),
        (["parameters", "volatility", "interval"], [2, 1], r"volatility: .*interval = \[2, 1\]: must be \[low, high\]"),
        (["parameters", "volatility", "intervall"], 1, "unknown field of Parameter 'intervall'; did you mean"),
        (["parameters", "volatilty"], 1, "unknown field of Market 'volatilty'; did you mean 'volatility'"),
        (["parameters"], [1], "parameters: expected fields of Market, found list"),
        (["slice_length"], 0, "MarketFile.slice_length = 0: must be a finite number > 0"),
    ],
)
def test_what_cannot_be_is_one_sentence_naming_file_and_field(
    place: list[str], value: Any, why: str, path: Path
) -> None:
    values = yaml.safe_load(path.read_text())
    inner = values
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(ValueError, match=rf"market\.yaml: .*{why}") as caught:
        make_problem(market=path)
    assert "\n" not in str(caught.value)


def test_a_parameter_that_is_missing_a_file_that_is_none_and_anything_else_are_refused(path: Path) -> None:
    values = yaml.safe_load(path.read_text())
    del values["parameters"]["resilience"]
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(ValueError, match=r"market\.yaml: parameters: resilience is missing"):
        make_problem(market=path)
    path.write_text("parameters: {volatility: !!python/object:os.system {}}")
    with pytest.raises(ValueError, match=r"market\.yaml: not a configuration"):
        make_problem(market=path)
    with pytest.raises(ValueError, match=r"market = 'none\.yaml': no such file"):
        make_problem(market="none.yaml")
    with pytest.raises(ValueError, match="market = 3: must be a Market, a MarketFile or the path of a YAML file"):
        make_problem(market=3)  # type: ignore[arg-type]


def of_days(hours: float | None, **changed: Any) -> MarketFile:
    return replace(file(**changed), sample={} if hours is None else {"hours_per_day": hours})


def test_a_tape_has_the_trading_day_of_the_file_and_no_other(tape_csv: Path) -> None:
    tape: dict[str, Any] = {"tape": tape_csv, "n_steps": 10}
    problem = make_problem(market=of_days(24.0), **tape)
    assert problem.order.slice_length == pytest.approx(5 / (24 * 60))
    assert make_problem(market=of_days(24.0), hours_per_day=24, **tape).order == problem.order
    with pytest.raises(ValueError, match=r"hours_per_day = 6\.5: the market's rates are per day of 24 hours"):
        make_problem(market=of_days(24.0), hours_per_day=6.5, **tape)
    with pytest.raises(ValueError, match=r"hours_per_day = 5: the market's rates are per day of 24 hours"):
        make_problem(market=of_days(24.0), tape=Tape.read(tape_csv), n_steps=10)


def test_a_file_by_hand_need_not_name_its_trading_day(tape_csv: Path) -> None:
    tape: dict[str, Any] = {"tape": tape_csv, "n_steps": 10}
    assert make_problem(market=of_days(None), **tape).order.slice_length == pytest.approx(5 / (5 * 60))
    assert make_problem(market=of_days(None), hours_per_day=8, **tape).order.slice_length == pytest.approx(5 / 480)


def test_a_tape_says_that_impact_is_the_files(tape_csv: Path) -> None:
    given = of_days(6.5, temporary_impact=7e-7)
    problem = make_problem(market=given, tape=tape_csv, n_steps=10, transient_impact=1e-7)
    assert problem.tape is not None
    said = describe(problem.tape, problem.market, given.market(), calibrated=True)
    assert "from the market file: η = 7e-07, γ = 2.5e-07, κ = 1e-07 (as given); ρ = 10" in said
