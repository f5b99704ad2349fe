"""The clock of an order: which slices a night comes after, half days, and volume by the time of the session."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exec_env.base.errors import InputError
from exec_env.market.clock import nights, share_before
from exec_env.market.market import Market
from exec_env.market.order import Order
from exec_env.market.paths import Normals, Paths
from tests.conftest import RICH

NIGHTLY = {"overnight_variance": 0.3, "night_length": 2.7}


def after(**order: Any) -> list[int]:
    """Slices that a night comes after, from 1."""
    return (np.flatnonzero(nights(Order(**order))) + 1).tolist()


def test_nights_come_where_sessions_end_and_none_after_the_last_slice() -> None:
    assert after(n_steps=78) == after(n_steps=40, arrival=38 / 78) == []
    assert after(n_steps=79) == [78]
    assert after(n_steps=200, arrival=76 / 78) == [2, 80, 158]
    assert after(n_steps=5, slice_length=1.0) == [1, 2, 3, 4]  # slices that are sessions


def test_a_half_day_has_half_the_slices() -> None:
    assert after(n_steps=12, slice_length=0.25, sessions=(1.0, 0.5)) == [4, 6, 10]
    assert after(n_steps=4, slice_length=0.25, sessions=(0.5,), arrival=0.25) == [1]


def test_a_slice_over_the_end_of_a_session_is_refused_where_a_night_would_count() -> None:
    order = Order(n_steps=20, slice_length=0.06)
    assert Market().spans(order) == (0.06, 0.06)
    for name, value in NIGHTLY.items():
        with pytest.raises(
            InputError, match=r"slice_length = 0\.06 day: slice 17 goes over the end of a session; take"
        ):
            Market(**{name: value}).spans(order)
    # The way out that the sentence names.
    Market(overnight_variance=1.0).spans(Order(n_steps=20, slice_length=1 / 17, arrival=round(0.31 * 17) / 17))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"arrival": 1.0}, r"Order\.arrival = 1\.0: must be below 1 day, the length of its session"),
        ({"arrival": 0.6, "sessions": (0.5,)}, r"Order\.arrival = 0\.6: must be below 0\.5 day"),
        ({"sessions": (0.5, 0.0)}, r"Order\.sessions = \(0\.5, 0\.0\): must be a finite number > 0"),
    ],
)
def test_orders_whose_clock_cannot_be_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Order(**fields)


# --- volume


@pytest.mark.slow
@pytest.mark.parametrize("profile", ["flat", "u-shaped", (5.0, 1.0, 2.0), tuple(range(1, 27))])
@settings(max_examples=25)
@given(n=st.integers(1, 40), first=st.integers(0, 39))
def test_slices_of_a_session_have_its_volume_whatever_their_number(profile: Any, n: int, first: int) -> None:
    n, first = max(n, 2), first % max(n, 2)
    order = Order(n_steps=2 * n - first, slice_length=1 / n, arrival=first / n)
    volume = Market(volume_profile=profile).profile(order)
    np.testing.assert_allclose(
        volume[n - first :],
        Market(volume_profile=profile).profile(Order(n_steps=n, slice_length=1 / n, arrival=0.0)),
        rtol=1e-9,
    )
    assert volume[n - first :].mean() == pytest.approx(1.0)
    if not isinstance(profile, str) and n == len(profile):
        np.testing.assert_allclose(volume[-n:], np.array(profile) / np.mean(profile))


def test_a_half_day_has_the_profile_of_a_day_in_half_the_time() -> None:
    market = Market(volume_profile=(4.0, 1.0, 1.0, 2.0))
    volume = market.profile(Order(n_steps=6, slice_length=0.25, arrival=0.0, sessions=(0.5,)))
    np.testing.assert_allclose(volume, [2.5 / 2, 1.5 / 2, 2.0, 0.5, 0.5, 1.0])


def test_an_order_without_a_clock_has_the_profile_over_its_horizon_as_ever() -> None:
    u = (np.arange(40) + 0.5) / 40
    shape = 0.5 + 6 * (u - 0.5) ** 2
    np.testing.assert_array_equal(Market(volume_profile="u-shaped").profile(Order()), shape / shape.mean())
    with pytest.raises(InputError, match=r"Order\.arrival must say when"):
        Market(volume_profile=(1.0, 2.0)).profile(Order())


def test_the_u_shape_is_the_integral_of_its_density() -> None:
    u = np.linspace(0.0, 1.0, 100_001)
    density = 0.5 + 6 * (u - 0.5) ** 2
    summed = np.r_[0.0, np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(u))]
    np.testing.assert_allclose(share_before("u-shaped", u), summed, atol=1e-9)


def test_volumes_are_read_from_a_file_and_kept_as_numbers(tmp_path: Path) -> None:
    path = tmp_path / "volumes.csv"
    path.write_text("time,Volume\n09:30,300\n12:00,100\n14:00,200\n")
    for given_path in (path, str(path)):
        assert Market(volume_profile=given_path).volume_profile == (300.0, 100.0, 200.0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time,amount\n1,2\n", r"volumes\.csv: must have one column 'volume'; has time, amount"),
        ("volume\n1\n-2\n", r"volumes\.csv: row 2, 'volume': -2 must be a number >= 0"),
        ("volume\n1\nmany\n", r"volumes\.csv: row 2, 'volume': 'many' must be a number >= 0"),
        ("volume\n0\n0\n", r"Market\.volume_profile = \(0\.0, 0\.0\): must have some volume"),
    ],
)
def test_a_file_without_volumes_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "volumes.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        Market(volume_profile=tmp_path / "volumes.csv")


# --- paths


def drawn(market: Market, order: Order, n: int = 400) -> Paths:
    return Paths.simulate(market, order, n, seed=3)


def test_without_night_fields_paths_are_as_if_there_were_no_night_bit_for_bit() -> None:
    fields = RICH | {"volume_profile": "flat"}
    clock: dict[str, Any] = {"arrival": 0.5, "sessions": (1.0, 0.5)}
    orders = [Order(n_steps=24, slice_length=1 / 12, **more) for more in ({}, clock)]
    one, other = (drawn(Market(**fields), order).slices for order in orders)
    for ours, theirs in zip(one.columns, other.columns, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_an_order_within_a_session_knows_no_night_bit_for_bit() -> None:
    for ours, theirs in zip(
        drawn(Market(**RICH, **NIGHTLY), Order()).slices.columns,
        drawn(Market(**RICH), Order()).slices.columns,
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_a_night_is_more_variance_and_decay_in_the_slice_before_it_and_nothing_else() -> None:
    order = Order(n_steps=6, slice_length=0.25, arrival=0.5)
    fields = {"volatility_elasticity": 0.5, "stress": "volatility-spike"}
    with_nights, without = (drawn(Market(**fields, **more), order).slices for more in (NIGHTLY, {}))
    ratio, nightly = (1 + 0.3 / 0.25) * np.ones(6), np.array([False, True, False, False, False, False])
    ratio[~nightly] = 1.0
    np.testing.assert_allclose(with_nights.variance, without.variance * ratio, rtol=1e-12)
    np.testing.assert_allclose(with_nights.price_shock, without.price_shock * ratio**0.5, rtol=1e-12)
    longer = 1 + np.where(nightly, 2.7 / 0.25, 0.0)
    np.testing.assert_allclose(np.log(with_nights.decay), np.log(without.decay) * longer, rtol=1e-9)
    for name in ("log_liquidity", "half_spread", "volume", "drift", "temporary", "permanent", "slippage"):
        np.testing.assert_array_equal(getattr(with_nights, name), getattr(without, name))


def test_moves_over_a_night_have_the_variance_that_is_asked_for() -> None:
    market, order = Market(overnight_variance=0.4), Order(n_steps=4, slice_length=0.5)
    normals = Normals(*np.random.default_rng(1).standard_normal((6, 50_000, 4)))
    moves = Paths.shaped(market, order, normals).slices.price_shock
    expected = (market.volatility * market.arrival_price) ** 2 * np.array([0.5, 0.9, 0.5, 0.5])
    np.testing.assert_allclose(moves.var(0), expected, rtol=0.03)  # five standard errors
