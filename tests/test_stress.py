"""Stress regimes: known functions of time, in tapes, environments and the bound alike."""

from typing import Any

import numpy as np
import pytest
import torch

from baselines.adaptive import Adaptive
from exec_env import lq
from exec_env.actions import ActionMode
from exec_env.execution import bps
from exec_env.market import Market
from exec_env.order import Order
from exec_env.rollout import rollout
from exec_env.stress import REGIMES, factors
from exec_env.tape import Normals, Tape, shape

STRESSES = [name for name in REGIMES if name != "none"]


def columns(**market: Any) -> Any:
    return Tape.simulate(Market(**market), Order(), 5, seed=1).slices


@pytest.mark.parametrize("name", STRESSES)
def test_nothing_changes_before_the_onset(name: str) -> None:
    calm, stressed = columns(), columns(stress=name)
    for before, after in zip(calm, stressed, strict=True):
        np.testing.assert_array_equal(before[:, :20], after[:, :20])


def test_a_liquidity_collapse_moves_everything_by_its_elasticity() -> None:
    calm, stressed = columns(), columns(stress="liquidity-collapse")
    late = np.s_[:, 20:]
    np.testing.assert_allclose(stressed.volume[late] / calm.volume[late], 0.2)
    np.testing.assert_allclose(stressed.temporary[late] / calm.temporary[late], 5.0)
    np.testing.assert_allclose(stressed.half_spread[late] / calm.half_spread[late], 5**0.5)
    np.testing.assert_allclose(stressed.variance[late] / calm.variance[late], 5**0.5)
    np.testing.assert_allclose(stressed.log_liquidity[late] - calm.log_liquidity[late], np.log(0.2))


def test_a_volatility_spike_and_an_impact_shift_move_only_their_own() -> None:
    calm = columns()
    late = np.s_[:, 20:]
    spike = columns(stress="volatility-spike")
    np.testing.assert_allclose(spike.price_shock[late] / calm.price_shock[late], 3.0)
    np.testing.assert_array_equal(spike.volume, calm.volume)
    shift = columns(stress="impact-regime-shift")
    np.testing.assert_allclose(shift.temporary[late] / calm.temporary[late], 3.0)
    np.testing.assert_allclose(shift.permanent[late] / calm.permanent[late], 3.0)
    np.testing.assert_array_equal(shift.half_spread, calm.half_spread)


def test_the_onset_can_be_chosen() -> None:
    assert factors("volatility-spike", 0.0, 4).volatility.tolist() == [3.0] * 4
    assert factors("volatility-spike", 0.75, 4).volatility.tolist() == [1.0, 1.0, 1.0, 3.0]
    assert factors("volatility-spike", 1.0, 4).volatility.tolist() == [1.0] * 4


@pytest.mark.parametrize("name", STRESSES)
def test_torch_and_numpy_are_stressed_alike(name: Any) -> None:
    market, order = Market(stress=name, volume_profile="u-shaped"), Order(n_steps=6)
    z = np.random.default_rng(0).standard_normal((6, 3, 6))
    arrays, tensors = shape(market, order, Normals(*z)), shape(market, order, Normals(*map(torch.tensor, z)))
    for ours, theirs in zip(arrays, tensors, strict=True):
        np.testing.assert_allclose(np.asarray(theirs), ours, rtol=1e-12)


@pytest.mark.parametrize("name", STRESSES)
@pytest.mark.parametrize("onset", [0.3, 0.5])
def test_without_a_cap_the_oracle_attains_its_bound(name: Any, onset: float) -> None:
    market, order = Market(stress=name, stress_onset=onset), Order(max_participation=None)
    tape = Tape.simulate(market, order, 10_000, seed=4)
    steps = rollout(Adaptive(market, order).act, tape, market, order, ActionMode("shares"))
    objective = sum(s.fill.objective for s in steps) * bps(order.shares * tape.arrival_price)
    bound, error = lq.solve(market, order).bound_bps, objective.std(ddof=1) / 100
    assert bound - 3 * error < objective.mean() < 1.003 * bound + 3 * error


def test_an_unknown_stress_is_refused() -> None:
    with pytest.raises(ValueError, match="Market.stress = 'panic': must be 'none' or 'liquidity-collapse'"):
        Market(stress="panic")  # type: ignore[arg-type]
