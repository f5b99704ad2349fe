"""What an agent sees: its units, its bounds, and numbers that are always finite."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exec_env.market.execution import Slice, State
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.one_asset.observation import HIGH, LOW, Observation, Observer, space


def slice_of(**values: float) -> Slice:
    return Slice(**(dict.fromkeys(Slice._fields, 0.0) | values))


def test_the_observation_is_measured_in_its_units() -> None:
    market, order = Market(), Order()
    observe = Observer(market, order)
    now = slice_of(
        log_liquidity=0.3, half_spread=0.02, volume=5e6 / 39, variance=4 * 4 / 78, drift=2 * (40 / 78) ** 0.5 / 40
    )
    state = State(50_000.0, 0.01, -1.0, 0.2)
    seen = Observation(*observe(state, observe.market(now), 10))
    horizon = 40 / 78
    assert seen.time_left == pytest.approx(0.25)
    assert seen.inventory_left == pytest.approx(0.25)
    assert seen.log_liquidity == 0.3
    assert seen.relative_spread == pytest.approx(2.0)
    assert seen.relative_volume == pytest.approx(2.0)
    assert seen.relative_volatility == pytest.approx(2.0)
    assert seen.transient_impact == pytest.approx(
        0.01 / (6e-7 * 2e5 * (1 - np.exp(-10 * horizon)) / (10 * horizon)), rel=1e-9
    )
    assert seen.price_move == pytest.approx(-1.0 / (2.0 * horizon**0.5))
    assert seen.last_participation == pytest.approx(0.2 / (2e5 / (5e6 * horizon)))
    assert seen.signal == pytest.approx(1.0)


@given(
    l=st.floats(-1e6, 1e6),
    spread=st.floats(0, 1e9),
    volume=st.floats(0, 1e15),
    variance=st.floats(0, 1e9),
    drift=st.floats(-1e9, 1e9),
    move=st.floats(-1e9, 1e9),
    participation=st.floats(0, 1e9),
)
def test_observations_are_always_finite_and_inside_the_space(
    l: float,
    spread: float,
    volume: float,
    variance: float,
    drift: float,
    move: float,
    participation: float,
) -> None:
    observe = Observer(Market(), Order())
    now = slice_of(log_liquidity=l, half_spread=spread, volume=volume, variance=variance, drift=drift)
    seen = np.array(observe(State(1.0, 1e9, move, participation), observe.market(now), 1), np.float32)
    assert space().contains(seen)


def test_a_zero_unit_gives_zero_not_infinity() -> None:
    observe = Observer(Market(volatility=0.0, half_spread=0.0, transient_impact=0.0), Order())
    seen = observe(State(1.0, 1.0, 1.0, 0.0), observe.market(slice_of(half_spread=1.0, variance=1.0, drift=1.0)), 1)
    assert np.isfinite(seen).all()
    assert Observation(*seen).price_move == 0.0


def test_bounds_have_an_entry_for_each_name() -> None:
    assert len(LOW) == len(HIGH) == len(Observation._fields) == space().shape[0] == 10
