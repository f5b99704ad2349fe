"""Evaluation: common paths, accounts that add up, labels, files."""

import importlib
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest
import yaml

from exec_env import Market, Order
from exec_env.agents.dqn import DQNConfig
from exec_env.baselines.pov import POV
from exec_env.baselines.twap import TWAP
from exec_env.envs.rollout import totals
from exec_env.harness import Agent, Evaluation, TrainConfig, evaluate, train
from exec_env.market.execution import COMPONENTS
from tests.conftest import play

BASELINES = ["twap", "vwap", "pov", "almgren-chriss"]


class Fixed:
    """Always the same pace; remembers what it saw."""

    action_mode = "pace"

    def __init__(self, market: Market | None = None, order: Order | None = None, level: int = 4) -> None:
        self.level, self.seen = level, []

    def act(self, observations: np.ndarray) -> np.ndarray:
        self.seen.append(observations)
        return np.full(len(observations), self.level)


def same(one: Evaluation, other: Evaluation) -> None:
    pd.testing.assert_frame_equal(one.per_path, other.per_path, rtol=1e-12)
    pd.testing.assert_frame_equal(one.per_agent, other.per_agent, rtol=1e-9)
    examples = (e.examples.sort_values(["agent", "path", "step"], ignore_index=True) for e in (one, other))
    pd.testing.assert_frame_equal(*examples, rtol=1e-12)


def drawing_from(seeds: list[int], **kwargs: Any) -> gym.Env:
    """An environment whose paths are drawn from a sequence of seeds."""
    env = gym.make("AlmgrenChriss-v0", **kwargs)
    env.unwrapped.np_random = np.random.default_rng(np.random.SeedSequence(seeds))
    return env


# Common paths


def test_every_agent_sees_the_same_market(small: dict) -> None:
    slow, fast = Fixed(level=1), Fixed(level=8)
    evaluate([slow, fast], episodes=50, **small)
    assert len(slow.seen) == len(fast.seen) == 5
    for a, b in zip(slow.seen, fast.seen, strict=True):
        np.testing.assert_array_equal(a[:, 2:6], b[:, 2:6])
        assert a.shape == (50, 10)


def test_an_agent_does_the_same_whoever_it_is_compared_with(small: dict) -> None:
    alone = evaluate(["pov"], episodes=30, seed=2, **small).per_path
    among = evaluate(BASELINES, episodes=30, seed=2, **small).per_path
    among = among[among["agent"] == "pov"]
    np.testing.assert_array_equal(alone["shortfall"], among["shortfall"])


def test_path_e_of_the_first_block_is_what_an_environment_plays_that_draws_from_the_seed_of_that_block(
    rich: dict,
) -> None:
    kwargs = {"n_steps": 5, "shares": 25_000.0, "side": "buy", **rich}
    paths = evaluate([Fixed()], episodes=70, seed=6, **kwargs).per_path
    env = drawing_from([6, 0], **kwargs)
    for e in range(70):
        steps = play(env, lambda _: 4)
        assert paths["shortfall"][e] == pytest.approx(steps[-1]["shortfall_bps"], rel=1e-9, abs=1e-9)
        assert paths["objective"][e] == pytest.approx(steps[-1]["objective_bps"], rel=1e-9, abs=1e-9)
        assert paths["temporary"][e] == pytest.approx(sum(s["temporary"] for s in steps), rel=1e-9)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_frames_and_another_seed_others(small: dict) -> None:
    first, again, other = (evaluate(BASELINES, episodes=40, seed=s, **small) for s in (5, 5, 6))
    pd.testing.assert_frame_equal(first.per_path, again.per_path, check_exact=True)
    pd.testing.assert_frame_equal(first.examples, again.examples, check_exact=True)
    assert not np.isin(first.per_path["shortfall"], other.per_path["shortfall"]).any()


