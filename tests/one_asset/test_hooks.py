"""What a user plugs in: objects where files are taken, rewards and features of one's own, wrappers."""

import pickle
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
import yaml
from gymnasium.wrappers import TransformReward
from gymnasium.wrappers.vector import NormalizeObservation, RecordEpisodeStatistics

import exec_env
from exec_env import Market, Order, Paths, Tape
from exec_env.agents.dqn import DQNConfig
from exec_env.agents.ppo import PPOConfig
from exec_env.base.errors import InputError
from exec_env.base.importing import path_of
from exec_env.envs.paths_ahead import PathsAhead
from exec_env.envs.registry import ENVIRONMENTS
from exec_env.envs.rollout import acting
from exec_env.harness import TrainConfig, evaluate, train
from exec_env.harness.agents import load_run
from exec_env.harness.reports.report import write_report
from exec_env.harness.training.loop import resume
from exec_env.one_asset.options import make_problem
from exec_env.one_asset.torch_market import TorchMarket
from tests.conftest import play
from tests.envs.tiny import TwoOrdersSlice

SETTINGS = DQNConfig(hidden=(8,), warm_up=64, batch_size=16)
CONFIG = TrainConfig(steps=256, intervals=2, num_envs=16, check_episodes=4)


def half_spread_only(fill: Any) -> Any:
    return -fill.spread


LITERAL = {name: getattr(Market, name) for name in ("temporary_impact", "permanent_impact", "transient_impact")}
"""Impact that is given, so that it does not follow the volatility."""


def pressure(seen: Any) -> Any:
    """Inventory against time: above one where selling is behind an even pace."""
    return seen.inventory_left - seen.time_left


def test_a_market_and_an_order_are_taken_where_fields_are() -> None:
    market, order = Market(volatility=0.05), Order(shares=1000.0, n_steps=3)
    env = gym.make("AlmgrenChriss-v0", market=market, order=order, half_spread=7.0).unwrapped
    assert env.market == replace(market, half_spread=7.0)
    assert env.order == order
    assert exec_env.bound(market=market, order=order).value_bps == pytest.approx(
        exec_env.bound(volatility=0.05, shares=1000.0, n_steps=3, **LITERAL).value_bps
    )


@pytest.mark.slow
def test_a_tape_is_taken_where_a_file_is(tape_csv: Path, tmp_path: Path) -> None:
    tape = Tape.read(tape_csv)
    options: dict[str, Any] = {"n_steps": 5, "shares": 2.5e4}
    ours, theirs = (evaluate(["twap"], episodes=6, tape=of, **options) for of in (tape, tape_csv))
    assert ours.per_path.equals(theirs.per_path)
    with pytest.raises(
        InputError, match=r"option 'tape': a Tape cannot be kept in a run folder; give its name or file"
    ):
        train("dqn", tmp_path / "run", CONFIG, SETTINGS, tape=tape, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"market": 3}, "market = 3: must be a Market, a MarketFile or the path"),
        ({"order": "large"}, "order = 'large': must be an Order"),
        ({"tape": 3}, "tape = 3: must be a Tape or the path"),
        ({"reward": "profit"}, "reward = 'profit': must be 'expected' or 'shortfall', or a function of the fill"),
        ({"reward": "tests.one_asset.test_hooks:nothing"}, "has no 'nothing'"),
        ({"features": [pressure]}, "features = .*: must be a mapping of names to functions"),
        ({"features": {"time_left": pressure}}, "features: 'time_left' must be a name that no entry has"),
        ({"features": {"pressure": 3}}, "features: pressure = 3: must be a function of what is seen"),
        ({"features": {"pressure": "no_such_module:f"}}, "there is no module 'no_such_module'"),
    ],
)
def test_what_cannot_be_plugged_in_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_problem(**options)


def test_a_reward_of_ones_own_is_a_function_of_the_fill_in_dollars() -> None:
    steps = play(gym.make("AlmgrenChriss-v0", reward=half_spread_only), lambda _: 4, seed=0)
    np.testing.assert_allclose([s["reward"] for s in steps], [-s["spread"] for s in steps])
    vector = gym.make_vec("AlmgrenChriss-v0", num_envs=2, reward=half_spread_only)
    vector.reset(seed=0)
    assert vector.step(np.full(2, 4))[1][0] == pytest.approx(steps[0]["reward"])


