"""Whole lots: children are multiples of the lot, carry what rounding leaves, and end at the order's size."""

from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import exec_env
from exec_env.base.errors import InputError
from exec_env.envs.rollout import rollout
from exec_env.market.execution import opening, terms, trade
from exec_env.market.market import NOISES, Market
from exec_env.market.multiples import Multiples
from exec_env.market.order import Order
from exec_env.market.paths import Normals, Paths
from exec_env.one_asset.core import OrderInMarket
from exec_env.one_asset.torch_market import TorchMarket
from exec_env.optimum.capped import fractions
from exec_env.optimum.convex import NotConvex
from exec_env.optimum.means import slice_means
from exec_env.optimum.schedule import FixedCost
from exec_env.optimum.schedule_cost import at_expected_volume, schedule_cost
from tests.conftest import play

LOTS = [100.0, 1.0, 7.0, 0.25, 0.1, 0.001, 1e-8]
QUIET: dict[str, Any] = {**dict.fromkeys(NOISES, 0.0), "liquidity_volatility": 0.0}


@given(k=st.integers(0, 10**8), lot=st.sampled_from(LOTS))
def test_a_multiple_is_the_number_that_is_written_and_rounds_to_itself(k: int, lot: float) -> None:
    lots, written = Multiples.of(lot), float(k) if lot == 1 else float(f"{k * round(1e8 * lot)}e-8")
    for x in (written, k * lot):
        for found in (lots.down(x), lots.nearest(x), lots.up(x)):
            assert found == written
    if k:
        half = written - lot / 2
        assert lots.up(half) == written
        assert lots.down(half) == pytest.approx(written - lot, rel=1e-12, abs=1e-9 * lot)
        arrays, tensors = (
            lots.down(np.array([half, written])),
            lots.down(torch.tensor([half, written], dtype=torch.float64)),
        )
        assert arrays.tolist() == tensors.tolist() == [lots.down(half), written]


def test_tenths_add_up() -> None:
    lots = Multiples.of(0.1)
    assert 0.1 + 0.2 != 0.3
    assert lots.down(0.1 + 0.2) == 0.3
    assert lots.up(0.1 + 0.2) == 0.3
    assert lots.nearest(0.3 - 0.1 - 0.1 - 0.1) == 0.0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"shares": 1050, "lot_size": 100},
            r"Order\.shares = 1050\.0: must be a multiple of lot_size = 100, such as 1000\.0 or 1100\.0",
        ),
        ({"shares": 50, "lot_size": 100}, r"must be a multiple of lot_size = 100, such as 100\.0"),
        ({"shares": 1.2345, "lot_size": 0.001}, r"such as 1\.234 or 1\.235"),
        ({"lot_size": 1e-6}, r"Order\.lot_size = 1e-06: must be at least 0\.0002, or 0"),
        ({"lot_size": -1}, r"Order\.lot_size = -1: must be a finite number >= 0"),
        ({"lot_size": torch.tensor(100.0)}, r"Order\.lot_size = tensor\(100\.\): must be a number"),
    ],
)
def test_an_order_that_is_no_whole_lots_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Order(**values)


def test_rounding_of_a_size_is_no_odd_rest() -> None:
    assert Order(shares=0.1 + 0.2, lot_size=0.1).shares == 0.3


def test_what_is_asked_for_and_less_than_a_lot_is_asked_for_with_the_next_slice() -> None:
    order = Order(shares=500.0, lot_size=100.0, n_steps=6, max_participation=None)
    market = Market(**QUIET)
    state, constants, traded = opening(order.shares), terms(market, order), []
    now = Paths.simulate(market, order, 1, 0).path(0)[0]
    for t, asked in enumerate((30.0, 30.0, 60.0, 0.0, 199.0, 0.0)):
        state, fill = trade(state, now, asked, constants, t == 5)
        traded.append(fill.shares - fill.block)
        assert not fill.clipped
    assert traded == [0.0, 0.0, 100.0, 0.0, 200.0, 0.0]  # 20 and then 219 were carried
    assert fill.block == 200.0
    assert state.remaining == 0.0


def test_what_the_cap_holds_back_is_not_carried() -> None:
    order = Order(shares=500.0, lot_size=100.0, max_participation=0.25)
    market = Market(**QUIET)
    now = Paths.simulate(market, order, 1, 0).path(0)[0]._replace(volume=1000.0)  # the cap is two and a half lots
    state, fill = trade(opening(order.shares), now, 450.0, terms(market, order), False)
    assert (fill.shares, state.carried, fill.beyond_cap, fill.clipped) == (200.0, 50.0, 200.0, True)


orders = st.tuples(
    st.sampled_from(LOTS),
    st.integers(1, 500),
    st.integers(2, 12),
    st.sampled_from([None, 0.02, 0.1, 1.0]),
    st.integers(0, 2**32),
)


modes = st.sampled_from(["pace", "fraction", "participation", "shares"])


@settings(max_examples=20)
@given(order=orders, mode=modes)
def test_children_are_whole_within_the_cap_and_sum_to_the_order(order: tuple[Any, ...], mode: str) -> None:
    check_children(order, mode)


