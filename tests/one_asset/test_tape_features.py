"""Features of a tape: the same for every agent, in units of training rows alone, elsewhere in those of the run."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest
import yaml

from exec_env import Tape
from exec_env.agents.dqn import DQNConfig
from exec_env.agents.pathwise import PathwiseConfig
from exec_env.base.errors import InputError
from exec_env.cli.options import TapeOptions
from exec_env.data.description import describe
from exec_env.data.features import Units
from exec_env.envs.sb3 import SB3VecEnv
from exec_env.harness import TrainConfig, evaluate, train
from exec_env.harness.agents import load_run
from exec_env.harness.offline.collect import record
from exec_env.harness.training.loop import resume
from exec_env.one_asset.live import Snapshot
from exec_env.one_asset.options import make_problem
from exec_env.one_asset.torch_market import TorchMarket
from tests.conftest import recorded_slices

SMALL: dict[str, Any] = {"n_steps": 5, "shares": 5000.0}
SEEN = {"imbalance": "(bid_size - ask_size) / (bid_size + ask_size)", "ask_size_trend": "trend"}
SETTINGS = DQNConfig(hidden=(8,), warm_up=64, batch_size=16)
CONFIG = TrainConfig(steps=256, intervals=2, num_envs=16, check_episodes=4)


def slices(rows: int = 100) -> pd.DataFrame:
    rng = np.random.default_rng(7)
    sizes = {side: rng.uniform(100.0, 900.0, rows) for side in ("bid_size", "ask_size")}
    return recorded_slices(rows).assign(**sizes, trend=rng.normal(-2.0, 3.0, rows))


def problem(data: pd.DataFrame | None = None, **options: Any) -> Any:
    tape = Tape.from_frame(slices() if data is None else data, features=SEEN)
    return make_problem(tape=tape, **({"tape_split": 0.6} | SMALL | options))


def written(folder: Path, data: pd.DataFrame, name: str = "market.csv") -> Path:
    data.to_csv(folder / name, index=False)
    return folder / name


class Spy:
    """Trades evenly, and keeps what it sees."""

    action_mode = "pace"

    def __init__(self, *names: str) -> None:
        self.seen: list[np.ndarray] = []
        if names:
            self.names = names

    def act(self, observations: np.ndarray) -> np.ndarray:
        self.seen.append(observations.copy())
        return np.full(len(observations), 4)


def test_a_feature_is_its_column_less_the_mean_over_the_deviation_of_the_training_rows() -> None:
    # Four of six rows are for training: 1, 3, 1, 3 have mean 2 and deviation 1.
    tape = Tape.from_frame(slices(6).assign(trend=[1.0, 3.0, 1.0, 3.0, 2.5, 1e6]), features={"trend": "trend"})
    made = make_problem(tape=tape, tape_split=4 / 6, tape_purge=0, n_steps=2, shares=5.0)
    assert made.tape.units == {"trend": Units(2.0, 1.0)}
    evaluated = make_problem(tape=tape, tape_split=4 / 6, tape_purge=0, tape_part="evaluation", n_steps=2, shares=5.0)
    found = evaluated.at(np.array([4]), np.random.default_rng(0)).slices.features
    np.testing.assert_array_equal(found, [[[0.5, 10.0]]])  # the last one is clipped


@pytest.mark.slow
def test_features_come_after_the_entries_in_the_same_numbers_everywhere() -> None:
    twice = {"twice": lambda seen: 2 * seen.imbalance}
    options: dict[str, Any] = {"tape": Tape.from_frame(slices(), features=SEEN), "features": twice, **SMALL}
    single, vector = gym.make("AlmgrenChriss-v0", **options), gym.make_vec("AlmgrenChriss-v0", num_envs=3, **options)
    sb3 = SB3VecEnv("AlmgrenChriss-v0", 3, **options)
    assert single.unwrapped._sight.names[10:] == ("imbalance", "ask_size_trend", "twice")
    seen, many, theirs = single.reset(seed=3)[0], vector.reset(seed=3)[0], (sb3.seed(3), sb3.reset())[1]
    data, own = slices(), single.unwrapped.problem
    imbalance = (data["bid_size"] - data["ask_size"]) / (data["bid_size"] + data["ask_size"])
    expected = (imbalance - imbalance.mean()) / imbalance.std(ddof=0)
    row = int(np.argmin(np.abs(expected - seen[10])))
    for t in range(SMALL["n_steps"] - 1):
        assert seen in single.observation_space
        np.testing.assert_allclose(seen[10], expected[row + t], rtol=1e-6)
        assert seen[12] == 2 * seen[10]
        np.testing.assert_array_equal(seen, many[0])
        np.testing.assert_array_equal(seen, theirs[0])
        seen, many, theirs = single.step(4)[0], vector.step(np.full(3, 4))[0], sb3.step(np.full(3, 4))[0]
    spy = Spy("imbalance", "time_left")
    evaluate([spy], episodes=4, starts="rolling", **options)
    np.testing.assert_allclose(spy.seen[1][0], [expected[1], 0.8], rtol=1e-6)
    everything = Spy()
    evaluate([everything, "adaptive"], episodes=4, **options)
    assert everything.seen[0].shape == (4, 10)  # who names no entries acts on the problem's own, as baselines do
    market = TorchMarket(own.market, own.order)
    paths = own.sample([np.random.default_rng(0)], 4)
    assert market.load(paths).slices.features[1].shape == (4, 5)


def test_rows_for_evaluation_change_nothing_that_is_seen_in_training() -> None:
    changed = slices()
    changed.loc[60:, ["bid_size", "trend"]] *= [7.0, -50.0]
    one, other = problem(), problem(changed)
    assert one.tape.units == other.tape.units
    ours, theirs = (p.sample([np.random.default_rng(0)], 200).slices.features for p in (one, other))
    np.testing.assert_array_equal(ours, theirs)
    assert one.tape.sha256 != other.tape.sha256
    changed.loc[:59, "trend"] += 1.0
    assert problem(changed).tape.units["ask_size_trend"] != one.tape.units["ask_size_trend"]


@pytest.mark.parametrize("stamp", ["start", "end"])
def test_a_feature_is_of_its_rows_time_also_where_volumes_are_stamped_at_the_end(stamp: Any) -> None:
    data = slices(12)
    tape = Tape.from_frame(data, stamp=stamp, features={"trend": "trend", "volume": "volume"})
    n = len(tape.mid)
    assert n == (12 if stamp == "start" else 11)
    np.testing.assert_array_equal(tape.features["trend"], data["trend"][:n])
    # The volume up to a row's time is known then, as a feature; that of the slice from it on is in the next row.
    np.testing.assert_array_equal(tape.features["volume"], data["volume"][:n])
    np.testing.assert_array_equal(tape.volume, data["volume"][(0 if stamp == "start" else 1) :])


@pytest.mark.slow
def test_what_cannot_be_a_feature_is_refused_in_one_sentence(tmp_path: Path) -> None:
    data = slices()
    hole = data.assign(trend=data["trend"].where(data.index != 6))
    file = written(tmp_path, data)
    trades = written(tmp_path, pd.DataFrame({"time": data["time"], "price": data["mid"], "size": 1.0}), "trades.csv")
    for options, message in (
        ({"tape_features": SEEN}, "tape_features = .*: there is no tape"),
        ({"tape": Tape.from_frame(data), "tape_features": SEEN}, "the tape is read already"),
        ({"tape": file, "tape_features": {"x": "vpin"}}, "column 'feature x' as 'vpin' is missing"),
        ({"tape": file, "tape_features": {"x": "exp(trend)"}}, "column 'feature x' as 'exp\\(trend\\)' is missing"),
        (
            {"tape": file, "tape_features": {"x": "trend / (trend - trend)"}},
            "row 1, 'feature x': -?inf is not a finite",
        ),
        ({"tape": file, "tape_features": {"x": "trend - trend"}}, "'feature x' is 0 in all rows for training: it says"),
        ({"tape": file, "tape_features": {"signal": "trend"}}, "'signal' must be a name that no entry has"),
        ({"tape": file, "tape_features": {"a b": "trend"}}, "'a b': must be a name of letters"),
        ({"tape": file, "tape_features": ["trend"]}, "must be a mapping from names to columns"),
        ({"tape": file, "tape_features": {"x": {"column": "trend", "mean": 1.0}}}, "must be given both, or neither"),
        ({"tape": file, "tape_features": {"x": {"column": "trend", "mean": 1.0, "std": 0.0}}}, "the second > 0"),
        ({"tape": file, "tape_features": {"x": "trend"}, "features": {"x": abs}}, "'x' must be a name that no entry"),
        ({"tape": trades, "tape_features": {"x": "size"}}, "rows of trades are no slices"),
        ({"tape": written(tmp_path, hole, "hole.csv"), "tape_features": {"x": "trend"}}, "row 7, 'feature x': nan is"),
    ):
        with pytest.raises(InputError, match=message):
            make_problem(**options, **SMALL)
    cleaned = {"tape_reading": {"clean": True}, "tape_features": {"x": "trend"}}
    tape = make_problem(tape=tmp_path / "hole.csv", **cleaned, **SMALL).tape
    assert tape is not None
    np.testing.assert_array_equal(tape.features["x"], data["trend"].drop(6))
    assert any("dropped 1: hole.csv: 'feature x' is not a finite number" in remark for remark in tape.remarks)


def test_without_features_a_tape_is_what_it_was() -> None:
    tape = Tape.from_frame(slices())
    assert tape.sha256 == Tape.from_frame(recorded_slices(100)).sha256
    assert "features" not in tape.described()
    assert make_problem(tape=tape, **SMALL).sample([np.random.default_rng(0)], 3).slices.features == ()


def test_the_description_says_where_a_feature_is_from_and_in_what_units() -> None:
    made = problem()
    mean, std = made.tape.units["ask_size_trend"]
    line = (
        f"feature ask_size_trend = trend: seen by agents, in units of {std:.4g} from {mean:.4g}, of the training rows"
    )
    assert line in describe(made.tape, made.market)


@pytest.mark.slow
def test_the_map_of_behaviour_has_features_at_their_means() -> None:
    made, spy = problem(), Spy("imbalance", "log_liquidity")
    made.behaviour().map(spy)
    assert np.ptp(spy.seen[0][:, 1]) > 0
    assert not np.any([seen[:, 0] for seen in spy.seen])


class ByTrend:
    """Trades more where the feature is large."""

    action_mode = "fraction"
    names = ("ask_size_trend",)

    def act(self, observations: np.ndarray) -> np.ndarray:
        return np.clip(0.15 + 0.05 * observations, 0.0, 1.0)


def test_live_decides_as_the_environment_on_the_same_rows_and_wants_every_feature() -> None:
    data, agent = slices(), ByTrend()
    tape = Tape.from_frame(data, features={"ask_size_trend": "trend"})
    options: dict[str, Any] = {"action": "fraction", "resilience": 10.0, "max_participation": None} | SMALL
    env = gym.make("AlmgrenChriss-v0", tape=tape, tape_split=0.6, tape_part="evaluation", **options)
    live = env.unwrapped.problem.live(agent)
    observation, _ = env.reset(seed=0, options={"start": 70})
    for t in range(SMALL["n_steps"]):
        row = data.iloc[70 + t]
        observation, _, over, _, info = env.step(agent.act(observation[10:11]))
        message = {"time": (data["time"][70] + t * timedelta(minutes=5)).isoformat(), "mid": info["mid"]}
        message |= {name: row[name] for name in ("spread", "volume")}
        for wrong, why in (
            ({}, "features: ask_size_trend is missing"),
            ({"ask_size_trend": 1.0, "other": 1.0}, "unknown feature 'other'"),
            ({"ask_size_trend": float("nan")}, "features: ask_size_trend = nan: must be a finite number"),
            ([1.0], "features = \\[1.0\\]: must be numbers by name"),
        ):
            with pytest.raises(InputError, match=why):
                live.answer(message | {"features": wrong})
        shares = live.answer(message | {"features": {"ask_size_trend": row["trend"]}})["shares"]
        traded = info["shares"] - info["block"]
        if not over:
            assert shares == pytest.approx(traded, rel=1e-5)
        live.fill(traded, info["fill_price"])
    plain = make_problem(tape=Tape.from_frame(data), **SMALL).live(Spy())
    with pytest.raises(InputError, match="unknown feature 'x'"):
        plain(Snapshot(data["time"][0].to_pydatetime(), 50.0, 0.02, 1e5, features={"x": 1.0}))


@pytest.mark.long
def test_a_run_keeps_its_units_and_is_refused_in_others(tmp_path: Path) -> None:
    file = written(tmp_path, slices())
    options: dict[str, Any] = {"tape": str(file), "tape_split": 0.6, "tape_features": SEEN} | SMALL
    run = tmp_path / "run"
    train("dqn", run, CONFIG, SETTINGS, **options)
    kept = yaml.safe_load((run / "config.yaml").read_text())["options"]["tape_features"]
    units = make_problem(**options).tape.units  # type: ignore[union-attr]
    assert kept == {name: {"column": SEEN[name], "mean": of.mean, "std": of.std} for name, of in units.items()}
    assert load_run(run).names[10:] == tuple(SEEN)  # type: ignore[attr-defined]
    notes = " ".join(evaluate([run, "twap"], episodes=4, **options).notes)
    assert "was trained on" not in notes
    # Another tape of the same columns, and another split of the same: refused, or seen in the run's units.
    other = options | {"tape": str(written(tmp_path, slices().assign(trend=lambda d: d["trend"] + 9.0), "other.csv"))}
    with pytest.raises(
        InputError, match="ask_size_trend: run has learned with mean .* take the run's, with --tape-feat"
    ):
        evaluate([run], episodes=4, **other)
    with pytest.raises(InputError, match="imbalance: run has learned with mean"):
        evaluate([run], episodes=4, **options | {"tape_split": 0.8})
    given = TapeOptions(tape=(tmp_path / "other.csv",), tape_features=(str(run), "imbalance=trend")).options()
    assert given["tape_features"] == kept | {"imbalance": kept["imbalance"] | {"column": "trend"}}
    found = evaluate([run], episodes=4, **other | {"tape_features": kept})
    assert found.problem.tape.units == units
    # Without the features at all, and resumed on a tape whose column has changed.
    with pytest.raises(InputError, match="it acts on 'imbalance', which is not in the observation"):
        evaluate([run], episodes=4, **{k: v for k, v in options.items() if k != "tape_features"})
    written(tmp_path, slices().assign(trend=lambda d: d["trend"] * (d.index != 80)))
    with pytest.raises(InputError, match="has changed since the run began"):
        resume(run)


def test_pathwise_acts_on_the_first_entries_alone_and_refuses_to_learn_with_more(tmp_path: Path) -> None:
    options: dict[str, Any] = {"tape": str(written(tmp_path, slices())), "tape_features": SEEN} | SMALL
    with pytest.raises(InputError, match="features = imbalance, ask_size_trend: pathwise acts on the problem's own"):
        train("pathwise", tmp_path / "run", CONFIG, PathwiseConfig(paths=8, hidden=(4,)), **options)


def test_datasets_of_the_problems_own_entries_are_not_recorded_with_others() -> None:
    tape = Tape.from_frame(slices(), features=SEEN)
    for options, names in (({"tape": tape}, "imbalance, ask_size_trend"), ({"features": {"one": abs}}, "one")):
        with pytest.raises(InputError, match=f"features = {names}: datasets hold the problem's own entries alone"):
            record(["twap"], episodes=2, **options, **SMALL)


@pytest.mark.parametrize(
    ("texts", "why"),
    [(("trend",), "must read NAME=COLUMN, or be the folder of a run"), (("=x", "a="), "must read OURS=COLUMN")],
)
def test_what_the_command_line_cannot_read_is_refused(texts: tuple[str, ...], why: str) -> None:
    with pytest.raises(InputError, match=why):
        TapeOptions(tape=(Path("a.csv"),), tape_features=texts).options()
    with pytest.raises(InputError, match="--tape-features: there is no --tape"):
        TapeOptions(tape_features=("a=b",)).options()


@pytest.mark.long
def test_an_agent_that_sees_a_planted_signal_costs_less_than_one_that_does_not(tmp_path: Path) -> None:
    rng, rows = np.random.default_rng(0), 6000
    hint = rng.standard_normal(rows)
    data = recorded_slices(rows).drop(columns="depth")
    moves = 0.1 * (0.9 * hint[:-1] + 0.4 * rng.standard_normal(rows - 1))  # of the slice that begins at the row
    data["mid"] = 200.0 + np.r_[0.0, np.cumsum(moves - moves.mean())]
    data["hint"] = 5.0 + 3.0 * hint
    options: dict[str, Any] = {"tape": str(written(tmp_path, data)), "tape_split": 0.6, "hours_per_day": 24.0}
    options |= {"n_steps": 6, "shares": 20_000.0, "max_participation": 0.2, "reward": "shortfall"}
    config = TrainConfig(steps=40_000, intervals=2, num_envs=32, check_episodes=200)
    settings = DQNConfig(hidden=(32, 32), warm_up=1000)
    for name, seen in (("sees", {"tape_features": {"hint": "hint"}}), ("blind", {})):
        train("dqn", tmp_path / name, config, settings, **options, **seen)
    del options["reward"]
    options["tape_features"] = {"hint": "hint"}
    per_path = evaluate([tmp_path / "sees", tmp_path / "blind"], episodes=2000, **options).per_path
    sees, blind = (per_path.loc[per_path["agent"] == name, "shortfall"].to_numpy() for name in ("sees", "blind"))
    error = (sees - blind).std() / (len(sees) / options["n_steps"]) ** 0.5  # as if only every sixth episode counted
    assert sees.mean() < blind.mean() - 4 * error
