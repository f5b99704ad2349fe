"""Estimates before the trade, against sums by hand, other schedules, closed forms and simulation."""

import math
from dataclasses import replace
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

from exec_env.base.errors import InputError
from exec_env.baselines.impact import Impact
from exec_env.harness import evaluate
from exec_env.harness.pre_trade import BEST, CVAR, EVEN, assumptions, best, even_pace, planned, pre_trade
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.one_asset.options import make_problem
from exec_env.one_asset.presets import get_preset

# Shares, price [$], daily volume, volatility, half spread [bps], slices, slice length, hours of a day: a stock of 40 $,
# bitcoin by the minute, and ten others.
ORDERS = [
    (250_000.0, 40.0, 3e6, 0.018, 1.5, 24, "5min", 6.5),
    (35.0, 60_000.0, 20_000.0, 0.03, 0.5, 30, "1min", 24.0),
    (200_000.0, 100.0, 5e6, 0.02, 1.0, 40, "5min", 6.5),
    (1_000.0, 12.5, 80_000.0, 0.035, 8.0, 13, "30min", 6.5),
    (1_200_000.0, 7.0, 2e7, 0.025, 7.0, 78, "5min", 6.5),
    (50_000.0, 310.0, 1.5e6, 0.012, 0.5, 12, "5min", 6.5),
    (500.0, 3_000.0, 40_000.0, 0.04, 1.0, 48, "30min", 24.0),
    (90_000.0, 55.0, 900_000.0, 0.022, 3.0, 10, "1d", 6.5),
    (10_000.0, 20.0, 1e6, 0.03, 2.5, 2, "15min", 6.5),
    (5_000_000.0, 1.2, 6e7, 0.05, 40.0, 20, "15min", 6.5),
    (75_000.0, 150.0, 4e6, 0.016, 0.7, 60, "1min", 6.5),
    (0.5, 60_000.0, 20_000.0, 0.03, 0.5, 5, "1min", 24.0),
]


def problem(order: tuple[Any, ...], **options: Any) -> Any:
    shares, price, volume, volatility, half_spread, n_steps, length, hours = order
    return make_problem(
        **{"shares": shares, "arrival_price": price, "daily_volume": volume, "volatility": volatility},
        **{"half_spread": half_spread, "n_steps": n_steps, "slice_length": length, "hours_per_day": hours},
        **options,
    )


@pytest.mark.parametrize("order", ORDERS)
def test_an_even_pace_costs_what_a_sum_by_hand_says(order: tuple[Any, ...]) -> None:
    shares, price, volume, volatility, half_spread, n_steps, length, hours = order
    minutes = {"1min": 1, "5min": 5, "15min": 15, "30min": 30, "1d": 60 * hours}[length]
    days = minutes / (60 * hours)
    # Impact of the default market, of 100 $, 2 % and 5 M shares a day, by σ S0 / V.
    scale = volatility * price / volume / (0.02 * 100 / 5e6)
    eta, gamma, kappa = 1.6e-7 * scale, 2.5e-7 * scale, 6e-7 * scale
    # What a slice leaves of a push, its speed lognormal of mean 10 a day: the mean over a fine grid of normals.
    z = np.linspace(-8, 8, 4001)
    weights = np.exp(-(z**2) / 2) / np.exp(-(z**2) / 2).sum()
    kept = float(weights @ np.exp(-10 * days * np.exp(0.3 * z - 0.3**2 / 2)))
    left, push, cost, variance = shares, 0.0, 0.0, 0.0
    for _ in range(n_steps):
        traded = shares / n_steps
        left -= traded
        cost += traded * (half_spread * 1e-4 * price + eta * traded / days + push) + gamma * traded * left
        push = (push + kappa * traded) * kept
        variance += left**2 * (volatility * price) ** 2 * days
    of = problem(order)
    found = even_pace(of.market, of.order)
    assert found.expected == pytest.approx(cost, rel=1e-6)
    assert found.std == pytest.approx(math.sqrt(variance), rel=1e-9)
    assert found.objective == pytest.approx(cost + 1e-6 * variance, rel=1e-6)
    assert found.cvar == pytest.approx(cost + 2.062713 * math.sqrt(variance), rel=1e-6)
    assert found.participation == pytest.approx(shares / (volume * days * n_steps))
    (impact, *_) = assumptions(of.market, of.order, "scaled", "a while")
    assert f"temporary η = {eta:.3g} $" in impact
    assert f"permanent γ = {gamma:.3g}, transient κ = {kappa:.3g} $" in impact


def test_the_stock_of_40_dollars_costs_30_bps_at_an_even_pace() -> None:
    of = problem(ORDERS[0])
    assert even_pace(of.market, of.order).expected / 1000 == pytest.approx(30.10, abs=0.005)  # of 10 M$


def test_cvar_is_the_mean_of_the_costliest_twentieth_of_a_normal_distribution() -> None:
    worst = [NormalDist().inv_cdf(0.95 + 0.05 * (k + 0.5) / 5000) for k in range(5000)]
    assert np.mean(worst) == pytest.approx(CVAR, abs=1e-3)


