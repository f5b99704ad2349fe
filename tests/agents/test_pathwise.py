"""The policy trained by gradients through the market."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from exec_env import ActionMode, Market, Order
from exec_env.agents.pathwise import Paces, Pathwise, PathwiseConfig, pathwise_loss
from exec_env.harness import TrainConfig, evaluate, train
from exec_env.harness.agents import load_run
from exec_env.harness.evaluation import evaluate_on
from exec_env.harness.metrics import cvar
from exec_env.one_asset.observation import Observation
from exec_env.one_asset.options import make_problem
from exec_env.one_asset.randomise import shared
from exec_env.one_asset.torch_market import Costs, TorchMarket
from tests.agents.problems import head_of

HEAD = head_of(ActionMode("fraction"), Order(n_steps=40))
SMALL: dict[str, Any] = {"n_steps": 5, "shares": 2.5e4}


def observations(n: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    out = rng.standard_normal((n, len(Observation._fields))).astype(np.float32)
    out[:, 0] = rng.integers(1, 41, n) / 40
    return out


def costs(objective: list[float], shortfall: list[float]) -> Costs:
    return Costs(torch.tensor(objective), torch.tensor(shortfall), torch.zeros(len(objective)), torch.zeros(1))


def test_each_objective_is_what_its_name_says() -> None:
    c = costs([1.0, 2.0, 3.0, 4.0], [10.0, 0.0, 20.0, 30.0])
    assert float(pathwise_loss(c, PathwiseConfig())) == 2.5
    assert float(pathwise_loss(c, PathwiseConfig(objective="cvar", tail=0.5))) == 25.0
    spread = PathwiseConfig(objective="mean-variance", variance_weight=0.1)
    assert float(pathwise_loss(c, spread)) == pytest.approx(15.0 + 0.1 * np.var([10, 0, 20, 30], ddof=1))


def test_the_worst_markets_are_those_whose_paths_cost_most_on_average() -> None:
    # Markets of two paths: means 2, 6, 4 and 5; two of the four are 6 and 5. The dearest path, 9, is in the cheapest.
    c = costs([-5.0, 9.0, 6.0, 6.0, 1.0, 7.0, 5.0, 5.0], [0.0] * 8)
    worst = PathwiseConfig(objective="worst", paths=8, paths_per_market=2, worst_share=0.5)
    assert float(pathwise_loss(c, worst)) == 5.5
    assert float(pathwise_loss(c, replace(worst, worst_share=0.1))) == 6.0  # one at least
    agent = Pathwise(worst, HEAD)
    assert agent.score(np.r_[c.objective.numpy(), 100.0], np.zeros(9)) == 5.5  # part of a market counts for nothing
    assert np.isnan(agent.score(np.zeros(3), np.zeros(3)))


@pytest.mark.parametrize(("paths", "each"), [(100, 16), (16, 16)])
def test_paths_are_whole_markets_two_at_least(paths: int, each: int) -> None:
    with pytest.raises(ValueError, match=rf"PathwiseConfig\.paths = {paths}: must be two or more markets with .* = 16"):
        PathwiseConfig(objective="worst", paths=paths, paths_per_market=each)


def test_one_market_has_no_worst(tmp_path: Path) -> None:
    config = PathwiseConfig(paths=64, hidden=(4,), objective="worst")
    with pytest.raises(ValueError, match="objective = 'worst': all paths play one market; draw markets with randomise"):
        fit(tmp_path / "run", config=config)


def test_paths_of_a_market_are_its_own_and_share_it_in_training_and_in_checks() -> None:
    problem = make_problem(randomise=["half_spread=1:8"], spread_noise=0.0, liquidity_volatility=0.0, **SMALL)
    drawn = Pathwise(PathwiseConfig(objective="worst", paths=12, paths_per_market=4), HEAD).drawn_from(problem)
    market = drawn.torch("cpu")
    of_tensors = market.simulate(12, market.generator(0)).slices
    for slices in (of_tensors, drawn.sample([np.random.default_rng(0)], 12).slices):
        spreads, prices = map(np.asarray, (slices.half_spread, slices.price_shock))
        spreads = spreads.reshape(3, 4, -1)
        assert (np.ptp(spreads, axis=(1, 2)) < 1e-6 * spreads.max()).all()
        assert len(np.unique(spreads[:, 0, 0])) == 3
        assert len(np.unique(prices[:, 0])) == 12
    assert Pathwise(PathwiseConfig(), HEAD).drawn_from(problem) is problem


def test_checks_rank_by_what_is_minimised() -> None:
    shortfall = np.random.default_rng(0).standard_normal(1000)
    agent = Pathwise(PathwiseConfig(objective="cvar", tail=0.05), HEAD)
    assert agent.score(np.zeros(1000), shortfall) == pytest.approx(cvar(shortfall, 0.95))


def test_it_begins_near_twap_at_every_time() -> None:
    seen = observations(500)
    slices_left = np.rint(seen[:, 0] * 40)
    pace = Pathwise(PathwiseConfig(), HEAD, seed=1).act(seen)[:, 0] * slices_left
    assert np.median(np.abs(pace - 1)) < 0.1
    assert (Pathwise(PathwiseConfig(), HEAD).act(seen) <= 1).all()


def test_actions_are_fractions_whatever_the_environment_asks_for() -> None:
    agent = Pathwise(PathwiseConfig(), head_of(ActionMode("pace"), Order()))
    assert agent.action_mode == ActionMode("fraction")
    assert agent.act(observations(7)).shape == (7, 1)


def test_twenty_steps_lower_the_cost_on_other_paths() -> None:
    market = TorchMarket(Market(), Order(n_steps=4, shares=2e4), dtype=torch.float32)
    agent = Pathwise(PathwiseConfig(paths=256), replace(HEAD, n_steps=4), total_steps=10**9)
    paths = market.simulate(4096, market.generator(7))
    with torch.no_grad():
        before = market.costs(agent.policy, paths, agent.action_mode).objective.mean()
    generator = market.generator(0)
    for _ in range(20):
        agent.update(market, market.simulate(agent.config.paths, generator))
    with torch.no_grad():
        after = market.costs(agent.policy, paths, agent.action_mode).objective.mean()
    assert after < before


def test_a_network_without_hidden_layers_is_linear_in_the_log_of_the_pace() -> None:
    policy = Paces(10, (), 40)
    seen = torch.as_tensor(observations(50))
    wanted = (seen @ policy.log_pace[0].weight[0]).exp() / (40 * seen[:, 0])  # type: ignore[index]
    torch.testing.assert_close(policy(seen), wanted)


def fit(run: Path, steps: int = 40_000, config: PathwiseConfig | None = None, **options: Any) -> Path:
    settings = TrainConfig(steps=steps, intervals=4, check_episodes=200, num_envs=8)
    train("pathwise", run, settings, config or PathwiseConfig(paths=64, hidden=(16,)), **(SMALL | options))
    return run


@pytest.mark.long
def test_it_beats_twap_within_seconds_and_a_run_keeps_it(tmp_path: Path) -> None:
    run = fit(tmp_path / "run", 200_000)
    result = evaluate([run, "twap"], episodes=4000, seed=99, **SMALL).per_agent
    assert result.loc["run", "diff_high"] < 0
    assert load_run(run).action_mode == ActionMode("fraction")


@pytest.mark.long
def test_the_tail_trained_policy_has_the_thinner_tail(tmp_path: Path) -> None:
    # Much volatility and no charge for risk: the mean alone would wait.
    risky: dict[str, Any] = {"volatility": 0.06, "risk_aversion": 0.0}
    mean = fit(tmp_path / "mean", 200_000, PathwiseConfig(paths=256, hidden=(16,)), **risky)
    tail = fit(tmp_path / "tail", 200_000, PathwiseConfig(paths=256, hidden=(16,), objective="cvar"), **risky)
    result = evaluate([mean, tail], episodes=20_000, seed=99, **SMALL, **risky).per_agent
    assert result.loc["tail", "cvar95"] < result.loc["mean", "cvar95"]
    assert result.loc["tail", "objective_mean"] > result.loc["mean", "objective_mean"]


@pytest.mark.slow
def test_the_least_steps_that_work_are_named(tmp_path: Path) -> None:
    config = TrainConfig(steps=1000, intervals=4, num_envs=48, check_episodes=10)
    paths = PathwiseConfig(paths=64, hidden=(4,))
    with pytest.raises(ValueError, match=r"or (\d+) steps or more") as caught:
        train("pathwise", tmp_path / "run", config, paths, **SMALL)
    least = int(str(caught.value).split(" steps or more")[0].split()[-1])
    with pytest.raises(ValueError, match="steps or more"):
        train("pathwise", tmp_path / "run", replace(config, steps=least - 1), paths, **SMALL)
    train("pathwise", tmp_path / "run", replace(config, steps=least), paths, **SMALL)


@pytest.mark.long
def test_on_a_recorded_market_it_learns_from_the_training_rows_alone(tmp_path: Path, tape_csv: Path) -> None:
    ours = {"tape": str(tape_csv), "tape_split": 0.5}
    fit(tmp_path / "run", **ours)
    later = pd.read_csv(tape_csv)
    later.loc[60:, ["mid", "spread", "volume", "depth"]] *= [3.0, 2.0, 0.5, 4.0]
    later.to_csv(tmp_path / "later.csv", index=False)
    fit(tmp_path / "again", **ours | {"tape": str(tmp_path / "later.csv")})
    one, other = (load_run(tmp_path / name).policy.state_dict() for name in ("run", "again"))
    for name, weights in one.items():
        torch.testing.assert_close(weights, other[name], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "value"), [("reward", "shortfall"), ("violation_penalty", 1.0), ("smoothness_penalty", 0.5)]
)
def test_a_reward_that_would_have_no_effect_is_refused(name: str, value: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"{name} = {value!r}: pathwise minimises its own objective, 'expected'"):
        fit(tmp_path / "run", **{name: value})
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
def test_learning_that_diverged_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="learning diverged: try a smaller learning rate than 1e"):
        fit(tmp_path / "run", config=PathwiseConfig(paths=64, hidden=(16,), learning_rate=1e20))


def test_one_path_has_no_variance_to_be_ranked_by(tmp_path: Path) -> None:
    settings = TrainConfig(steps=1280, intervals=2, check_episodes=1, num_envs=8)
    config = PathwiseConfig(paths=64, hidden=(4,), objective="mean-variance")
    with pytest.raises(ValueError, match="TrainConfig.check_episodes = 1: too few for a score"):
        train("pathwise", tmp_path / "run", settings, config, **SMALL)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_it_learns_on_markets_drawn_for_each_path(tmp_path: Path) -> None:
    config = TrainConfig(steps=12_800, num_envs=16, intervals=2, check_episodes=50)
    settings = PathwiseConfig(hidden=(8,), paths=128)
    for folder in ("one", "again"):
        train("pathwise", tmp_path / folder, config, settings, randomise=["stress"], **SMALL)
    one, again = ((tmp_path / folder / "best/weights.pt").read_bytes() for folder in ("one", "again"))
    assert one == again
    train("pathwise", tmp_path / "plain", config, settings, **SMALL)
    assert (tmp_path / "plain/best/weights.pt").read_bytes() != one


@pytest.mark.long
def test_trained_for_the_worst_markets_they_get_cheaper_and_the_normal_one_dearer(tmp_path: Path) -> None:
    problem: dict[str, Any] = {"n_steps": 10, "slice_length": 4 / 78}
    settings = TrainConfig(steps=8_000_000, intervals=10, check_episodes=4000, num_envs=8, seed=2)
    for objective in ("expected", "worst"):
        config = PathwiseConfig(objective=objective, paths=2048, hidden=(32,))  # type: ignore[arg-type]
        train("pathwise", tmp_path / objective, settings, config, randomise="parameters", **problem)
    runs = [tmp_path / "expected", tmp_path / "worst"]
    drawn = shared(make_problem(randomise="parameters", **problem), 64)
    found = evaluate_on(drawn, runs, "AlmgrenChriss-v0", 64 * 640, 99, "random", 0, False, False, {}).per_path
    expected, worst = found["objective"].to_numpy().reshape(2, 640, 64).mean(2)
    gain = (expected - worst)[np.argsort(expected)[-64:]]  # in the worst tenth of who was not trained for it
    assert gain.mean() > 2 * gain.std(ddof=1) / 64**0.5
    assert np.sort(worst)[-64:].mean() < np.sort(expected)[-64:].mean()
    normal = evaluate(runs, episodes=20_000, seed=99, **problem).per_agent
    assert normal.loc["worst", "objective_mean"] > normal.loc["expected", "objective_mean"]
