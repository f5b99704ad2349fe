"""Fees: paid on every share, a component of their own, and the same for every policy, so that what is exact stays."""

from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

import exec_env
from exec_env.base.errors import InputError
from exec_env.baselines.impact import Impact
from exec_env.market.execution import COMPONENTS, Slice, State, block_cost, terms, trade
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.one_asset.actions import ActionMode
from exec_env.one_asset.options import make_problem
from exec_env.one_asset.torch_market import TorchMarket
from exec_env.optimum import dual, dynamic_programming, lq, relaxation
from exec_env.optimum.schedule import best_schedule
from exec_env.optimum.schedule_cost import schedule_cost
from tests.conftest import RICH, play, recorded_slices

FEE = 2.5
ORDER = Order(n_steps=4)
FREE = Market()
CHARGED = replace(FREE, taker_fee=FEE)


def test_a_slice_and_its_closing_block_solved_by_hand() -> None:
    now = Slice(0.0, 0.02, 1000.0, 0.0, 0.0, 0.001, 0.0, 1.0, 0.0, 0.0)
    market = Market(arrival_price=50.0, taker_fee=4.0, transient_impact=0.0)  # a fee of two cents a share
    state, constants = State(400.0, 0.0, 0.0, 0.0), terms(market, Order(risk_aversion=0.0))
    _, fill = trade(state, now, 100.0, constants, False)
    assert fill.fees == pytest.approx(2.0)
    assert fill.shortfall == pytest.approx(100 * 0.02 + 0.001 * 100**2 + 2.0)
    _, last = trade(state, now, 100.0, constants, True)
    assert last.fees == pytest.approx(8.0)  # of the block too
    free = trade(state, now, 100.0, constants._replace(fee=None), True)[1]
    assert last.objective == pytest.approx(free.objective + 8.0)
    costs = [
        block_cost(state, now, fill, terms) for fill, terms in ((last, constants), (free, constants._replace(fee=None)))
    ]
    assert costs[0] == pytest.approx(costs[1] + 300 * 0.02)


@pytest.mark.parametrize("side", ["sell", "buy"])
def test_every_policy_pays_the_fee_and_components_sum_to_the_shortfall(side: Any) -> None:
    for options in ({"n_steps": 5}, {"n_steps": 5, **RICH}):
        played = []
        for fee in (0.0, FEE):
            env = gym.make("AlmgrenChriss-v0", taker_fee=fee, side=side, **options)
            played.append(play(env, lambda _: 2, seed=3))
        free, charged = (steps[-1] for steps in played)
        assert charged["shortfall_bps"] == pytest.approx(free["shortfall_bps"] + FEE, abs=1e-10)
        assert charged["objective_bps"] == pytest.approx(free["objective_bps"] + FEE, abs=1e-10)
        assert sum(step["fees"] for step in played[1]) == pytest.approx(FEE, abs=1e-12)
        total = sum(step[name] for step in played[1] for name in COMPONENTS)
        assert total == pytest.approx(charged["shortfall_bps"], abs=1e-9)
        # It is paid beside the price of a fill.
        assert [s["fill_price"] for s in played[1]] == pytest.approx([s["fill_price"] for s in played[0]], abs=1e-12)


def test_the_bound_rises_by_the_fee_and_its_rule_does_not_change() -> None:
    free, charged = (lq.solve(market, ORDER) for market in (FREE, CHARGED))
    assert charged.bound_bps == pytest.approx(free.bound_bps + FEE, abs=1e-12)
    assert (charged.gain == free.gain).all()
    fee = torch.tensor(FEE, dtype=torch.float64, requires_grad=True)
    bound = lq.solve(replace(FREE, taker_fee=fee), ORDER).bound_bps
    assert bound.item() == pytest.approx(charged.bound_bps, abs=1e-12)
    bound.backward()
    assert fee.grad.item() == pytest.approx(1.0)


