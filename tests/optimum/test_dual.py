"""The interval for the optimum: holds what is known of it, is strict by construction, and shrinks where it can."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize

from exec_env.base.errors import InputError, NoBound
from exec_env.harness import evaluate
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.market.paths import Simulator
from exec_env.optimum import dynamic_programming, liquidity_grid
from exec_env.optimum.clairvoyant import Program
from exec_env.optimum.dual import Interval, _Penalty, certify
from exec_env.optimum.news import lagrange, normal_mean
from tests.optimum.test_dynamic_programming import SHORT, brute_force

SHOCKED = Market(shock_rate=5.0, shock_size=1.0, liquidity_volatility=0.3)
SWITCHING = Market(regime_rate=20.0, regime_recovery=40.0, regime_liquidity=0.4)
SURPRISED = Market(stress="volatility-spike", stress_onset=0.1, stress_onset_end=0.9, stress_factor=6.0)
COLLAPSE = Market(stress="liquidity-collapse")
ALL = [
    *(Market(), COLLAPSE, pytest.param(SHOCKED, marks=pytest.mark.slow)),
    *(pytest.param(market, marks=pytest.mark.long) for market in (SWITCHING, SURPRISED)),
]


def programs(market: Market, order: Order, n: int, seed: int = 0) -> tuple[Program, np.ndarray]:
    penalty = _Penalty(dynamic_programming.solve(market, order))
    return penalty.program(Simulator(market, order).normals([np.random.default_rng(seed)], n))[:2]


def adaptive(program: Program) -> np.ndarray:
    """Trades of the linear-quadratic rule, clipped to what is allowed."""
    held, push, trades = 1.0, 0.0, np.empty_like(program.wanted)
    for t in range(len(trades)):
        wanted = program.of_held[t] * held + program.of_push[t] * push + program.wanted[t]
        trades[t] = np.clip(wanted, 0.0, np.minimum(held, program.most[t]))
        held, push = held - trades[t], program.decay[t] * (push + program.push * trades[t])
    return trades


def consistent(interval: Interval, value: float, error: float) -> bool:
    low, high = interval.lower_bps - 3 * interval.lower_se, interval.upper_bps + 3 * interval.upper_se
    return low - error < value < high + error


# --- the program of one path


@pytest.mark.slow
def test_the_gradient_is_that_of_the_value() -> None:
    program, trades = programs(SWITCHING, SHORT, 5)
    _, gradient = program.gradient(trades)
    for t in range(SHORT.n_steps):
        step = np.zeros((SHORT.n_steps, 1))
        step[t] = 1e-6
        slope = (program.value(trades + step) - program.value(trades - step)) / 2e-6
        assert gradient[t] == pytest.approx(slope, rel=1e-5, abs=1e-5 * np.abs(gradient).max())


@pytest.mark.slow
@pytest.mark.parametrize("market", [Market(), replace(Market(), transient_impact=0.0), COLLAPSE])
def test_the_least_cost_of_a_path_equals_that_of_another_solver(market: Market) -> None:
    program, start = programs(market, replace(SHORT, n_steps=4, max_participation=0.2), 6)
    _, least, certificate = program.solve()
    for i in range(6):
        one = Program(*(a if np.ndim(a) == 0 else a[..., i : i + 1] for a in program))
        unit = np.abs(one.gradient(start[:, i : i + 1])[1]).max()
        found = minimize(
            lambda v, one=one, unit=unit: float(one.value(v[:, None])[0] / unit),
            start[:, i] * 0.9,
            jac=lambda v, one=one, unit=unit: one.gradient(v[:, None])[1][:, 0] / unit,
            bounds=[(0.0, m) for m in one.most[:, 0]],
            constraints={"type": "ineq", "fun": lambda v: 1.0 - v.sum(), "jac": lambda v: -np.ones(len(v))},
            method="SLSQP",
            options={"ftol": 1e-14, "maxiter": 500},
        )
        assert unit * found.fun == pytest.approx(least[i], rel=1e-6, abs=1e-6)
        assert unit * found.fun > least[i] - 1e-7
    assert (certificate < 1e-8).all()


@pytest.mark.slow
def test_its_trades_are_feasible_and_the_certificate_is_never_negative_and_shrinks() -> None:
    program, rule = programs(COLLAPSE, SHORT, 100)
    worst, lower = [], []
    for iterations in (0, 2, 4, 8, 16):
        trades, least, certificate = program.solve(iterations)
        assert (trades >= 0).all()
        assert (trades <= program.most).all()
        assert (trades.sum(0) <= 1 + 1e-12).all()
        assert (certificate >= 0).all()
        worst.append(certificate.max())
        lower.append(least)
    assert (np.diff(worst) < 0).all()
    assert worst[-1] < 1e-7
    # However early one stops, it is a lower end: never above the least cost that is found later.
    assert all((early <= lower[-1] + 1e-7).all() for early in lower)
    # Nor above the cost of the rule, whose own certificate is as valid.
    value, slope = program.gradient(rule)
    assert (lower[-1] <= value + 1e-12).all()
    assert (value - program.certificate(rule, slope) <= lower[-1] + 1e-7).all()


# --- the penalty


def test_polynomials_of_a_gauss_rule_have_its_weights_for_means() -> None:
    for n in (1, 3, 5):
        (nodes, weights), (z, w) = liquidity_grid.gauss_hermite(n), liquidity_grid.gauss_hermite(40)
        assert lagrange(nodes, z) @ w == pytest.approx(weights, abs=1e-12)


def test_the_mean_of_a_piecewise_linear_function_is_exact() -> None:
    grid, values = np.linspace(-2.0, 1.5, 6), np.array([3.0, 1.0, 4.0, 1.0, 5.0, 9.0])
    z = np.linspace(-9.0, 9.0, 400_001)
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    wanted = (np.interp(0.7 * z, grid, values) * density).sum() * (z[1] - z[0])
    assert normal_mean(grid, values, 0.7) == pytest.approx(wanted, rel=1e-7)
    assert normal_mean(grid, values, 0.0) == np.interp(0.0, grid, values)


@pytest.mark.slow
@pytest.mark.parametrize("market", ALL)
def test_the_penalty_costs_a_policy_that_does_not_look_ahead_nothing(market: Market) -> None:
    program, rule = programs(market, SHORT, 5000, seed=3)
    free = program._replace(
        held_price=0.0 * program.held_price,
        push_price=0.0 * program.push_price,
        constant=0.0 * program.constant,
    )
    for trades in (rule, adaptive(program), np.minimum(program.most, 1 / SHORT.n_steps) * rule[:1] ** 0.5):
        penalty = program.value(trades) - free.value(trades)
        assert abs(penalty.mean()) < 4 * penalty.std() / len(penalty) ** 0.5
    # And takes most of the noise out of what the rule costs.
    assert program.value(rule).std() < 0.1 * free.value(rule).std()


# --- the interval


@pytest.mark.slow
@pytest.mark.parametrize("market", ALL)
def test_the_interval_holds_the_value_of_dynamic_programming(market: Market) -> None:
    solution, interval = dynamic_programming.solve(market, SHORT), certify(market, SHORT, 2000)
    assert consistent(interval, solution.value_bps, 2 * solution.error_bps)
    assert 0 <= interval.gap_bps < 0.01 * (solution.value_bps - solution.linear.cost_bps)
    assert interval.lower_bps + interval.gap_bps == pytest.approx(interval.upper_bps)
    assert 0 <= interval.certificate_bps < 1e-7


@pytest.mark.slow
@pytest.mark.parametrize("market", ALL)
def test_its_lower_end_is_not_above_what_the_clipped_rule_costs(market: Market) -> None:
    program, rule = programs(market, SHORT, 4000, seed=5)
    _, least, _ = program.solve()
    for trades in (rule, adaptive(program)):
        above = program.value(trades) - least
        assert (above > -1e-9).all()
        assert above.mean() > 0


@pytest.mark.slow
@pytest.mark.parametrize("penalty", [1.05, *(pytest.param(each, marks=pytest.mark.long) for each in (1.0, 5.0))])
@pytest.mark.parametrize(
    "features", [{"liquidity_volatility": 0.3}, pytest.param({"liquidity_volatility": 0.1}, marks=pytest.mark.long)]
)
def test_with_two_slices_it_holds_the_value_of_brute_force(features: dict[str, float], penalty: float) -> None:
    market, order = Market(**features), Order(n_steps=2, slice_length=0.05, max_participation=0.1)
    order = replace(order, terminal_penalty=penalty)
    interval = certify(market, order, 20_000)
    assert consistent(interval, brute_force(market, order), 0.0)


@pytest.mark.slow
@pytest.mark.parametrize("penalty", [1.0, 5.0])
def test_under_a_tight_cap_it_holds_the_value_whatever_a_block_costs(penalty: float) -> None:
    order = replace(SHORT, max_participation=0.1, terminal_penalty=penalty)
    solution, interval = dynamic_programming.solve(Market(), order), certify(Market(), order, 4000)
    assert consistent(interval, solution.value_bps, 2 * solution.error_bps)
    assert interval.lower_bps > solution.linear.bound_bps


@pytest.mark.slow
def test_where_no_constraint_binds_both_ends_are_the_bound() -> None:
    for market, order in ((Market(), Order(max_participation=None)), (Market(transient_impact=0.0), SHORT)):
        order = replace(order, max_participation=None, n_steps=8)
        interval, bound = certify(market, order, 200), dynamic_programming.solve(market, order).linear.bound_bps
        assert interval.gap_bps < 1e-3
        assert interval.lower_bps == pytest.approx(bound, abs=5e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    "features",
    [{"liquidity_volatility": 0.0, "spread_noise": 0.0, "decay_noise": 0.0}, {"signal": 0.05}, {"half_spread": 0.0}],
)
def test_it_is_there_where_something_is_not_random(features: dict[str, Any]) -> None:
    solution, interval = dynamic_programming.solve(Market(**features), SHORT), certify(Market(**features), SHORT, 1000)
    assert consistent(interval, solution.value_bps, 2 * solution.error_bps)


@pytest.mark.slow
def test_a_seed_gives_the_same_numbers_and_more_paths_begin_with_the_same() -> None:
    few, again, other = (certify(Market(), SHORT, 600, seed) for seed in (1, 1, 2))
    assert few == again
    assert few != other
    simulator = Simulator(Market(), SHORT)
    short, long = (simulator.normals([np.random.default_rng(3)], n).liquidity for n in (5, 9))
    assert (short == long[:5]).all()
    assert (simulator.sample([np.random.default_rng(3)], 5).slices.volume > 0).all()


@pytest.mark.slow
def test_what_has_no_interval_says_why() -> None:
    with pytest.raises(NoBound, match="impact is a power law, and liquidity so random"):
        certify(Market(impact_exponent=0.5), SHORT)
    with pytest.raises(NoBound, match="signal_volatility"):
        certify(Market(signal_volatility=0.1), SHORT)
    with pytest.raises(InputError, match="n_paths"):
        certify(Market(), SHORT, 1)


@pytest.mark.slow
def test_evaluate_says_the_interval_where_it_is_asked_for(tmp_path: Any) -> None:
    options: dict[str, Any] = {"episodes": 5, "n_steps": 4, "shares": 20_000.0}
    found = evaluate(["twap"], certify=100, **options)
    assert "optimum in [" in found.table()
    assert "(statistical interval from 100 paths; paired gap" in found.table()
    assert "certificate_bps" in (found.save(tmp_path / "out", plots=False) / "evaluation.yaml").read_text()
    assert "from 500 paths" in evaluate(["twap"], optimum=True, **options).table()
    assert "statistical interval" not in evaluate(["twap"], optimum=True, certify=0, **options).table()
    none = evaluate(["twap"], certify=100, impact_exponent=0.5, **options).table()
    assert "no interval for the best achievable value: impact is a power law" in none
    for n_paths in (-1, 1, 2.5):
        with pytest.raises(InputError, match="certify|n_paths"):
            evaluate(["twap"], certify=n_paths, **options)