@pytest.mark.long
@settings(max_examples=400)
@given(order=orders, mode=modes)
def test_children_of_many_orders_are_whole_within_the_cap_and_sum_to_the_order(
    order: tuple[Any, ...], mode: str
) -> None:
    check_children(order, mode)


def check_children(order: tuple[Any, ...], mode: str) -> None:
    lot, n_lots, n_steps, cap, seed = order
    rng = np.random.default_rng(seed)
    whole = Order(shares=Multiples.of(lot).nearest(n_lots * lot), lot_size=lot, n_steps=n_steps, max_participation=cap)
    market = Market(daily_volume=78 * whole.shares * rng.uniform(0.2, 5.0))
    problem = OrderInMarket(market, whole)
    paths, actions = Paths.simulate(market, whole, 3, seed), problem.actions(mode)
    asked = rng.uniform(
        0.0, {"pace": 3.0, "fraction": 1.0, "participation": cap or 0.5, "shares": whole.shares / 2}[mode], n_steps
    )
    if mode == "pace":
        asked, actions.many = np.round(asked), lambda a, n: a  # any number, not a level alone
    turn = iter(asked)
    total, lots = np.zeros(3), Multiples.of(lot)
    for t, step in enumerate(rollout(lambda _: np.full(3, next(turn)), paths, problem, actions)):
        child = step.fill.shares - step.fill.block
        for shares in (child, step.fill.block, step.after.remaining):
            assert np.allclose(shares, lots.nearest(shares), rtol=0, atol=1e-9 * lot)
            assert (shares >= 0).all()
        if cap is not None:
            assert (child <= cap * paths.slices.volume[:, t] * (1 + 1e-12)).all()
        assert (step.after.carried >= -1e-12 * whole.shares).all()
        assert (step.after.carried < lot).all()
        total += step.fill.shares
    assert total == pytest.approx(whole.shares, rel=1e-12)
    assert (step.after.remaining == 0).all()


impacts, risks = st.floats(0.1, 10.0), st.sampled_from([0.0, 0.1, 1.0, 10.0])


@settings(max_examples=10)
@given(order=orders, impact=impacts, risk=risks)
def test_lots_cost_no_more_than_to_move_one_of_them_in_each_slice(
    order: tuple[Any, ...], impact: float, risk: float
) -> None:
    check_costs(order, impact, risk)


@pytest.mark.long
@settings(max_examples=400)
@given(order=orders, impact=impacts, risk=risks)
def test_many_orders_in_lots_cost_no_more_than_to_move_one_of_them_in_each_slice(
    order: tuple[Any, ...], impact: float, risk: float
) -> None:
    check_costs(order, impact, risk)


def check_costs(order: tuple[Any, ...], impact: float, risk: float) -> None:
    lot, n_lots, n_steps, *_ = order
    base = Order(shares=Multiples.of(lot).nearest(n_lots * lot), n_steps=n_steps, max_participation=None)
    start = Market(**QUIET, volatility=0.02)
    scale = start.daily_volume / 78 / base.shares
    market = replace(
        start,
        daily_volume=78 * base.shares,
        temporary_impact=start.temporary_impact * scale * impact,
        permanent_impact=start.permanent_impact * scale,
        transient_impact=start.transient_impact * scale,
    )
    whole = replace(base, lot_size=lot, risk_aversion=1e-6 * scale * risk)
    cost = FixedCost.of(market, whole, slice_means(market, whole))
    try:
        planned = cost.minimum(whole.shares)
    except NotConvex:
        assume(False)
    assume((planned > 1e-6 * whole.shares).all())  # where a trade is zero, moving shares costs at first order
    children, _, left = at_expected_volume(market, whole, planned)
    # The same as a market that stands still executes.
    normals = Normals(*(np.full((1, n_steps), z) for z in (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)))
    problem, turn = OrderInMarket(market, whole), iter(fractions(planned))
    paths = Paths.shaped(market, whole, normals)
    steps = list(rollout(lambda _: np.array([next(turn)]), paths, problem, problem.actions("fraction")))
    assert [float(step.fill.shares[0]) for step in steps] == pytest.approx(children.tolist(), abs=1e-9 * lot)
    assert left == 0
    # What lags behind the plan is less than a lot, so that it moves less than a lot from each slice to the next.
    behind = np.cumsum(planned) - np.cumsum(children)
    assert (behind > -1e-9 * whole.shares).all()
    assert (behind < lot * (1 + 1e-6)).all()
    program = cost.program(1.0)
    curvature = program.quadratic + 2 * np.diag(program.coefficients)
    moves = np.eye(n_steps)[:, :-1] - np.eye(n_steps, k=-1)[:, :-1]
    most = lot**2 / 2 * np.abs(moves.T @ curvature @ moves).sum()
    more = cost.cost(children) - cost.cost(planned)
    slack = 1e-7 * abs(cost.cost(planned))
    assert -slack <= more <= most + slack
    paid = sum(float(step.fill.objective[0]) for step in steps)
    assert paid == pytest.approx(cost.cost(children), rel=1e-9)


