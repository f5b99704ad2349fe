"""Sessions: clocks in their zone on days of 23 and 25 hours, across midnight, and an exchange's half days."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exec_env.base.errors import InputError
from exec_env.data.sessions import Session

MINUTE = 60 * 10**9


def minutes(first: str, last: str) -> np.ndarray:
    """Every minute from one UTC time to before another. [ns]"""
    return np.arange(pd.Timestamp(first).value, pd.Timestamp(last).value, MINUTE)


def clocks(time: np.ndarray, zone: str) -> pd.DatetimeIndex:
    return pd.to_datetime(time, utc=True).tz_convert(zone)


@pytest.mark.slow
@settings(max_examples=40)
@given(
    opens=st.integers(240, 1439),  # no clock is changed after four in the morning
    closes=st.integers(240, 1439),
    zone=st.sampled_from(["UTC", "America/New_York", "Europe/London", "Asia/Tokyo", "Australia/Lord_Howe"]),
    day=st.integers(0, 364),
)
def test_a_moment_is_inside_when_clocks_of_the_zone_show_it(opens: int, closes: int, zone: str, day: int) -> None:
    text = f"{opens // 60:02}:{opens % 60:02}-{closes // 60:02}:{closes % 60:02}"
    if opens == closes:
        with pytest.raises(InputError, match="all day is 24h"):
            Session(text, zone)
        return
    time = pd.Timestamp("2025-01-01").value + (day * 1440 + np.arange(0, 1440, 7)) * MINUTE
    local = clocks(time, zone)
    shown = np.asarray(local.hour * 60 + local.minute)
    expected = (shown >= opens) & (shown < closes) if opens < closes else (shown >= opens) | (shown < closes)
    assert Session(text, zone).inside(time).tolist() == expected.tolist()


def test_a_session_keeps_its_clocks_when_clocks_are_changed() -> None:
    session = Session("09:30-16:00", "America/New_York")
    for day, opens in (
        ("2025-03-07", "14:30"),
        ("2025-03-10", "13:30"),
        ("2025-10-31", "13:30"),
        ("2025-11-03", "14:30"),
    ):
        time = minutes(day, f"{day} 23:59")
        inside = time[session.inside(time)]
        assert (pd.Timestamp(inside[0]), len(inside)) == (pd.Timestamp(f"{day} {opens}"), 390)


def test_a_night_session_has_an_hour_less_or_more_when_clocks_are_changed() -> None:
    session = Session("18:00-17:00", "America/New_York")
    opened = session.opened(pd.Timestamp("2025-03-05").value, pd.Timestamp("2025-03-12").value)
    lengths = dict(
        zip(clocks(opened.closes, "America/New_York").strftime("%m-%d"), opened.closes - opened.opens, strict=True)
    )
    assert {lengths[day] / (60 * MINUTE) for day in ("03-07", "03-08", "03-10")} == {23.0}
    assert lengths["03-09"] == 22 * 60 * MINUTE
    assert session.hours(0, 0) == 23.0


def test_a_session_that_opens_in_the_hour_left_out_opens_after_it() -> None:
    time = minutes("2025-03-09 05:00", "2025-03-09 10:00")  # in New York 02:00 to 03:00 is left out, at 07:00 UTC
    inside = time[Session("02:30-04:00", "America/New_York").inside(time)]
    assert (pd.Timestamp(inside[0]), len(inside)) == (pd.Timestamp("2025-03-09 07:00"), 60)


def test_all_day_is_every_moment() -> None:
    for zone in ("UTC", "America/New_York"):
        assert Session("24h", zone).inside(minutes("2025-03-08", "2025-03-11")).all()
        assert Session("24h", zone).hours(0, 0) == 24.0


def test_the_close_is_outside_and_the_opening_inside() -> None:
    time = (
        pd.DatetimeIndex(["2025-06-02 09:30", "2025-06-02 16:00", "2025-06-02 15:59:59.999999999"]).as_unit("ns").asi8
    )
    assert Session("09:30-16:00").inside(time).tolist() == [True, False, True]
    assert Session("09:30-16:00").inside(time[:0]).tolist() == []


@pytest.mark.slow
def test_an_exchange_has_holidays_half_days_and_breaks() -> None:
    time = minutes("2024-11-27", "2024-12-01")
    day = pd.to_datetime(time).strftime("%m-%d")
    inside = pd.Series(Session("XNYS").inside(time)).groupby(day).sum()
    assert inside.tolist() == [390, 0, 210, 0]  # Thanksgiving, and the Friday after it until one o'clock
    tokyo = Session("XTKS")
    time = minutes("2024-06-03", "2024-06-04")
    at, opened = tokyo.stretch(time)
    assert np.bincount(at[at >= 0])[np.unique(at[at >= 0])].tolist() == [150, 150]  # 9:00-11:30 and 12:30-15:00
    assert len(np.unique(opened.day[at[at >= 0]])) == 1
    assert tokyo.hours(int(time[0]), int(time[-1])) == 5.0


@pytest.mark.parametrize("text", ["9-16", "09:30-16:00 ET", "", "NO SUCH EXCHANGE", "09:30-16:00-17:00"])
def test_what_is_no_session_is_named_with_what_is(text: str) -> None:
    with pytest.raises(
        InputError, match=r"must be hours, as 09:30-16:00, 18:00-17:00 or 24h, or an exchange's calendar"
    ):
        Session(text)


@pytest.mark.parametrize("text", ["25:00-26:00", "09:60-10:00", "09:00-24:01"])
def test_a_clock_that_there_is_not_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=f"session = '{text}': must be clocks from 00:00 to 24:00"):
        Session(text)


def test_a_zone_that_there_is_not_is_named() -> None:
    with pytest.raises(InputError, match="zone = 'New York'"):
        Session("24h", "New York")
