"""Standard functions of CEL that the library lacks, or has otherwise than the standard says.

The library asks its own functions first, so that those which it has otherwise run under another name: where the source
says ``size(…)``, what runs says ``_size(…)``. The others are only asked for what the library cannot do.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from typing import TypeAlias
from zoneinfo import ZoneInfo

import cel

from crewmesh_workflow.expressions.cel_code import STRINGS_AND_COMMENTS
from crewmesh_workflow.expressions.errors import ExpressionError

Function: TypeAlias = Callable[..., object]

# It warns of every function that fails; the condition's error says so already.
logging.getLogger("cel").setLevel(logging.ERROR)

# How the library passes on what one of them raised.
FAILED = re.compile(r"Python function call failed: ExpressionError: (.*?)\. Check function arguments", re.DOTALL)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_OFFSET = re.compile(r"([+-])?(\d\d):([0-5]\d)")
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,3}")
_TRUTHS = {
    **dict.fromkeys(("1", "t", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "false", "FALSE", "False"), False),
}
_NUMBER_AS_TEXT = cel.compile("string(number)")


def _size(value: object) -> int:
    if isinstance(value, (str, bytes, list, dict)):
        return len(value)  # pyright: ignore[reportUnknownArgumentType]  whatever is in it
    raise ExpressionError("size takes a text, bytes, a list or an object")


def _string(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return _NUMBER_AS_TEXT.execute({"number": value})
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return _decoded(value)
    if isinstance(value, datetime):
        whole, point, fraction = value.astimezone(UTC).replace(tzinfo=None).isoformat().partition(".")
        return f"{whole}{point}{fraction.rstrip('0')}Z"
    if isinstance(value, timedelta):
        micros = abs(value) // timedelta(microseconds=1)
        seconds = f"{micros // 1_000_000}.{micros % 1_000_000:06}".rstrip("0").rstrip(".")
        return f"{'-' if value < timedelta() else ''}{seconds}s"
    raise ExpressionError("string takes a text, a number, true or false, bytes, a timestamp or a duration")


def _decoded(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise ExpressionError("string finds bytes that are no UTF-8") from None


def _bool(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value in _TRUTHS:
        return _TRUTHS[value]
    raise ExpressionError('bool takes a text that is "true" or "false"')


def _int(value: object) -> int:
    if isinstance(value, datetime):
        return (value - _EPOCH) // _SECOND
    raise ExpressionError("int takes a number, a text or a timestamp")


def _timestamp(value: object) -> datetime:
    if isinstance(value, int) and not isinstance(value, bool):
        try:
            return _EPOCH + timedelta(seconds=value)
        except OverflowError:
            raise ExpressionError("timestamp leaves the years from 1 to 9999") from None
    raise ExpressionError("timestamp takes a text as in 2026-03-01T08:00:00Z, or seconds since 1970")


def _get(
    name: str,
    of_moment: Callable[[datetime], int],
    of_duration: Callable[[timedelta], int] | None,
    value: object,
    zone: object = "UTC",
) -> int:
    if isinstance(value, timedelta) and of_duration is not None and zone == "UTC":
        return of_duration(value)
    if isinstance(value, datetime) and isinstance(zone, str):
        try:
            return of_moment(value.astimezone(_zone(name, zone)))
        except OverflowError:
            raise ExpressionError(f"{name} leaves the years from 1 to 9999") from None
    durations = " or a duration" if of_duration is not None else ""
    raise ExpressionError(f"{name} takes a timestamp{durations}, as in timestamp(trigger.data.at).{name}()")


def _zone(name: str, zone: str) -> timezone | ZoneInfo:
    offset = _OFFSET.fullmatch(zone)
    try:
        if offset is not None:
            distance = timedelta(hours=int(offset[2]), minutes=int(offset[3]))
            return timezone(-distance if offset[1] == "-" else distance)
        if _ZONE.fullmatch(zone) is None:
            raise ValueError(zone)
        return ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        shown = zone[:40].encode("unicode_escape").decode()
        raise ExpressionError(f"{name} knows no time zone '{shown}'; name it as in Europe/Berlin or +01:00") from None


def _whole(value: timedelta, unit: timedelta) -> int:
    """Rounded towards zero."""
    return value // unit if value >= timedelta() else -(-value // unit)


def _milliseconds(value: timedelta) -> int:
    """Those that the whole seconds leave, as the standard has it."""
    return _whole(value, timedelta(milliseconds=1)) - _whole(value, _SECOND) * 1_000


_GETTERS: dict[str, tuple[Callable[[datetime], int], Callable[[timedelta], int] | None]] = {
    "getDate": (lambda moment: moment.day, None),
    "getDayOfMonth": (lambda moment: moment.day - 1, None),
    "getDayOfWeek": (lambda moment: moment.isoweekday() % 7, None),
    "getDayOfYear": (lambda moment: moment.timetuple().tm_yday - 1, None),
    "getFullYear": (lambda moment: moment.year, None),
    "getHours": (lambda moment: moment.hour, lambda duration: _whole(duration, timedelta(hours=1))),
    "getMilliseconds": (lambda moment: moment.microsecond // 1_000, _milliseconds),
    "getMinutes": (lambda moment: moment.minute, lambda duration: _whole(duration, timedelta(minutes=1))),
    "getMonth": (lambda moment: moment.month - 1, None),
    "getSeconds": (lambda moment: moment.second, lambda duration: _whole(duration, _SECOND)),
}
_INSTEAD: dict[str, Function] = {
    "size": _size,  # the library counts the bytes of texts
    "string": _string,  # it writes timestamps and durations otherwise, and knows no true and false
    **{name: partial(_get, name, *getter) for name, getter in _GETTERS.items()},  # it knows no zones, not even UTC
}
_BESIDE: dict[str, Function] = {"bool": _bool, "int": _int, "timestamp": _timestamp}
_CALL = re.compile(rf"{STRINGS_AND_COMMENTS.pattern}|(?<!\w)(?P<name>{'|'.join(_INSTEAD)})(?=(?:\s|//[^\n]*)*\()")


def as_it_runs(source: str) -> str:
    """The source that calls our functions where the library's are not those of the standard."""
    return _CALL.sub(lambda match: match[0] if match["name"] is None else f"_{match[0]}", source)


def needed(functions: Iterable[str]) -> dict[str, Function]:
    """What a program that calls these functions has to be given."""
    known = {**_BESIDE, **{f"_{name}": function for name, function in _INSTEAD.items()}}
    return {name: known[name] for name in functions if name in known}