@pytest.mark.parametrize("lot", [500.0, 0.1])
@pytest.mark.parametrize("mode", ["pace", "fraction", "participation"])
def test_single_vector_and_tensors_trade_the_same_lots_to_the_last_bit(lot: float, mode: str) -> None:
    scale = lot / 500.0
    options: dict[str, Any] = {
        **{"shares": Multiples.of(lot).nearest(100 * lot), "lot_size": lot, "n_steps": 8, "action": mode},
        **{"daily_volume": 4e6 * scale, "max_participation": 0.3},
    }
    action = {"pace": 4, "fraction": 0.2, "participation": 0.13}[mode]
    one: Any = gym.make("AlmgrenChriss-v0", **options).unwrapped
    steps = play(one, lambda _: action if mode == "pace" else np.array([action]), seed=3)
    many: Any = exec_env.make_vec("AlmgrenChriss-v0", 2, **options)
    many.reset(seed=3)
    market, order = one.market, one.order
    device = TorchMarket(market, order, dtype=torch.float64)
    problem, paths = OrderInMarket(market, order), Paths.simulate(market, order, 1, 3)
    constant = torch.tensor([action]) if mode == "pace" else torch.tensor([action]).double()
    tensors = list(rollout(lambda _: constant, device.load(paths), problem, problem.actions(mode)))
    for step, tensor in zip(steps, tensors, strict=False):
        batch = np.array([action, action]) if mode == "pace" else np.full((2, 1), action)
        info = many.step(batch)[4]
        assert step["shares"] == info["shares"][0] == tensor.fill.shares.item()
        assert step["block"] == info["block"][0] == tensor.fill.block.item()
        assert step["shares"] * 10 % round(10 * lot) == pytest.approx(0.0, abs=1e-9)
    assert sum(step["shares"] for step in steps) == pytest.approx(order.shares, rel=1e-12)
    many.close()


def test_gradients_go_straight_through_the_rounding() -> None:
    order, market = Order(shares=1000.0, lot_size=100.0, n_steps=2, max_participation=None), Market(**QUIET)
    now = Paths.simulate(market, order, 1, 0).path(0)[0]
    asked = torch.tensor([430.0], dtype=torch.float64, requires_grad=True)
    state, fill = trade(
        opening(torch.full((1,), 1000.0).double(), torch.zeros(1).double()), now, asked, terms(market, order), False
    )
    assert (fill.shares.item(), state.remaining.item(), state.carried.item()) == (400.0, 600.0, 30.0)
    for column, slope in ((fill.shares, 1.0), (state.remaining, -1.0), (state.carried, 0.0), (fill.temporary, None)):
        (gradient,) = torch.autograd.grad(column, asked, retain_graph=True)
        assert gradient.item() == pytest.approx(2 * now.temporary * 400.0 if slope is None else slope)


def test_single_precision_makes_the_same_lots() -> None:
    for lot, shares in ((100.0, 200_000.0), (0.001, 0.3)):
        lots = Multiples.of(lot)
        x = torch.arange(1, 300, dtype=torch.float32) * lot
        assert torch.allclose(lots.down(x), x, rtol=1e-6)
        market = TorchMarket(Market(daily_volume=25 * shares), Order(shares=shares, lot_size=lot))
        paths = market.simulate(50, market.generator(0))
        problem = OrderInMarket(market.market, market.order)
        steps = rollout(lambda o: torch.full((len(o),), 4), paths, problem, problem.actions("pace"))
        total = sum(step.fill.shares for step in steps)
        assert torch.allclose(total, torch.tensor(shares), rtol=1e-5)


def test_a_schedule_in_lots_costs_what_its_children_cost() -> None:
    market = Market()
    order = Order(shares=1000.0, lot_size=100.0, n_steps=4, max_participation=None)
    even = np.full(4, 250.0)
    children, _, _ = at_expected_volume(market, order, even)
    assert children.tolist() == [200.0, 300.0, 200.0, 300.0]
    ours = schedule_cost(market, order, even)
    assert ours.objective == pytest.approx(schedule_cost(market, replace(order, lot_size=0.0), children).objective)


@pytest.mark.long
def test_bounds_hold_and_schedules_cost_what_is_evaluated_in_lots() -> None:
    options: dict[str, Any] = {"lot_size": 20_000.0, "n_steps": 8, "slice_length": 5 / 78}
    found = exec_env.evaluate(
        ["twap", "static", "optimal"], episodes=4000, seed=5, n_examples=0, optimum=True, **options
    )
    table = found.per_agent
    assert (table["objective_mean"] - 3 * table["objective_se"] > found.bound_bps).all()
    assert any("whole lots do no better" in remark for remark in found.remarks)
    order = Order(**options)
    planned = exec_env.optimum.schedule.best_schedule(Market(), order)
    cost = schedule_cost(Market(), order, planned)
    static = table.loc["static"]
    assert abs(cost.objective - static.objective_mean) < 4 * np.hypot(cost.error, static.objective_se)
