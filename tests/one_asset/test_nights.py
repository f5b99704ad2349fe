"""Orders over several sessions as problems: options, single and vector environments, torch, tapes and live."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest
import torch

from exec_env import Tape
from exec_env.base.errors import InputError
from exec_env.baselines.adaptive import Adaptive
from exec_env.baselines.twap import TWAP
from exec_env.data.sessions import session_lengths
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.market.paths import Paths
from exec_env.one_asset.actions import ActionMode
from exec_env.one_asset.live import LiveExecutor, Snapshot
from exec_env.one_asset.options import make_problem
from exec_env.one_asset.torch_market import TorchMarket
from tests.conftest import play
from tests.rollouts import executed

NIGHTLY: dict[str, Any] = {"overnight_variance": 0.3, "night_length": 2.7, "volume_profile": "u-shaped"}
CLOCK: dict[str, Any] = {"n_steps": 8, "slice_length": 0.25, "arrival": 0.5, "sessions": (1.0, 0.5), "shares": 8e5}
AFTER = [2, 4]  # slices that a night comes after


# --- environments


def test_single_vector_and_torch_environments_play_the_same_nights() -> None:
    options = NIGHTLY | CLOCK
    market, order = Market(**NIGHTLY), Order(**CLOCK)
    single = gym.make("AlmgrenChriss-v0", reward="shortfall", **options)
    steps = play(single, lambda _: 6, seed=4)
    vector = gym.make_vec("AlmgrenChriss-v0", num_envs=1, reward="shortfall", **options)
    vector.reset(seed=[4])
    rewards = [float(vector.step(np.array([6]))[1][0]) for _ in steps]
    np.testing.assert_allclose([step["reward"] for step in steps], rewards, rtol=1e-6)

    paths = Paths.simulate(market, order, 40, seed=4)
    device = TorchMarket(market, order, dtype=torch.float64)
    found = device.costs(lambda o: torch.full((len(o),), 6), device.load(paths), ActionMode("pace"))
    fills = [s.fill for s in executed(lambda o: np.full(len(o), 6), paths, market, order, ActionMode("pace"))]
    ours = sum(fill.shortfall for fill in fills) / (order.shares * 100.0 * 1e-4)
    np.testing.assert_allclose(found.shortfall, ours, rtol=1e-9)
    assert -sum(rewards) == pytest.approx(float(ours[0]) + sum(step["risk"] for step in steps), rel=1e-6)


def test_paths_that_torch_draws_have_the_same_nights() -> None:
    market, order = Market(**NIGHTLY, decay_noise=0.0, volume_noise=0.0, liquidity_volatility=0.0), Order(**CLOCK)
    device = TorchMarket(market, order, dtype=torch.float64)
    drawn, ours = device.simulate(3, device.generator(0)).slices, Paths.simulate(market, order, 3, seed=0).slices
    for name in ("variance", "decay", "volume"):
        np.testing.assert_allclose(getattr(drawn, name).expand(3, 8), getattr(ours, name), rtol=1e-12)
    nightly = np.flatnonzero(ours.variance[0] > 1.01 * ours.variance[0, 0]) + 1
    assert nightly.tolist() == AFTER
    with pytest.raises(InputError, match=r"Market\.night_length is a tensor that wants a gradient"):
        TorchMarket(Market(night_length=torch.tensor(1.0, requires_grad=True)), order)  # type: ignore[arg-type]


# --- options


@pytest.mark.slow
def test_a_file_of_volumes_and_a_calendar_are_kept_as_numbers(tmp_path: Path) -> None:
    path = tmp_path / "volumes.csv"
    path.write_text("volume\n2\n1\n1\n4\n")
    options = {"volume_profile": str(path), "sessions": "XNYS 2026-11-25", "slice_length": 3 / 78, "n_steps": 60}
    problem = make_problem(**options)
    kept = problem.settled(options)
    assert kept["volume_profile"] == (2.0, 1.0, 1.0, 4.0)
    assert kept["sessions"] == pytest.approx((1.0, 3.5 / 6.5, 1.0, 1.0))
    assert make_problem(**kept).order == problem.order


def test_sessions_of_a_calendar_are_whole_or_half_and_refused_where_there_are_none() -> None:
    assert session_lengths("XNYS 2026-11-23", 2.0) == (1.0, 1.0, 1.0)  # Thursday is Thanksgiving, Friday a half day
    assert session_lengths("XNYS 2026-11-25", 2.0) == pytest.approx((1.0, 3.5 / 6.5, 1.0, 1.0))
    with pytest.raises(InputError, match="no session begins that day; the next one: 2026-11-27"):
        session_lengths("XNYS 2026-11-26", 1.0)
    for text in ("XNYS", "XNYS tomorrow"):
        with pytest.raises(InputError, match="must be lengths of sessions, or a calendar and a day"):
            make_problem(sessions=text)
    with pytest.raises(InputError, match="have no half days"):
        session_lengths("09:30-16:00 2026-11-25", 1.0)


def test_fields_of_nights_that_have_no_effect_are_said_where_they_are_options_alone() -> None:
    (said,) = make_problem(overnight_variance=0.3).remarks()
    assert said == "overnight_variance: no effect, because the order stays within a session"
    assert make_problem(market=Market(overnight_variance=0.3)).remarks() == []
    assert make_problem(overnight_variance=0.3, n_steps=100).remarks() == []


def test_slices_over_the_end_of_a_session_are_refused_by_the_problem() -> None:
    with pytest.raises(InputError, match="goes over the end of a session; take a slice_length"):
        make_problem(overnight_variance=0.3, n_steps=20, slice_length=0.06)


# --- tapes


def recorded(days: int = 5, rows: int = 78, first: int = 0) -> Tape:
    """Sessions of five-minute slices; the price jumps by a dollar over each night."""
    dates = pd.bdate_range("2024-01-02", periods=days)
    times = [date + pd.Timedelta(hours=9.5) + i * pd.Timedelta(minutes=5) for date in dates for i in range(rows)][
        first:
    ]
    rng = np.random.default_rng(0)
    n = len(times)
    mid = 50.0 + 0.01 * rng.standard_normal(n).cumsum() + np.array([date.day for date in times])
    return Tape(pd.DatetimeIndex(times), mid, np.full(n, 0.02), rng.uniform(5e4, 1.5e5, n))


def test_an_order_of_a_tape_plays_over_the_nights_that_it_knows_and_no_other_gap() -> None:
    tape = recorded()
    assert tape.starts(Order(n_steps=40)).tolist() == [78 * day + i for day in range(5) for i in range(39)]
    assert tape.starts(Order(n_steps=20, arrival=70 / 78)).tolist() == [78 * day + 70 for day in range(4)]
    assert tape.starts(Order(n_steps=10, arrival=30 / 78)).tolist() == [78 * day + 30 for day in range(5)]
    assert tape.starts(Order(n_steps=100)).tolist() == [0, 78, 156, 234]  # begins with a session
    with pytest.raises(InputError, match="no 20 rows 0.8974 day after an opening without a gap but the 1 nights"):
        tape.starts(Order(n_steps=20, arrival=70 / 78, sessions=(75 / 78,)))
    # A session whose beginning is not in the file is not known to have begun with its first row.
    assert recorded(first=20).starts(Order(n_steps=10, arrival=30 / 78)).tolist() == [
        78 * day + 10 for day in range(1, 5)
    ]


def test_the_move_over_a_recorded_night_is_in_the_slice_before_it() -> None:
    tape, order = recorded(), Order(n_steps=20, arrival=70 / 78)
    market = tape.market(Market(**{k: v for k, v in NIGHTLY.items() if k != "volume_profile"}))
    slices = tape.paths(market, order, np.array([70])).slices
    assert slices.price_shock[0, 7] == tape.mid[78] - tape.mid[77] > 0.9
    assert slices.variance[0, 7] / slices.variance[0, 6] == pytest.approx(1 + 0.3 * 78)
    assert np.log(slices.decay[0, 7]) / np.log(slices.decay[0, 6]) == pytest.approx(1 + 2.7 * 78)
    stressed = tape.paths(Market(stress="volatility-spike", stress_onset=0.0), order, np.array([70])).slices
    np.testing.assert_allclose(stressed.price_shock, 3 * slices.price_shock)  # no night on top of the recorded one


def test_orders_of_a_market_that_never_closes_go_over_midnight() -> None:
    time = pd.date_range("2024-01-02", periods=96, freq="h")
    mid = 100.0 + np.random.default_rng(0).standard_normal(96).cumsum()
    tape = Tape(time, mid, np.full(96, 0.1), np.full(96, 1e6), hours_per_day=24)
    assert len(tape.starts(Order(n_steps=30, slice_length=1 / 24))) == 67
    assert tape.starts(Order(n_steps=30, slice_length=1 / 24, arrival=0.5)).tolist() == [12, 36, 60]


# --- live


def test_live_goes_over_a_night_and_decides_as_the_environment() -> None:
    market, order = Market(**NIGHTLY, decay_noise=0.0), Order(**CLOCK)
    agent = Adaptive(market, order)
    live, now = LiveExecutor(agent, order, market), datetime(2026, 1, 5, 12, 45)
    env = gym.make("AlmgrenChriss-v0", action="shares", **(NIGHTLY | CLOCK | {"decay_noise": 0.0}))
    steps = play(env, lambda o: agent.act(o[None])[0], seed=5)
    for t, (slice_, step) in enumerate(zip(Paths.simulate(market, order, 1, seed=5).path(0), steps, strict=True)):
        seen = (step["mid"], 2 * slice_.half_spread, slice_.volume, slice_.log_liquidity)
        shares, traded = live(Snapshot(now, *seen)), step["shares"] - step["block"]
        if t < 7:
            assert shares == pytest.approx(traded, rel=1e-5)
        live.fill(traded, step["fill_price"])
        now += timedelta(minutes=97.5) + (timedelta(hours=65) if t + 1 in AFTER else timedelta())
    stale = LiveExecutor(TWAP(market, order), order, market)
    stale(Snapshot(now, 100.0, 0.02, 1e6))
    stale.fill(0.0, 0.0)
    with pytest.raises(InputError, match="stale"):
        stale(Snapshot(now + timedelta(hours=65), 100.0, 0.02, 1e6))