@pytest.mark.long
def test_bound_best_achievable_and_interval_rise_by_the_fee_and_rules_do_not_change() -> None:
    free, charged = (dynamic_programming.solve(market, ORDER, 16) for market in (FREE, CHARGED))
    assert charged.value_bps == pytest.approx(free.value_bps + FEE, abs=1e-12)
    assert charged.linear.bound_bps == pytest.approx(free.linear.bound_bps + FEE, abs=1e-12)
    assert (charged.sooner == free.sooner).all()
    assert (charged.linear.gain == free.linear.gain).all()
    ours, theirs = (dual.certify(market, ORDER, 20) for market in (CHARGED, FREE))
    assert ours.lower_bps == pytest.approx(theirs.lower_bps + FEE, abs=1e-10)
    assert ours.upper_bps == pytest.approx(theirs.upper_bps + FEE, abs=1e-10)
    assert ours.gap_bps == pytest.approx(theirs.gap_bps, abs=1e-10)


@pytest.mark.long
def test_a_relaxed_bound_and_that_of_a_random_onset_rise_by_the_fee() -> None:
    for market in (Market(transient_impact=6e-6), Market(stress="liquidity-collapse", stress_onset_end=1.0)):
        free, charged = (relaxation.solve(m, ORDER) for m in (market, replace(market, taker_fee=FEE)))
        assert charged.charged == free.charged
        assert charged.bound_bps == pytest.approx(free.bound_bps + FEE, abs=1e-10)


@pytest.mark.parametrize("cap", [None, pytest.param(0.3, marks=pytest.mark.long)])
def test_schedules_stay_and_cost_the_fee_more(cap: float | None) -> None:
    order = replace(ORDER, max_participation=cap)
    trades = best_schedule(FREE, order)
    assert (best_schedule(CHARGED, order) == trades).all()
    free, charged = (schedule_cost(market, order, trades) for market in (FREE, CHARGED))
    assert charged.objective == pytest.approx(free.objective + FEE, abs=1e-9)
    assert charged.shortfall == pytest.approx(free.shortfall + FEE, abs=1e-9)
    assert charged.error == pytest.approx(free.error, rel=1e-6)
    held = np.r_[order.shares, order.shares - np.cumsum(trades)]
    held[-1] = 0.0
    notional = order.shares * FREE.arrival_price
    costs = [Impact.of(market, order).expected_cost(held) / notional * 1e4 for market in (FREE, CHARGED)]
    assert costs[1] == pytest.approx(costs[0] + FEE)


@pytest.mark.long
def test_an_evaluation_tells_the_fee_and_keeps_its_control_variates() -> None:
    free, charged = (
        exec_env.evaluate(["twap", "optimal"], episodes=300, n_examples=0, n_steps=4, taker_fee=fee)
        for fee in (0.0, FEE)
    )
    assert np.allclose(charged.per_path["fees"], FEE, atol=1e-10)
    assert np.allclose(charged.per_agent["objective_mean"], free.per_agent["objective_mean"] + FEE, atol=1e-8)
    assert np.allclose(charged.per_agent["objective_se"], free.per_agent["objective_se"], rtol=1e-6)
    parts = charged.per_path[list(COMPONENTS)].sum(axis=1)
    assert np.allclose(parts, charged.per_path["shortfall"], atol=1e-8)


def test_the_fee_of_tensors_is_that_of_numbers_and_has_a_gradient() -> None:
    fee = torch.tensor(FEE, dtype=torch.float64, requires_grad=True)
    costs = []
    for market in (FREE, replace(FREE, taker_fee=fee)):
        ours = TorchMarket(market, ORDER, dtype=torch.float64)
        paths = ours.simulate(8, ours.generator(0))
        costs.append(ours.costs(lambda o: torch.full((len(o),), 4), paths, ActionMode("pace")).objective)
    assert torch.allclose(costs[1], costs[0] + FEE, atol=1e-9)
    costs[1].mean().backward()
    assert fee.grad.item() == pytest.approx(1.0)


def test_a_tape_knows_fees_and_a_rebate_is_refused_where_nothing_rests() -> None:
    from exec_env.data.tape import Tape

    problem = make_problem(tape=Tape.from_frame(recorded_slices(60)), n_steps=4, shares=1000.0, taker_fee=FEE)
    assert problem.market.taker_fee == FEE
    with pytest.raises(InputError, match=r"Market\.maker_rebate = 0\.2: no effect where all orders are market orders"):
        make_problem(maker_rebate=0.2)
    with pytest.raises(InputError, match=r"Market\.taker_fee = -1.*must be a finite number >= 0"):
        make_problem(taker_fee=-1.0)