@pytest.mark.slow
def test_one_agent_under_two_labels_is_never_in_two_threads_at_once() -> None:
    class Counting:
        """Its pace depends on how often it was asked, by whomever."""

        action_mode, asked = "pace", 0

        def act(self, observations: np.ndarray) -> np.ndarray:
            self.asked += 1
            time.sleep(1e-4)  # lets other threads in
            return np.full(len(observations), self.asked % 11)

    def costs() -> np.ndarray:
        agent = Counting()
        return evaluate([agent, agent], episodes=50, seed=0).per_path["objective"].to_numpy()

    np.testing.assert_array_equal(costs(), costs())


@pytest.mark.parametrize("source", ["simulated", "random starts"])
def test_a_block_of_paths_is_the_same_whichever_others_are_drawn(
    source: str, small: dict, tape_csv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.import_module("exec_env.harness.evaluation"), "BLOCK", 7)
    kwargs: dict[str, Any] = small if source == "simulated" else {"tape": tape_csv, **small}
    found = evaluate([Fixed()], episodes=24, seed=1, **kwargs)
    for k in (3, 1):
        rng = np.random.default_rng(np.random.SeedSequence([1, k]))
        drawn = found.problem.sample([rng], 7)
        agent = Fixed()
        sums = totals(agent.act, drawn, found.problem, found.problem.actions("pace"))
        ours = found.per_path["objective"].to_numpy()[7 * k : 7 * k + 7]
        np.testing.assert_allclose(ours, sums["objective"][: len(ours)], rtol=1e-12)
    assert source != "simulated" or found.per_path["objective"].is_unique


