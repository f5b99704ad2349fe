"""Options as people write them: texts with units, clock times, and what files keep of them."""

from typing import Any

import gymnasium as gym
import pytest

from exec_env.base.errors import InputError
from exec_env.cli.options import ProblemOptions, parse
from exec_env.market.order import Order
from exec_env.one_asset.options import make_problem
from exec_env.one_asset.quantities import Clock

DESK: dict[str, Any] = {"shares": "4%adv", "daily_volume": "3m", "volatility": "1.8%", "half_spread": "1.5bps"}


def test_texts_with_units_make_the_same_problem_as_their_numbers() -> None:
    ours = make_problem(**DESK, slice_length="15min", max_participation="20%")
    theirs = make_problem(
        shares=120_000.0,
        daily_volume=3e6,
        volatility=0.018,
        half_spread=1.5,
        slice_length=15 / 390,
        max_participation=0.2,
    )
    assert (ours.market, ours.order) == (theirs.market, theirs.order)
    assert gym.make("AlmgrenChriss-v0", shares="250k").unwrapped.order.shares == 250_000  # type: ignore[attr-defined]


def test_files_keep_numbers_and_the_same_problem_comes_of_them() -> None:
    given = DESK | {"start": "09:30", "end": "15:30", "n_steps": 24, "reward": "shortfall"}
    problem = make_problem(**given)
    kept = problem.settled(given)
    assert kept == {
        **{"shares": 120_000.0, "daily_volume": 3e6, "volatility": 0.018, "half_spread": 1.5},
        **{"start": "09:30", "n_steps": 24, "slice_length": 0.25 / 6.5, "reward": "shortfall"},
    }
    again = make_problem(**kept)
    assert (again.market, again.order, again.clock) == (problem.market, problem.order, problem.clock)


@pytest.mark.parametrize(
    ("given", "slices"),
    [
        ({"n_steps": 24}, (24, 0.25 / 6.5)),
        ({"slice_length": "15min"}, (24, 0.25 / 6.5)),
        ({}, (72, 1 / 78)),
        ({"n_steps": 24, "slice_length": "15min"}, (24, 0.25 / 6.5)),
        ({"hours_per_day": 24, "end": "09:00", "n_steps": 47}, (47, 0.5 / 24)),  # over midnight
    ],
)
def test_the_end_of_an_order_says_how_many_slices_there_are_or_how_long_they_are(
    given: dict[str, Any], slices: tuple[int, float]
) -> None:
    order = make_problem(**{"start": "09:30", "end": "15:30"} | given).order
    assert (order.n_steps, pytest.approx(order.slice_length)) == slices


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"end": "15:30"}, "end = '15:30': there is no start"),
        (
            {"start": "09:30", "end": "09:30"},
            "end = '09:30': must be after start = '09:30', by at most the trading day",
        ),
        ({"start": "09:30", "end": "16:30"}, "by at most the trading day of 6.5 hours"),
        ({"start": "09:30", "end": "15:30", "slice_length": "7min"}, "slices of 7 min do not fill the time from 09:30"),
        ({"start": "09:30", "end": "15:30", "n_steps": 10, "slice_length": "7min"}, "10 slices of 7 min do not fill"),
        ({"start": "half past"}, "start = 'half past': must be a time of day such as 09:30"),
        ({"shares": "5x"}, r"Order\.shares = '5x': unknown unit 'x'"),
        ({"daily_volume": "4%adv"}, r"Market\.daily_volume = '4%adv': has no daily volume to be a part of"),
        ({"slice_length": "2h", "hours_per_day": 1.5}, "longer than the trading day of 1.5 hours"),
        ({"hours_per_day": 25}, r"hours_per_day = 25: must be in \(0, 24\]"),
        ({"volatility": "-5%"}, r"Market\.volatility = -0\.05: must be a finite number >= 0"),
    ],
)
def test_what_cannot_be_is_refused_by_name(given: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        make_problem(**given)


def test_the_command_line_takes_the_same_texts() -> None:
    argv = ["--shares", "4%adv", "--daily-volume=3m", "--start", "09:30", "--volatility", "0.018"]
    start = ProblemOptions.start([], "AlmgrenChriss-v0")
    given = parse("", ProblemOptions, argv, "", start, names=False).options(start, argv)
    assert given == {"shares": "4%adv", "daily_volume": "3m", "volatility": 0.018, "start": "09:30"}


def test_slices_have_clock_times_where_the_start_is_known_and_times_since_arrival_where_not() -> None:
    two = Order(n_steps=2)
    assert Clock(start=9.5).labels(two) == ["09:30", "09:35", "09:40"]
    assert (Clock().labels(two), Clock().unit) == (["00:00", "00:05", "00:10"], "h:mm since arrival")
    assert Clock(24.0).labels(Order(n_steps=2, slice_length=1 / 2880)) == ["00:00:00", "00:00:30", "00:01:00"]
    assert Clock().labels(Order(n_steps=3, slice_length=0.5))[2:] == ["day 2 00:00", "day 2 03:15"]
