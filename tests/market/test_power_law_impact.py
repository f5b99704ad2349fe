"""Power-law temporary impact: its scale, its linear stand-in, where it comes from, and the best one can do."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from exec_env.baselines.adaptive import Adaptive
from exec_env.baselines.garleanu_pedersen import GarleanuPedersen
from exec_env.baselines.optimal import Optimal
from exec_env.data.market_file import UNITS, MarketFile, Parameter
from exec_env.data.tape import Tape
from exec_env.harness import evaluate
from exec_env.market.execution import bps, opening, temporary_cost, terms, trade
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.market.paths import Paths
from exec_env.one_asset.actions import ActionMode
from exec_env.one_asset.options import make_problem
from exec_env.one_asset.presets import PRESETS
from exec_env.one_asset.torch_market import TorchMarket
from exec_env.optimum import lq
from exec_env.optimum.dynamic_programming import _recursion, solve
from tests.conftest import play
from tests.rollouts import executed

POWER = Market(impact_exponent=0.6)
SHORT = Order(shares=50_000.0, n_steps=6)
QUIET = {f"{name}_noise": 0.0 for name in ("volume", "spread", "impact", "decay")} | {"liquidity_volatility": 0.0}


def concession(market: Market, participation: float, dt: float = 1 / 78) -> float:
    """Of a slice in which that share of the mean volume is traded. [$]"""
    return market.slope(dt) * (participation * market.daily_volume * dt) ** market.impact_exponent


def test_the_preset_of_almgren_et_al_concedes_what_they_published() -> None:
    # Almgren, Thum, Hauptmann & Li (2005): 0.142 σ (participation)^0.6.
    market = PRESETS["almgren-2005"].market
    for participation in (0.01, 0.1, 0.5):
        published = 0.142 * market.volatility * market.arrival_price * participation**0.6
        assert concession(market, participation) == pytest.approx(published, rel=1e-12)


@pytest.mark.parametrize(
    ("volume", "outstanding", "volatility", "published"),
    [
        (6.561e6, 1728e6, 0.0157, (32.22, 24.64, 18.42)),  # IBM
        (1.929e6, 168e6, 0.0226, (42.93, 32.01, 23.06)),  # DRI
    ],
)
def test_their_examples_cost_what_their_table_says(
    volume: float, outstanding: float, volatility: float, published: tuple[float, ...]
) -> None:
    # A tenth of the daily volume, sold evenly in 0.1, 0.2 and 0.5 days: half of the permanent impact, and temporary.
    market = PRESETS["almgren-2005"].market.rescaled(50.0, volatility, volume)
    # Of a market with another number of shares outstanding than the preset's, 200 times the daily volume.
    gamma = market.permanent_impact * (outstanding / volume / 200) ** 0.25
    market, n = replace(market, permanent_impact=gamma, half_spread=0.0, **QUIET), 50
    for days, wanted in zip((0.1, 0.2, 0.5), published, strict=True):
        order = Order(0.1 * volume, n_steps=n, slice_length=days / n, risk_aversion=0.0, max_participation=None)
        state, total = opening(order.shares), 0.0
        for t, now in enumerate(Paths.simulate(market, order, 1, seed=0).path(0)):
            state, fill = trade(state, now, order.shares / n, terms(market, order), t == n - 1)
            total += fill.objective * bps(order.shares * 50.0)
        # Of n trades none pushes its own price, which in continuous time is half of one trade's share.
        assert total + gamma * order.shares / 50.0 * 1e4 / (2 * n) == pytest.approx(wanted, abs=0.006)


@pytest.mark.parametrize("exponent", [0.5, 0.6, 1.5, 2.0])
def test_at_the_reference_every_exponent_concedes_the_same(exponent: float) -> None:
    assert concession(Market(impact_exponent=exponent), 0.1) == pytest.approx(concession(Market(), 0.1))
    other = Market(impact_exponent=exponent, reference_participation=0.02)
    assert concession(other, 0.02) == pytest.approx(concession(Market(), 0.02))


def test_the_length_of_slices_and_a_rescaled_market_change_no_economics() -> None:
    assert concession(POWER, 0.2, 1 / 390) == pytest.approx(concession(POWER, 0.2))
    other = POWER.rescaled(arrival_price=20.0, volatility=0.05, daily_volume=1e6)
    assert concession(other, 0.2) / 1.0 == pytest.approx(concession(POWER, 0.2) / 2.0)  # σ S0 is 1 $ and 2 $


def test_the_linearised_market_costs_the_same_at_the_even_rate_and_is_the_market_itself_where_that_is_linear() -> None:
    order = Order()
    linear, even = POWER.linearised(order), order.shares / order.n_steps
    dt = order.slice_length
    assert linear.impact_exponent == 1.0
    for v, more in ((even / 2, True), (even, None), (2 * even, False)):
        power, line = temporary_cost(POWER.slope(dt), v, 0.6), temporary_cost(linear.slope(dt), v, 1.0)
        assert power == pytest.approx(line) if more is None else (power > line) == more
    assert Market().linearised(order) == Market()
    assert replace(linear, temporary_impact=1.6e-7) == Market()


@pytest.mark.parametrize("agent", [Adaptive, GarleanuPedersen])
def test_feedback_rules_are_those_of_the_linearised_market(agent: Any) -> None:
    order = Order()
    observations = gym.make_vec("AlmgrenChriss-v0", num_envs=5).reset(seed=0)[0]
    ours, theirs = (agent(market, order).act(observations) for market in (POWER, POWER.linearised(order)))
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
def test_there_is_no_linear_quadratic_bound_but_a_best_achievable_value() -> None:
    with pytest.raises(ValueError, match=r"no linear-quadratic bound for Market.impact_exponent = 0.6: .*--optimum"):
        lq.solve(POWER, SHORT)
    found = evaluate(["twap"], episodes=20, optimum=True, impact_exponent=0.6, shares=50_000, n_steps=6)
    assert "no bound: no linear-quadratic bound for Market.impact_exponent = 0.6" in found.table()
    assert f"best achievable {solve(POWER, SHORT).value_bps:.3f}, " in found.table()
    assert "above the bound" not in found.table()


def test_what_is_linearised_is_said_where_there_is_no_optimum() -> None:
    market, order = Market(impact_exponent=0.2), replace(Order(), n_steps=6)
    with pytest.raises(ValueError, match="with impact linearised at the order's average rate, no optimum"):
        Optimal(market, order)
    assert Adaptive(market, order).solution.charged.push < np.inf  # but it relaxes the problem until there is one


def test_a_reference_without_effect_is_refused() -> None:
    with pytest.raises(ValueError, match=r"reference_participation = 0.2: no effect where impact_exponent = 1"):
        Market(reference_participation=0.2)


# The best achievable


@pytest.mark.slow
@pytest.mark.parametrize("exponent", [0.5, 0.6, 1.5])
@pytest.mark.parametrize("n_steps", [2, 3])
def test_without_noise_it_is_the_minimum_over_schedules(exponent: float, n_steps: int) -> None:
    market = Market(impact_exponent=exponent, **QUIET)
    order = Order(shares=40_000.0, n_steps=n_steps)  # the cap is half of it
    constants, to_bps = terms(market, order), bps(order.shares * market.arrival_price)
    slices = Paths.simulate(market, order, 1, seed=0).path(0)

    def cost(trades: np.ndarray) -> float:
        state, total = opening(order.shares), 0.0
        for t, v in enumerate(trades):
            state, fill = trade(state, slices[t], float(v) * 1e4, constants, t == n_steps - 1)
            total += fill.objective
        return total * to_bps

    starts = [np.full(n_steps, s) for s in (0.5, 1.0, 1.5)]
    best = min(minimize(cost, s, method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-10}).fun for s in starts)
    # Where nothing is random all kinks are sharp, and take a finer grid than the usual one.
    assert _recursion(market, order, 128)[1] == pytest.approx(best, rel=1e-4)
    solution = solve(market, order)
    assert abs(solution.value_bps - best) < 2 * solution.error_bps


@pytest.mark.slow
def test_as_the_exponent_goes_to_one_the_best_achievable_goes_to_that_of_linear_impact() -> None:
    one = solve(Market(), SHORT, 16).value_bps
    below, above = (solve(Market(impact_exponent=e), SHORT, 16).value_bps for e in (0.999, 1.001))
    assert below < one < above
    assert (below + above) / 2 == pytest.approx(one, rel=1e-5)


def test_the_best_achievable_does_not_depend_on_the_reference_but_for_the_scale() -> None:
    # The same market in another convention, and so the same value to the last digits.
    other = replace(POWER, reference_participation=0.01, temporary_impact=1.6e-7 * 10**0.4)
    assert concession(other, 0.3) == pytest.approx(concession(POWER, 0.3))
    assert solve(other, SHORT, 16).value_bps == pytest.approx(solve(POWER, SHORT, 16).value_bps, rel=1e-9)


class Pushed:
    """The optimum's trades times noise of its own."""

    action_mode = "shares"

    def __init__(self, market: Market, order: Order, seed: int) -> None:
        self.best, self.rng = Optimal(market, order), np.random.default_rng(seed)

    def act(self, observations: np.ndarray) -> np.ndarray:
        noise = self.rng.lognormal(0.0, 0.2, (len(observations), 1))
        return np.minimum(self.best.act(observations) * noise, SHORT.shares)


