"""Estimates from control variates: by hand, and by how often their intervals hold what is known."""

from typing import Any

import numpy as np
import pytest

from exec_env.base.bootstrap import Z95, Independent
from exec_env.harness import evaluate
from exec_env.harness.estimates import controlled, difference, kurtosis, plain

ERRORS = Independent()
GOLDEN = {
    "bound": 20.15214,
    "best achievable": 20.2499,
    "twap": (24.7167, 0.0043),
    "adaptive": (20.2645, 0.0019),
    "adaptive without a cap": (20.1521, 0.0001),
}
"""The default market by an independent simulator and solver: J and its standard error. [bps]"""


def test_a_variate_that_is_all_of_the_noise_leaves_none() -> None:
    noise = np.random.default_rng(0).standard_normal(500)
    found = controlled(7.0 + noise, {"excess": 0.0 * noise, "martingale": noise}, ERRORS)
    assert found.mean == pytest.approx(7.0, abs=1e-12)
    assert found.se < 1e-12
    assert found.variate == "excess + martingale"
    assert found.trusted


def test_a_variate_that_says_nothing_is_left_out() -> None:
    rng = np.random.default_rng(0)
    values, useless = rng.standard_normal(500), 5 * rng.standard_normal(500)
    found = controlled(values, {"excess": useless, "martingale": useless}, ERRORS)
    assert (found.variate, found.mean) == ("none", values.mean())
    assert found.se == ERRORS.standard_error(values)


def test_a_coefficient_is_fitted_where_one_is_far_off_and_costs_a_degree_of_freedom() -> None:
    rng = np.random.default_rng(1)
    noise, rest = rng.standard_normal((2, 400))
    values = 3.0 + 0.2 * noise + 0.01 * rest
    found = controlled(values, {"a": 0.0 * noise, "b": noise}, ERRORS)
    slope, level = np.polyfit(noise, values, 1)
    assert found.variate == "a + b (fitted)"
    assert found.mean == pytest.approx(level)
    residual = values - level - slope * noise
    assert found.se == pytest.approx((residual @ residual / (400 - 2) / 400) ** 0.5)
    low, high = found.interval
    assert (low, high) == pytest.approx((level - Z95 * found.se, level + Z95 * found.se))


def test_heavy_tails_are_not_trusted_and_one_variate_alone_is_not_taken_with_them() -> None:
    rare = np.zeros(1000)
    rare[:3] = 50.0
    noise = np.random.default_rng(2).standard_normal(1000)
    assert kurtosis(rare) > 300
    assert not plain(rare, ERRORS).trusted
    alone = controlled(rare + 5 * noise, {"excess": 5 * noise}, ERRORS)
    assert alone.variate == "none"
    assert plain(noise, ERRORS).trusted


def test_an_error_that_is_smaller_than_so_few_paths_can_show_is_not_trusted() -> None:
    noise, rest = np.random.default_rng(3).standard_normal((2, 400))
    for part, trusted in ((0.1, True), (0.01, False)):
        variates = {"a": 0.0 * noise, "b": noise}
        assert controlled(noise + part * rest, variates, ERRORS).trusted == trusted


def test_a_difference_is_that_of_the_estimates_unless_the_columns_vary_less_together() -> None:
    noise, own, other = np.random.default_rng(4).standard_normal((3, 600))
    variates = {"a": 0.0 * noise, "b": noise}
    one, two = (controlled(noise + 0.1 * e, variates, ERRORS) for e in (own, other))
    apart = difference(one, two, 0.1 * (own - other), ERRORS)
    assert apart.mean == pytest.approx(one.mean - two.mean)
    together = difference(one, two, 1e-3 * own, ERRORS)
    assert (together.variate, together.mean) == ("none", pytest.approx(1e-3 * own.mean()))


@pytest.mark.slow
def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    # A path costs 2 + a + r: a is known to the variates, r is left. The truth is 2.
    rng, held = np.random.default_rng(5), 0
    for _ in range(2000):
        known, rest = rng.standard_normal((2, 200))
        found = controlled(2.0 + known + 0.3 * rest, {"a": 0.0 * known, "b": known}, ERRORS)
        held += found.interval[0] <= 2.0 <= found.interval[1]
    assert 0.93 < held / 2000 < 0.97


# --- on the default market


@pytest.mark.long
def test_the_default_market_costs_what_an_independent_simulator_says() -> None:
    found = evaluate(["twap", "adaptive", "optimal"], episodes=20_000, seed=11, n_examples=0)
    assert found.bound_bps == pytest.approx(GOLDEN["bound"], rel=1e-6)
    table = found.per_agent
    for agent in ("twap", "adaptive"):
        mean, error = GOLDEN[agent]
        assert abs(table["objective_mean"][agent] - mean) < 3 * np.hypot(error, table["objective_se"][agent])
    optimal = table.loc["optimal"]
    assert abs(optimal.objective_mean - GOLDEN["best achievable"]) < 3 * optimal.objective_se + 5e-4
    free = evaluate(["adaptive"], episodes=20_000, seed=11, n_examples=0, max_participation=None).per_agent
    assert free["objective_mean"].item() == pytest.approx(GOLDEN["adaptive without a cap"][0], abs=3e-4)


@pytest.mark.long
def test_errors_of_good_agents_are_ten_times_smaller_than_raw_ones() -> None:
    table = evaluate(["adaptive", "optimal", "almgren-chriss", "twap"], episodes=8192, seed=2, n_examples=0).per_agent
    smaller = table["objective_raw_se"] / table["objective_se"]
    assert (smaller[["adaptive", "optimal"]] > 10).all()
    assert (smaller[["almgren-chriss", "twap"]] > 2).all()


@pytest.mark.long
@pytest.mark.parametrize("options", [{}, {"stress": "liquidity-collapse"}])
def test_intervals_on_a_market_hold_the_truth_or_say_that_they_may_not(options: dict[str, Any]) -> None:
    small: dict[str, Any] = {"n_steps": 8, "shares": 30_000.0} | options
    agents = ["twap", "almgren-chriss", "adaptive", "optimal"]
    pool = evaluate(agents, episodes=200_000, seed=3, n_examples=0, **small)
    frames = dict(tuple(pool.per_path.groupby("agent", observed=True)))
    names = [name for name in pool.per_path.columns if name.startswith("variate_")]
    rng, n, held = np.random.default_rng(0), 1000, dict.fromkeys((*agents, "difference"), 0)
    columns = {a: frames[a]["objective"].to_numpy() for a in agents}
    variates = {a: {m: frames[a][m].to_numpy() for m in names if frames[a][m].notna().all()} for a in agents}
    truth = {a: pool.estimates[a].mean for a in agents}
    for _ in range(400):
        i = rng.integers(200_000, size=n)
        found = {a: controlled(columns[a][i], {k: v[i] for k, v in variates[a].items()}, ERRORS) for a in agents}
        for a in agents:
            held[a] += found[a].interval[0] <= truth[a] <= found[a].interval[1] or not found[a].trusted
        raw = columns["adaptive"][i] - columns["twap"][i]
        apart, wanted = difference(found["adaptive"], found["twap"], raw, ERRORS), truth["adaptive"] - truth["twap"]
        held["difference"] += apart.interval[0] <= wanted <= apart.interval[1] or not apart.trusted
    # Of 400 repetitions of 95 %, three standard errors are 3.3 %.
    assert all(count / 400 > 0.95 - 0.035 for count in held.values()), held
