"""Filters of dates and times: texts in ISO 8601. What has no offset is taken for UTC."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from crewmesh_contracts.base import JsonValue

from crewmesh_workflow.expressions.errors import ExpressionError
from crewmesh_workflow.expressions.filters.base import make_filter, number, text

_ISO = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?(?:Z|[+-][0-9]{2}:[0-9]{2})?)?"
)
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]{0,40}(?:/[A-Za-z0-9_+-]{1,40}){0,2}")
_CODE = re.compile(r"%.?", re.DOTALL)
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October")
_MONTH_NAMES = (*_MONTHS, "November", "December")
_UNITS = ("seconds", "minutes", "hours", "days", "weeks")

# Written out, for strftime depends on the machine.
_FORMATS: dict[str, Callable[[datetime], str]] = {
    "%Y": lambda moment: f"{moment.year:04}",
    "%y": lambda moment: f"{moment.year % 100:02}",
    "%m": lambda moment: f"{moment.month:02}",
    "%d": lambda moment: f"{moment.day:02}",
    "%H": lambda moment: f"{moment.hour:02}",
    "%I": lambda moment: f"{(moment.hour + 11) % 12 + 1:02}",
    "%p": lambda moment: "AM" if moment.hour < 12 else "PM",
    "%M": lambda moment: f"{moment.minute:02}",
    "%S": lambda moment: f"{moment.second:02}",
    "%j": lambda moment: f"{moment.timetuple().tm_yday:03}",
    "%A": lambda moment: _DAYS[moment.weekday()],
    "%a": lambda moment: _DAYS[moment.weekday()][:3],
    "%B": lambda moment: _MONTH_NAMES[moment.month - 1],
    "%b": lambda moment: _MONTH_NAMES[moment.month - 1][:3],
    "%z": lambda moment: moment.strftime("%z")[:5],
    "%s": lambda moment: str(int(moment.timestamp())),
    "%%": lambda moment: "%",
}


def _zone(value: JsonValue) -> ZoneInfo:
    name = text(value)
    try:
        if _ZONE.fullmatch(name) is None:
            raise ValueError(name)
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ExpressionError(f"knows no time zone {name[:40]!r}; name it as in Europe/Berlin") from None


def _writers(value: JsonValue) -> dict[str, Callable[[datetime], str]]:
    """What writes each of the codes in the format."""
    return {code: _writer(code) for code in _CODE.findall(text(value))}


def _unit(value: JsonValue) -> str:
    unit = text(value)
    if unit not in _UNITS:
        raise ExpressionError(f"needs one of {', '.join(_UNITS)}, not {unit[:20]!r}")
    return unit


@make_filter(format=_writers, timezone=_zone)
def date(value: JsonValue, format: JsonValue = None, timezone: JsonValue = "UTC") -> JsonValue:  # noqa: A002  as written
    """A moment (ISO 8601, or seconds since 1970) as text: ``date("%d.%m.%Y %H:%M", "Europe/Berlin")``."""
    moment = _in_zone(_moment(value), _zone(timezone))
    if format is None:
        return _iso(moment)
    writers = _writers(format)
    return _CODE.sub(lambda match: writers[match[0]](moment), text(format))


@make_filter(amount=number, unit=_unit)
def date_add(value: JsonValue, amount: JsonValue, unit: JsonValue = "seconds") -> JsonValue:
    """A moment so many seconds, minutes, hours, days or weeks later, in UTC."""
    named = _unit(unit)
    try:
        return _iso(_moment(value) + timedelta(**{named: number(amount)}))
    except OverflowError:
        raise ExpressionError("leaves the years from 1 to 9999") from None


def _moment(value: JsonValue) -> datetime:
    try:
        if isinstance(value, (int, float)):
            return datetime.fromtimestamp(number(value), UTC)
        shown = text(value)
        if _ISO.fullmatch(shown) is None:
            raise ExpressionError(f"finds no date as ISO 8601 writes it in {shown[:40]!r}")
        moment = datetime.fromisoformat(shown)
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except ExpressionError:
        raise
    except (ValueError, OverflowError, OSError):
        raise ExpressionError(f"finds no such date: {str(value)[:40]}") from None


def _in_zone(moment: datetime, zone: ZoneInfo) -> datetime:
    try:
        return moment.astimezone(zone)
    except OverflowError:
        raise ExpressionError("leaves the years from 1 to 9999") from None


def _iso(moment: datetime) -> str:
    shown = moment.isoformat(timespec="microseconds" if moment.microsecond else "seconds")
    return shown.removesuffix("+00:00") + "Z" if shown.endswith("+00:00") else shown


def _writer(code: str) -> Callable[[datetime], str]:
    write = _FORMATS.get(code)
    if write is None:
        raise ExpressionError(f"has no {code!r} in its formats; there are {' '.join(_FORMATS)}")
    return write
