"""Training and evaluation on different rows of a tape: which ones, and that nothing of the later ones leaks."""

import re
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest
import yaml

from exec_env import Market, Tape
from exec_env.agents.pathwise import PathwiseConfig
from exec_env.data.description import describe
from exec_env.data.market_file import UNITS, MarketFile, Parameter
from exec_env.data.split import Split
from exec_env.envs.reward import Reward
from exec_env.harness import TrainConfig, evaluate, train
from exec_env.harness.offline.collect import conditions
from exec_env.harness.studies.stress_tests import stress
from exec_env.one_asset.options import make_problem
from exec_env.one_asset.scenarios import scenarios
from tests.conftest import recorded_slices

SMALL: dict[str, Any] = {"n_steps": 5, "shares": 5000.0}


def problem(data: pd.DataFrame | None = None, **options: Any) -> Any:
    tape = Tape.from_frame(recorded_slices(100) if data is None else data)
    return make_problem(tape=tape, **({"tape_split": 0.6} | SMALL | options))


def test_no_training_episode_touches_a_row_of_the_purge_or_of_evaluation() -> None:
    training, evaluation = problem(), problem(tape_part="evaluation")
    assert training.tape.starts(training.order).tolist() == list(range(56))  # rows 0 to 59
    assert evaluation.tape.starts(evaluation.order).tolist() == list(range(65, 96))  # rows 65 to 99
    wider = problem(tape_part="evaluation", tape_purge=20)
    assert wider.tape.starts(wider.order)[0] == 80
    none = problem(tape_part="evaluation", tape_purge=0)
    assert none.tape.starts(none.order)[0] == 60


def test_nothing_of_the_evaluation_period_reaches_training() -> None:
    changed = recorded_slices(100)
    changed.loc[60:, ["mid", "spread", "volume", "depth"]] *= [4.0, 3.0, 0.5, 7.0]
    one, other = problem(), problem(changed)
    assert one.market == other.market
    assert one.tape.described() | {"sha256": "", "prices_sha256": ""} == other.tape.described() | {
        "sha256": "",
        "prices_sha256": "",
    }
    a, b = (p.source.sample([np.random.default_rng(0)], 500) for p in (one, other))
    np.testing.assert_array_equal(a.arrival_price, b.arrival_price)
    for name, ours, theirs in zip(a.slices._fields, a.slices.columns, b.slices.columns, strict=False):
        last = -1 if name == "price_shock" else None  # nothing is held any more when that comes
        np.testing.assert_array_equal(ours[:, :last], theirs[:, :last], err_msg=name)


def test_both_parts_are_measured_in_averages_of_the_training_rows() -> None:
    training, evaluation = problem(), problem(tape_part="evaluation")
    assert training.market == evaluation.market
    known = Tape.from_frame(recorded_slices(100)[:60], hours_per_day=training.tape.hours_per_day)
    assert training.market == known.market()
    depth = recorded_slices(100)["depth"].to_numpy()
    rows = np.arange(65, 96)
    slices = evaluation.tape.paths(evaluation.market, evaluation.order, rows).slices
    centred = np.log(depth) - np.log(depth[:60]).mean()
    np.testing.assert_allclose(slices.log_liquidity[:, 0], centred[rows])
    impact = np.exp(-centred) / np.exp(-centred[:60]).mean() * evaluation.market.temporary_impact
    np.testing.assert_allclose(slices.temporary[:, 0] * evaluation.order.slice_length, impact[rows])


@pytest.mark.slow
def test_environments_play_the_training_rows_and_evaluation_the_others_unless_told() -> None:
    tape = Tape.from_frame(recorded_slices(100))
    for make in (gym.make, lambda *a, **k: gym.make_vec(*a, num_envs=2, **k)):
        env = make("AlmgrenChriss-v0", tape=tape, tape_split=0.6, **SMALL).unwrapped
        assert env.problem.tape.rows == (0, 60)
    found = evaluate(["twap"], episodes=200, tape=tape, tape_split=0.6, **SMALL)
    assert (found.per_path["row"].min(), found.per_path["row"].max()) == (65, 95)
    found = evaluate(["twap"], episodes=200, tape=tape, tape_split=0.6, tape_part="training", **SMALL)
    assert found.per_path["row"].max() == 55
    with pytest.raises(ValueError, match="rows from 60 on do not begin 5 slices of the training rows 0 to 59"):
        gym.make("AlmgrenChriss-v0", tape=tape, tape_split=0.6, **SMALL).reset(options={"start": 60})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"tape_split": 1.0}, r"split = 1\.0: must be between 0 and 1"),
        ({"tape_split": "half"}, "split = 'half': must be between 0 and 1"),
        ({"tape_split": 0.01}, "split = 0.01: leaves 1 of 100 rows for training; choose more"),
        (
            {"tape_split": 0.04},
            "no 5 rows without a gap among its 4 training rows; n_steps must be at most 4; 4 of 100",
        ),
        ({"tape_split": 0.97}, "no 5 rows without a gap among its 0 evaluation rows"),
        ({"tape_purge": 36}, "among its 4 evaluation rows; n_steps must be at most 4; .* the purge takes 36"),
        ({"tape_purge": -1}, "tape_purge = -1: must be a whole number >= 0"),
        ({"tape_purge": 2.5}, "tape_purge = 2.5: must be a whole number >= 0"),
        ({"tape_part": "test"}, "tape_part = 'test': must be 'training' or 'evaluation'"),
        ({"tape_split": None, "tape_part": "training"}, "tape_part = 'training': there is no tape_split"),
        ({"tape_split": None, "tape_purge": 3}, "tape_purge = 3: there is no tape_split"),
    ],
)
def test_a_split_that_cannot_be_is_refused_with_its_numbers(options: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        problem(**options)


def test_a_split_without_a_tape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"tape_split = 0\.5: there is no tape"):
        make_problem(tape_split=0.5)


