"""Live execution decides as the environment does, never oversells, and refuses what cannot be."""

from datetime import UTC, datetime, timedelta
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exec_env.baselines.adaptive import Adaptive
from exec_env.baselines.almgren_chriss import AlmgrenChriss
from exec_env.baselines.pov import POV
from exec_env.baselines.twap import TWAP
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.market.paths import Paths
from exec_env.one_asset.live import LiveExecutor, Snapshot
from tests.conftest import play

START = datetime(2026, 1, 5, 9, 30)
SLICE = timedelta(minutes=5)


def snapshot(step: int = 0, **values: Any) -> Snapshot:
    return Snapshot(**({"time": START + step * SLICE, "mid": 100.0, "spread": 0.05, "volume": 60_000.0} | values))


@pytest.mark.slow
@pytest.mark.parametrize("baseline", [TWAP, AlmgrenChriss, POV, Adaptive])
@pytest.mark.parametrize("side", ["sell", "buy"])
def test_decisions_on_the_snapshots_of_a_path_are_those_of_the_environment(baseline: Any, side: Any) -> None:
    env = gym.make("AlmgrenChriss-v0", side=side, action=baseline.action_mode, decay_noise=0.0).unwrapped
    agent = baseline(env.market, env.order)
    live = LiveExecutor(agent, env.order, env.market)
    steps = play(env, lambda o: agent.act(o[None])[0], seed=5)
    path = Paths.simulate(env.market, env.order, 1, seed=5).path(0)
    for t, (now, step) in enumerate(zip(path, steps, strict=True)):
        seen = snapshot(
            t, mid=step["mid"], spread=2 * now.half_spread, volume=now.volume, log_liquidity=now.log_liquidity
        )
        shares = live(seen)
        traded = step["shares"] - step["block"]
        if t < len(steps) - 1:
            assert shares == pytest.approx(traded, rel=1e-5)
        live.fill(traded, step["fill_price"])
    assert live.remaining == pytest.approx(steps[-1]["block"], abs=1e-3)


class ByVolatility:
    action_mode = "fraction"

    def act(self, observations: np.ndarray) -> np.ndarray:
        return 0.03 * observations[:, 5:6]


@pytest.mark.parametrize("stress", ["liquidity-collapse", "volatility-spike"])
def test_under_a_stress_it_sees_the_volatility_that_the_environment_shows(stress: str) -> None:
    env = gym.make("AlmgrenChrissContinuous-v0", stress=stress, volatility_elasticity=0.5, max_participation=None)
    market, order = env.unwrapped.market, env.unwrapped.order
    live = LiveExecutor(ByVolatility(), order, market)
    steps = play(env, lambda o: ByVolatility().act(o[None])[0], seed=5)
    for t, (now, step) in enumerate(zip(Paths.simulate(market, order, 1, seed=5).path(0), steps, strict=True)):
        seen = snapshot(
            t, mid=step["mid"], spread=2 * now.half_spread, volume=now.volume, log_liquidity=now.log_liquidity
        )
        shares, traded = live(seen), step["shares"] - step["block"]
        if t < len(steps) - 1:
            assert shares == pytest.approx(traded, rel=1e-5)
        live.fill(traded, step["fill_price"])


@pytest.mark.slow
@given(fills=st.lists(st.floats(0, 1), min_size=40, max_size=40), volume=st.floats(0, 2e5))
def test_it_never_oversells_and_says_what_is_left(fills: list[float], volume: float) -> None:
    order = Order()
    live = LiveExecutor(TWAP(Market(), order), order)
    done = 0.0
    for t, part in enumerate(fills):
        if live.done:
            break
        shares = live(snapshot(t, volume=volume))
        assert 0 <= shares <= min(live.remaining, 0.3 * volume) + 1e-6
        live.fill(part * shares, 99.9)
        done += part * shares
    report = live.report()
    assert report["done"]
    assert report["traded"] + report["left"] == pytest.approx(order.shares)
    assert report["traded"] == pytest.approx(done, abs=1e-6)


def test_the_last_slice_asks_for_all_that_is_left_within_the_cap() -> None:
    order = Order(shares=1000.0, n_steps=2)
    live = LiveExecutor(TWAP(Market(), order), order)
    assert live(snapshot(0)) == 500.0
    live.fill(100.0, 100.0)
    assert live(snapshot(1)) == 900.0
    live.fill(900.0, 99.0)
    assert live.done
    assert live.report()["left"] == 0.0
    assert live.report()["average_price"] == pytest.approx(99.1)
    assert live.report()["shortfall_bps"] == pytest.approx(90.0)


def test_a_slice_without_volume_is_waited_out() -> None:
    order = Order(shares=1000.0, n_steps=3)
    live = LiveExecutor(TWAP(Market(), order), order)
    assert live(snapshot(0, volume=0.0)) == 0.0
    live.fill(0.0, 0.0)
    assert live(snapshot(1)) == 500.0