def test_features_come_after_the_entries_and_are_the_same_in_every_environment() -> None:
    options: dict[str, Any] = {"features": {"pressure": pressure, "twice": lambda seen: 2 * seen.relative_spread}}
    single, vector = gym.make("AlmgrenChriss-v0", **options), gym.make_vec("AlmgrenChriss-v0", num_envs=1, **options)
    assert single.observation_space.shape == (12,)
    seen, many = single.reset(seed=3)[0], vector.reset(seed=3)[0]
    for _ in range(10):
        np.testing.assert_array_equal(seen, many[0])
        assert seen[10] == np.float32(seen[1]) - np.float32(seen[0])
        assert seen[11] == 2 * seen[3]
        seen, many = single.step(6)[0], vector.step(np.array([6]))[0]
    problem = make_problem(**options)
    market = TorchMarket(problem.market, problem.order, features=problem.features)
    shown: list[torch.Tensor] = []
    paths = market.simulate(5, market.generator(0))
    market.costs(lambda o: shown.append(o) or torch.full((5,), 4), paths, problem.action)
    assert torch.equal(shown[3][:, 10], shown[3][:, 1] - shown[3][:, 0])


def test_a_feature_that_is_not_finite_is_named() -> None:
    env = gym.make("AlmgrenChriss-v0", features={"bad": lambda seen: seen.signal / 0.0 * 0.0})
    with np.errstate(all="ignore"), pytest.raises(InputError, match="features: bad = nan: must be finite"):
        env.reset(seed=0)


@pytest.mark.slow
def test_a_run_keeps_functions_by_their_import_path_and_evaluation_needs_the_same_features(tmp_path: Path) -> None:
    options: dict[str, Any] = {"n_steps": 4, "shares": 2e4}
    features = {"pressure": pressure}
    run = tmp_path / "run"
    train("dqn", run, CONFIG, SETTINGS, reward=half_spread_only, features=features, market=Market(), **options)
    kept = yaml.safe_load((run / "config.yaml").read_text())["options"]
    assert kept["reward"] == "tests.one_asset.test_hooks:half_spread_only"
    assert kept["features"] == {"pressure": "tests.one_asset.test_hooks:pressure"}
    assert kept["market"]["volatility"] == Market().volatility
    resume(run)
    assert load_run(run).names[-1] == "pressure"
    result = evaluate(["twap", run], episodes=8, features=features, **options)
    assert set(result.per_agent.index) == {"twap", "run"}
    with pytest.raises(InputError, match="acts on 'pressure', which is not in the observation"):
        evaluate([run], episodes=8, **options)


@pytest.mark.slow
def test_baselines_act_on_the_entries_alone_where_there_are_features() -> None:
    plain = evaluate(["twap", "adaptive"], episodes=20)
    more = evaluate(["twap", "adaptive"], episodes=20, features={"pressure": pressure})
    assert plain.per_path.equals(more.per_path)


