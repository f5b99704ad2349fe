"""How an environment is steered, seen and paid."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from exec_env.envs.reward import Reward
from exec_env.market.execution import Slice, State
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.one_asset.actions import ActionMode, Decoder, get_action_mode
from exec_env.one_asset.observation import HIGH, LOW, Observation, Observer, space

ORDER = Order()


@pytest.mark.parametrize(
    ("name", "value", "shares"),
    [("pace", 2.0, 20.0), ("participation", 0.1, 50.0), ("fraction", 0.25, 25.0), ("shares", 30.0, 30.0)],
)
def test_each_action_mode_means_what_it_says(name: str, value: float, shares: float) -> None:
    assert ActionMode(name).shares(value, 100.0, 10, 500.0) == shares


def test_pace_one_is_twap_and_the_levels_are_those_of_the_table() -> None:
    levels = ActionMode("pace").values(ORDER)
    assert levels.tolist() == [0, 0.25, 0.5, 0.75, 1, 1.5, 2, 2.5, 3, 4, 6]
    assert Decoder(ActionMode("pace"), ORDER).one(4) == 1.0


def test_levels_can_be_chosen() -> None:
    mode = get_action_mode("participation-levels", (0, 0.1, 0.2))
    assert mode.values(ORDER).tolist() == [0.0, 0.1, 0.2]
    assert mode.space(ORDER).n == 3


@pytest.mark.parametrize("levels", [(), (1.0,), (1.0, 1.0), (0.0, -1.0), (0.0, float("nan")), "ab", 7])
def test_impossible_levels_are_refused(levels: object) -> None:
    with pytest.raises(ValueError, match="levels = "):
        ActionMode("pace", levels)  # type: ignore[arg-type]


def test_a_continuous_mode_has_no_levels() -> None:
    with pytest.raises(ValueError, match="'fraction' has none; it must be 'pace' or 'participation-levels'"):
        ActionMode("fraction", (0.0, 1.0))


@pytest.mark.parametrize("bad", [11, -1, 1.5, "4", None, float("nan"), np.array([1, 2])])
def test_a_discrete_action_outside_the_space_is_refused(bad: object) -> None:
    with pytest.raises(ValueError, match="outside the space, an integer in 0 .. 10"):
        Decoder(ActionMode("pace"), ORDER).one(bad)


@pytest.mark.parametrize("bad", [-0.01, 1.01, float("nan"), "half", None, np.array([0.1, 0.2]), np.array([])])
def test_a_continuous_action_outside_the_space_is_refused(bad: object) -> None:
    with pytest.raises(ValueError, match="outside the space, a number in"):
        Decoder(ActionMode("fraction"), ORDER).one(bad)


@pytest.mark.parametrize(
    ("mode", "bad"),
    [
        ("pace", [0, 11]),
        ("pace", [0, -1]),
        ("pace", [0.0, 1.0]),
        ("pace", [0]),
        ("fraction", [[0.5], [1.5]]),
        ("fraction", [[0.5], [float("nan")]]),
        ("fraction", [[0.5, 0.5]]),
    ],
)
def test_batches_of_actions_outside_the_space_are_refused(mode: str, bad: list) -> None:
    with pytest.raises(ValueError, match="outside the space"):
        Decoder(ActionMode(mode), ORDER).many(np.array(bad), 2)


def test_tensors_beside_arrays_are_checked_as_arrays_are() -> None:
    decode = Decoder(ActionMode("pace"), ORDER).many
    assert decode(torch.tensor([1, 4]), 2).tolist() == [0.25, 1.0]
    with pytest.raises(ValueError, match="-1 is outside the space"):
        decode(torch.tensor([0, -1]), 2)


@given(action=st.floats(0, 1, width=32))
def test_one_action_and_a_batch_decode_alike(action: float) -> None:
    decoder = Decoder(ActionMode("fraction"), ORDER)
    assert decoder.one(np.array([action], np.float32)) == decoder.many(np.array([[action]], np.float32), 1)[0]


def slice_of(**values: float) -> Slice:
    return Slice(**(dict.fromkeys(Slice._fields, 0.0) | values))


def test_the_observation_is_measured_in_its_units() -> None:
    market, order = Market(), Order()
    observe = Observer(market, order)
    now = slice_of(
        log_liquidity=0.3, half_spread=0.05, volume=5e6 / 39, variance=4 * 4 / 78, drift=2 * (40 / 78) ** 0.5 / 40
    )
    book = State(50_000.0, 0.01, -1.0, 0.2)
    seen = Observation(*observe(book, observe.market(now), 10))
    horizon = 40 / 78
    assert seen.time_left == pytest.approx(0.25)
    assert seen.inventory_left == pytest.approx(0.25)
    assert seen.log_liquidity == 0.3
    assert seen.relative_spread == pytest.approx(2.0)
    assert seen.relative_volume == pytest.approx(2.0)
    assert seen.relative_volatility == pytest.approx(2.0)
    assert seen.transient_impact == pytest.approx(
        0.01 / (3e-7 * 2e5 * (1 - np.exp(-20 * horizon)) / (20 * horizon)), rel=1e-9
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


@pytest.mark.parametrize(("field", "value"), [("violation_penalty", -1), ("smoothness_penalty", "x")])
def test_an_impossible_reward_is_refused(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"Reward.{field} = "):
        Reward(**{field: value})