@pytest.mark.parametrize("order", [ORDERS[0], ORDERS[1], ORDERS[9]])
def test_no_other_schedule_within_the_cap_has_a_lower_j(order: tuple[Any, ...]) -> None:
    of = problem(order, risk_aversion=1e-5)
    least = best(of.market, of.order)
    assert least is not None
    assert least.feasible
    assert least.trades.sum() == pytest.approx(of.order.shares)
    assert least.objective <= even_pace(of.market, of.order).objective
    rng, n = np.random.default_rng(0), of.order.n_steps
    cap = of.order.max_participation * of.market.daily_volume * of.order.slice_length
    for _ in range(50):  # what moves shares from one slice to another, as far as the cap lets it
        a, b = rng.choice(n, 2, replace=False)
        moved = least.trades.copy()
        some = min(0.01 * of.order.shares, moved[a], cap - moved[b])
        moved[a], moved[b] = moved[a] - some, moved[b] + some
        assert planned(of.market, of.order, moved, "other").objective >= least.objective * (1 - 1e-9)


def test_in_the_market_of_almgren_and_chriss_the_best_schedule_is_theirs() -> None:
    preset = get_preset("almgren-chriss-2001")
    found = best(preset.market, preset.order)
    impact = Impact.of(preset.market, preset.order)
    held = impact.closed_form(1e6, 5)
    assert found is not None
    assert found.trades == pytest.approx(-np.diff(held), rel=1e-5)
    assert (found.expected, found.std**2) == pytest.approx(
        (impact.expected_cost(held), impact.variance(held)), rel=1e-6
    )


def test_the_horizon_with_the_least_j_is_the_least_of_all() -> None:
    of = problem((*ORDERS[0][:5], 26, "15min", 6.5))
    found = pre_trade(of.market, of.order, [4, 8])
    paces = {n: even_pace(of.market, replace(of.order, n_steps=n)).objective for n in range(8, 27)}
    assert found.quickest is not None
    assert found.quickest.order.n_steps == min(paces, key=lambda n: paces[n]) < 26
    assert not even_pace(of.market, replace(of.order, n_steps=7)).feasible  # 30 % of the volume takes 8 slices
    rows = [(plan.order.n_steps, plan.schedule) for plan in found.by_horizon]
    assert rows == [(4, EVEN), (8, EVEN), (8, BEST), (26, EVEN), (26, BEST)]


def test_more_time_never_costs_more_and_more_aversion_buys_less_risk() -> None:
    of = problem(ORDERS[0])
    found = pre_trade(of.market, of.order, [22])
    bests = [plan.objective for plan in found.by_horizon if plan.schedule == BEST]
    assert bests == sorted(bests, reverse=True)
    for plans in (found.by_urgency, found.frontier):
        assert [p.std for p in plans] == sorted((p.std for p in plans), reverse=True)
        assert [p.expected for p in plans] == sorted(p.expected for p in plans)


def test_a_buy_costs_what_its_mirror_image_costs() -> None:
    sell, buy = (problem(ORDERS[0], side=side) for side in ("sell", "buy"))
    assert even_pace(sell.market, sell.order)[3:] == even_pace(buy.market, buy.order)[3:]


def test_an_order_that_the_cap_does_not_let_finish_is_refused_with_what_it_would_take() -> None:
    of = problem((*ORDERS[0][:5], 6, *ORDERS[0][6:]))
    assert best(of.market, of.order) is None
    with pytest.raises(InputError, match=r"Order\.shares = 250,000: are 108 % of the 230,769 shares that are expected"):
        pre_trade(of.market, of.order)
    with pytest.raises(InputError, match=r"Order\.risk_aversion = 0\.0: must be above 0"):
        pre_trade(Market(), Order(risk_aversion=0.0))


@pytest.mark.long
@pytest.mark.parametrize("order", [ORDERS[0], ORDERS[1]])
def test_an_estimate_is_within_three_standard_errors_of_a_simulation(order: tuple[Any, ...]) -> None:
    free = {"max_participation": None, "risk_aversion": 1e-5}
    of = problem(order, **free)
    even, least = even_pace(of.market, of.order), best(of.market, of.order)
    assert least is not None
    names = ("shares", "arrival_price", "daily_volume", "volatility", "half_spread", "n_steps", "slice_length")
    given = dict(zip(names, order[:7], strict=True)) | {"hours_per_day": order[7]} | free
    found = evaluate(["twap", "static"], episodes=20_000, seed=3, n_examples=0, **given).per_agent
    for agent, plan in (("twap", even), ("static", least)):
        row, unit = found.loc[agent], of.dollars_per_bps
        assert abs(row["objective_mean"] - plan.objective / unit) < 3 * row["objective_se"]
        assert abs(row["shortfall_mean"] - plan.expected / unit) < 3 * row["shortfall_se"]
        # What is random beside the price adds to it.
        assert plan.std / unit < 1.03 * row["shortfall_std"]
        assert plan.cvar / unit == pytest.approx(row["cvar95"], rel=0.1)
