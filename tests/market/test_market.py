"""Order and market: validated parameters, and mean-one factors."""

from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exec_env.market.market import BPS, Market, lognormal
from exec_env.market.order import Order
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
        ("risk_aversion", -1e-6, ">= 0"),
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
    profile = Market(volume_profile="u-shaped").profile(40)
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