def test_the_description_says_which_rows_are_for_what_and_when_they_were() -> None:
    evaluation = problem(tape_part="evaluation")
    text = describe(evaluation.tape, evaluation.market)
    assert "rows 1 to 60, 2024-01-02 09:30:00+00:00 to 2024-01-02 14:25:00+00:00: training; all averages" in text
    assert "rows 61 to 65, " in text
    assert "rows 66 to 100, 2024-01-02 14:55:00+00:00 to 2024-01-02 17:45:00+00:00: evaluation; played here" in text


def test_nothing_is_trained_on_rows_for_evaluation(tmp_path: Path, tape_csv: Path) -> None:
    with pytest.raises(ValueError, match="tape_part = 'evaluation': these rows are for evaluation"):
        train("dqn", tmp_path / "run", tape=tape_csv, tape_split=0.5, tape_part="evaluation", **SMALL)
    assert not (tmp_path / "run").exists()


@pytest.mark.long
def test_the_table_says_where_an_agent_has_seen_what_it_is_evaluated_on(tmp_path: Path, tape_csv: Path) -> None:
    options: dict[str, Any] = {"tape": str(tape_csv), **SMALL}
    config = TrainConfig(steps=640, intervals=1, check_episodes=20, num_envs=8)
    train("pathwise", tmp_path / "half", config, PathwiseConfig(paths=16, hidden=(4,)), tape_split=0.5, **options)

    def notes(**more: Any) -> str:
        return "\n".join(evaluate([tmp_path / "half"], episodes=5, **options | more).notes)

    assert notes(tape_split=0.5) == ""
    seen = "half was trained on rows 1 to 60 of this tape, of which {} are evaluated here: it has seen them"
    assert seen.format("1 to 60") in notes(tape_split=0.5, tape_part="training")
    assert seen.format("1 to 60") in notes()
    assert seen.format("46 to 60") in notes(tape_split=1 / 3)
    pd.read_csv(tape_csv).drop(columns="depth").to_csv(tmp_path / "bare.csv", index=False)
    assert seen.format("1 to 60") in notes(tape=str(tmp_path / "bare.csv"))


def test_datasets_of_different_parts_are_different_tapes() -> None:
    training, evaluation = (
        conditions(problem(tape_part=part), Reward())["tape"] for part in ("training", "evaluation")
    )
    assert training["sha256"] == evaluation["sha256"]
    assert training != evaluation


def test_shares_of_rows_are_not_lost_to_rounding() -> None:
    assert Split.at(0.29, 100).training == 29


@pytest.mark.slow
def test_a_market_calibrated_on_the_time_of_rows_for_evaluation_is_named(tmp_path: Path, tape_csv: Path) -> None:
    parameters = {name: Parameter(getattr(Market(), name)) for name in UNITS}
    options: dict[str, Any] = {"tape": str(tape_csv), "tape_split": 0.5, **SMALL}
    note = (
        "the market file is calibrated on data of 2024-01-02 .*, so it has seen the time of rows 66 to 120, which are"
    )

    def market(last: str) -> str:
        MarketFile(parameters, sample={"first": "2024-01-02 09:30", "last": last}).save(tmp_path / f"{last[8:10]}.yaml")
        return str(tmp_path / f"{last[8:10]}.yaml")

    whole, early = market("2024-01-03 14:25"), market("2024-01-02 14:25")
    assert re.search(note, evaluate(["twap"], episodes=5, market=whole, **options).table())
    assert evaluate(["twap"], episodes=5, market=early, **options).notes == ()
    assert evaluate(["twap"], episodes=5, market=whole, **options | {"tape_split": None}).notes == ()
    stressed = stress(["twap"], [scenarios()[0]], episodes=5, market=whole, **options)
    assert any(re.search(note, said) for said in stressed.notes)
    config = TrainConfig(steps=640, intervals=1, check_episodes=20, num_envs=8)
    train("pathwise", tmp_path / "run", config, PathwiseConfig(paths=16, hidden=(4,)), market=whole, **options)
    assert re.search(note, yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["notes"][0])
