"""How an environment is steered: action modes, their levels, and actions that are refused."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from exec_env.market.execution import Slice, State
from exec_env.market.order import Order
from exec_env.one_asset.actions import ActionMode, OrderActions, get_action_mode

ORDER = Order()


@pytest.mark.parametrize(
    ("name", "value", "shares"),
    [("pace", 2.0, 20.0), ("participation", 0.1, 50.0), ("fraction", 0.25, 25.0), ("shares", 30.0, 30.0)],
)
def test_each_action_mode_means_what_it_says(name: str, value: float, shares: float) -> None:
    now = Slice(*[0.0] * 10)._replace(volume=500.0)
    assert ActionMode(name).shares(value, State(100.0, 0.0, 0.0, 0.0), now, 10) == shares


def test_pace_one_is_twap_and_the_levels_are_those_of_the_table() -> None:
    levels = ActionMode("pace").values(ORDER)
    assert levels.tolist() == [0, 0.25, 0.5, 0.75, 1, 1.5, 2, 2.5, 3, 4, 6]
    assert OrderActions(ActionMode("pace"), ORDER).one(4) == 1.0


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
        OrderActions(ActionMode("pace"), ORDER).one(bad)


@pytest.mark.parametrize("bad", [-0.01, 1.01, float("nan"), "half", None, np.array([0.1, 0.2]), np.array([])])
def test_a_continuous_action_outside_the_space_is_refused(bad: object) -> None:
    with pytest.raises(ValueError, match="outside the space, a number in"):
        OrderActions(ActionMode("fraction"), ORDER).one(bad)


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
        OrderActions(ActionMode(mode), ORDER).many(np.array(bad), 2)


def test_tensors_beside_arrays_are_checked_as_arrays_are() -> None:
    decode = OrderActions(ActionMode("pace"), ORDER).many
    assert decode(torch.tensor([1, 4]), 2).tolist() == [0.25, 1.0]
    with pytest.raises(ValueError, match="-1 is outside the space"):
        decode(torch.tensor([0, -1]), 2)


@given(action=st.floats(0, 1, width=32))
def test_one_action_and_a_batch_decode_alike(action: float) -> None:
    decoder = OrderActions(ActionMode("fraction"), ORDER)
    assert decoder.one(np.array([action], np.float32)) == decoder.many(np.array([[action]], np.float32), 1)[0]
