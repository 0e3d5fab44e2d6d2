"""The orchestrator against recorded histories. A test that fails here would break runs that are under way."""

from __future__ import annotations

from collections.abc import Generator
from datetime import timedelta

import pytest
from crewmesh_contracts.base import JsonObject
from crewmesh_testkit.replay import (
    CallActivity,
    Complete,
    Completed,
    ContinueAsNew,
    CreateTimer,
    Failed,
    Fired,
    Happened,
    NonDeterminismError,
    OrchestrationFailedError,
    Raised,
    replay,
)
from crewmesh_workflow.engine.driver import ADVANCE, TURNS_PER_HISTORY, OrchestrationContext, TaskT, drive_run
from crewmesh_workflow.engine.outcome import LEAVE

START: JsonObject = {"run": "run_1", "driver": 1, "epoch": 1, "traceparent": None, "sleep": None}
SLEPT: list[Happened] = [Completed("advance", {"kind": "sleep", "seconds": 7.5}), Fired(7.5)]


def test_it_advances_first() -> None:
    assert replay(drive_run, START) == [CallActivity("advance", START)]


@pytest.mark.parametrize("kind", ["done", "superseded"])
def test_it_ends_when_there_is_nothing_left_to_drive(kind: str) -> None:
    assert replay(drive_run, START, [Completed("advance", {"kind": kind})]) == [Complete()]


def test_it_sleeps_and_advances_again() -> None:
    assert replay(drive_run, START, SLEPT[:1]) == [CreateTimer(7.5)]
    assert replay(drive_run, START, SLEPT) == [CallActivity("advance", START)]
    assert replay(drive_run, START, [*SLEPT, Completed("advance", {"kind": "done"})]) == [Complete()]


def test_it_is_woken_by_its_event_before_its_time() -> None:
    asleep = Completed("advance", {"kind": "sleep", "seconds": 60, "event": "wake-2"})
    assert replay(drive_run, START, [asleep]) == [CreateTimer(60, "wake-2")]
    assert replay(drive_run, START, [asleep, Raised("wake-2", within=60, other="wake-1")]) == []
    assert replay(drive_run, START, [asleep, Raised("wake-2", within=60)]) == [CallActivity("advance", START)]
    leaving = [asleep, Raised("wake-2", within=60, data=LEAVE)]
    assert replay(drive_run, START, leaving) == [Complete()]
    assert replay(drive_run, START, [asleep, Fired(60, "wake-2")]) == [CallActivity("advance", START)]


def test_without_a_time_only_its_event_wakes_it_and_it_may_begin_asleep() -> None:
    asleep: JsonObject = {**START, "sleep": {"kind": "sleep", "seconds": None, "event": "wake-1"}}
    assert replay(drive_run, asleep) == [CreateTimer(None, "wake-1")]
    assert replay(drive_run, asleep, [Raised("wake-1")]) == [CallActivity("advance", asleep)]


def test_a_long_history_starts_over() -> None:
    assert replay(drive_run, START, SLEPT * (TURNS_PER_HISTORY - 1)) == [CallActivity("advance", START)]
    asleep: JsonObject = {"kind": "sleep", "seconds": 7.5, "event": None}
    begun_anew: list[Happened] = [*SLEPT * (TURNS_PER_HISTORY - 1), SLEPT[0]]
    assert replay(drive_run, START, begun_anew) == [ContinueAsNew({**START, "sleep": asleep})]


def test_an_outcome_of_a_newer_version_fails_loudly() -> None:
    with pytest.raises(OrchestrationFailedError):
        replay(drive_run, START, [Completed("advance", {"kind": "wait_for_moon"})])


def test_a_failed_advance_ends_the_driver_and_leaves_the_run_to_the_watchdog() -> None:
    with pytest.raises(OrchestrationFailedError, match="database"):
        replay(drive_run, START, [Failed("advance", "database")])


def test_a_reordered_driver_is_noticed() -> None:
    def sleeps_first(ctx: OrchestrationContext[TaskT], start: JsonObject) -> Generator[TaskT, object, None]:
        yield ctx.create_timer(timedelta(seconds=7.5))
        yield ctx.call_activity(ADVANCE, input=start)

    with pytest.raises(NonDeterminismError):
        replay(sleeps_first, START, SLEPT)
