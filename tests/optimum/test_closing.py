"""The last slice under a cap: what it costs, against all that may be traded; all or nothing where a block is cheap."""

from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from exec_env.baselines.adaptive import Adaptive
from exec_env.baselines.optimal import Optimal
from exec_env.market.execution import Slice, State, Terms, bps, trade
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.market.paths import Paths
from exec_env.one_asset.actions import ActionMode
from exec_env.optimum.closing import Close, Rest
from exec_env.optimum.lognormal import Lognormal
from tests.rollouts import executed

KAPPA, GAMMA = 6e-7, 2.5e-7
HELD = np.array([0.0, 1000.0, 5000.0, 12_000.0, 20_000.0])
CAP = Lognormal(np.array([[[8000.0]]]), 0.4)


def slope(exponent: float) -> float:
    """Of impact that concedes for 5000 shares what linear impact of 1e-5 does."""
    return 1e-5 * 5000.0 ** (1 - exponent)


def close(penalty: float, exponent: float = 1.0, push: float = KAPPA + GAMMA) -> Close:
    return Close(Rest(np.array([[[slope(exponent)]]]), exponent, 5000.0), penalty, np.array([[[push]]]))


def costs(penalty: float, exponent: float, x: float, v: np.ndarray) -> np.ndarray:
    """What ``trade`` charges in the last slice for all of x, of which v is traded and the rest the block. [$]"""
    now = Slice(0.0, 0.01, 1.0, 0.0, 0.0, slope(exponent), GAMMA, 1.0, 0.0, 0.0, exponent)
    state = State(np.full(v.shape, x), np.full(v.shape, 0.02), 0.0 * v, 0.0 * v)
    return np.asarray(trade(state, now, v, Terms(KAPPA, 1e-6, None, penalty), True)[1].objective)


@pytest.mark.parametrize("penalty", [1.0, 1.03, 1.05, 1.1, 2.0, 5.0])
@pytest.mark.parametrize("exponent", [0.5, 1.0, 1.5])
def test_its_trade_is_the_best_of_all_that_may_be_traded(penalty: float, exponent: float) -> None:
    for x in HELD[1:]:
        for most in (0.0, 0.1 * x, 0.6 * x, 0.95 * x, 2 * x):
            v = np.linspace(0.0, min(x, most), 4001)
            every = costs(penalty, exponent, x, v)
            found = float(close(penalty, exponent).trade(x, most)[0, 0, 0])
            assert 0 <= found <= min(x, most)
            # Where impact is steeper than linear, the best may lie between the trades that are tried.
            ours = costs(penalty, exponent, x, np.array([found]))[0]
            assert ours == pytest.approx(every.min(), rel=1e-9 if exponent <= 1 else 1e-3)


def test_one_trades_all_or_nothing_where_the_push_on_a_block_costs_more_than_the_block() -> None:
    # Of 10 000 shares at most 6000. With p = 1.05, trading saves 0.05 · 1e-5 · (1e8 − 1.6e7) = 42 $ of the block's
    # cost, and its push on the block costs 8.5e-7 · 6000 · 4000 = 20.4 $; with 1.01 it saves 8.4 $.
    cases = {1.0: 0.0, 1.01: 0.0, 1.05: 6000.0, 5.0: 6000.0}
    for penalty, traded in cases.items():
        assert close(penalty).trade(10_000.0, 6000.0).item() == traded
        assert close(penalty).trade(10_000.0, 10_000.0).item() == 10_000.0
    assert close(1.05).saved(10_000.0, 6000.0).item() == pytest.approx(42.0 - 20.4)
    assert close(1.01).saved(10_000.0, 6000.0).item() == pytest.approx(8.4 - 20.4)


@pytest.mark.slow
@pytest.mark.parametrize("penalty", [1.0, 1.03, 1.05, 1.1, 2.0, 5.0])
@pytest.mark.parametrize("exponent", [0.5, 1.0, 1.5])
def test_its_price_is_the_mean_over_volumes_of_what_the_best_trade_costs_beyond_selling_all(
    penalty: float, exponent: float
) -> None:
    z = np.linspace(-8.0, 8.0, 6401)
    weights = norm.pdf(z) * (z[1] - z[0])
    found = close(penalty, exponent).price(HELD, CAP, 128)[0, 0]
    assert found[0] == 0.0
    for x, price in zip(HELD[1:], found[1:], strict=True):
        trades = np.linspace(0.0, x, 8001)
        every = costs(penalty, exponent, x, trades)
        wanted = weights @ (np.interp(CAP.quantile(z).ravel(), trades, np.minimum.accumulate(every)) - every[-1])
        assert price == pytest.approx(wanted, rel=2e-4, abs=1e-6)


def test_what_can_always_be_sold_costs_nothing_more_and_what_never_can_the_whole_block() -> None:
    assert close(5.0).price(HELD, Lognormal(np.array([[[1e9]]]), 0.4), 16) == pytest.approx(0.0, abs=1e-9)
    none = close(5.0).price(HELD, Lognormal(np.array([[[1e-6]]]), 0.4), 32)[0, 0]
    assert none == pytest.approx(4 * 1e-5 * HELD**2, rel=1e-6)
    # With the penalty at one, a block costs but the push on it, and that is saved by trading nothing.
    assert close(1.0).price(HELD, CAP, 16) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("penalty", [1.0, 1.02, 5.0])
def test_the_rule_optimal_closes_as_the_last_slice_is_best_closed(penalty: float) -> None:
    market, order = Market(), Order(50_000.0, n_steps=3, max_participation=0.1, terminal_penalty=penalty)
    paths = Paths.simulate(market, order, 300, seed=2)
    *_, last = executed(Optimal(market, order).act, paths, market, order, ActionMode("shares"))
    x, now, v = last.before.remaining, last.now, last.fill.shares - last.fill.block
    mean = now._replace(temporary=market.temporary_at(now.log_liquidity, market.impact_noise / 2, order.slice_length))
    constants = Terms(KAPPA, 1e-6, None, penalty)
    most = np.minimum(x, 0.1 * now.volume)
    # Of all parts of what may be traded, with impact at its mean, as its noise is not seen.
    every = np.array([_objective(last.before, mean, part * most, constants) for part in np.linspace(0.0, 1.0, 41)])
    ours = _objective(last.before, mean, v, constants)
    np.testing.assert_allclose(ours, every.min(0), rtol=1e-5)
    traded = v > 0.5 * most
    assert traded.all() if penalty == 5 else not traded.all()


def _objective(state: State, now: Any, v: np.ndarray, constants: Terms) -> np.ndarray:
    return np.asarray(trade(state, now, v, constants, True)[1].objective)


def test_where_nothing_is_gained_by_pushing_first_optimal_is_better_than_adaptive() -> None:
    market, order = Market(), Order(50_000.0, n_steps=3, max_participation=0.1, terminal_penalty=1.0)
    paths = Paths.simulate(market, order, 4000, seed=3)
    ours, theirs = (
        sum(s.fill.objective for s in executed(agent.act, paths, market, order, ActionMode("shares")))
        * bps(order.shares * 100.0)
        for agent in (Optimal(market, order), Adaptive(market, order))
    )
    gain = theirs - ours
    assert gain.mean() > 3 * gain.std() / 4000**0.5
