"""Hidden liquidity: an exact filter, a bound that is attained without a cap, and what is and is not seen."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from exec_env.base.errors import InputError, NoBound
from exec_env.baselines.filtered import Filtered
from exec_env.baselines.twap import TWAP
from exec_env.envs.registry import problem_of
from exec_env.harness import evaluate
from exec_env.market.execution import bps, opening, terms, trade
from exec_env.market.liquidity_filter import LiquidityFilter
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.market.paths import Paths
from exec_env.one_asset.torch_market import TorchMarket
from exec_env.optimum import lq
from exec_env.optimum.liquidity_grid import gauss_hermite

HIDDEN = "AlmgrenChrissHidden-v0"
NOISY = Market(volume_noise=0.6, spread_noise=0.5)


def test_variances_of_the_filter_are_those_computed_independently() -> None:
    assert LiquidityFilter.of(NOISY, Order()).variance[[0, 1, 39]] == pytest.approx([0.2, 0.13088, 0.09764], abs=1e-5)


def test_the_filters_errors_have_its_variance_and_nothing_to_do_with_its_mean() -> None:
    slices = Paths.simulate(NOISY, Order(), 20_000, seed=0).slices
    found = LiquidityFilter.of(NOISY, Order())
    means = found.means(slices.half_spread, slices.volume)
    errors = slices.log_liquidity - means
    for t in (0, 1, 20, 39):
        wanted = found.variance[t]
        assert errors[:, t].var() == pytest.approx(wanted, abs=4 * wanted * (2 / 20_000) ** 0.5)
        product = errors[:, t] * means[:, t]
        assert abs(product.mean()) < 4 * product.std() / 20_000**0.5


def test_bounds_are_those_computed_independently() -> None:
    # By another program: a Kalman filter and a linear-quadratic recursion on the grid of its mean.
    assert lq.solve(NOISY, Order()).bound_bps == pytest.approx(20.14496, rel=1e-6)
    assert lq.solve(NOISY, Order(), hidden=True).bound_bps == pytest.approx(20.52798, rel=1e-6)


@pytest.mark.parametrize(
    "market",
    [
        replace(NOISY, spread_noise=1e-4),  # the spread shows liquidity
        replace(NOISY, liquidity_volatility=0.0),  # there is nothing to hide
    ],
)
def test_without_noise_the_bound_is_that_of_whoever_sees_all(market: Market) -> None:
    order = Order(shares=150_000.0, risk_aversion=3e-6)
    assert lq.solve(market, order, hidden=True).bound_bps == pytest.approx(lq.solve(market, order).bound_bps, rel=1e-6)


@pytest.mark.slow
def test_more_noise_in_the_volume_never_lowers_the_bound_and_it_is_between_those_of_all_and_of_nothing() -> None:
    bounds = [lq.solve(replace(NOISY, volume_noise=v), Order(), hidden=True).bound_bps for v in (0.0, 0.2, 0.6, 2.0)]
    assert (np.diff(bounds) > 0).all()
    nothing = replace(NOISY, volume_noise=50.0, spread_elasticity=0.0)
    blind = lq.solve(nothing, Order(), hidden=True).bound_bps
    assert lq.solve(NOISY, Order()).bound_bps < bounds[0]
    assert bounds[-1] < blind


def expected_cost(market: Market, order: Order, v: float, spread: float, first: Any, second: Any) -> Any:
    """Of two trades, v and the rest, where log liquidity is ``first`` and then ``second``. [$]"""
    decay = lq.decay_moments(market, order.slice_length)[0]

    def slice_of(liquidity: Any, half_spread: Any) -> Any:
        zero = 0.0 * liquidity
        return (
            Paths.simulate(market, order, 1, 0)
            .at(0)
            ._replace(
                log_liquidity=liquidity,
                half_spread=half_spread + zero,
                volume=1e12 + zero,
                variance=market.variance_at(liquidity, order.slice_length),
                temporary=market.temporary_at(liquidity, market.impact_noise / 2, order.slice_length),
                decay=decay + zero,
                price_shock=zero,
            )
        )

    fixed, state = terms(market, order), opening(order.shares + 0.0 * second, 0.0 * second)
    state, one = trade(state, slice_of(first + 0.0 * second, spread), v, fixed, last=False)
    mean_spread = market.half_spread_at(second, market.spread_noise / 2)
    _, two = trade(state, slice_of(second, mean_spread), order.shares, fixed, last=True)
    return one.objective + two.objective


def two_slices(market: Market, order: Order) -> float:
    """J of the best rule over two slices by brute force: for each first spread the best first trade. [bps]"""
    found = LiquidityFilter.of(market, order)
    z, weights = gauss_hermite(24)
    s, a, beta = market.liquidity_volatility, found.persistence, market.spread_elasticity
    both, total = weights[:, None] * weights, 0.0
    for y, weight in zip((s**2 + (market.spread_noise / beta) ** 2) ** 0.5 * z, weights, strict=True):
        first = found.spread_gain[0] * y + found.variance[0] ** 0.5 * z[:, None]
        second = a * first + s * (1 - a**2) ** 0.5 * z
        level = market.half_spread * 1e-4 * market.arrival_price
        spread = level * np.exp(-beta * y - (beta**2 * s**2 + market.spread_noise**2) / 2)
        at = [0.0, 0.5, 1.0]
        costs = [(both * expected_cost(market, order, x * order.shares, spread, first, second)).sum() for x in at]
        c = np.polyfit(at, costs, 2)
        total += weight * (c[2] - c[1] ** 2 / (4 * c[0]))
    return total * bps(order.shares * market.arrival_price)


def test_over_two_slices_it_equals_brute_force() -> None:
    order = Order(n_steps=2, shares=20_000.0, max_participation=None, slice_length=1 / 20)
    assert lq.solve(NOISY, order, hidden=True).bound_bps == pytest.approx(two_slices(NOISY, order), rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"risk_aversion": 3e-6, "volume_noise": 0.3, "shares": 120_000}])
def test_without_a_cap_its_rule_attains_the_bound(options: dict[str, Any]) -> None:
    found = evaluate(["filtered"], HIDDEN, episodes=8000, seed=1, max_participation=None, **options)
    row = found.per_agent.loc["filtered"]
    assert found.bound_bps is not None
    assert abs(row["objective_mean"] - found.bound_bps) < 4 * row["objective_se"] + 2e-3  # clipped at zero
    assert row["objective_se"] < 0.05


@pytest.mark.long
def test_with_the_cap_its_rule_costs_what_was_computed_independently() -> None:
    row = evaluate(["filtered", "twap"], HIDDEN, episodes=200_000, seed=5).per_agent
    for name, (cost, error) in {"filtered": (20.7545, 0.0052), "twap": (25.0781, 0.0064)}.items():
        assert abs(row.loc[name, "objective_mean"] - cost) < 3 * (row.loc[name, "objective_se"] ** 2 + error**2) ** 0.5


def test_what_is_hidden_is_not_in_the_observation_and_changes_no_trade() -> None:
    problem, twin = problem_of(HIDDEN), problem_of(HIDDEN, information="filtered")
    assert problem.names[2:5] == ("nothing", "relative_spread", "last_volume")
    paths, seen = (p.sample([np.random.default_rng(0)], 50).slices for p in (problem, twin))
    full = Paths.simulate(problem.market, problem.order, 50, 0).slices
    assert (paths.log_liquidity == 0).all()
    found = LiquidityFilter.of(problem.market, problem.order)
    np.testing.assert_array_equal(seen.log_liquidity, found.means(full.half_spread, full.volume))
    np.testing.assert_array_equal(paths.volume[:, 1:], full.volume[:, :-1])
    assert (paths.volume[:, 0] == problem.market.daily_volume / 78).all()
    for name in ("half_spread", "temporary", "price_shock", "decay"):
        np.testing.assert_array_equal(getattr(paths, name), getattr(full, name))


def test_tensors_show_what_arrays_show() -> None:
    problem = problem_of(HIDDEN, information="filtered")
    market = TorchMarket(problem.market, problem.order, information="filtered")
    drawn = market.simulate(200, market.generator(0))
    assert drawn.slices.volume.shape == (200, 40)
    found = LiquidityFilter.of(problem.market, problem.order)
    full = Paths.simulate(problem.market, problem.order, 20, 0)
    arrays = found.hidden(full.slices, show_mean=True)
    tensors = found.hidden(market.load(full).slices, show_mean=True)
    np.testing.assert_allclose(tensors.log_liquidity.numpy(), arrays.log_liquidity, atol=2e-6)
    np.testing.assert_allclose(tensors.volume.numpy(), arrays.volume, rtol=1e-6)


@pytest.mark.slow
def test_with_the_filters_mean_or_without_the_filtered_rule_trades_the_same() -> None:
    found = [evaluate(["filtered"], HIDDEN, episodes=50, information=seen) for seen in ("hidden", "filtered")]
    assert found[0].per_path.equals(found[1].per_path)


@pytest.mark.parametrize("agent", ["adaptive", "optimal"])
def test_an_agent_that_acts_on_liquidity_is_refused_where_it_is_hidden(agent: str) -> None:
    with pytest.raises(InputError, match=f"{agent.title()}: it acts on 'log_liquidity', which is not in"):
        evaluate([agent], HIDDEN, episodes=20)


def test_an_agent_that_waits_for_volumes_of_the_past_is_refused_where_all_is_seen() -> None:
    with pytest.raises(InputError, match="Filtered: it acts on 'last_volume', which is not in the observation"):
        evaluate(["filtered"], episodes=20)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"volatility_elasticity": 0.5}, "volatility is seen and would show liquidity; must be 0"),
        ({"information": "some"}, "information = 'some': must be 'full', 'hidden' or 'filtered'"),
    ],
)
def test_what_cannot_be_hidden_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        problem_of(HIDDEN, **options)


def test_under_stress_the_bound_is_that_of_whoever_sees_liquidity_and_says_so() -> None:
    bound = problem_of(HIDDEN, stress="liquidity-collapse").bound()
    assert "whoever sees liquidity" in bound.left_out
    assert bound.value_bps == pytest.approx(
        problem_of(HIDDEN, stress="liquidity-collapse", information="full").bound().value_bps
    )


def test_it_has_no_optimum_by_dynamic_programming_and_says_why() -> None:
    with pytest.raises(NoBound, match="liquidity is hidden"):
        problem_of(HIDDEN).optimum()


def test_zeros_in_recorded_volumes_and_spreads_measure_nothing() -> None:
    found = LiquidityFilter.of(NOISY, Order(n_steps=2))
    spread, volume = np.array([[0.0, 0.0]]), np.array([[0.0, 1.0]])
    assert found.means(spread, volume).tolist() == [[0.0, 0.0]]


@pytest.mark.slow
def test_twap_costs_the_same_whatever_is_seen_where_the_cap_is_out_of_the_way() -> None:
    free = {"max_participation": None, "episodes": 100, "seed": 2}
    hidden, full = (evaluate([TWAP], HIDDEN, information=seen, **free) for seen in ("hidden", "full"))
    np.testing.assert_allclose(hidden.per_path["objective"], full.per_path["objective"], rtol=1e-12)
    assert Filtered.names == tuple(name for name in problem_of(HIDDEN).names if name != "nothing")
