"""The closing block: sold on top of the last trade, so that splitting it never pays; the same for all numbers."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from exec_env.market.execution import COMPONENTS, Slice, State, Terms, temporary_cost, trade
from exec_env.market.order import Order
from exec_env.market.walking import walking_cost

LEVELS = ((100.0, 0.0), (200.0, 0.05), (50.0, 0.2))
NOW = Slice(0.3, 0.02, 1000.0, 0.04, 0.01, 0.001, 0.0002, 0.5, -0.3, 0.005)
BOOK = NOW._replace(levels=LEVELS)
KAPPA = 0.0005
PUSH = KAPPA + NOW.permanent
"""γ + κ: what each share of the last trade makes each share of the block dearer by."""
START = State(remaining=400.0, transient=0.03, price_move=0.1, participation=0.0)

POWERS = st.floats(0.3, 1.8).map(lambda exponent: NOW._replace(exponent=exponent))
SLICES = st.one_of(st.just(NOW), POWERS, st.just(BOOK))


def terms(penalty: float, max_participation: float | None = None) -> Terms:
    return Terms(KAPPA, 0.1, max_participation, penalty)


def alone(now: Slice, shares: float) -> float:
    """Temporary cost of shares that are traded by themselves. [$]"""
    return walking_cost(now.levels, shares) if now.levels else temporary_cost(now.temporary, shares, now.exponent)


@given(now=SLICES, part=st.floats(0, 1), penalty=st.floats(1, 100))
def test_splitting_the_last_trade_never_pays_whatever_the_impact(now: Slice, part: float, penalty: float) -> None:
    v, b = part * 400.0, (1 - part) * 400.0
    _, split = trade(START, now, v, terms(penalty), True)
    _, whole = trade(START, now, 400.0, terms(penalty), True)
    assert split.objective >= whole.objective * (1 - 1e-12)
    # Exactly: the push of the trade on the block, and what the penalty is beyond one.
    extra = PUSH * v * b + (penalty - 1) * alone(now, b)
    assert split.objective - whole.objective == pytest.approx(extra, rel=1e-9, abs=1e-9 * whole.objective)
    assert split.temporary == pytest.approx(alone(now, 400.0) + (penalty - 1) * alone(now, b), rel=1e-9)


@given(now=SLICES, part=st.floats(0, 1), penalty=st.floats(1, 100))
def test_what_fills_say_is_the_sum_of_the_components(now: Slice, part: float, penalty: float) -> None:
    after, fill = trade(START, now, part * 400.0, terms(penalty), True)
    # The price had moved by 0.1 in the order's favour before all 400 shares were sold.
    assert fill.shortfall == pytest.approx(sum(getattr(fill, name) for name in COMPONENTS) - 0.1 * 400.0, rel=1e-9)
    assert fill.shares == pytest.approx(400.0)
    assert after.remaining == fill.risk == fill.price == 0.0


@given(now=SLICES, parts=st.lists(st.floats(0, 1), min_size=2, max_size=2), penalty=st.floats(1, 100))
def test_with_no_push_more_left_to_the_block_never_costs_less(now: Slice, parts: list[float], penalty: float) -> None:
    now, pushless = now._replace(permanent=0.0), terms(penalty)._replace(transient_impact=0.0)
    low, high = (trade(START, now, part * 400.0, pushless, True)[1].objective for part in sorted(parts))
    assert low >= high * (1 - 1e-12)
    if penalty == 1:
        assert low == pytest.approx(high, rel=1e-12)


def test_a_penalty_of_one_costs_what_a_larger_trade_costs_but_for_the_push_on_the_block() -> None:
    _, split = trade(START, NOW, 300.0, terms(1.0), True)
    _, whole = trade(START, NOW, 400.0, terms(1.0), True)
    assert split.temporary == pytest.approx(whole.temporary)  # 0.001 · 400² both
    assert split.transient - whole.transient == pytest.approx(0.0005 * 300 * 100)
    assert split.permanent - whole.permanent == pytest.approx(0.0002 * 300 * 100)
    assert split.objective - whole.objective == pytest.approx(21.0)


def test_the_cap_leaves_a_block_and_the_block_has_no_cap() -> None:
    _, fill = trade(START, NOW, 400.0, terms(5.0, max_participation=0.1), True)
    assert (fill.shares, fill.block) == (400.0, 300.0)
    assert fill.temporary == pytest.approx(160.0 + 4 * 90.0)  # 0.001 · 400² + (5 − 1) · 0.001 · 300²


@pytest.mark.parametrize("now", [NOW, NOW._replace(exponent=0.6), NOW._replace(exponent=1.4), BOOK])
@pytest.mark.parametrize("penalty", [1.0, 5.0])
def test_floats_arrays_and_tensors_close_alike(now: Slice, penalty: float) -> None:
    asked, constants = np.linspace(0.0, 500.0, 11), terms(penalty, max_participation=0.3)

    def wide(make: Any) -> Any:
        state, columns = State(*(make(np.full(11, x)) for x in START)), now.map(lambda c: make(np.full(11, c)))
        return trade(state, columns._replace(exponent=now.exponent), make(asked), constants, True)[1]

    ours = [trade(START, now, float(v), constants, True)[1] for v in asked]
    for name in (*COMPONENTS, "objective", "shortfall", "block", "shares"):
        floats = [getattr(fill, name) for fill in ours]
        np.testing.assert_allclose(getattr(wide(np.asarray), name), floats, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(np.asarray(getattr(wide(torch.tensor), name)), floats, rtol=1e-12, atol=1e-12)


def test_where_the_last_slice_is_each_paths_own_only_that_one_closes() -> None:
    last = np.array([True, False])
    state, now = State(*(np.full(2, x) for x in START)), NOW.map(lambda column: np.full(2, column))
    both = trade(state, now, np.full(2, 100.0), terms(5.0), last)[1]
    for i, is_last in enumerate(last):
        one = trade(START, NOW, 100.0, terms(5.0), bool(is_last))[1]
        assert both.objective[i] == pytest.approx(one.objective, rel=1e-12)
        assert both.block[i] == pytest.approx(300.0 if is_last else 0.0)


def test_the_gradient_of_the_block_is_that_of_finite_differences() -> None:
    def cost(now: Slice, asked: Any) -> Any:
        return trade(START, now, asked, terms(3.0), True)[1].objective

    for now in (NOW, NOW._replace(exponent=0.6), BOOK):
        asked = torch.tensor(120.0, dtype=torch.float64, requires_grad=True)
        state = State(*(torch.tensor(x, dtype=torch.float64) for x in START))
        trade(state, now, asked, terms(3.0), True)[1].objective.backward()
        slope = (cost(now, 120.0 + 1e-3) - cost(now, 120.0 - 1e-3)) / 2e-3
        assert float(asked.grad) == pytest.approx(slope, rel=1e-6)  # type: ignore[arg-type]


@pytest.mark.parametrize("penalty", [0.0, 0.999, -1.0, float("nan"), float("inf")])
def test_a_penalty_below_one_is_refused_with_what_is_allowed(penalty: float) -> None:
    with pytest.raises(ValueError, match=r"Order.terminal_penalty = .*: must be a finite number >= 1") as error:
        Order(terminal_penalty=penalty)
    assert repr(penalty) in str(error.value)
