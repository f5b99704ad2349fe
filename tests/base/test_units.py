"""Quantities as people write them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exec_env.base.errors import InputError
from exec_env.base.units import clock, clock_text, dollars, quantity, span


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("5min", "time", 1 / 78),
        ("30 s", "time", 0.5 / 390),
        ("2h", "time", 2 / 6.5),
        ("1d", "time", 1.0),
        ("2d", "time", 2.0),
        ("250k", "size", 250_000.0),
        ("250K", "size", 250_000.0),
        ("1.2m", "size", 1_200_000.0),
        ("3bn", "size", 3e9),
        ("250_000", "size", 250_000.0),
        ("4% adv", "size", 120_000.0),
        ("0.001", "size", 0.001),
        ("1.8%", "part", 0.018),
        ("30bps", "part", 0.003),
        ("3bps", "bps", 3.0),
        ("1bp", "bps", 1.0),
        ("0.03%", "bps", 3.0),
        ("-2%", "part", -0.02),
    ],
)
def test_a_text_is_the_number_that_it_says(text: str, kind: str, value: float) -> None:
    assert quantity(text, kind, daily_volume=3e6) == pytest.approx(value, rel=1e-15)  # type: ignore[arg-type]


def test_a_day_is_one_session_whatever_its_length_and_24_hours_are_one_where_trading_never_stops() -> None:
    assert quantity("24h", "time", 24.0) == quantity("1d", "time", 24.0) == quantity("1d", "time", 6.5) == 1.0
    assert quantity("12h", "time", 24.0) == 0.5


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("5m", "time", "m is a million, minutes are min"),
        ("24h", "time", "longer than the trading day of 6.5 hours"),
        ("400min", "time", "longer than the trading day of 6.5 hours"),
        ("5k", "time", "unknown unit 'k'; must be such as 5min, 2h or 1d"),
        ("4%", "size", "unknown unit '%'; must be such as 250k, 1.2m .million. or 4%adv"),
        ("5min", "size", "unknown unit 'min'"),
        ("4%adv", "size", "has no daily volume"),
        ("1,500", "size", "must be a number with a unit"),
        ("1.5.2k", "size", "must be a number with a unit"),
        ("k", "size", "must be a number with a unit"),
        ("nan", "size", "must be a number with a unit"),
        ("1e999k", "size", "must be a finite number"),
        ("2d", "part", "unknown unit 'd'; must be such as 1.8% or 30bps"),
        ("3 ticks", "bps", "unknown unit 'ticks'; must be such as 3bps or 0.03%"),
    ],
)
def test_what_is_no_such_quantity_is_refused_with_what_is_allowed(text: str, kind: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        quantity(text, kind)  # type: ignore[arg-type]


@settings(max_examples=30)
@given(st.floats(0.01, 1e6), st.sampled_from([("k", 1e3), ("m", 1e6), ("bn", 1e9), ("", 1.0)]))
def test_a_size_with_a_unit_is_the_number_times_the_unit(number: float, unit: tuple[str, float]) -> None:
    assert quantity(f"{number!r}{unit[0]}", "size") == pytest.approx(number * unit[1], rel=1e-12)


@pytest.mark.parametrize(("text", "hour"), [("09:30", 9.5), ("9:30", 9.5), ("00:00", 0.0), ("24:00", 24.0)])
def test_a_clock_is_read_as_the_hour_of_the_day(text: str, hour: float) -> None:
    assert clock(text) == hour


@pytest.mark.parametrize("text", ["25:00", "9.30", "24:01", "12:60", "noon", 9.5, None])
def test_what_no_clock_shows_is_refused(text: object) -> None:
    with pytest.raises(InputError, match="must be a time of day such as 09:30"):
        clock(text)  # type: ignore[arg-type]


def test_every_minute_is_shown_as_it_is_read() -> None:
    for minute in range(24 * 60):
        assert round(60 * clock(clock_text(minute / 60))) == minute


def test_lengths_and_money_are_shown_as_people_say_them() -> None:
    assert [span(days) for days in (1 / 390, 1 / 78, 1 / 6.5, 0.5)] == ["1 min", "5 min", "1 h", "3 h 15 min"]
    assert [span(days) for days in (1.0, 2.5, 2.3456)] == ["1 day", "2 days 3 h 15 min", "2.346 days"]
    assert [dollars(x) for x in (1234.5, -99.9, float("nan"))] == ["1,234 $", "-99.90 $", "-"]