@pytest.mark.slow
@pytest.mark.parametrize("exponent", [0.6, *(pytest.param(e, marks=pytest.mark.long) for e in (0.5, 1.5))])
def test_nobody_beats_the_optimum_on_common_paths(exponent: float) -> None:
    fields = {"impact_exponent": exponent, "shares": SHORT.shares, "n_steps": SHORT.n_steps}
    pushed = [Pushed(Market(impact_exponent=exponent), SHORT, seed) for seed in range(3)]
    others = ["twap", "vwap", "pov", "almgren-chriss", "static", "adaptive", *pushed]
    found = evaluate(["optimal", *others], episodes=4000, seed=3, n_examples=0, **fields)
    paths = found.per_path.pivot_table(index="path", columns="agent", values="objective", observed=True)
    for name in paths.columns.drop("optimal"):
        worse = paths[name] - paths["optimal"]
        assert worse.mean() > -3 * worse.sem(), name
    value, ours = solve(Market(impact_exponent=exponent), SHORT), found.per_agent.loc["optimal"]
    assert abs(ours.objective_mean - value.value_bps) < 3 * ours.objective_se + value.error_bps


# Where it comes from


def test_each_path_can_have_an_exponent_a_reference_and_a_volume_of_its_own_in_every_environment() -> None:
    randomise = ["impact_exponent=0.5:1", "reference_participation=0.05:0.2", "daily_volume=2e6:9e6"]
    options = {"randomise": randomise, "n_steps": 5, "action": "fraction", "shares": 1e5}
    problem = make_problem(**options)
    one, many = gym.make("AlmgrenChriss-v0", **options), gym.make_vec("AlmgrenChriss-v0", num_envs=3, **options)
    first = [play(one, lambda _: np.array([0.3], np.float32), seed=seed)[-1]["objective_bps"] for seed in (4, 5, 6)]
    many.reset(seed=4)
    for _ in range(5):
        *_, info = many.step(np.full((3, 1), 0.3, np.float32))
    np.testing.assert_allclose(info["objective_bps"], first, rtol=1e-9)

    paths = problem.source.sample([np.random.default_rng(4)], 64)
    assert np.unique(paths.slices.exponent[:, 0]).size == 64
    mode = ActionMode("fraction")
    ours = sum(step.fill.objective for step in executed(lambda o: np.full(len(o), 0.3), paths, *_of(problem), mode))
    to_bps = bps(problem.order.shares * paths.arrival_price)
    assert (to_bps * ours)[0] == pytest.approx(first[0], rel=1e-6)
    device = TorchMarket(*_of(problem), dtype=torch.float64)
    theirs = device.costs(lambda o: torch.full((len(o),), 0.3, dtype=torch.float64), device.load(paths), mode).objective
    np.testing.assert_allclose(theirs.numpy(), to_bps * ours, rtol=1e-9)


