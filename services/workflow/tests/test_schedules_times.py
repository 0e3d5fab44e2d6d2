"""Times of schedules: on the clock of their zone, through every change of it, never twice and never backwards."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from crewmesh_workflow.schedules import ScheduleError, check_schedule, describe, next_time, next_times
from hypothesis import given, settings
from hypothesis import strategies as st


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def due(expression: str, zone: str, after: str, count: int = 3) -> list[str]:
    """In UTC."""
    return [f"{time.astimezone(UTC):%m-%d %H:%M}" for time in next_times(expression, zone, utc(after), count)]


@pytest.mark.parametrize(
    ("expression", "zone", "after", "expected"),
    [
        # Berlin, 29 March 2026: 02:00 becomes 03:00 at 01:00 UTC.
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00", ["03-28 01:30", "03-29 01:00", "03-30 00:30"]),
        ("0 2,3 * * *", "Europe/Berlin", "2026-03-28T12:00", ["03-29 01:00", "03-30 00:00", "03-30 01:00"]),
        ("*/30 * * * *", "Europe/Berlin", "2026-03-29T00:30", ["03-29 01:00", "03-29 01:30", "03-29 02:00"]),
        # Berlin, 25 October 2026: 03:00 becomes 02:00 at 01:00 UTC; 02:30 is there at 00:30 and at 01:30 UTC.
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00", ["10-25 00:30", "10-26 01:30", "10-27 01:30"]),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T00:30", ["10-26 01:30", "10-27 01:30", "10-28 01:30"]),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10", ["10-26 01:30", "10-27 01:30", "10-28 01:30"]),
        ("*/30 * * * *", "Europe/Berlin", "2026-10-25T00:00", ["10-25 00:30", "10-25 01:00", "10-25 01:30"]),
        # New York, 8 March 2026: 02:00 becomes 03:00 at 07:00 UTC; 1 November: 01:30 is there twice.
        ("15 2 * * *", "America/New_York", "2026-03-07T12:00", ["03-08 07:00", "03-09 06:15", "03-10 06:15"]),
        ("30 1 * * *", "America/New_York", "2026-10-31T12:00", ["11-01 05:30", "11-02 06:30", "11-03 06:30"]),
        # Lord Howe moves by half an hour: 4 October 2026, 02:00 becomes 02:30; 5 April, 02:00 becomes 01:30.
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00", ["10-03 15:30", "10-04 15:15", "10-05 15:15"]),
        ("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T00:00", ["04-04 14:45", "04-05 15:15", "04-06 15:15"]),
        ("0 9 * * MON-FRI", "UTC", "2026-11-20T10:00", ["11-23 09:00", "11-24 09:00", "11-25 09:00"]),
        ("0 0 29 2 *", "UTC", "2026-03-01T00:00", ["02-29 00:00", "02-29 00:00", "02-29 00:00"]),
    ],
)
def test_through_changes_of_the_clock(expression: str, zone: str, after: str, expected: list[str]) -> None:
    assert due(expression, zone, after) == expected


@settings(max_examples=200)
@given(
    minute=st.sampled_from(["*", "0", "30", "59", "*/7", "0,45"]),
    hour=st.sampled_from(["*", "0", "1", "2", "3", "*/5", "1-3"]),
    zone=st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Beirut", "UTC"]),
    day=st.integers(0, 730),
    second=st.integers(0, 86_400),
)
def test_time_only_goes_forward(minute: str, hour: str, zone: str, day: int, second: int) -> None:
    after = utc("2026-01-01T00:00") + timedelta(days=day, seconds=second)
    times = next_times(f"{minute} {hour} * * *", zone, after, 5)
    assert after < times[0].astimezone(UTC)
    assert all(one.astimezone(UTC) < other.astimezone(UTC) for one, other in pairwise(times))
    assert next_time(f"{minute} {hour} * * *", zone, after) == times[0]
    # One by one, as the loop asks, gives the same as in a row.
    assert next_time(f"{minute} {hour} * * *", zone, times[0]) == times[1]


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
def test_every_day_of_two_years_has_its_one_time(zone: str) -> None:
    times = next_times("45 1 * * *", zone, utc("2026-01-01T00:00"), 730)
    days = [time.astimezone(ZoneInfo(zone)).date() for time in times]
    assert all(later - earlier == timedelta(days=1) for earlier, later in pairwise(days))


@pytest.mark.parametrize(
    ("expression", "zone", "says"),
    [
        ("* * * *", "UTC", "five fields"),
        ("* * * * * *", "UTC", "five fields"),
        ("@daily", "UTC", "five fields"),
        ("61 * * * *", "UTC", "0 to 59"),
        ("* * * * FUNDAY", "UTC", "MON-FRI"),
        ("0 0 31 2 *", "UTC", "exist in one of the months"),
        ("0 0 30 2 *", "UTC", "exist in one of the months"),
        ("* * * * *", "Mars/Olympus", "no time zone"),
        ("* * * * *", "../../etc/passwd", "no time zone"),
        ("* * * * *", "Europe", "no time zone"),
        ("* * * * *", "", "no time zone"),
    ],
)
def test_what_cannot_be_read_is_refused_with_what_to_do(expression: str, zone: str, says: str) -> None:
    with pytest.raises(ScheduleError, match=says):
        check_schedule(expression, zone)


def test_a_sentence_for_people() -> None:
    assert describe("0 9 * * MON-FRI") == "At 09:00 on Monday through Friday"
