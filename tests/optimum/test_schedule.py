"""The best fixed schedule: closed forms, published numbers, simulated means, and the cap."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize

from exec_env.baselines.almgren_chriss import AlmgrenChriss
from exec_env.baselines.impact import Impact
from exec_env.baselines.schedule import Schedule, fractions
from exec_env.baselines.static import Static
from exec_env.harness import evaluate
from exec_env.market.execution import bps
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.market.paths import Paths
from exec_env.one_asset.actions import ActionMode
from exec_env.one_asset.presets import PRESETS, get_preset
from exec_env.optimum import capped, lq
from exec_env.optimum.convex import NotConvex
from exec_env.optimum.means import slice_means
from exec_env.optimum.schedule import FixedCost, best_schedule
from exec_env.optimum.schedule_cost import at_expected_volume, schedule_cost
from tests.conftest import RICH
from tests.rollouts import executed

QUIET: dict[str, Any] = {
    **{f"{name}_noise": 0.0 for name in ("volume", "spread", "impact", "decay")},
    "liquidity_volatility": 0.0,
    "transient_impact": 0.0,
}
MARKETS: dict[str, dict[str, Any]] = {
    "default": {},
    "rich": RICH | {"signal_volatility": 0.0},
    "coordinated, with regimes": {"volatility_elasticity": 0.5, "regime_rate": 4.0},
    "collapse of random onset": {"stress": "liquidity-collapse", "stress_onset": 0.2, "stress_onset_end": 0.9},
    "shocks of random onset": {"stress": "liquidity-shocks", "stress_onset": 0.2, "stress_onset_end": 0.9},
    "impact-regime-shift with shocks": {"stress": "impact-regime-shift", "shock_rate": 6.0, "shock_size": 0.7},
    "power law": {"impact_exponent": 0.6},
}


def costs(agent: Any, market: Market, order: Order, n_paths: int, seed: int) -> np.ndarray:
    """J of an agent on simulated paths. [bps]"""
    paths = Paths.simulate(market, order, n_paths, seed).by_slice()
    steps = executed(agent.act, paths, market, order, ActionMode(agent.action_mode))
    return sum(step.fill.objective for step in steps) * bps(order.shares * paths.arrival_price)


# The means of slices


@pytest.mark.slow
@pytest.mark.parametrize("name", MARKETS)
def test_means_of_slices_are_those_of_simulated_paths(name: str) -> None:
    market, order = Market(**MARKETS[name]), Order(n_steps=8, slice_length=5 / 78)
    means, n = slice_means(market, order), 40_000
    slices = Paths.simulate(market, order, n, seed=11).slices
    for field, column in (
        *(("half_spread", slices.half_spread), ("volume", slices.volume), ("variance", slices.variance)),
        *(("slope", slices.temporary), ("permanent", slices.permanent), ("drift", slices.drift)),
    ):
        ours = np.broadcast_to(getattr(means, field), 8)
        error = 4.5 * column.std(0) / n**0.5 + 1e-9 * abs(ours)
        assert (abs(column.mean(0) - ours) <= error).all(), field
    assert abs(slices.decay.mean() - means.decay.mean()) < 4 * slices.decay.std() / (8 * n) ** 0.5


def test_the_mean_under_shocks_is_that_by_hand() -> None:
    # Liquidity is one but for shocks by a half, of which a slice keeps e^{−θΔ} of the one before.
    market = Market(**(QUIET | {"shock_rate": 10.0, "shock_size": np.log(2.0), "liquidity_reversion": 4.0}))
    order, kept = Order(n_steps=3, slice_length=0.05), np.exp(-0.2)
    slope = slice_means(market, order).slope / market.slope(0.05)
    one, two = 0.5 + 0.5 * 2.0, 0.5 + 0.5 * 2.0**kept
    np.testing.assert_allclose(slope, [1.0, one, one * two])


@pytest.mark.slow
@pytest.mark.parametrize("name", MARKETS)
def test_the_cost_of_fixed_shares_is_exact(name: str) -> None:
    market, order = Market(**MARKETS[name]), Order(n_steps=6, slice_length=6 / 78, max_participation=None)
    trades = order.shares * np.array([0.3, 0.1, 0.2, 0.05, 0.25, 0.1])
    exact = FixedCost.of(market, order, slice_means(market, order)).cost(trades) * bps(order.shares * 100)
    simulated = costs(Schedule(trades), market, order, 40_000, seed=12)
    assert abs(simulated.mean() - exact) < 3.5 * simulated.std() / len(simulated) ** 0.5
    assert schedule_cost(market, order, trades).objective == pytest.approx(exact)


# Closed forms


@pytest.mark.slow
@pytest.mark.parametrize("penalty", [1.0, 5.0, 1000.0])
@pytest.mark.parametrize("aversion", [0.0, 1e-7, 1e-6, 1e-5])
@pytest.mark.parametrize("n_steps", [2, 40, *(pytest.param(n, marks=pytest.mark.long) for n in (3, 300))])
def test_in_the_classic_market_almgren_chriss_and_static_attain_the_bound(
    n_steps: int, aversion: float, penalty: float
) -> None:
    market, order = PRESETS["classic"].market, PRESETS["classic"].order
    horizon = {"n_steps": n_steps, "slice_length": order.horizon / n_steps}
    order = replace(order, risk_aversion=aversion, terminal_penalty=penalty, **horizon)
    bound = lq.solve(market, order).bound_bps
    for agent in (AlmgrenChriss(market, order), Static(market, order)):
        assert costs(agent, market, order, 1, seed=0)[0] == pytest.approx(bound, rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("penalty", [1.0, 1000.0])
def test_a_thousand_slices_attain_the_bound_too(penalty: float) -> None:
    market, order = PRESETS["classic"].market, PRESETS["classic"].order
    order = replace(order, n_steps=1000, slice_length=order.horizon / 1000, terminal_penalty=penalty)
    found = costs(AlmgrenChriss(market, order), market, order, 1, seed=0)[0]
    assert found == pytest.approx(lq.solve(market, order).bound_bps, rel=1e-9)


def test_the_best_fixed_schedule_of_almgren_and_chriss_2001_without_risk_aversion_is_even() -> None:
    preset = PRESETS["almgren-chriss-2001"]
    market, order = preset.market, replace(preset.order, risk_aversion=0.0)
    np.testing.assert_allclose(best_schedule(market, order), 5 * [200_000.0], rtol=1e-9)
    assert costs(Static(market, order), market, order, 1, seed=0)[0] == pytest.approx(132.5, rel=1e-9)


@pytest.mark.parametrize(
    ("n", "ends", "inner", "cost"),
    [
        (10, 26_621.043, 5844.739, 236_986.7387),
        (25, 24_742.209, 2196.330, 236_440.4458),
        (100, 23_901.909, 532.614, 236_356.0186),
    ],
)
def test_trades_and_costs_of_obizhaeva_and_wang_2013(n: int, ends: float, inner: float, cost: float) -> None:
    # n trades, the first at 0 and the last at T = 1; the price that a trade pays is half of its own push.
    dt, kappa = 1 / (n - 1), 1e-4
    impact = {"temporary_impact": kappa / 2 * dt, "transient_impact": kappa, "resilience": 2.231}
    market = Market(**(QUIET | impact), half_spread=0.0, permanent_impact=0.0)
    order = Order(1e5, n_steps=n, slice_length=dt, risk_aversion=0.0, max_participation=None)
    trades = best_schedule(market, order)
    np.testing.assert_allclose(trades, [ends, *(n - 2) * [inner], ends], atol=5e-4)
    found = costs(Static(market, order), market, order, 1, seed=0)[0] / bps(order.shares * market.arrival_price)
    assert found == pytest.approx(cost, abs=5e-5)


@pytest.mark.parametrize(("exponent", "cost"), [(0.5, 16.424), (0.6, 16.976)])
def test_power_law_schedules_are_the_convex_program_of_almgren_2003(exponent: float, cost: float) -> None:
    market = Market(
        **QUIET, impact_exponent=exponent, temporary_impact=1.4e-7, permanent_impact=1.25e-7, half_spread=2.5
    )
    order = Order(max_participation=None)
    for agent in (AlmgrenChriss(market, order), Static(market, order)):
        assert costs(agent, market, order, 1, seed=0)[0] == pytest.approx(cost, abs=5e-4)


def test_who_seeks_risk_starts_slowly_as_at_point_c_of_almgren_and_chriss_2001() -> None:
    preset = PRESETS["almgren-chriss-2001"]
    order = replace(preset.order, risk_aversion=-2e-7)
    wanted = [89_944, 159_108, 216_180, 256_822, 277_946]
    np.testing.assert_allclose(best_schedule(preset.market, order), wanted, atol=0.5)
    found = schedule_cost(preset.market, order, best_schedule(preset.market, order))
    assert found.shortfall * 5000 == pytest.approx(717_958.1, abs=0.05)
    assert found.price_std * 5000 == pytest.approx(1_258_654.3, abs=0.05)


@pytest.mark.parametrize(
    ("market", "order"),
    [
        (Market(permanent_impact=1e-4), Order(max_participation=None)),
        (PRESETS["almgren-chriss-2001"].market, replace(PRESETS["almgren-chriss-2001"].order, risk_aversion=-1.1e-6)),
        (Market(**QUIET, impact_exponent=0.6, permanent_impact=1e-4), Order()),
    ],
)
def test_where_the_cost_is_not_convex_there_is_no_schedule(market: Market, order: Order) -> None:
    with pytest.raises(NotConvex, match="no optimum: the cost of fixed schedules is not convex"):
        best_schedule(market, order)


# The cap


@pytest.mark.slow
def test_with_known_volumes_the_best_is_that_of_a_search_within_the_cap() -> None:
    market = Market(**(QUIET | {"transient_impact": 6e-7}), volume_profile="u-shaped", resilience=20.0)
    for penalty, shares in ((1.0, 60_000.0), (5.0, 60_000.0), (5.0, 90_000.0)):
        order = Order(shares, n_steps=4, max_participation=0.3, terminal_penalty=penalty, risk_aversion=1e-5)
        sample = capped.Sample.draw(market, order, 2, seed=0)

        def cost(free: np.ndarray, sample: capped.Sample = sample) -> float:
            return float(sample.execute(np.r_[np.clip(free, 0.0, 1.0), 1.0]).objective.mean())

        starts = (np.full(3, 0.2), np.full(3, 0.5), np.full(3, 0.9))
        tight = {"xatol": 1e-9, "fatol": 1e-9, "maxiter": 5000}
        best = min(minimize(cost, start, method="Nelder-Mead", options=tight).fun for start in starts)
        assert cost(fractions(best_schedule(market, order))[:-1]) == pytest.approx(best, rel=1e-7)


def test_a_cap_that_never_binds_changes_nothing() -> None:
    order = Order(2000.0, max_participation=1.0)
    np.testing.assert_array_equal(
        best_schedule(Market(), order), best_schedule(Market(), replace(order, max_participation=None))
    )


@pytest.mark.slow
def test_an_order_too_large_for_the_cap_is_sold_as_fast_as_it_lets() -> None:
    order = Order(1e7)
    assert fractions(best_schedule(Market(), order)) == pytest.approx(np.ones(40))


def test_the_gradient_over_capped_paths_is_that_of_finite_differences() -> None:
    features = {"volume_profile": "u-shaped", "impact_exponent": 0.6, "signal": 0.01, "regime_rate": 4.0}
    for stress in ({}, {"stress": "liquidity-collapse", "stress_onset": 0.3, "stress_onset_end": 0.7}):
        market, order = Market(**features, **stress), Order(150_000.0, n_steps=6)
        sample = capped.Sample.draw(market, order, 200, seed=3)
        share = np.array([0.3, 0.2, 0.25, 0.4, 0.6, 1.0])
        assert sample.execute(share).clipped.mean() > 0.5
        _, gradient = sample.cost(share)
        for i, step in enumerate(1e-6 * np.eye(6)[:5]):
            difference = (sample.cost(share + step)[0] - sample.cost(share - step)[0]) / 2e-6
            assert gradient[i] == pytest.approx(difference, rel=1e-6)


@pytest.mark.slow
def test_the_search_is_deterministic() -> None:
    first = best_schedule(Market(), Order(n_steps=5)).copy()
    best_schedule.cache_clear()
    np.testing.assert_array_equal(best_schedule(Market(), Order(n_steps=5)), first)


def test_at_expected_volumes_the_cap_is_kept_and_what_is_left_is_told() -> None:
    market, order = Market(), Order(n_steps=4, max_participation=0.3)
    trades, binds, left = at_expected_volume(market, order, np.array([1e5, 0.5e5, 0.3e5, 0.2e5]))
    assert trades == pytest.approx(4 * [0.3 * 5e6 / 78])
    assert binds.all()
    assert left == pytest.approx(2e5 - 4 * 0.3 * 5e6 / 78)


@pytest.mark.long
@pytest.mark.parametrize("name", ["default", "liquidity-collapse", "almgren-2005", "participation-notebook"])
def test_the_cost_of_schedules_is_what_evaluation_finds(name: str) -> None:
    market, order = get_preset(name).market, get_preset(name).order
    found = evaluate(["twap", "almgren-chriss", "static"], episodes=4000, seed=3, n_examples=0, preset=name).per_agent
    planned = {
        "twap": np.ones(order.n_steps),
        "almgren-chriss": Impact.of(market, order).trades(order.shares, order.n_steps),
        "static": best_schedule(market, order),
    }
    for agent, trades in planned.items():
        cost, row = schedule_cost(market, order, trades), found.loc[agent]
        error = np.hypot(cost.error, row.objective_se)
        assert abs(cost.objective - row.objective_mean) < 3 * error + 1e-6 * cost.objective, agent
        assert cost.price_std < row.shortfall_std + 4.0


# No other schedule is better

EIGHT: dict[str, dict[str, Any]] = {
    name: {"preset": name}
    for name in (
        *("default", "classic", "almgren-chriss-2001", "liquidity-shocks"),
        *("regime-switching", "liquidity-collapse", "almgren-2005"),
    )
} | {"u-shaped": {"preset": "default", "volume_profile": "u-shaped", "shares": 400_000.0}}


def others(market: Market, order: Order, best: np.ndarray) -> dict[str, np.ndarray]:
    """Closed forms of other urgencies, and random changes of the best schedule."""
    kappa = Impact.of(market.linearised(order), order).kappa * order.slice_length
    found = {}
    for factor in (0.5, 0.8, 1.0, 1.2, 2.0):
        left = factor * kappa * np.arange(order.n_steps, -1, -1)
        found[f"κ × {factor:g}"] = -np.diff(np.sinh(left))
    rng = np.random.default_rng(0)
    for k in range(20):
        found[f"random {k}"] = best * np.exp(rng.uniform(0.05, 0.5) * rng.standard_normal(order.n_steps))
    return found


def advantage(name: str, n_paths: int, seed: int) -> dict[str, tuple[float, float]]:
    """What each other schedule costs more than the best one on common paths, with its standard error. [bps]"""
    changes = dict(EIGHT[name])
    preset = get_preset(changes.pop("preset"))
    fields = set(vars(preset.order))
    market = replace(preset.market, **{k: v for k, v in changes.items() if k not in fields})
    order = replace(preset.order, **{k: v for k, v in changes.items() if k in fields})
    best = best_schedule(market, order)
    base = costs(Schedule(best), market, order, n_paths, seed)
    found = {}
    for label, trades in others(market, order, best).items():
        more = costs(Schedule(trades), market, order, n_paths, seed) - base
        found[label] = float(more.mean()), float(more.std(ddof=1) / n_paths**0.5)
    return found


@pytest.mark.long
@pytest.mark.parametrize("name", EIGHT)
def test_no_other_fixed_schedule_is_better(name: str) -> None:
    for label, (more, error) in advantage(name, 3000, seed=20).items():
        assert more > -3 * error - 1e-8, label