class Counting:
    """Trades in its first slices only, which it counts in its memory."""

    action_mode = "fraction"

    def initial_state(self, n: int) -> np.ndarray:
        return np.zeros(n)

    def act(self, observations: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.where(state < 2, 0.1, 0.0)[:, None], state + 1


def test_an_agent_with_a_memory_begins_anew_on_every_path() -> None:
    problem, agent = make_problem(), Counting()
    act = acting(agent, 3, problem)
    fractions = [act(np.zeros((3, 10)))[0, 0] for _ in range(4)]
    assert fractions == [0.1, 0.1, 0.0, 0.0]
    shares = evaluate([agent, "twap"], episodes=5, n_examples=5).examples.query("agent == 'counting' and step < 39")
    assert (shares.groupby("path")["shares"].apply(lambda traded: (traded > 0).sum()) == 2).all()


def test_vector_environments_are_made_with_wrappers() -> None:
    env = exec_env.make_vec("AlmgrenChriss-v0", 3, [NormalizeObservation, RecordEpisodeStatistics], n_steps=5)
    env.reset(seed=0)
    lengths: list[np.ndarray] = []
    for _ in range(12):
        infos = env.step(np.full(3, 4))[-1]
        if "episode" in infos:
            lengths.append(infos["episode"]["l"][infos["_episode"]])
    assert np.concatenate(lengths).tolist() == [5] * len(np.concatenate(lengths)) != []
    assert isinstance(env, RecordEpisodeStatistics)
    single = exec_env.make_vec("AlmgrenChriss-v0", 2, [lambda env: TransformReward(env, lambda reward: 7.0)])
    single.reset(seed=0)
    assert single.step(np.full(2, 4))[1].tolist() == [7.0, 7.0]
    with pytest.raises(InputError, match="partly of vector and partly of single environments"):
        exec_env.make_vec("AlmgrenChriss-v0", 2, [NormalizeObservation, lambda env: env])


def test_a_file_is_read_once_for_many_problems_and_again_when_it_has_changed(
    tape_csv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = []
    read = Tape.read.__func__
    monkeypatch.setattr(Tape, "read", classmethod(lambda cls, *a, **k: reads.append(a) or read(cls, *a, **k)))
    options: dict[str, Any] = {"tape": tape_csv, "n_steps": 5, "shares": 2.5e4}
    first = make_problem(**options)
    assert make_problem(**options, side="buy").tape is first.tape
    assert len(reads) == 1
    tape_csv.write_text(tape_csv.read_text() + "\n")
    make_problem(**options)
    assert len(reads) == 2


@pytest.mark.long
def test_what_was_plugged_in_can_be_saved_pickled_and_learned_from_with_the_library(tmp_path: Path) -> None:
    options: dict[str, Any] = {"n_steps": 4, "shares": 2e4, "features": {"pressure": pressure}}
    env = pickle.loads(pickle.dumps(gym.make("AlmgrenChriss-v0", **options)))
    assert env.reset(seed=0)[0].shape == (11,)
    ppo = PPOConfig(rollout=8, batch_size=64, hidden=(8,))
    train("ppo", tmp_path / "run", CONFIG, ppo, market=Market(), **options)
    result = evaluate(["twap", tmp_path / "run"], episodes=8, market=Market(), **options)
    assert not any("was trained on" in remark for remark in result.remarks)
    result.save(tmp_path / "evaluation")
    write_report([tmp_path / "run"], tmp_path / "report.html", episodes=8, **options)
    with pytest.raises(InputError, match="features = pressure: pathwise acts on the problem's own entries"):
        train("pathwise", tmp_path / "other", TrainConfig(steps=2_000_000, num_envs=16), **options)
    assert not (tmp_path / "other").exists()


def test_a_method_of_an_object_has_no_import_path() -> None:
    with pytest.raises(InputError, match="cannot be kept in a file"):
        path_of(Counting().initial_state, "reward")
    assert path_of(pressure, "feature") == "tests.one_asset.test_hooks:pressure"


def test_a_split_that_was_registered_is_evaluated_on_its_later_rows(tape_csv: Path) -> None:
    exec_env.register("Split-v0", "default", tape=str(tape_csv), tape_split=0.5, n_steps=5, shares=2.5e4)
    try:
        assert evaluate(["twap"], "Split-v0", episodes=4).problem.tape.part == "evaluation"
    finally:
        ENVIRONMENTS.pop("Split-v0")
        gym.registry.pop("Split-v0")


@pytest.mark.slow
def test_a_problem_that_no_other_process_can_have_is_drawn_in_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    ahead = PathsAhead(Local(), 4, 3)
    monkeypatch.setattr(ahead, "_alone", False)
    ahead.seed({i: np.random.default_rng(i) for i in range(4)})
    for _ in range(1200):  # another process may take a minute to start where the machine is busy
        assert ahead.advance(np.arange(4)).shape == (4,)
        time.sleep(0.05)
        if ahead._alone:
            break
    assert ahead._alone
    assert ahead.advance(np.arange(4)).shape == (4,)


class Local:
    """Draws paths, and cannot be pickled."""

    def __init__(self) -> None:
        self.draw = lambda rng, n: rng.standard_normal((n, 3))

    def sample(self, rngs: Any, n_paths: int = 1) -> Paths:
        z = np.concatenate([self.draw(rng, n_paths) for rng in rngs])
        return Paths(TwoOrdersSlice(z), np.ones(len(z)))
