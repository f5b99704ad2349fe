"""Orders in a market whose impact is not told: the optimum of who knows it, regret, what is seen, what is learned."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

import exec_env
from exec_env.agents.ppo import PPOConfig
from exec_env.base.errors import InputError, UnknownOption
from exec_env.envs.registry import ENVIRONMENTS, problem_of
from exec_env.envs.rollout import acting, rollout, totals
from exec_env.harness import TrainConfig, evaluate, train
from exec_env.harness.reports.report import write_report
from exec_env.harness.training.loop import resume
from exec_env.market.execution import bps
from exec_env.market.market import Market, lognormal
from exec_env.market.order import Order
from exec_env.market.paths import Normals, Paths
from exec_env.one_asset.actions import ActionMode
from exec_env.one_asset.problem import OneAsset
from exec_env.optimum import lq
from exec_env.unknown_market.known import Impact, Known, mean_cost
from exec_env.unknown_market.observation import UnknownObservation
from exec_env.unknown_market.options import MARKET, ORDER, make_problem
from exec_env.unknown_market.policies import CertaintyEquivalent
from exec_env.unknown_market.problem import UnknownMarket

ID = "AlmgrenChrissUnknown-v0"
STILL = replace(MARKET, impact_noise=0.0)
"""Nothing is random but the price, and the impact that is drawn."""
SMALL: dict[str, Any] = {"orders": 3, "n_steps": 4, "shares": 20_000.0}

# One unit in 20 slices at u² η + 0.02 (x − u)², η = exp(0.7 z); concessions are seen with an error of this deviation.
PUBLISHED = {0.05: {1: 4.86, 2: 0.59, 10: 0.079}, 0.2: {1: 8.0, 2: 6.25, 10: 1.22}}
"""Mean of cost over least cost, less one, of the certainty equivalent by order, from 4000 markets. [%]"""
PUBLISHED_LATE = {0.05: 0.014, 0.2: 0.25}
"""The same at the fiftieth order, from 400 markets."""
PUBLISHED_PRIOR = 6.12


def unit_problem(noise: float, orders: int = 10) -> UnknownMarket:
    """The problem that the published numbers are of."""
    free = {"half_spread": 0.0, "permanent_impact": 0.0, "transient_impact": 0.0, "impact_noise": 0.0}
    mean = {"arrival_price": 1.0, "volatility": 1.0, "temporary_impact": math.exp(0.245), "slippage_noise": 1e4 * noise}
    order = Order(shares=1.0, n_steps=20, slice_length=1.0, risk_aversion=0.02, max_participation=None)
    return make_problem(orders=orders, market=replace(MARKET, **free, **mean), order=order)


def sums(agent: Any, problem: UnknownMarket, paths: Paths) -> dict[str, np.ndarray]:
    act = acting(agent, paths.n_paths, problem, paths)
    return totals(act, paths, problem, problem.actions("fraction"), ("objective", "shortfall"), tally=True)


def regrets(found: dict[str, np.ndarray], orders: int) -> np.ndarray:
    """Shape: (orders, n_paths). [bps]"""
    return np.array([found[f"regret_{k + 1}"] for k in range(orders)])


class Restless:
    """Random fractions, the same for the same seed."""

    action_mode = "fraction"
    names = UnknownObservation._fields

    def __init__(self, seed: int = 0, high: float = 0.6) -> None:
        self.seed, self.high, self.rng = seed, high, np.random.default_rng(seed)

    def act(self, observations: np.ndarray) -> np.ndarray:
        return self.rng.uniform(0.0, self.high, (len(observations), 1))


# The optimum of who knows


def test_who_knows_the_impact_pays_the_linear_quadratic_optimum_of_each_market() -> None:
    paths = make_problem().sample([np.random.default_rng(0)], 4)
    impact = Impact.drawn(paths.slices)
    known = Known.of(MARKET, ORDER, impact)
    for i, (slope, permanent, transient) in enumerate(zip(*impact, strict=True)):
        fields = {"temporary_impact": slope * ORDER.slice_length, "permanent_impact": permanent}
        alone = lq.solve(replace(MARKET, **fields, transient_impact=transient), ORDER)
        assert known.cost[i] == pytest.approx(alone.bound, rel=1e-12)
        for t in (0, 7, 19):
            assert known.rules[t].by_inventory[i] == pytest.approx(alone.gain[t, 0, 0, 0], rel=1e-10)
            assert known.rules[t].by_push[i] == pytest.approx(alone.gain[t, 0, 0, 1], rel=1e-9, abs=1e-9)
            assert known.rules[t].curvature[i] == pytest.approx(alone.curvature[t, 0, 0], rel=1e-10)


@pytest.mark.parametrize("cap", [None, 0.05])
def test_without_noise_any_trades_cost_the_least_cost_and_their_regret_on_every_path(cap: float | None) -> None:
    problem = make_problem(market=STILL, **SMALL, max_participation=cap, parameter_spread=1.5)
    paths = problem.sample([np.random.default_rng(1)], 300)
    in_part = Impact.drawn(paths.slices).part < 1
    assert 0 < in_part.sum() < 100  # pushes are charged in part there, and the identity holds all the same
    found = sums(Restless(), problem, paths)
    assert (found["shares_left"] > 0).all()  # the closing block counts too
    np.testing.assert_allclose(found["objective"], found["known"] + regrets(found, 3).mean(0), rtol=1e-9)


def test_the_regret_of_who_is_told_is_zero() -> None:
    problem = make_problem()
    paths = problem.sample([np.random.default_rng(2)], 100)
    found = sums(problem.policies()["oracle"](), problem, paths)
    exact = Impact.drawn(paths.slices).part == 1
    assert exact.sum() >= 99
    assert (regrets(found, 10)[:, exact] <= 1e-9 * found["known"][exact]).all()


def test_the_bound_is_the_mean_of_the_least_costs() -> None:
    problem = make_problem()
    least = Known.of(MARKET, ORDER, Impact.drawn(problem.sample([np.random.default_rng(3)], 1000).slices)).cost
    least = least * bps(ORDER.shares * MARKET.arrival_price)
    mean = mean_cost(MARKET, ORDER, 0.7)
    assert problem.bound().value_bps == mean.value_bps == pytest.approx(19.54136, abs=1e-4)
    assert mean.error_bps < 1e-4
    assert least.mean() == pytest.approx(mean.value_bps, abs=4 * least.std() / 1000**0.5)


def test_the_bound_is_below_every_policy() -> None:
    agents = [
        "certainty-equivalent",
        "prior",
        "oracle",
        "twap",
        *(Restless(i, high) for i, high in enumerate((0.2, 1))),
    ]
    result = evaluate(agents, ID, episodes=200, n_examples=0, seed=5, **SMALL)
    table = result.per_agent
    assert (table["objective_mean"] > result.bound_bps - 1e-4).all()
    raw = table["objective_raw_mean"] > result.bound_bps - 4 * table["objective_raw_se"]
    assert raw.all()
    assert list(table.index[:3]) == ["oracle", "certainty-equivalent", "prior"]
    for name in ("draw", "excess"):  # control variates have mean zero, whatever an agent does
        columns = result.per_path.groupby("agent", observed=True)[f"variate_{name}"]
        assert (columns.mean().abs() < 4 * columns.sem()).all(), name


# The known market


def test_without_spread_each_order_is_one_asset_path_by_path() -> None:
    problem = make_problem(orders=3, parameter_spread=0.0, slippage_noise=2.0)
    one = OneAsset(problem.market, problem.order)
    paths, alone = problem.sample([np.random.default_rng(4)], 5), one.sample([np.random.default_rng(4)], 15)
    rng = np.random.default_rng(0)
    actions = rng.uniform(0.0, 0.4, (20, 15, 1))
    turn = iter(actions)
    expected = [step.fill for step in rollout(lambda _: next(turn), alone, one, one.actions("fraction"))]
    mine = iter([actions[t, np.arange(5) * 3 + k] for k in range(3) for t in range(20)])
    steps = rollout(lambda _: next(mine), paths, problem, problem.actions("fraction"))
    for number, step in enumerate(steps):
        order, t = divmod(number, 20)
        for name, ours, theirs in zip(step.fill._fields, step.fill, expected[t], strict=True):
            np.testing.assert_array_equal(ours, np.asarray(theirs)[order::3], err_msg=f"{name} in slice {number}")


def test_without_spread_all_who_plan_are_the_same_and_the_bound_is_that_of_one_order() -> None:
    result = evaluate(["prior", "oracle", "certainty-equivalent"], ID, 40, n_examples=0, parameter_spread=0.0, **SMALL)
    order = result.problem.order  # type: ignore[attr-defined]
    assert result.bound_bps == pytest.approx(lq.solve(MARKET, order).bound_bps, rel=1e-12)
    columns = [result.per_path[result.per_path["agent"] == a]["objective"] for a in result.per_agent.index]
    for column in columns[1:]:
        np.testing.assert_allclose(column, columns[0], rtol=1e-9)


def test_a_buy_costs_what_a_sell_costs_on_the_mirrored_path() -> None:
    found = [
        sums(CertaintyEquivalent(p.market, p.order, p.spread), p, p.sample([np.random.default_rng(6)], 20))
        for p in (make_problem(**SMALL), make_problem(**SMALL, side="buy"))
    ]
    for name, column in found[0].items():
        np.testing.assert_array_equal(column, found[1][name], err_msg=name)


# What is seen


def test_a_concession_is_what_the_equations_say_and_the_next_order_begins_anew() -> None:
    """By hand: η/Δ = 2, κ = 1, decay ½; ten shares: v = 4, then 6, each order."""
    market = replace(STILL, permanent_impact=0.5, transient_impact=1.0, resilience=math.log(2), temporary_impact=2.0)
    market = replace(market, half_spread=0.0, volatility=0.0)
    order = Order(shares=10.0, n_steps=2, slice_length=1.0, max_participation=None)
    env = gym.make(ID, market=market, order=order, orders=2, parameter_spread=0.0, action="shares")
    first, _ = env.reset(seed=0)
    np.testing.assert_allclose(first, [1, 1, 1, 0, 0, 0, 0])
    seen, *_ = env.step(np.array([4.0]))
    # 2 · 4 a share, in units of 2 · 5; of the four shares two are still to decay; trades in units of five.
    np.testing.assert_allclose(seen, [0.5, 0.6, 1, 0.2, 0.8, 0.8, 0])
    seen, _, over, _, info = env.step(np.array([6.0]))
    # 2 · 6 + own push 1 · 2.
    np.testing.assert_allclose(seen, [1, 1, 0.5, 0, 1.2, 1.4, 0])
    assert not over
    assert info["shares"] == 6
    env.step(np.array([1.0]))
    seen, _, over, _, info = env.step(np.array([2.0]))  # seven are left for the closing block
    assert over
    np.testing.assert_allclose(seen, [0, 0, 0, 0, 0, 0, 0])
    assert info["block"] == 7


def test_before_the_first_trade_nothing_tells_the_impact() -> None:
    problem = make_problem(**SMALL, volatility=0.0)
    seen = []

    def act(observations: np.ndarray) -> np.ndarray:
        seen.append(observations)
        return np.full((len(observations), 1), 0.0 if len(seen) < 3 else 0.5)

    paths = problem.sample([np.random.default_rng(0)], 50)
    for _ in rollout(act, paths, problem, problem.actions("fraction")):
        pass
    assert all((rows == rows[0]).all() for rows in seen[:3])
    assert np.ptp(seen[3][:, UnknownObservation._fields.index("concession")]) > 0.1


def test_the_oracle_does_not_act_on_observations_alone() -> None:
    oracle = make_problem().policies()["oracle"]()
    with pytest.raises(InputError, match="oracle: acts on paths that it is told, as in evaluate"):
        oracle.act(np.zeros((2, 7), np.float32))


# What is learned


def test_the_belief_is_the_regression_on_all_concessions_so_far() -> None:
    """With an error of known variance the recursion is the normal equations with the prior as more observations."""
    market = replace(STILL, slippage_noise=3.0)
    agent, rng, n = CertaintyEquivalent(market, ORDER, 0.7), np.random.default_rng(0), 6
    unit = market.slope(ORDER.slice_length) * ORDER.shares / ORDER.n_steps
    belief, recent, rows = agent.initial_state(1), 0.0, []
    for _ in range(n):
        traded, concession, after = rng.uniform(0.5, 2.0), rng.normal(1.0, 0.5), rng.uniform(0.1, 0.5)
        rows.append((traded, market.transient_impact * ORDER.shares * recent / unit, concession))
        seen = np.array([[0.5, 0.5, 1.0, after, traded, concession, 0.0]])
        belief, recent = agent.learn(seen, belief), after
    design, answers = np.array([row[:2] for row in rows]), np.array([row[2] for row in rows])
    error, prior = (3e-4 * market.arrival_price / unit) ** 2, math.expm1(0.7**2)
    precision = design.T @ design / error + np.eye(2) / prior
    mean = np.linalg.solve(precision, design.T @ answers / error + np.ones(2) / prior)
    assert (belief.eta[0], belief.kappa[0]) == pytest.approx(tuple(mean), rel=1e-6)
    covariance = np.linalg.inv(precision)
    assert (belief.eta_eta[0], belief.eta_kappa[0], belief.kappa_kappa[0]) == pytest.approx(
        (covariance[0, 0], covariance[0, 1], covariance[1, 1]), rel=1e-6
    )


def test_without_noise_two_trades_tell_eta_and_kappa() -> None:
    problem = make_problem(market=STILL, orders=2)
    paths = problem.sample([np.random.default_rng(7)], 100)
    agent = CertaintyEquivalent(problem.market, problem.order, problem.spread)
    beliefs = []

    class Watched:
        action_mode, names, initial_state = agent.action_mode, agent.names, agent.initial_state

        def act(self, observations: np.ndarray, state: Any) -> Any:
            fractions, after = agent.act(observations, state)
            beliefs.append(after)
            return fractions, after

    found = sums(Watched(), problem, paths)
    impact, mean = Impact.drawn(paths.slices), Impact.of(problem.market, problem.order)
    np.testing.assert_allclose(beliefs[-1].eta, impact.slope / mean.slope, rtol=1e-3)
    np.testing.assert_allclose(beliefs[-1].kappa, impact.transient / mean.transient, rtol=0.02)
    # What is left is of γ, which is taken for its mean: a hundredth of the slope.
    assert (regrets(found, 2)[1] < 1e-3 * found["known"]).mean() > 0.95


def test_the_priors_excess_is_the_published_one_by_quadrature() -> None:
    problem = unit_problem(0.0, orders=1)
    z, weights = np.polynomial.hermite_e.hermegauss(40)
    still = Normals(**{name: np.zeros((40, 20)) for name in Normals._fields[:6]})
    paths = problem.source.shaped(np.c_[z, 0.0 * z, 0.0 * z], still)
    np.testing.assert_allclose(paths.slices.slope[:, 0], np.exp(0.7 * z))
    found = sums(problem.policies()["prior"](), problem, paths)
    excess = 100 * (found["objective"] / found["known"] - 1) @ weights / weights.sum()
    assert excess == pytest.approx(PUBLISHED_PRIOR, rel=0.05)


def percents(noise: float, n_paths: int, orders: int) -> np.ndarray:
    """Excess of the certainty equivalent over the least cost. Shape: (orders, n_paths). [%]"""
    problem = unit_problem(noise, orders)
    paths = problem.sample([np.random.default_rng(8)], n_paths)
    found = sums(problem.policies()["certainty-equivalent"](), problem, paths)
    return 100 * regrets(found, orders) / found["known"]


@pytest.mark.parametrize("noise", PUBLISHED)
def test_the_certainty_equivalents_excess_falls_by_order_as_published(noise: float) -> None:
    found = percents(noise, 300, 2)
    for order in (1, 2):
        ours = found[order - 1].std() / 300**0.5
        theirs = max(ours * (300 / 4000) ** 0.5, 0.05 * PUBLISHED[noise][order] / 2)
        assert found[order - 1].mean() == pytest.approx(PUBLISHED[noise][order], abs=3 * math.hypot(ours, theirs))


@pytest.mark.long
@pytest.mark.parametrize("noise", PUBLISHED)
def test_over_fifty_orders_too(noise: float) -> None:
    found = percents(noise, 1000, 50)
    for order, value in {**PUBLISHED[noise], 50: PUBLISHED_LATE[noise]}.items():
        ours = found[order - 1].std() / 1000**0.5
        few = 400 if order == 50 else 4000
        theirs = max(ours * (1000 / few) ** 0.5, (0.05 if order == 1 else 0.2) * value / 2)
        assert found[order - 1].mean() == pytest.approx(value, abs=3 * math.hypot(ours, theirs)), order


def test_on_the_id_regret_falls_by_order_below_the_priors_and_stays_above_zero() -> None:
    problem = problem_of(ID)
    paths = problem.sample([np.random.default_rng(9)], 100)
    learns, never = (
        regrets(sums(problem.policies()[a](), problem, paths), 10) for a in ("certainty-equivalent", "prior")
    )
    by_order = learns.mean(1)
    assert (np.diff(by_order) < 0).all()
    assert (by_order < never.mean(1)).all()
    assert by_order[9] < by_order[0] / 20
    assert (learns > 0).all()
    np.testing.assert_allclose(never, np.tile(never[0], (10, 1)), rtol=1e-6)


# Environments, harness, options


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_the_vector_environment_plays_what_single_ones_play_over_the_ends_of_orders(mode: str) -> None:
    vector = gym.make_vec(ID, num_envs=2, autoreset_mode=mode, **SMALL)
    single = [gym.make(ID, **SMALL) for _ in range(2)]
    rng = np.random.default_rng(0)
    seen, _ = vector.reset(seed=3)
    for i, env in enumerate(single):
        np.testing.assert_array_equal(env.reset(seed=3 + i)[0], seen[i])
    for step in range(12):
        actions = rng.uniform(0.0, 1.0, (2, 1)).astype(np.float32)
        seen, rewards, over, _, _ = vector.step(actions)
        for i, env in enumerate(single):
            expected, reward, ended, _, _ = env.step(actions[i])
            if ended and mode == "SameStep":
                expected = env.reset()[0]
            assert rewards[i] == pytest.approx(reward, rel=1e-9)
            assert over[i] == ended == (step == 11)
            np.testing.assert_allclose(seen[i], expected, rtol=1e-6, atol=1e-7)


def test_components_add_up_over_all_orders() -> None:
    result = evaluate(["certainty-equivalent"], ID, episodes=20, n_examples=0, **SMALL)
    parts = result.per_path[list(result.problem.components)].sum(axis=1)
    np.testing.assert_allclose(parts, result.per_path["shortfall"], rtol=1e-9, atol=1e-9)


@pytest.fixture
def registered() -> Iterator[str]:
    exec_env.register("Mine-v0", ENVIRONMENTS[ID].problem, orders=2, n_steps=3, parameter_spread=0.3)
    yield "Mine-v0"
    ENVIRONMENTS.pop("Mine-v0")
    gym.registry.pop("Mine-v0")


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_a_variant_is_registered_and_its_regret_is_in_table_files_and_report(registered: str, tmp_path: Path) -> None:
    result = evaluate(["certainty-equivalent", "prior", "oracle"], registered, episodes=30, n_examples=1)
    problem: Any = result.problem
    assert (problem.orders, problem.n_steps, problem.spread) == (2, 6, 0.3)
    assert "regret [bps of the order's notional], by order:" in result.table()
    folder = result.save(tmp_path / "out")
    regret = (folder / "regret.csv").read_text().splitlines()
    assert regret[0] == "agent,order,mean,se,low,high"
    assert len(regret) == 1 + 3 * 2
    assert (folder / "regret.png").exists()
    write_report(["prior", "oracle"], tmp_path / "report.html", registered, episodes=20)
    assert "Regret by order" in (tmp_path / "report.html").read_text()


@pytest.mark.long
def test_a_learner_trains_saves_goes_on_and_is_reported(tmp_path: Path) -> None:
    config = TrainConfig(ID, steps=512, intervals=2, num_envs=16, check_episodes=8)
    settings = PPOConfig(rollout=12, batch_size=64, hidden=(8,))
    learner = train("ppo", tmp_path / "run", config, settings, **SMALL)
    again = resume(tmp_path / "run")
    probe = np.zeros((3, 7), np.float32)
    np.testing.assert_array_equal(learner.act(probe), again.act(probe))
    write_report([tmp_path / "run", "prior", "oracle"], tmp_path / "report.html", ID, episodes=20, **SMALL)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"orders": 0}, "orders = 0: must be a whole number >= 1"),
        ({"parameter_spread": -0.1}, "parameter_spread = -0.1: must be a finite number >= 0"),
        ({"parameter_spread": 3.0}, r"parameter_spread = 3.0: must be in \[0, 2\]"),
        ({"liquidity_volatility": 0.5}, "Market.liquidity_volatility = 0.5: must be 0.0 where impact is not told"),
        ({"impact_exponent": 0.6}, "Market.impact_exponent = 0.6: must be 1.0 where impact is not told"),
        ({"overnight_variance": 0.3, "n_steps": 120}, "Market.overnight_variance = 0.3: must be 0.0 where impact is"),
        ({"stress": "liquidity-collapse"}, "Market.stress = 'liquidity-collapse': must be 'none'"),
        ({"temporary_impact": 0.0}, "Market.temporary_impact = 0.0: must be above 0"),
        ({"risk_aversion": -1e-9}, "Order.risk_aversion = -1e-09: must be >= 0"),
        ({"market": "market.yaml"}, "market = 'market.yaml': must be a Market"),
        ({"action": "fractoin"}, "did you mean 'fraction'"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(options: dict[str, Any], why: str) -> None:
    with pytest.raises(InputError, match=why):
        make_problem(**options)


def test_an_option_that_is_none_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(UnknownOption, match="did you mean 'orders'"):
        make_problem(oders=3)


def test_impact_is_drawn_lognormal_with_the_markets_as_its_mean_and_each_apart() -> None:
    impact = Impact.drawn(make_problem(orders=1, n_steps=2).sample([np.random.default_rng(10)], 20_000).slices)
    mean = Impact.of(MARKET, ORDER)
    logs = np.array([np.log(own / of) for own, of in zip(impact, mean, strict=True)])
    np.testing.assert_allclose(logs.mean(1), -(0.7**2) / 2, atol=4 * 0.7 / 20_000**0.5)
    np.testing.assert_allclose(logs.std(1), 0.7, rtol=0.02)
    np.testing.assert_allclose(np.corrcoef(logs), np.eye(3), atol=4 / 20_000**0.5)
    assert float(lognormal(0.0, 0.0, 0.0, 0.7, 0.35)) == pytest.approx(1.0)  # mean one: half a deviation up
    assert isinstance(MARKET, Market)


def test_tensors_cost_what_arrays_cost_and_gradients_reach_the_policy() -> None:
    problem = make_problem(**SMALL)
    paths = problem.sample([np.random.default_rng(11)], 20)
    market = problem.torch("cpu")
    fraction = torch.tensor(0.3, requires_grad=True)
    found = market.costs(lambda seen: fraction.expand(len(seen)), market.load(paths), ActionMode("fraction"))

    class Steady(Restless):
        def act(self, observations: np.ndarray) -> np.ndarray:
            return np.full((len(observations), 1), 0.3)

    expected = sums(Steady(), problem, paths)
    np.testing.assert_allclose(found.objective.detach(), expected["objective"], rtol=1e-4)
    found.objective.mean().backward()
    assert fraction.grad is not None
    assert abs(float(fraction.grad)) > 1e-3


def test_paths_of_tensors_have_the_means_of_paths_of_arrays() -> None:
    problem = make_problem(orders=2, n_steps=3, shares=20_000.0)
    market = problem.torch("cpu")
    ours = market.simulate(4000, market.generator(0)).slices
    theirs = problem.sample([np.random.default_rng(0)], 4000).slices
    for name in ("slope", "transient", "permanent"):
        drawn = getattr(ours, name)
        assert (drawn == drawn[:, :1]).all()
        logs = (drawn[:, 0].log(), torch.tensor(getattr(theirs, name)[:, 0]).log())
        assert float(logs[0].mean()) == pytest.approx(float(logs[1].mean()), abs=4 * 0.7 * (2 / 4000) ** 0.5)
        assert float(logs[0].std()) == pytest.approx(0.7, rel=0.05)
    noise = (ours.temporary / ours.slope).log()
    assert noise.shape == (4000, 6)
    assert float(noise.std()) == pytest.approx(problem.market.impact_noise, rel=0.03)
