"""Stress: on drawn and on recorded paths, in environments and torch alike, from a moment that is fixed or random."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from exec_env.baselines.adaptive import Adaptive
from exec_env.harness import evaluate
from exec_env.market.execution import bps
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.market.paths import Normals, Paths, shape
from exec_env.market.stress import STRESSES, begun, factors
from exec_env.one_asset.actions import ActionMode
from exec_env.one_asset.options import make_problem
from exec_env.one_asset.torch_market import TorchMarket
from exec_env.optimum import lq
from exec_env.optimum.schedule import best_schedule
from tests.rollouts import executed

NAMED: list[Any] = [name for name in STRESSES if name != "none"]
FACTORS = [name for name in NAMED if name != "liquidity-shocks"]
"""Stresses that multiply from the onset on, for good."""


def columns(**market: Any) -> Any:
    return Paths.simulate(Market(**market), Order(), 5, seed=1).slices


def normals(n_paths: int, n_steps: int = 40, seed: int = 0) -> Normals:
    return Normals(*np.random.default_rng(seed).standard_normal((len(Normals._fields), n_paths, n_steps)))


def objective(market: Market, order: Order, n_paths: int, seed: int) -> np.ndarray:
    """Of the linear-quadratic rule. [bps]"""
    paths = Paths.simulate(market, order, n_paths, seed)
    steps = executed(Adaptive(market, order).act, paths, market, order, ActionMode("shares"))
    return sum(s.fill.objective for s in steps) * bps(order.shares * paths.arrival_price)


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("end", [None, 0.8])
def test_nothing_changes_before_the_onset(name: str, end: float | None) -> None:
    z = normals(5)
    calm, stressed = (Paths.shaped(m, Order(), z).slices for m in (Market(), Market(stress=name, stress_onset_end=end)))
    for before, after in zip(calm.columns, stressed.columns, strict=True):
        np.testing.assert_array_equal(before[:, :20], after[:, :20])


@pytest.mark.parametrize("elasticity", [-0.25, 0.0, 0.5])
def test_a_liquidity_collapse_moves_everything_by_its_elasticity_but_leaves_volatility(elasticity: float) -> None:
    calm, stressed = (columns(volatility_elasticity=elasticity, stress=s) for s in ("none", "liquidity-collapse"))
    late = np.s_[:, 20:]
    np.testing.assert_allclose(stressed.volume[late] / calm.volume[late], 0.2)
    np.testing.assert_allclose(stressed.temporary[late] / calm.temporary[late], 5.0)
    np.testing.assert_allclose(stressed.half_spread[late] / calm.half_spread[late], 5**0.5)
    np.testing.assert_array_equal(stressed.variance, calm.variance)
    np.testing.assert_array_equal(stressed.price_shock, calm.price_shock)
    np.testing.assert_allclose(stressed.log_liquidity[late] - calm.log_liquidity[late], np.log(0.2))


def test_a_volatility_spike_and_an_impact_shift_move_only_their_own() -> None:
    calm = columns()
    late = np.s_[:, 20:]
    spike = columns(stress="volatility-spike")
    np.testing.assert_allclose(spike.price_shock[late] / calm.price_shock[late], 3.0)
    np.testing.assert_array_equal(spike.volume, calm.volume)
    shift = columns(stress="impact-regime-shift")
    np.testing.assert_allclose(shift.temporary[late] / calm.temporary[late], 3.0)
    np.testing.assert_allclose(shift.permanent[late] / calm.permanent[late], 3.0)
    np.testing.assert_array_equal(shift.half_spread, calm.half_spread)


@pytest.mark.parametrize("factor", [0.5, 0.05])
def test_the_severity_can_be_chosen(factor: float) -> None:
    calm, stressed = columns(), columns(stress="liquidity-collapse", stress_factor=factor)
    np.testing.assert_allclose(stressed.volume[:, 20:] / calm.volume[:, 20:], factor)
    spike = columns(stress="volatility-spike", stress_factor=factor)
    np.testing.assert_allclose(spike.variance[:, 20:] / calm.variance[:, 20:], factor**2)


@pytest.mark.slow
@pytest.mark.parametrize("name", FACTORS)
def test_a_severity_of_one_is_no_stress(name: Any) -> None:
    calm = Market()
    for market in (
        Market(stress=name, stress_factor=1.0),
        Market(stress=name, stress_factor=1.0, stress_onset_end=0.9),
    ):
        z = normals(3)
        for one, other in zip(
            Paths.shaped(market, Order(), z).slices.columns, Paths.shaped(calm, Order(), z).slices.columns, strict=True
        ):
            np.testing.assert_array_equal(one, other)
        assert lq.solve(market, Order()).bound_bps == pytest.approx(lq.solve(calm, Order()).bound_bps, rel=1e-9)


def test_the_onset_can_be_chosen() -> None:
    assert factors("volatility-spike", 0.0, 4).volatility.tolist() == [3.0] * 4
    assert factors("volatility-spike", 0.75, 4).volatility.tolist() == [1.0, 1.0, 1.0, 3.0]
    assert factors("volatility-spike", 1.0, 4, factor=2.0).volatility.tolist() == [1.0] * 4
    with pytest.raises(ValueError, match="unknown stress 'panik'"):
        factors("panik", 0.5, 4)


@pytest.mark.parametrize("n_steps", [10, 40, 78, 100, 1000])
def test_an_onset_at_a_slice_begins_with_that_slice(n_steps: int) -> None:
    assert [int(n_steps - begun(k / n_steps, None, n_steps).sum()) for k in range(n_steps)] == list(range(n_steps))
    assert int(begun(0.07, None, 100).argmax()) == 7


@settings(deadline=None)
@given(st.floats(0, 1), st.floats(0, 1), st.integers(2, 60))
def test_the_probability_of_having_begun_never_falls(one: float, other: float, n_steps: int) -> None:
    onset, end = sorted((one, other))
    p = begun(onset, end, n_steps)
    assert (np.diff(p) >= 0).all()
    assert p.min() >= 0
    assert p.max() <= 1
    assert set(begun(onset, None, n_steps)) <= {0.0, 1.0}


@pytest.mark.slow
def test_a_random_onset_is_uniform_over_its_window_and_stays() -> None:
    market, n = Market(stress="impact-regime-shift", stress_onset=0.25, stress_onset_end=0.75), 20_000
    on = Paths.simulate(market, Order(), n, seed=0).slices.permanent > 5e-7
    assert (np.diff(on.astype(int), axis=1) >= 0).all()
    p = begun(0.25, 0.75, 40)
    error = np.sqrt(p * (1 - p) / n)
    assert (np.abs(on.mean(0) - p) <= 4 * error + 1e-12).all()


def test_a_fixed_onset_is_a_random_one_in_a_window_without_width() -> None:
    fixed, narrow = (columns(stress="extreme-shock", stress_onset_end=end) for end in (None, 0.5))
    for one, other in zip(fixed, narrow, strict=True):
        np.testing.assert_array_equal(one, other)


def test_liquidity_shocks_as_a_stress_begin_with_it_at_their_rate_and_recover() -> None:
    market = Market(liquidity_volatility=0.0, stress="liquidity-shocks", stress_factor=0.5)
    l, n = Paths.simulate(market, Order(), 20_000, seed=3).slices.log_liquidity, 20_000 * 20
    assert (l[:, :20] == 0).all()
    jumps = l[:, 20:] - np.exp(-7.8 / 78) * l[:, 19:-1]
    assert set(np.unique(jumps.round(9))) == {round(np.log(0.5), 9), 0.0}
    assert abs((jumps < -0.1).mean() - 2 / 78) < 4 * (2 / 78 / n) ** 0.5
    always = Market(stress="liquidity-shocks", stress_onset=0.0)
    z = normals(20)
    for one, other in zip(
        shape(always, Order(), z), shape(Market(shock_rate=2, shock_size=1.1), Order(), z), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-12)
    assert lq.solve(always, Order()).bound_bps == pytest.approx(
        lq.solve(Market(shock_rate=2.0, shock_size=1.1), Order()).bound_bps, rel=1e-9
    )


@pytest.mark.slow
def test_a_poor_regime_comes_goes_and_stays_as_long_as_its_rates_say() -> None:
    market = Market(regime_rate=4.0, regime_recovery=8.0, regime_liquidity=0.25, liquidity_volatility=0.0)
    n = 40_000
    slices = Paths.simulate(market, Order(), n, seed=2).slices
    poor = slices.log_liquidity < -1
    np.testing.assert_allclose(slices.log_liquidity[poor], np.log(0.25))
    np.testing.assert_allclose(slices.variance[poor] / slices.variance[~poor].mean(), 4.0)
    for share in poor.mean(0)[[0, 20, 39]]:
        assert abs(share - 1 / 3) < 4 * (2 / 9 / n) ** 0.5
    stays = poor[:, 1:][poor[:, :-1]].mean()
    there = poor[:, 1:][~poor[:, :-1]].mean()
    moved = 1 - np.exp(-12 / 78)
    assert stays == pytest.approx(1 - 2 / 3 * moved, abs=4e-3)
    assert there == pytest.approx(1 / 3 * moved, abs=2e-3)


def test_extreme_rates_of_regimes_are_no_nonsense() -> None:
    for rates in ((1e-12, 1e-12), (1e9, 1e9), (1e-9, 1e9), (1e9, 1e-9)):
        market = Market(regime_rate=rates[0], regime_recovery=rates[1])
        assert np.isfinite(Paths.simulate(market, Order(), 50, seed=0).slices.variance).all()
        assert np.isfinite(lq.solve(market, Order()).bound_bps)


ALIKE: list[dict[str, Any]] = [{"stress": name, "stress_onset_end": end} for name in NAMED for end in (None, 0.9)]


@pytest.mark.parametrize("features", [*ALIKE, {"regime_rate": 5.0, "stress": "volatility-spike"}])
def test_torch_and_numpy_are_stressed_alike(features: dict[str, Any]) -> None:
    market, order = Market(volume_profile="u-shaped", **features), Order(n_steps=6)
    z = normals(9, 6)
    arrays, tensors = shape(market, order, z), shape(market, order, Normals(*map(torch.tensor, z)))
    for ours, theirs in zip(arrays, tensors, strict=True):
        np.testing.assert_allclose(np.asarray(theirs), ours, rtol=1e-12)
    device = TorchMarket(market, order)
    assert device.simulate(8, device.generator(0)).slices.volume.dtype == torch.float32


RANDOM: list[dict[str, Any]] = [
    {"stress": "extreme-shock", "stress_onset": 0.2, "stress_onset_end": 0.9, "stress_factor": 0.3},
    {"stress": "liquidity-shocks", "stress_onset_end": 0.9},
    {"regime_rate": 5.0},
]


@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("features", [*RANDOM, {"stress": "volatility-spike"}])
def test_many_environments_play_what_single_ones_do(features: dict[str, Any], recorded: bool, tape_csv: Path) -> None:
    options = features | ({"tape": tape_csv, "shares": 5000.0, "n_steps": 10} if recorded else {"n_steps": 10})
    many = gym.make_vec("AlmgrenChriss-v0", num_envs=2, autoreset_mode="SAME_STEP", **options)
    ones = [gym.make("AlmgrenChriss-v0", **options) for _ in range(2)]
    seen = many.reset(seed=5)[0]
    for i, env in enumerate(ones):
        np.testing.assert_array_equal(env.reset(seed=5 + i)[0], seen[i])
    for _ in range(25):
        seen, rewards, over, _, _ = many.step(np.full(2, 4))
        for i, env in enumerate(ones):
            observation, reward, terminated, _, _ = env.step(4)
            assert terminated == over[i]
            np.testing.assert_allclose(reward, rewards[i], rtol=1e-12)
            np.testing.assert_array_equal(env.reset()[0] if terminated else observation, seen[i])


@pytest.mark.parametrize("features", RANDOM)
@pytest.mark.parametrize("recorded", [False, True])
def test_a_stressed_path_does_not_depend_on_how_many_are_drawn_at_once(
    features: dict[str, Any], recorded: bool, tape_csv: Path
) -> None:
    source = make_problem(tape=tape_csv if recorded else None, shares=5000.0, n_steps=10, **features).source
    whole, rng = source.sample([np.random.default_rng(3)], 6), np.random.default_rng(3)
    parts = [source.sample([rng], n) for n in (1, 3, 2)]
    for i, column in enumerate(whole.slices):
        np.testing.assert_array_equal(np.concatenate([part.slices[i] for part in parts]), column)


@pytest.mark.parametrize("features", [{"stress": name} for name in FACTORS])
def test_a_recorded_market_is_multiplied_as_a_simulated_one_is(features: dict[str, Any], tape_csv: Path) -> None:
    calm, stressed = (
        make_problem(tape=tape_csv, shares=5000.0, n_steps=10, **f).source.sample([np.random.default_rng(0)], 4).slices
        for f in ({}, features)
    )
    z = normals(4, 10)
    simulated = [shape(Market(**f), Order(n_steps=10), z) for f in ({}, features)]
    for name in ("half_spread", "volume", "variance", "temporary", "permanent", "price_shock"):
        ratio = getattr(simulated[1], name) / getattr(simulated[0], name) + np.zeros((4, 10))
        np.testing.assert_allclose(getattr(stressed, name), getattr(calm, name) * ratio, rtol=1e-12, err_msg=name)


def test_shocks_on_a_tape_lower_its_liquidity_and_recover(tape_csv: Path) -> None:
    given = {"shock_rate": 8.0, "shock_size": 0.7, "volatility_elasticity": 0.5}
    problem = make_problem(tape=tape_csv, shares=5000.0, n_steps=10, hours_per_day=6.5, **given)
    rng = np.random.default_rng(0)
    starts = np.full(2000, 3)
    shocked = problem.source.at(starts, rng).slices  # type: ignore[attr-defined]
    calm = problem.tape.paths(problem.market, problem.order, starts).slices  # type: ignore[union-attr]
    fall = shocked.log_liquidity - calm.log_liquidity
    jumps = fall[:, 1:] - np.exp(-7.8 / 78) * fall[:, :-1]
    assert set(np.unique(jumps.round(9))) <= {-0.7, 0.0, -0.0}
    assert abs((jumps < -0.1).mean() - 8 / 78) < 4 * (8 / 78 / jumps.size) ** 0.5
    np.testing.assert_allclose(shocked.volume / calm.volume, np.exp(fall))
    # As in a drawn market, where variance is L^{2c}.
    np.testing.assert_allclose(shocked.variance / calm.variance, np.exp(fall))


def test_an_environment_on_a_tape_under_random_stress_can_begin_at_a_row(tape_csv: Path) -> None:
    env = gym.make("AlmgrenChriss-v0", tape=tape_csv, shares=5000.0, n_steps=10, **RANDOM[0])
    one, again = (env.reset(seed=1, options={"start": 5})[0] for _ in range(2))
    np.testing.assert_array_equal(one, again)
    result = evaluate(["twap"], tape=tape_csv, shares=5000.0, n_steps=10, starts="rolling", **RANDOM[0])
    assert result.settings["episodes"] > 50


# The bound.


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("onset", [0.3, 0.5])
def test_without_a_cap_the_oracle_attains_its_bound(name: Any, onset: float) -> None:
    market, order = Market(stress=name, stress_onset=onset), Order(max_participation=None)
    found, bound = objective(market, order, 10_000, seed=4), lq.solve(market, order).bound_bps
    error = found.std(ddof=1) / 100
    assert bound - 3 * error < found.mean() < 1.003 * bound + 3 * error


@pytest.mark.slow
def test_without_a_cap_who_sees_the_regime_attains_the_bound() -> None:
    market, order = Market(regime_rate=4.0, regime_liquidity=0.5), Order(max_participation=None)
    found, bound = objective(market, order, 20_000, seed=4), lq.solve(market, order).bound_bps
    error = found.std(ddof=1) / 20_000**0.5
    assert bound - 3 * error < found.mean() < 1.003 * bound + 3 * error


@pytest.mark.slow
def test_without_a_cap_who_sees_a_spike_only_as_it_comes_pays_more_than_the_oracle() -> None:
    market = Market(stress="volatility-spike", stress_onset=0.1, stress_onset_end=0.9, stress_factor=6.0)
    order = Order(max_participation=None)
    found, solution = objective(market, order, 20_000, seed=4), lq.solve(market, order)
    error = found.std(ddof=1) / 20_000**0.5
    assert solution.bound_bps < solution.cost_bps
    assert solution.cost_bps - 3 * error < found.mean() < 1.003 * solution.cost_bps + 3 * error


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMED)
def test_the_bound_of_a_random_onset_is_the_mean_over_onsets(name: Any) -> None:
    order = Order(n_steps=8, shares=40_000.0)
    market = Market(stress=name, stress_onset=0.25, stress_onset_end=0.75)
    # Slice 2 is stressed with probability zero; 3, 4, 5 and 6 are the first to be so with a quarter each.
    each = [lq.solve(Market(stress=name, stress_onset=k / 8 - 0.01), order).bound_bps for k in (3, 4, 5, 6)]
    solution = lq.solve(market, order)
    assert solution.bound_bps == pytest.approx(np.mean(each), rel=1e-9)
    assert solution.cost_bps >= solution.bound_bps - 1e-9


def test_an_onset_that_may_never_come_counts_as_none() -> None:
    order = Order(n_steps=4, shares=20_000.0)
    market = Market(stress="volatility-spike", stress_onset=0.75, stress_onset_end=1.0)
    never = lq.solve(Market(), order).bound_bps
    assert lq.solve(market, order).bound_bps == pytest.approx(never, rel=1e-12)


def test_without_switching_there_are_no_regimes_and_switching_at_once_is_their_mean() -> None:
    order, quiet = Order(), Market(liquidity_volatility=0.0)
    plain = lq.solve(quiet, order).bound_bps
    assert lq.solve(replace(quiet, regime_rate=1e-12), order).bound_bps == pytest.approx(plain, rel=1e-9)
    same = replace(quiet, regime_rate=5.0, regime_liquidity=1.0, regime_volatility=1.0)
    assert lq.solve(same, order).bound_bps == pytest.approx(plain, rel=1e-9)
    forever = replace(quiet, regime_rate=1e9, regime_recovery=1e-3)
    poor = replace(quiet, stress="liquidity-collapse", stress_factor=0.3, stress_onset=0.0, volatility=0.04)
    assert lq.solve(forever, order).bound_bps == pytest.approx(lq.solve(poor, order).bound_bps, rel=1e-6)


def test_two_slices_and_two_regimes_equal_the_solution_by_hand() -> None:
    """No spread, risk or transient impact: the first trade weighs its slope against the mean of what comes next."""
    market = Market(
        **{"liquidity_volatility": 0.0, "half_spread": 0.0, "permanent_impact": 0.0, "transient_impact": 0.0},
        **{"impact_noise": 0.0, "regime_rate": 6.0, "regime_recovery": 6.0, "regime_liquidity": 0.5},
    )
    # Whatever the penalty: nothing is left to the closing block where it costs as much as a larger last trade.
    order = Order(n_steps=2, slice_length=0.1, risk_aversion=0.0, terminal_penalty=1.0, shares=1000.0)
    slope = market.temporary_impact / 0.1
    slopes, moved = np.array([1.0, 2.0]) * slope, (1 - np.exp(-1.2)) / 2
    ahead = np.array([[1 - moved, moved], [moved, 1 - moved]]) @ slopes
    wanted = 1000.0**2 * (slopes * ahead / (slopes + ahead)).mean()
    assert lq.solve(market, order).bound == pytest.approx(wanted, rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("features", [{}, {"stress": "liquidity-shocks", "stress_onset": 0.0, "stress_factor": 0.5}])
def test_shocks_count_where_liquidity_is_otherwise_constant(features: dict[str, Any]) -> None:
    shocks = features or {"shock_rate": 4.0, "shock_size": 0.7}
    market = Market(liquidity_volatility=0.0, **shocks)
    order = Order(max_participation=None)
    found, solution = objective(market, order, 20_000, seed=5), lq.solve(market, order)
    error = found.std(ddof=1) / 20_000**0.5
    assert solution.bound_bps > 1.03 * lq.solve(Market(liquidity_volatility=0.0), order).bound_bps
    assert solution.bound_bps - 3 * error < found.mean() < 1.003 * solution.bound_bps + 3 * error
    nearly = lq.solve(replace(market, liquidity_volatility=1e-3), order).bound_bps
    assert solution.bound_bps == pytest.approx(nearly, rel=1e-4)


@pytest.mark.slow
def test_large_shocks_do_not_fall_off_the_grid() -> None:
    market, order = Market(liquidity_volatility=0.05, shock_rate=4.0, shock_size=1.5), Order(max_participation=None)
    found, bound = objective(market, order, 20_000, seed=6), lq.solve(market, order).bound_bps
    error = found.std(ddof=1) / 20_000**0.5
    assert bound - 3 * error < found.mean() < 1.01 * bound + 3 * error


@pytest.mark.long
@pytest.mark.parametrize("features", [*RANDOM, {"stress": "impact-regime-shift", "stress_onset_end": 0.8}])
def test_no_baseline_is_below_the_bound(features: dict[str, Any]) -> None:
    names = ["twap", "static", "adaptive", "almgren-chriss", "garleanu-pedersen"]
    for cap in (0.3, None):
        result = evaluate(names, episodes=4000, max_participation=cap, **features)
        table = result.per_agent
        assert (table["objective_mean"] > result.bound_bps - 3 * table["objective_se"]).all()
    # Under the cap, of which the adaptive rule knows nothing, the best fixed schedule may be better.
    assert table["objective_mean"]["adaptive"] < table["objective_mean"]["static"]


def test_the_best_fixed_schedule_does_not_know_a_random_onset() -> None:
    order = Order(n_steps=10, shares=40_000.0, max_participation=None)
    market = Market(stress="volatility-spike", stress_onset=0.2, stress_onset_end=0.8, stress_factor=5.0)
    best = best_schedule(market, order)
    z = normals(4000, 10, seed=1)
    paths = Paths.shaped(market, order, z)

    def cost(trades: np.ndarray) -> float:
        turn = iter(trades)
        steps = executed(lambda _: np.full((4000, 1), next(turn)), paths, market, order, ActionMode("shares"))
        return float(sum(s.fill.objective.mean() for s in steps))

    rng = np.random.default_rng(0)
    for _ in range(20):
        other = best * np.exp(0.2 * rng.standard_normal(10))
        assert cost(best) < cost(other * best.sum() / other.sum())


@pytest.mark.parametrize("factor", [2.0, 20.0])
def test_shocks_that_raise_liquidity_lower_the_bound_a_little(factor: float) -> None:
    calm, eased = (
        lq.solve(Market(**f), Order()).bound_bps for f in ({}, {"stress": "liquidity-shocks", "stress_factor": factor})
    )
    assert 0.97 * calm < eased < calm


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"stress": "liquidity-collapse", "stress_factor": 20.0},
            "0.5 with stress = 'liquidity-collapse' × 20 takes it",
        ),
        ({"regime_rate": 2.0, "regime_liquidity": 50.0}, "liquidity_volatility = 0.5 with regime_liquidity = 50 takes"),
        ({"liquidity_volatility": 2.0}, "liquidity_volatility = 2 takes it"),
    ],
)
def test_why_there_is_no_optimum_names_what_takes_impact_there(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"no optimum: .*{message}"):
        lq.solve(Market(**fields), Order())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"stress": "liquidity-shocks"},
            "Market.stress = 'liquidity-shocks': its shock rate of 2 must be below 1, one",
        ),
        ({"randomise": "stress"}, "randomise = 'stress': Market.stress = 'liquidity-shocks': its shock rate of 2 must"),
    ],
)
def test_slices_too_long_for_the_shocks_of_a_stress_are_refused_by_its_name(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make_problem("almgren-chriss-2001", **options)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"stress": "panic"}, "Market.stress = 'panic': must be 'none' or 'liquidity-collapse'"),
        ({"stress_factor": 0.1}, "Market.stress_factor = 0.1: there is no stress"),
        ({"stress_onset_end": 0.8}, "Market.stress_onset_end = 0.8: there is no stress"),
        (
            {"stress": "extreme-shock", "stress_factor": 0.0},
            r"Market.stress_factor = 0.0: must be in \[1e-06, 1e\+06\]",
        ),
        ({"stress": "extreme-shock", "stress_factor": 1e300}, r"stress_factor = 1e\+300: must be in \[1e-06, 1e\+06\]"),
        ({"regime_rate": 1.0, "regime_liquidity": 1e-300}, "regime_liquidity = 1e-300: must be in"),
        (
            {"stress": "liquidity-shocks", "shock_rate": 2.0},
            "shock_rate = 2.0: no effect beside stress = 'liquidity-sh",
        ),
        (
            {"stress": "liquidity-shocks", "shock_size": 0.1},
            "shock_size = 0.1: no effect beside stress = 'liquidity-sh",
        ),
        ({"regime_liquidity": 0.5}, "regime_liquidity = 0.5: no effect where regime_rate = 0"),
        ({"regime_volatility": 3.0}, "regime_volatility = 3.0: no effect where regime_rate = 0"),
        ({"regime_recovery": 3.0}, "regime_recovery = 3.0: no effect where regime_rate = 0"),
        ({"stress": "extreme-shock", "stress_onset_end": 0.2}, "stress_onset_end = 0.2: must not be before"),
        ({"stress": "extreme-shock", "stress_onset_end": 1.2}, r"stress_onset_end = 1.2: must be in \[0, 1\]"),
        ({"regime_recovery": 0.0}, "Market.regime_recovery = 0.0: must be a finite number > 0"),
    ],
)
def test_what_cannot_be_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Market(**fields)
