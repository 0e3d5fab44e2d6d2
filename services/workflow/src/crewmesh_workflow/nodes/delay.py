"""Wait for some time, or until a moment. Output: ``until``, the moment at which the wait was over."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.workflow.nodes.delay import DelayNode

from crewmesh_workflow.expressions import ExpressionError
from crewmesh_workflow.expressions.values import kind_of
from crewmesh_workflow.nodes.base import Decided, Place, Reader, WaitFor, Waiting, kind

LONGEST_SECONDS = 366 * 86_400


def _bind(node: DelayNode, read: Reader) -> Waiting:
    seconds = None if node.seconds is None else read.template("seconds", node.seconds)
    until = None if node.until is None else read.template("until", node.until)
    if seconds is not None:
        read.constant("seconds", seconds, _written_seconds)
    if until is not None:
        read.constant("until", until, _moment)

    def render(place: Place) -> WaitFor:
        if seconds is not None:
            return WaitFor("timer", seconds=_seconds(seconds.value(place.scope)))
        # Only the engine knows the time: what is rendered here must be the same whenever it is rendered again.
        return WaitFor("timer", request={"until": _moment(until.value(place.scope) if until else None)})

    return Waiting(render=render, arrived=_arrived, over=_over)


def _seconds(value: JsonValue) -> float:
    """Less than nothing is no wait, as a moment that is over is none."""
    return max(_number(value), 0.0)


def _written_seconds(value: JsonValue) -> None:
    """Who computes may come to less than nothing; nobody writes it and means it."""
    if _number(value) < 0:
        raise ExpressionError("seconds is less than 0; give how many seconds to wait")


def _number(value: JsonValue) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError):
        number = math.nan
    if math.isnan(number):
        raise ExpressionError(f"seconds must be a number, but is {kind_of(value)}")
    if number > LONGEST_SECONDS:
        raise ExpressionError("seconds is more than 366 days")
    return number


def _moment(value: JsonValue) -> str:
    try:
        moment = datetime.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        raise ExpressionError(
            f"until must be an ISO 8601 moment such as 2026-03-01T09:00:00+01:00, but is {kind_of(value)}"
            + (" of another form" if isinstance(value, str) else "")
        ) from None
    if moment.utcoffset() is None:
        raise ExpressionError("until has no offset: end it with Z, or with one such as +01:00")
    try:
        return moment.astimezone(UTC).isoformat()
    except OverflowError:
        raise ExpressionError("until is outside the years 1 to 9999") from None


def _arrived(data: JsonObject) -> Decided:
    return Decided(data)


def _over(until: str) -> Decided:
    return Decided({"until": until})


KIND = kind(DelayNode, _bind)