def _of(problem: Any) -> tuple[Market, Order]:
    return problem.market, problem.order


def test_on_a_tape_exponent_and_reference_are_given_and_the_reference_follows_its_volume(tape_csv: Path) -> None:
    given = {"impact_exponent": 0.5, "reference_participation": 0.2, "shares": 5000.0, "n_steps": 10}
    problem = make_problem(tape=tape_csv, **given)
    tape = Tape.read(tape_csv)
    assert problem.market.daily_volume == pytest.approx(tape.volume.mean() / tape.slice_length)
    linear = make_problem(tape=tape_csv, shares=5000.0, n_steps=10)
    ours, theirs = (p.source.sample([np.random.default_rng(0)], 3).slices for p in (problem, linear))
    reference = 0.2 * tape.volume.mean()
    np.testing.assert_allclose(ours.temporary * reference**0.5, theirs.temporary * reference, rtol=1e-12)
    assert np.unique(ours.exponent) == 0.5


def file(**changed: Any) -> MarketFile:
    values = {name: getattr(Market(), name) for name in UNITS} | changed
    return MarketFile({name: Parameter(value) for name, value in values.items()})


def test_a_file_beside_a_tape_says_what_is_conceded_at_each_rate_whatever_the_tapes_volume(tape_csv: Path) -> None:
    problem = make_problem(tape=tape_csv, market=file(impact_exponent=0.6), shares=5000.0, n_steps=10)
    assert problem.market.daily_volume != POWER.daily_volume
    assert problem.market.slope(0.01) == pytest.approx(POWER.slope(0.01))


def test_a_file_may_leave_the_exponent_out_and_is_then_linear(tmp_path: Path) -> None:
    path = tmp_path / "market.yaml"
    file().save(path)
    lines = path.read_text().splitlines()
    for name in ("impact_exponent", "reference_participation"):
        at = next(i for i, line in enumerate(lines) if line.startswith(f"  {name}:"))
        del lines[at : at + 2]
    path.write_text("\n".join(lines))
    assert "impact_exponent" not in path.read_text()
    assert MarketFile.load(path).market(POWER) == Market()
    file(impact_exponent=0.6, reference_participation=0.05).save(tmp_path / "power.yaml")
    assert MarketFile.load(tmp_path / "power.yaml").market() == replace(POWER, reference_participation=0.05)
    file(reference_participation=0.05).save(tmp_path / "bad.yaml")
    with pytest.raises(ValueError, match=r"bad\.yaml: Market.reference_participation = 0.05: no effect"):
        MarketFile.load(tmp_path / "bad.yaml")
