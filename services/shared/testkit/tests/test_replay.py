"""The replay helper against small orchestrators, good and bad: an upgrade of Dapr's SDK that breaks it shows here."""

from __future__ import annotations

from collections.abc import Generator
from datetime import timedelta
from typing import Protocol

import pytest
from crewmesh_contracts.base import JsonValue
from crewmesh_testkit.replay import (
    CallActivity,
    Complete,
    Completed,
    ContinueAsNew,
    CreateTimer,
    Failed,
    Fired,
    NonDeterminismError,
    OrchestrationFailedError,
    replay,
)


class Context(Protocol):
    """What these orchestrators use of Dapr's context."""

    def call_activity(self, activity: str, *, input: JsonValue) -> object: ...  # noqa: A002  Dapr's name for it

    def create_timer(self, fire_at: timedelta) -> object: ...

    def continue_as_new(self, new_input: JsonValue) -> None: ...


def two_calls_and_a_nap(ctx: Context, start: JsonValue) -> Generator[object, JsonValue, JsonValue]:
    first = yield ctx.call_activity("first", input=start)
    yield ctx.create_timer(timedelta(seconds=5))
    second = yield ctx.call_activity("second", input=first)
    return second


def reordered(ctx: Context, start: JsonValue) -> Generator[object, JsonValue, JsonValue]:
    second = yield ctx.call_activity("second", input=start)
    yield ctx.create_timer(timedelta(seconds=5))
    yield ctx.call_activity("first", input=second)
    return None


def over_and_over(ctx: Context, start: JsonValue) -> Generator[object, JsonValue, None]:
    yield ctx.call_activity("first", input=start)
    ctx.continue_as_new({"again": True})


def test_every_turn() -> None:
    assert replay(two_calls_and_a_nap, {"n": 1}) == [CallActivity("first", {"n": 1})]
    assert replay(two_calls_and_a_nap, {"n": 1}, [Completed("first", "x")]) == [CreateTimer(5.0)]
    history = [Completed("first", "x"), Fired(5)]
    assert replay(two_calls_and_a_nap, {"n": 1}, history) == [CallActivity("second", "x")]
    assert replay(two_calls_and_a_nap, {"n": 1}, [*history, Completed("second", [1])]) == [Complete([1])]


def test_a_reordered_call_raises() -> None:
    with pytest.raises(NonDeterminismError, match="first"):
        replay(reordered, {}, [Completed("first", "x")])


def test_a_call_in_place_of_a_timer_raises() -> None:
    with pytest.raises(NonDeterminismError):
        replay(two_calls_and_a_nap, {}, [Fired(5)])


def test_a_failed_activity_fails_the_orchestration() -> None:
    with pytest.raises(OrchestrationFailedError, match="no luck"):
        replay(two_calls_and_a_nap, {}, [Failed("first", "no luck")])


def test_continue_as_new() -> None:
    assert replay(over_and_over, {}, [Completed("first")]) == [ContinueAsNew({"again": True})]
