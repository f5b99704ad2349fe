"""Order and market: validated parameters, and mean-one factors."""

from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exec_env.market.execution import COMPONENTS, bps, opening, terms, trade
from exec_env.market.market import BPS, Market, lognormal
from exec_env.market.order import Order
from exec_env.market.paths import Normals, Paths
from exec_env.one_asset.presets import PRESETS


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("shares", 0, "> 0"),
        ("shares", float("nan"), "> 0"),
        ("shares", float("inf"), "> 0"),
        ("shares", "many", "> 0"),
        ("side", "hold", "'sell' or 'buy'"),
        ("n_steps", 1, ">= 2"),
        ("n_steps", 2.5, "whole number"),
        ("n_steps", True, "whole number"),
        ("slice_length", -1, "> 0"),
        ("max_participation", 1.5, "in (0, 1]"),
        ("max_participation", 0.0, "or None"),
        ("terminal_penalty", 0.5, ">= 1"),
        ("terminal_penalty", 0, ">= 1"),
    ],
)
def test_an_impossible_order_names_field_value_and_what_is_allowed(field: str, value: object, allowed: str) -> None:
    with pytest.raises(ValueError, match=f"Order.{field} = ") as error:
        Order(**{field: value})
    assert repr(value) in str(error.value)
    assert allowed in str(error.value)


@pytest.mark.parametrize(
    "field", ["volatility", "half_spread", "temporary_impact", "liquidity_volatility", "shock_rate"]
)
def test_a_market_parameter_cannot_be_negative(field: str) -> None:
    with pytest.raises(ValueError, match=f"Market.{field} = -0.1: must be a finite number >= 0"):
        Market(**{field: -0.1})


def test_order_and_market_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        Order().shares = 1.0  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        Market().volatility = 1.0  # type: ignore[misc]


def test_derived_quantities_follow_their_parameters() -> None:
    assert Order(n_steps=10, slice_length=0.1).horizon == pytest.approx(1.0)
    assert (Order(side="sell").sign, Order(side="buy").sign) == (1.0, -1.0)


@pytest.mark.slow
@given(
    exponent=st.floats(-1.5, 1.5),
    std=st.floats(0.0, 0.8),
    noise=st.floats(0.0, 0.5),
)
def test_every_random_factor_has_mean_one(exponent: float, std: float, noise: float) -> None:
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    weights = weights / weights.sum()
    factor = lognormal(exponent, std * nodes[:, None], std, noise, nodes[None, :])
    assert weights @ factor @ weights == pytest.approx(1.0, rel=1e-9)


def test_factors_load_on_liquidity_with_their_elasticities() -> None:
    market, low, high = Market(volatility_elasticity=-0.25), -0.5, 0.5
    steps = high - low

    def slope(f: object) -> float:
        return float(np.log(f(high) / f(low)) / steps)  # type: ignore[operator]

    assert slope(lambda l: market.half_spread_at(l, 0.0)) == pytest.approx(-0.5)
    assert slope(lambda l: market.volume_at(l, 0.0, 0.01)) == pytest.approx(1.0)
    assert slope(lambda l: market.temporary_at(l, 0.0, 0.01)) == pytest.approx(-1.0)
    assert slope(lambda l: market.variance_at(l, 0.01)) == pytest.approx(-0.5)
    assert slope(lambda l: Market().variance_at(l, 0.01)) == 0.0  # volatility does not fall when volume rises


def test_without_randomness_factors_are_the_parameters() -> None:
    market = PRESETS["classic"].market
    dt = 1 / 78
    assert market.half_spread_at(0.0, 1.7) == pytest.approx(1.0 * BPS * 100.0)
    assert market.volume_at(0.0, 1.7, dt) == pytest.approx(5e6 / 78)
    assert market.temporary_at(0.0, 1.7, dt) == pytest.approx(1.6e-7 * 78)
    assert market.variance_at(0.0, dt) == pytest.approx(4.0 / 78)
    assert market.decay_at(1.7, dt) == pytest.approx(np.exp(-10 / 78))


def test_the_u_shaped_profile_is_high_at_both_ends_and_has_mean_one() -> None:
    profile = Market(volume_profile="u-shaped").profile(Order(n_steps=40))
    assert profile.mean() == pytest.approx(1.0)
    assert profile[0] == pytest.approx(profile[-1])
    assert profile[0] == pytest.approx(profile.max())
    assert profile[0] > 3 * profile[20]


def test_a_shock_rate_beyond_one_per_slice_is_refused() -> None:
    with pytest.raises(ValueError, match="Market.shock_rate = 100.0: must be below 78"):
        Market(shock_rate=100.0).shock_probability(1 / 78)