def test_how_many_rolling_episodes_are_in_memory_at_once_changes_nothing(
    small: dict, tape_csv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kwargs: dict[str, Any] = {
        "episodes": 50,
        "seed": 1,
        "n_examples": 9,
        "tape": tape_csv,
        "starts": "rolling",
        **small,
    }
    whole = evaluate(["twap", "pov"], **kwargs)
    monkeypatch.setattr(importlib.import_module("exec_env.harness.evaluation"), "BLOCK", 7)
    same(whole, evaluate(["twap", "pov"], **kwargs))


def test_the_first_paths_of_more_episodes_are_those_of_fewer(small: dict) -> None:
    few, many = (evaluate(["pov"], episodes=n, **small).per_path for n in (10, 25))
    np.testing.assert_allclose(few["objective"], many["objective"][:10], rtol=1e-12)


# Accounts


@pytest.mark.slow
@pytest.mark.parametrize("side", ["sell", "buy"])
def test_components_add_up_to_the_shortfall_on_every_path(side: str, rich: dict) -> None:
    paths = evaluate([*BASELINES, Fixed(level=0)], episodes=60, side=side, n_steps=6, **rich).per_path
    parts = paths[list(COMPONENTS)]
    scale = parts.abs().sum(axis=1)
    assert ((parts.sum(axis=1) - paths["shortfall"]).abs() <= 1e-9 * scale).all()
    assert (paths[["spread", "temporary", "permanent", "risk"]] >= 0).all(axis=None)


def test_without_a_signal_the_objective_is_the_shortfall_without_the_price_and_with_risk(small: dict) -> None:
    paths = evaluate([*BASELINES, Fixed(level=10)], episodes=60, **small).per_path
    expected = paths["shortfall"] - paths["price"] + paths["risk"]
    np.testing.assert_allclose(paths["objective"], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.slow
def test_without_a_signal_the_price_costs_nothing_on_average() -> None:
    evaluation = evaluate(["twap", "almgren-chriss"], episodes=4000, seed=3, n_steps=10)
    for _, paths in evaluation.per_path.groupby("agent", observed=True):
        standard_error = paths["price"].std() / 4000**0.5
        assert abs(paths["price"].mean()) < 3 * standard_error
        assert standard_error > 0


@pytest.mark.slow
def test_with_a_signal_the_objective_is_the_expected_shortfall_and_risk(rich: dict) -> None:
    paths = evaluate(["almgren-chriss"], episodes=4000, seed=3, n_steps=10, **rich).per_path
    difference = paths["shortfall"] + paths["risk"] - paths["objective"]
    assert abs(difference.mean()) < 3 * difference.std() / 4000**0.5
    drift = paths["price"] - difference
    assert drift.mean() < -10 * drift.std() / 4000**0.5


def test_a_buy_costs_path_by_path_what_a_sell_does_on_simulated_paths(small: dict) -> None:
    sell, buy = (evaluate(BASELINES, episodes=20, side=side, **small).per_path for side in ("sell", "buy"))
    pd.testing.assert_frame_equal(sell, buy, rtol=1e-12)


def test_no_agent_is_below_the_bound(small: dict) -> None:
    evaluation = evaluate([*BASELINES, Fixed(level=10)], episodes=2000, **small)
    table = evaluation.per_agent
    assert (table["objective_mean"] + 3 * table["objective_se"] > evaluation.bound_bps).all()


def test_an_agent_that_waits_leaves_everything_for_the_closing_block(small: dict) -> None:
    paths = evaluate([Fixed(level=0)], episodes=5, **small).per_path
    assert (paths["shares_left"] == 25_000.0).all()
    assert (paths["participation"] == 0.0).all()


def test_participation_is_what_was_traded_over_what_the_market_traded_until_done() -> None:
    quiet = {"liquidity_volatility": 0.0, "volume_noise": 0.0, "shares": 20_000.0, "n_steps": 5}
    at_once = Fixed(level=10)
    twap, fast = evaluate([Fixed(), at_once], episodes=3, **quiet).per_agent["participation"][["fixed", "fixed-2"]]
    volume = 5e6 / 78
    assert twap == pytest.approx(20_000 / (5 * volume))
    # Six times the even pace asks for more than the cap lets through: 19 231 shares, 30 % of the volume; then the rest.
    assert fast == pytest.approx(20_000 / (2 * volume))


def test_examples_are_the_first_paths_slice_by_slice(small: dict) -> None:
    evaluation = evaluate(["twap", "pov"], episodes=10, n_examples=2, **small)
    shown = evaluation.examples
    assert shown.groupby(["agent", "path"]).size().to_dict() == {(a, p): 5 for a in ("twap", "pov") for p in (0, 1)}
    one = shown[(shown["agent"] == "twap") & (shown["path"] == 1)].reset_index(drop=True)
    assert one["inventory"][0] == 25_000.0
    np.testing.assert_allclose(one["inventory"].diff()[1:], -one["shares"][:-1])
    cash = (one["shares"] * (100.0 - one["fill_price"])).sum()
    path = evaluation.per_path.query("agent == 'twap' and path == 1")["shortfall"].item()
    assert 1e4 * cash / 2_500_000 == pytest.approx(path, rel=1e-9)
    assert evaluate(["twap"], episodes=2, n_examples=0, **small).examples.empty


# Who is evaluated


def test_an_object_a_class_and_an_import_path_of_a_users_own_agent_are_evaluated_alike(small: dict) -> None:
    assert isinstance(Fixed(), Agent)
    for agent in (Fixed(), f"{__name__}:Fixed", Fixed):
        table = evaluate([agent, "twap"], episodes=20, **small).per_agent
        assert table["objective_mean"].iloc[0] == pytest.approx(table["objective_mean"].iloc[1], rel=1e-9)


def test_a_name_may_be_written_with_capitals_and_underscores(small: dict) -> None:
    assert list(evaluate(["Almgren_Chriss"], episodes=2, **small).per_agent.index) == ["almgren-chriss"]


def test_one_name_need_not_be_in_a_list(small: dict) -> None:
    assert list(evaluate("twap", episodes=2, **small).per_agent.index) == ["twap"]


def test_labels_that_come_up_again_are_numbered(small: dict) -> None:
    market, order = Market(), Order(**small)
    evaluation = evaluate(["twap", TWAP(market, order), "twap", POV(market, order, rate=0.2)], episodes=3, **small)
    assert evaluation.settings["agents"] == ["twap", "twap-2", "twap-3", "pov"]
    assert set(evaluation.per_agent.index) == {"twap", "twap-2", "twap-3", "pov"}


@pytest.mark.parametrize(
    ("agents", "message"),
    [
        (["twop"], r"unknown agent 'twop'; did you mean 'twap'\? Known: .*almgren-chriss"),
        (["dqn"], "agent 'dqn' has to be trained first: name its run folder instead"),
        (["runs/none"], "agent 'runs/none': no such run folder"),
        (["no_such_module:Agent"], "agent = 'no_such_module:Agent': there is no module 'no_such_module'"),
        (["exec_env.baselines.twap:Twop"], "agent = 'exec_env.baselines.twap:Twop': module .* has no 'Twop'"),
        (["exec_env:PRESETS"], "is no agent: it needs action_mode and act"),
        (None, "agents = None: must be names, run folders or agents"),
        (["collections:ChainMap"], "ChainMap.*is no agent: it needs action_mode and act"),
        ([object()], "is no agent: it needs action_mode and act"),
        ([], "no agents to evaluate: name at least one"),
    ],
)
def test_what_is_no_agent_is_refused(agents: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate(agents, episodes=2)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"agent\.yaml: no such file; is .* a run folder\?"):
        evaluate([tmp_path], episodes=2)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"episodes": 0}, "episodes = 0: must be a whole number >= 1"),
        ({"episodes": 2.5}, "episodes = 2.5: must be a whole number >= 1"),
        ({"episodes": True}, "episodes = True: must be a whole number >= 1"),
        ({"seed": -1}, "seed = -1: must be a whole number >= 0"),
        ({"seed": None}, "seed = None: must be a whole number >= 0"),
        ({"starts": "first"}, "starts = 'first': must be 'random' or 'rolling'"),
        ({"env_id": "Almgren-v0"}, "unknown environment 'Almgren-v0'; did you mean"),
        ({"shares": 0}, r"Order\.shares = 0: must be"),
        ({"sharse": 1}, "got an unexpected keyword argument 'sharse'; did you mean 'shares'"),
    ],
)
def test_impossible_settings_are_refused(kwargs: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate(["twap"], **({"episodes": 2} | kwargs))


def test_an_action_outside_the_space_is_the_agents_error_and_is_named(small: dict) -> None:
    with pytest.raises(ValueError, match="action 'pace': 11 is outside the space"):
        evaluate([Fixed(level=11)], episodes=2, **small)


@pytest.mark.slow
def test_the_best_achievable_value_is_reported_where_asked_for(small: dict, tmp_path: Path) -> None:
    evaluation = evaluate(["twap", "optimal"], episodes=300, optimum=True, **small)
    best, table = evaluation.optimum, evaluation.table()
    assert best is not None
    assert best.value_bps > evaluation.bound_bps
    assert (
        f"best achievable {best.value_bps:.3f}, numerical error {best.error_bps:.1g} (dynamic programming), +" in table
    )
    settings = yaml.safe_load((evaluation.save(tmp_path / "e", plots=False) / "evaluation.yaml").read_text())
    assert settings["best_bps"] == pytest.approx(best.value_bps)
    assert "best achievable" not in evaluate(["twap"], episodes=2, **small).table()


def test_a_name_that_stands_for_nothing_is_refused_before_anything_is_computed(
    small: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    def computed(*args: Any) -> Any:
        raise AssertionError("the optimum was computed")

    monkeypatch.setattr(importlib.import_module("exec_env.harness.evaluation"), "find_optimum", computed)
    with pytest.raises(ValueError, match="unknown agent 'twpa'; did you mean 'twap'"):
        evaluate(["twpa"], episodes=2, optimum=True, **small)


def test_where_there_is_no_best_achievable_value_the_table_says_why(small: dict, tape_csv: Path) -> None:
    table = evaluate(["twap"], episodes=2, optimum=True, signal_volatility=0.1, **small).table()
    assert "no best achievable value: Market.signal_volatility = 0.1: must be 0" in table
    table = evaluate(["twap"], episodes=2, optimum=True, tape=tape_csv, shares=50_000.0, n_steps=10).table()
    assert "no best achievable value: the paths are recorded" in table


# Recorded markets


def test_a_recorded_tape_has_no_bound_and_so_no_gap(tape_csv: Path) -> None:
    evaluation = evaluate(["twap", "pov"], episodes=30, tape=tape_csv, shares=50_000.0, n_steps=10)
    assert evaluation.bound_bps is None
    assert evaluation.per_agent[["gap_percent", "gap_closed_percent"]].isna().all(axis=None)
    assert evaluation.per_agent[["objective_mean", "cvar95", "win_rate", "diff_low"]].notna().all(axis=None)
    assert "no bound: the paths are recorded" in evaluation.table()
    assert len(evaluation.per_path) == 60


def test_rolling_starts_are_every_row_that_fits_or_evenly_spread_ones(tape_csv: Path) -> None:
    mids = pd.read_csv(tape_csv)["mid"].to_numpy()
    kwargs: dict[str, Any] = {"tape": tape_csv, "n_steps": 50, "shares": 5e4, "starts": "rolling", "n_examples": 1000}

    def first_mids(episodes: int) -> list[float]:
        shown = evaluate(["twap"], episodes=episodes, **kwargs).examples
        return shown[shown["step"] == 0]["mid"].tolist()

    assert first_mids(1000) == mids[[*range(11), *range(60, 71)]].tolist()
    assert first_mids(2) == mids[[0, 70]].tolist()


def test_random_starts_are_those_of_an_environment_that_draws_from_the_seed_of_the_block(tape_csv: Path) -> None:
    kwargs: dict[str, Any] = {"tape": tape_csv, "n_steps": 5, "shares": 25_000.0}
    paths = evaluate([Fixed()], episodes=150, seed=4, **kwargs).per_path
    env = drawing_from([4, 0], **kwargs)
    for e in range(150):
        steps = play(env, lambda _: 4)
        assert paths["shortfall"][e] == pytest.approx(steps[-1]["shortfall_bps"], rel=1e-9, abs=1e-9)


# What is kept


@pytest.mark.long
def test_saving_writes_tables_settings_and_pictures_that_can_be_read_back(tmp_path: Path, small: dict) -> None:
    evaluation = evaluate(["twap", "pov"], episodes=40, seed=7, **small)
    folder = evaluation.save(tmp_path / "new" / "folder")
    assert folder == tmp_path / "new" / "folder"
    assert {p.name for p in folder.iterdir()} == {
        "evaluation.yaml",
        "per_agent.csv",
        "per_path.csv",
        "examples.csv",
        "objective.png",
        "cost_distributions.png",
        "differences.png",
        "episodes.png",
    }
    table, paths, examples = (pd.read_csv(folder / f"{name}.csv") for name in ("per_agent", "per_path", "examples"))
    assert {"objective_mean [bps]", "gap_percent [%]", "shares_left [shares]", "trusted"} < set(table)
    assert {"temporary [bps]", "risk [bps]", "block_cost [$]"} < set(paths)
    assert {"inventory [shares]", "mid [$]", "log_liquidity"} < set(examples)
    table = table.set_index("agent").rename(columns=lambda name: name.partition(" [")[0])
    pd.testing.assert_frame_equal(table, evaluation.per_agent, rtol=1e-9)
    np.testing.assert_allclose(paths["shortfall [bps]"], evaluation.per_path["shortfall"], rtol=1e-6)
    settings = yaml.safe_load((folder / "evaluation.yaml").read_text())
    assert settings["episodes"] == 40
    assert settings["seed"] == 7
    assert settings["agents"] == ["twap", "pov"]
    assert settings["options"] == small
    assert settings["bound_bps"] == pytest.approx(evaluation.bound_bps)
    for picture in folder.glob("*.png"):
        assert picture.read_bytes().startswith(b"\x89PNG")


def test_an_existing_folder_is_refused_and_left_as_it_was(tmp_path: Path, small: dict) -> None:
    (tmp_path / "old").mkdir()
    with pytest.raises(ValueError, match="old exists: choose another folder, so that nothing is overwritten"):
        evaluate(["twap"], episodes=2, **small).save(tmp_path / "old", plots=False)
    assert list((tmp_path / "old").iterdir()) == []


def test_settings_in_numpy_numbers_and_paths_can_be_saved(tmp_path: Path, tape_csv: Path) -> None:
    evaluation = evaluate(
        ["twap"], episodes=np.int64(3), seed=np.int64(1), shares=np.float64(25_000), n_steps=np.int64(5), tape=tape_csv
    )
    folder = evaluation.save(tmp_path / "out", plots=False)
    settings = yaml.safe_load((folder / "evaluation.yaml").read_text())
    assert settings["seed"] == 1
    assert settings["options"] == {"shares": 25_000.0, "n_steps": 5, "tape": str(tape_csv)}


def test_a_lifted_cap_is_kept_as_none(tmp_path: Path, small: dict) -> None:
    folder = evaluate(["twap"], episodes=2, max_participation=None, **small).save(tmp_path / "out", plots=False)
    assert yaml.safe_load((folder / "evaluation.yaml").read_text())["options"]["max_participation"] is None


@pytest.mark.long
@pytest.mark.parametrize("agents", [["twap"], ["pov", "almgren-chriss"]])
def test_a_single_path_can_be_saved_and_drawn_without_a_warning(agents: list[str], tmp_path: Path, small: dict) -> None:
    evaluation = evaluate(agents, episodes=1, **small)
    assert (evaluation.save(tmp_path / "one") / "objective.png").exists()
    assert "nan" not in evaluation.table()


@pytest.mark.slow
def test_a_market_without_randomness_can_be_saved_and_drawn_without_a_warning(tmp_path: Path) -> None:
    evaluation = evaluate(["twap", "almgren-chriss"], "AlmgrenChrissClassic-v0", episodes=20, volatility=0.0, n_steps=5)
    assert evaluation.per_agent["objective_se"].max() < 1e-9
    assert (evaluation.save(tmp_path / "still") / "cost_distributions.png").exists()


def test_the_table_for_a_terminal_names_the_unit_the_bound_and_what_is_missing(small: dict) -> None:
    text = evaluate(["pov"], episodes=20, **small).table()
    assert "sell 25,000 shares (0.5 % of a day's volume, 2,500,000 $) in 5 slices of 5 min" in text
    assert "bps of the arrival notional" in text
    assert "J: expected shortfall" in text
    assert "lower bound" in text
    assert "twap was not among the agents, so nothing is compared with it" in text
    with_reference = evaluate(["twap", "pov"], episodes=20, **small).table()
    assert "was not among" not in with_reference
    assert "-0.0" not in with_reference.split("twap", 1)[1].splitlines()[0]


@pytest.mark.slow
def test_an_agent_that_was_trained_on_something_else_is_said_to_be(tmp_path: Path, small: dict) -> None:
    run = tmp_path / "run"
    config = TrainConfig(steps=256, intervals=1, num_envs=16, check_episodes=4)
    train("dqn", run, config, DQNConfig(hidden=(4,), warm_up=64, batch_size=16), **small)
    at_home = evaluate([run], episodes=2, **small)
    assert at_home.notes == ()
    away = evaluate([run], episodes=2, **(small | {"side": "buy"}))
    assert "run was trained on AlmgrenChriss-v0 with n_steps=" in away.table()


# What is said of J


def test_j_is_estimated_with_variates_and_the_raw_mean_stays_beside_it(small: dict) -> None:
    found = evaluate(["twap", "adaptive"], episodes=1000, **small)
    table, paths = found.per_agent, found.per_path.groupby("agent", observed=True)["objective"]
    assert table["variate"].str.startswith("excess + martingale").all()
    for agent, objective in paths:
        assert table.loc[agent, "objective_raw_mean"] == pytest.approx(objective.mean())
        assert table.loc[agent, "objective_raw_se"] == pytest.approx(objective.std() / 1000**0.5)
        assert table.loc[agent, "objective_se"] < 0.3 * table.loc[agent, "objective_raw_se"]
        assert abs(table.loc[agent, "objective_mean"] - objective.mean()) < 4 * table.loc[agent, "objective_raw_se"]
    mean = table["objective_mean"]
    assert table.loc["adaptive", "diff"] == pytest.approx(mean["adaptive"] - mean["twap"])
    assert table.loc[mean.idxmax(), "behind"] == pytest.approx(np.ptp(mean))
    assert "variate: what of mean zero was taken off" in found.table()


def test_a_martingale_that_does_not_pay_is_left_out_after_the_first_block(
    small: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.import_module("exec_env.harness.evaluation"), "BLOCK", 100)
    kwargs: dict[str, Any] = {"episodes": 300, "n_examples": 0, **small}
    kept = evaluate(["twap"], **kwargs).per_path["variate_martingale"]
    assert kept.notna().all()
    module = importlib.import_module("exec_env.harness.evaluation")
    monkeypatch.setattr(module, "pays", lambda table, names: names[:-1])
    dropped = evaluate(["twap"], **kwargs)
    assert dropped.per_path["variate_martingale"].notna().sum() == 100
    np.testing.assert_array_equal(dropped.per_path["variate_martingale"][:100], kept[:100])
    assert "martingale" not in dropped.per_agent["variate"].item()


def test_recorded_and_randomised_markets_have_no_variates(small: dict, tape_csv: Path) -> None:
    for kwargs in ({"tape": tape_csv}, {"randomise": ["volatility=0.01:0.03"]}):
        table = evaluate(["twap"], episodes=300, n_examples=0, **small, **kwargs).per_agent
        assert table["variate"].item() == "none"
        assert table["objective_mean"].item() == table["objective_raw_mean"].item()


def test_variance_is_charged_at_the_risk_aversion_of_the_order(small: dict) -> None:
    found = evaluate(["twap"], episodes=500, risk_aversion=2e-6, **small)
    dollars = found.per_path["shortfall"] * 1e-4 * 2_500_000
    wanted = dollars.mean() + 2e-6 * dollars.var()
    assert 1e-4 * 2_500_000 * found.per_agent["mean_variance"].item() == pytest.approx(wanted)
    assert "J is not that (Lorenz & Almgren 2011)" in found.table()


@pytest.mark.slow
def test_where_the_bound_says_nothing_the_table_says_so_and_shows_the_best_achievable() -> None:
    found = evaluate(["twap", "adaptive"], episodes=300, n_examples=0, shares=100.0, n_steps=20)
    assert found.bound_bps < 0
    text = found.table()
    assert "the bound says little here: gaps are to the best achievable" in text
    assert "to best %" in text
    assert "gap %" not in text
    gap = found.per_agent["gap_best_percent"]
    mean = found.per_agent["objective_mean"]
    np.testing.assert_allclose(gap, 100 * (mean / found.optimum.value_bps - 1))
    plain = evaluate(["twap", "adaptive"], episodes=300, n_examples=0, n_steps=5, shares=25_000.0)
    assert plain.optimum is None
    assert "says little" not in plain.table()


@pytest.mark.slow
def test_where_clipping_makes_the_adaptive_rule_worse_than_twap_the_table_says_so(small: dict) -> None:
    said = "it is the best rule without constraints, and clipping it to them hurts here"
    hurt = evaluate(["twap", "adaptive"], episodes=500, n_examples=0, n_steps=10, signal=0.05)
    assert hurt.per_agent.loc["adaptive", "diff_low"] > 0
    assert said in hurt.table()
    assert said not in evaluate(["twap", "adaptive"], episodes=500, n_examples=0, **small).table()


@pytest.mark.slow
def test_an_interval_that_is_not_to_be_trusted_is_said_to_be(small: dict) -> None:
    # A few paths without any liquidity carry nearly all of the variance, and nothing is known of them.
    wild = {"liquidity_volatility": 2.0, "signal_volatility": 0.01, "max_participation": 1.0}
    text = evaluate(["twap"], episodes=500, n_examples=0, **small, **wild).table()
    assert "the interval of J of twap is not to be trusted: few of these paths carry most" in text
    assert "not to be trusted" not in evaluate(["twap"], episodes=5000, n_examples=0, **small).table()
