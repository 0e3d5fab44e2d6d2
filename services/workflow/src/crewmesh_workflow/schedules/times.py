"""When a cron expression is due, on the clock of its time zone.

A time that the clock skips in spring is due at once after; one that it repeats in autumn is due once, the first time.
Schedules of "every so many minutes" go by real time and neither skip nor repeat.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

_FIELDS = 5
_CAN_BE = {
    "minute": "0 to 59, *, */5, 1-5 or 1,5",
    "hour": "0 to 23, *, */2, 9-17 or 9,17",
    "day-of-month": "1 to 31, *, 1-5, 1,15, or L for the last, and must exist in one of the months that are named",
    "month": "1 to 12, JAN to DEC, *, */3, 1-6 or 1,7",
    "day-of-week": "0 to 7 (0 and 7 are Sunday), SUN to SAT, *, MON-FRI, 1,3, or MON#1 for the first of a month",
}
_FIRST_SPAN = timedelta(hours=1)
_MOMENT = timedelta(microseconds=1)


class ScheduleError(ValueError):
    """The expression or the time zone cannot be read, or is never due; the text says what to do."""


def next_time(expression: str, timezone: str, after: datetime) -> datetime:
    """The first time after ``after``, in UTC."""
    return next(_times(expression, timezone, after))


def next_times(expression: str, timezone: str, after: datetime, count: int) -> list[datetime]:
    """The next ``count`` times, each with the zone's offset, for people to read."""
    zone = _zone(timezone)
    times = _times(expression, timezone, after)
    return [next(times).astimezone(zone) for _ in range(count)]


def latest_times(expression: str, timezone: str, first: datetime, until: datetime, most: int) -> list[datetime]:
    """The last ``most`` times from ``first`` to ``until``, both included.

    Looked for in spans that end at ``until`` and grow, so that a schedule that was left alone for years costs little.
    """
    before, span = first - _MOMENT, _FIRST_SPAN
    while True:
        start = max(before, until - span)
        times = deque(takewhile(lambda time: time <= until, _times(expression, timezone, start)), maxlen=most)
        if len(times) == most or start == before:
            return list(times)
        span *= 4


def check_schedule(expression: str, timezone: str) -> None:
    """Raises ScheduleError unless there is a next time."""
    next_time(expression, timezone, datetime.now(UTC))


def describe(expression: str) -> str:
    """The expression as a sentence."""
    return _simulation(expression, datetime.now(UTC)).explain()


def _times(expression: str, timezone: str, after: datetime) -> Iterator[datetime]:
    simulation = _simulation(expression, after.astimezone(_zone(timezone)))
    last = after.astimezone(UTC)
    # The library looks at the clock on the wall, so behind a change of the clock it may name a time that has been.
    for local in simulation:
        found = local.astimezone(UTC)
        if found > last:
            yield found
            last = found
    raise ScheduleError(f"{expression!r} is never due: no such day exists in the next 50 years")


def _simulation(expression: str, at: datetime) -> CronSim:
    if len(expression.split()) != _FIELDS:
        raise ScheduleError(
            f"{expression!r} must have five fields: minute, hour, day of month, month, day of week; as 0 9 * * MON-FRI"
        )
    try:
        return CronSim(expression, at)
    except CronSimError as error:
        raise ScheduleError(f"{expression!r} is no cron expression: {_wrong(str(error))}") from error


def _wrong(told: str) -> str:
    """The library names the field, as in ``Bad hour``; people want to know what may stand there."""
    name = told.removeprefix("Bad ")
    return f"its {name} is wrong; it is {_CAN_BE[name]}" if name in _CAN_BE else told


def _zone(timezone: str) -> ZoneInfo:
    try:
        return ZoneInfo(timezone)
    except (KeyError, ValueError, OSError) as error:
        raise ScheduleError(
            f"{timezone!r} is no time zone; write it as the IANA database does: Europe/Berlin, UTC"
        ) from error