def test_presets_are_the_problems_they_name() -> None:
    ac = PRESETS["almgren-chriss-2001"]
    assert (ac.order.shares, ac.order.n_steps, ac.order.horizon) == (1e6, 5, 5.0)
    assert ac.market.volatility * ac.market.arrival_price == pytest.approx(0.95)
    assert ac.market.half_spread * BPS * ac.market.arrival_price == pytest.approx(0.0625)
    notebook = PRESETS["participation-notebook"]
    assert notebook.market.daily_volume / 78 == pytest.approx(2e6)
    assert np.sqrt(np.expm1(notebook.market.volume_noise**2)) * 2e6 == pytest.approx(5e5)
    assert notebook.action is not None
    assert len(notebook.action.values(notebook.order)) == 7
    assert notebook.action.values(notebook.order)[-1] == pytest.approx(0.20)
    rl = PRESETS["constrained-rl"]
    assert rl.market.temporary_impact / rl.order.slice_length == pytest.approx(0.01)
    assert rl.market.permanent_impact == 0.001
    assert rl.market.liquidity_volatility > 0


def costs_of_an_even_pace(order: Order) -> dict[str, float]:
    """Components in a market whose every factor is at its mean. [bps]"""
    noises = ("volume_noise", "spread_noise", "impact_noise", "decay_noise", "liquidity_volatility", "volatility")
    market = Market(**dict.fromkeys(noises, 0.0))
    paths = Paths.shaped(market, order, Normals(*np.zeros((6, 1, order.n_steps))))
    state, fills = opening(order.shares, np.zeros(1)), []
    for t in range(order.n_steps):
        even = order.shares / order.n_steps
        state, fill = trade(state, paths.at(t), even, terms(market, order), t == order.n_steps - 1)
        fills.append(fill)
    to_bps = bps(order.shares * market.arrival_price)
    return {name: float(to_bps * sum(np.sum(getattr(fill, name)) for fill in fills)) for name in COMPONENTS}


def test_the_default_order_costs_what_markets_show_for_four_per_cent_of_a_days_volume() -> None:
    market, order = Market(), Order()
    assert order.shares / market.daily_volume == 0.04
    costs = costs_of_an_even_pace(order)
    assert sum(costs.values()) == pytest.approx(11.4, abs=0.1)
    scale = market.volatility * (order.shares / market.daily_volume) ** 0.5 / BPS
    assert scale == pytest.approx(40.0)
    assert sum(costs.values()) / scale == pytest.approx(0.285, abs=0.005)
    # Of what its impact costs, two fifths are from its size, the rest from its rate.
    size = costs["permanent"] + costs["transient"]
    assert size / (size + costs["temporary"]) == pytest.approx(0.4, abs=0.01)
    # A half spread of 1 bp, in a stock that trades 500 M$ a day.
    assert costs["spread"] == pytest.approx(1.0)
    assert market.daily_volume * market.arrival_price == 500e6


def test_cost_depends_on_size_as_well_as_on_rate() -> None:
    """An even pace four times slower costs far more than a quarter."""
    fast, middle, slow = (
        sum(costs_of_an_even_pace(Order(n_steps=n, max_participation=None)).values()) for n in (10, 40, 156)
    )
    assert [fast, middle, slow] == pytest.approx([31.7, 11.4, 5.6], abs=0.1)


def test_volatility_does_not_move_with_volume() -> None:
    slices = Paths.simulate(Market(), Order(), 100, seed=0).slices
    assert np.ptp(slices.variance) == 0.0
    assert np.std(np.log(slices.volume)) == pytest.approx((0.5**2 + 0.4**2) ** 0.5, abs=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("rate", [0.0, 8.0])
def test_means_are_the_parameters_without_shocks_and_a_poorer_markets_with_them(rate: float) -> None:
    """From the second slice on a shock may come, and lower log liquidity by J, of which a^k is left k slices later."""
    market = Market(liquidity_volatility=0.0, volume_noise=0.0, impact_noise=0.0, shock_rate=rate, shock_size=1.1)
    slices = Paths.simulate(market, Order(), 40_000, seed=1).slices
    left = 1.1 * np.exp(-7.8 / 78 * np.arange(40))
    p = rate / 78
    for factor, e in ((slices.volume / (5e6 / 78), 1.0), (slices.temporary / (1.6e-7 * 78), -1.0)):
        came = np.cumprod(1 - p + p * np.exp(-e * left))
        for t in (10, 39):
            error = factor[:, t].std() / len(factor) ** 0.5
            assert abs(factor[:, t].mean() - came[t - 1]) <= 4 * error + 1e-12
    if rate:
        assert slices.volume.mean() < 0.8 * 5e6 / 78
        assert slices.temporary.mean() > 1.2 * 1.6e-7 * 78


def test_a_rescaled_market_has_impact_by_volatility_price_and_volume() -> None:
    other = Market().rescaled(arrival_price=40.0, volatility=0.018, daily_volume=3e6)
    for name in ("temporary_impact", "permanent_impact", "transient_impact"):
        assert getattr(other, name) == pytest.approx(0.6 * getattr(Market, name), rel=1e-12)
    assert other.resilience == Market.resilience
    # A volatility of zero says nothing of impact.
    assert Market().rescaled(100.0, 0.0, 5e6) == Market(volatility=0.0)
    assert Market(volatility=0.0).rescaled(100.0, 0.02, 5e6) == Market()