@pytest.mark.parametrize(
    ("step", "message"), [(0, "not after the last one"), (-1, "not after the last one"), (3, "stale, 900 s after")]
)
def test_snapshots_out_of_order_or_stale_are_refused_and_change_nothing(step: int, message: str) -> None:
    order = Order(shares=1000.0, n_steps=4)
    live = LiveExecutor(TWAP(Market(), order), order)
    live(snapshot(0))
    live.fill(250.0, 100.0)
    before = live.report()
    with pytest.raises(ValueError, match=message):
        live(snapshot(step))
    assert live.report() == before
    assert live(snapshot(1)) == 250.0


def test_times_with_and_without_a_zone_do_not_mix() -> None:
    order = Order(shares=1000.0, n_steps=4)
    live = LiveExecutor(TWAP(Market(), order), order)
    live(snapshot(0))
    live.fill(250.0, 100.0)
    with pytest.raises(ValueError, match="all times must have a time zone, or none"):
        live(snapshot(1, time=datetime(2026, 1, 5, 9, 35, tzinfo=UTC)))


@pytest.mark.parametrize(
    "values",
    [
        {"mid": float("nan")},
        {"mid": 0.0},
        {"spread": -0.01},
        {"spread": float("inf")},
        {"volume": -1.0},
        {"volume": None},
        {"time": "now"},
        {"signal": float("nan")},
    ],
)
def test_snapshots_that_cannot_be_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(values))} = "):
        snapshot(**values)


def test_fills_that_cannot_be_are_refused_and_orders_wait_for_their_fill() -> None:
    order = Order(shares=1000.0, n_steps=2)
    live = LiveExecutor(TWAP(Market(), order), order)
    with pytest.raises(ValueError, match="no child order to fill"):
        live.fill(1.0, 1.0)
    live(snapshot(0))
    with pytest.raises(ValueError, match="the last child order has no fill yet"):
        live(snapshot(1))
    for shares, price in ((501.0, 100.0), (-1.0, 100.0), (float("nan"), 100.0), (1.0, float("inf")), ("1", 1.0)):
        with pytest.raises(ValueError, match="fill: "):
            live.fill(shares, price)  # type: ignore[arg-type]
    live.fill(500.0, 100.0)
    live(snapshot(1))
    live.fill(500.0, 100.0)
    with pytest.raises(ValueError, match="the order is over, 0 shares left"):
        live(snapshot(2))


def test_what_is_no_agent_is_refused() -> None:
    with pytest.raises(ValueError, match="is no agent"):
        LiveExecutor(object(), Order())  # type: ignore[arg-type]


def test_a_bitcoin_sized_price_makes_no_difference_to_what_an_agent_sees() -> None:
    order = Order(shares=1000.0, n_steps=2)
    seen = []

    class Spy:
        action_mode = "fraction"

        def act(self, observations: np.ndarray) -> np.ndarray:
            seen.append(observations[0].copy())
            return np.full((len(observations), 1), 0.5)

    for mid in (100.0, 60_000.0):
        live = LiveExecutor(Spy(), order)
        live(snapshot(0, mid=mid, spread=mid * 5e-4))
        live.fill(500.0, mid)
        live(snapshot(1, mid=mid * 1.01, spread=mid * 5e-4))
    np.testing.assert_allclose(seen[0], seen[2], rtol=1e-5)
    np.testing.assert_allclose(seen[1], seen[3], rtol=1e-5)


def test_snapshots_that_come_faster_than_slices_are_refused() -> None:
    order = Order(shares=1000.0, n_steps=4)
    live = LiveExecutor(TWAP(Market(), order), order)
    live(snapshot(0))
    live.fill(250.0, 100.0)
    with pytest.raises(ValueError, match="only 1 s after the last one"):
        live(snapshot(0, time=START + timedelta(seconds=1)))


@pytest.mark.parametrize("kwargs", [{"hours_per_day": float("nan")}, {"hours_per_day": -1}, {"max_age": float("nan")}])
def test_impossible_settings_are_refused(kwargs: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(kwargs))} = "):
        LiveExecutor(TWAP(Market(), Order()), Order(), **kwargs)


@pytest.mark.parametrize("bad", [[1], {}, 1j, 10**400, None])
def test_numbers_that_are_none_are_refused_wherever_they_come(bad: Any) -> None:
    with pytest.raises(ValueError, match="mid = "):
        snapshot(mid=bad)
    order = Order(shares=1000.0, n_steps=2)
    live = LiveExecutor(TWAP(Market(), order), order)
    live(snapshot(0))
    with pytest.raises(ValueError, match="fill: shares = "):
        live.fill(bad, 1.0)
