"""One slice of execution: hand-solved cases, identities, and one code for three kinds of numbers."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from exec_env.market.execution import COMPONENTS, Slice, State, Terms, opening, terms, trade
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.market.paths import Paths
from tests.conftest import RICH

NOW = Slice(
    log_liquidity=0.0,
    half_spread=0.02,
    volume=1000.0,
    variance=0.04,
    drift=0.01,
    temporary=0.001,
    permanent=0.0002,
    decay=0.5,
    price_shock=-0.3,
    slippage=0.005,
)
TERMS = Terms(transient_impact=0.0005, risk_aversion=0.1, max_participation=0.3, terminal_penalty=5.0)


def test_a_slice_solved_by_hand() -> None:
    state = State(remaining=400.0, transient=0.03, price_move=0.1, participation=0.0)
    after, fill = trade(state, NOW, 100.0, TERMS, False)
    assert fill.shares == 100.0
    assert fill.spread == pytest.approx(2.0)  # 0.02 · 100
    assert fill.temporary == pytest.approx(10.0)  # 0.001 · 100²
    assert fill.transient == pytest.approx(3.0)  # 0.03 · 100
    assert fill.permanent == pytest.approx(6.0)  # 0.0002 · 100 · 300
    assert fill.price == pytest.approx(87.0)  # −300 · (−0.3 + 0.01)
    assert fill.slippage == pytest.approx(0.5)
    assert fill.risk == pytest.approx(360.0)  # 0.1 · 0.04 · 300²
    assert fill.shortfall == pytest.approx(100 * (-0.1 + 0.02 + 0.1 + 0.03 + 0.005))
    assert fill.objective == pytest.approx(2 + 10 + 3 + 6 + 0.5 + 360 - 300 * 0.01)
    assert after.remaining == 300.0
    assert after.transient == pytest.approx(0.5 * (0.03 + 0.05))
    assert after.price_move == pytest.approx(0.1 - 0.3 + 0.01 - 0.02)
    assert after.participation == pytest.approx(0.1)


def test_square_root_impact_solved_by_hand() -> None:
    square_root = NOW._replace(temporary=0.001 * 25**0.5, exponent=0.5)  # that of NOW for 25 shares
    _, fill = trade(State(400.0, 0.03, 0.1, 0.0), square_root, 100.0, TERMS, False)
    assert fill.temporary == pytest.approx(5.0)  # 0.001 · 100² / √(100 / 25)
    assert fill.shortfall == pytest.approx(5.0 + 100 * (-0.1 + 0.02 + 0.03 + 0.005))
    _, fill = trade(State(400.0, 0.03, 0.1, 0.0), square_root, 300.0, TERMS, True)
    assert fill.temporary == pytest.approx(160.0 / 4 + 4 * 10.0 / 2)  # of 400 and, four times, of 100
    _, at_reference = trade(State(400.0, 0.03, 0.1, 0.0), square_root, 25.0, TERMS, False)
    assert at_reference.temporary == pytest.approx(0.001 * 25**2)


def test_power_law_impact_has_a_gradient_where_nothing_is_traded() -> None:
    asked = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    state = opening(torch.full((3,), 400.0, dtype=torch.float64))
    _, fill = trade(state, NOW._replace(exponent=0.6), asked, TERMS, True)
    fill.objective.sum().backward()
    assert asked.grad is not None
    assert torch.isfinite(asked.grad).all()


def test_the_closing_block_solved_by_hand() -> None:
    state = State(remaining=400.0, transient=0.03, price_move=0.1, participation=0.0)
    after, fill = trade(state, NOW, 1000.0, TERMS, True)
    assert (fill.shares, fill.block, fill.excess, fill.clipped) == (400.0, 100.0, 700.0, True)
    assert fill.spread == pytest.approx(8.0)  # 0.02 · 400
    assert fill.temporary == pytest.approx(160.0 + 40.0)  # 0.001 · 400² + (5 − 1) · 0.001 · 100²
    assert fill.transient == pytest.approx(9.0 + 18.0)  # 0.03 · 300 + (0.03 + 0.15) · 100
    assert fill.permanent == pytest.approx(6.0)  # 0.0002 · 300 · 100
    assert fill.price == fill.risk == fill.drift == 0.0  # nothing is held while the price moves
    assert after.remaining == 0.0
    components = sum(getattr(fill, name) for name in COMPONENTS)
    assert fill.shortfall == pytest.approx(components - 0.1 * 400)  # arrival value, as the price had moved by 0.1


@pytest.mark.parametrize(
    ("asked", "sold", "clipped"),
    [(-50.0, 0.0, False), (0.0, 0.0, False), (299.0, 299.0, False), (301.0, 300.0, True), (1e9, 300.0, True)],
)
def test_trades_stay_between_zero_and_the_cap(asked: float, sold: float, clipped: bool) -> None:
    _, fill = trade(opening(400.0), NOW, asked, TERMS, False)
    assert (fill.shares, fill.clipped) == (sold, clipped)


def test_without_a_cap_everything_can_be_sold_even_in_a_slice_without_volume() -> None:
    after, fill = trade(opening(400.0), NOW._replace(volume=0.0), 400.0, TERMS._replace(max_participation=None), False)
    assert (fill.shares, after.remaining) == (400.0, 0.0)
    assert fill.excess == 0.0


def test_nothing_can_be_sold_in_a_capped_slice_without_volume() -> None:
    after, fill = trade(opening(400.0), NOW._replace(volume=0.0), 400.0, TERMS, False)
    assert (fill.shares, after.remaining, after.participation) == (0.0, 400.0, 0.0)


def _run(state: State, slices: list[Slice], asked: Any, constants: Terms) -> tuple[list[Any], list[State]]:
    fills, states = [], []
    for t, now in enumerate(slices):
        state, fill = trade(state, now, asked(t), constants, t == len(slices) - 1)
        fills.append(fill)
        states.append(state)
    return fills, states


@pytest.mark.slow
@given(
    seed=st.integers(0, 2**32),
    pieces=st.lists(st.floats(0, 60_000), min_size=8, max_size=8),
    exponent=st.sampled_from([0.5, 1.0, 1.5]),
)
def test_costs_sum_to_the_implementation_shortfall_and_shares_are_conserved(
    seed: int, pieces: list[float], exponent: float
) -> None:
    market, order = Market(**RICH, impact_exponent=exponent), Order(n_steps=8)
    path = Paths.simulate(market, order, 1, seed).path(0)
    fills, states = _run(opening(order.shares), path, lambda t: pieces[t], terms(market, order))
    shortfall = sum(f.shortfall for f in fills)
    components = [getattr(f, name) for f in fills for name in COMPONENTS]
    assert shortfall == pytest.approx(sum(components), rel=1e-9, abs=1e-9 * sum(map(abs, components)))
    assert sum(f.shares for f in fills) == pytest.approx(order.shares, rel=1e-12)
    held = [order.shares, *(s.remaining for s in states)]
    assert all(a >= b >= 0 for a, b in itertools.pairwise(held))
    assert held[-1] == 0.0


@pytest.mark.slow
@pytest.mark.parametrize("exponent", [1.0, 0.6])
def test_floats_numpy_and_torch_agree_path_by_path(exponent: float) -> None:
    market, order = Market(**RICH, impact_exponent=exponent), Order(n_steps=12)
    paths, constants = Paths.simulate(market, order, 50, seed=4), terms(market, order)
    rng = np.random.default_rng(5)
    asked = rng.uniform(-1e3, 4e4, (order.n_steps, paths.n_paths))

    arrays = [paths.at(t) for t in range(order.n_steps)]
    start = opening(np.full(paths.n_paths, order.shares), np.zeros(paths.n_paths))
    numpy_fills, numpy_states = _run(start, arrays, lambda t: asked[t], constants)

    tensors = [now.map(torch.tensor) for now in arrays]
    start = opening(torch.full((paths.n_paths,), order.shares).double(), torch.zeros(paths.n_paths).double())
    torch_fills, torch_states = _run(start, tensors, lambda t: torch.tensor(asked[t]), constants)

    for e in range(paths.n_paths):
        fills, states = _run(opening(order.shares), paths.path(e), lambda t, e=e: float(asked[t, e]), constants)
        for t in range(order.n_steps):
            ours = np.array([*fills[t], *states[t]], dtype=float)
            theirs = np.array([np.asarray(c)[e] if np.ndim(c) else c for c in (*numpy_fills[t], *numpy_states[t])])
            tensor = np.array([float(c[e]) for c in (*torch_fills[t], *torch_states[t])])
            np.testing.assert_allclose(theirs.astype(float), ours, rtol=1e-12, atol=1e-12)
            np.testing.assert_allclose(tensor, ours, rtol=1e-12, atol=1e-12)


def test_gradients_flow_from_costs_back_to_trades() -> None:
    asked = torch.tensor([100.0, 200.0], dtype=torch.float64, requires_grad=True)
    zero = torch.zeros(2, dtype=torch.float64)
    tensors = NOW.map(lambda c: torch.full((2,), c, dtype=torch.float64))
    _, fill = trade(opening(zero + 400.0, zero), tensors, asked, TERMS, False)
    fill.temporary.sum().backward()
    torch.testing.assert_close(asked.grad, 2 * 0.001 * torch.tensor([100.0, 200.0], dtype=torch.float64))


@given(scale=st.floats(0.01, 100.0), seed=st.integers(0, 1000))
def test_costs_in_bps_do_not_depend_on_the_unit_of_shares(scale: float, seed: int) -> None:
    def cost(k: float) -> float:
        market = Market(
            daily_volume=5e6 * k, temporary_impact=1.4e-7 / k, permanent_impact=1.25e-7 / k, transient_impact=3e-7 / k
        )
        order = Order(shares=2e5 * k, n_steps=5, risk_aversion=1e-6 / k)
        path = Paths.simulate(market, order, 1, seed).path(0)
        fills, _ = _run(opening(order.shares), path, lambda t: order.shares / 5, terms(market, order))
        return sum(f.shortfall + f.risk for f in fills) / order.shares

    assert cost(scale) == pytest.approx(cost(1.0), rel=1e-9)
