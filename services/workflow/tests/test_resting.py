"""Runs that have nothing to do but wait: given away with the commit that says so, and slept for by a driver."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.invocations import SEARCH, SearchRequest, SearchResult
from crewmesh_testkit.identities import ORGANIZATION
from crewmesh_workflow.engine.outcome import DriveInput, Sleep
from crewmesh_workflow.engine.scheduling import driving

from services.workflow.tests.conftest import Bench

WAIT: JsonObject = {"id": "wait", "kind": "wait_event", "type": "go"}
EFFECT: JsonObject = {"id": "find", "kind": "knowledge.search", "knowledge_base": "kb", "query": "q"}


async def nothing_found(_request: SearchRequest) -> SearchResult:
    return SearchResult(hits=())


async def commits(bench: Bench, run: str) -> list[list[str]]:
    """What was journalled together."""
    rows = await bench.database.statement(
        "SELECT array_agg(type ORDER BY seq) AS types FROM run_events WHERE run_id = %(run)s GROUP BY at ORDER BY at",
        {"run": run},
    )
    return [row["types"] for row in rows]


async def test_a_run_that_begins_by_waiting_is_given_away_with_its_start(bench: Bench) -> None:
    run = await bench.start(await bench.save([WAIT]))
    row = await bench.row(run)
    assert (row["status"], row["driver"], row["scheduled"], row["due_at"]) == ("waiting", 1, 1, None)
    await bench.settle()
    assert [(drive.run, drive.driver, drive.epoch) for drive in bench.scheduled] == [(run, 1, 1)]
    assert bench.scheduled[0].sleep == Sleep(event="wake-1")
    assert await commits(bench, run) == [["run.started", "step.waiting", "run.waiting"]]


async def test_one_that_comes_to_wait_is_given_away_with_what_led_there(bench: Bench) -> None:
    bench.sidecar.answer(SEARCH, nothing_found)
    run = await bench.start(await bench.save([EFFECT, WAIT], [{"from": "find", "to": "wait"}]))
    await bench.settle()
    assert (await bench.row(run))["status"] == "waiting"
    assert await commits(bench, run) == [
        ["run.started", "step.started"],
        ["step.completed", "step.waiting", "run.waiting"],
    ]
    assert bench.scheduled[0].sleep == Sleep(event="wake-1")


async def test_what_arrives_before_anybody_was_asked_to_sleep_is_not_lost(bench: Bench) -> None:
    run = await bench.start(await bench.save([WAIT]))
    async with bench.database.tenant(ORGANIZATION) as conn:
        assert await bench.parts.control.arrive(conn, run, "wait", {"event": {"type": "go"}})
    await bench.settle()
    await bench.drive()
    assert (await bench.row(run))["status"] == "completed"


@pytest.mark.parametrize(
    ("nodes", "settings", "seconds", "due_in"),
    [
        ([{"id": "d", "kind": "delay", "seconds": 60}], {}, 60.0, 90),
        ([WAIT], {"timeout_seconds": 60}, 60.0, 90),
        ([WAIT, {"id": "d", "kind": "delay", "seconds": 60}], {}, 60.0, 90),
        ([{"id": "d", "kind": "delay", "seconds": 3_600}], {}, None, 3_600),
    ],
)
async def test_the_clock_is_asked_for_what_it_brings_first(
    bench: Bench, nodes: list[JsonValue], settings: JsonObject, seconds: float | None, due_in: float
) -> None:
    run = await bench.start(await bench.save(nodes, settings=settings))
    row = await bench.row(run)
    assert row["status"] == "waiting"
    assert due_in - 20 < row["due_in"] <= due_in
    await bench.settle()
    assert bench.scheduled[0].sleep == Sleep(seconds=seconds, event="wake-1")


async def test_a_nap_is_slept_here(bench: Bench) -> None:
    run = await bench.start(await bench.save([{"id": "d", "kind": "delay", "seconds": 0.2}]))
    await bench.settle()
    assert (await bench.row(run))["status"] == "completed"
    assert bench.scheduled == []


class Client:
    """Stands where the SDK's would."""

    def __init__(self) -> None:
        self.first_turns: list[datetime] = []

    async def schedule_new_workflow(
        self,
        workflow: str,
        *,
        input: JsonObject,  # noqa: A002  Dapr's name for it
        instance_id: str,
        start_at: datetime,
    ) -> str:
        self.first_turns.append(start_at)
        return instance_id

    async def raise_workflow_event(self, instance_id: str, event_name: str, *, data: str | None) -> None:
        """Nobody is woken here."""


@pytest.mark.parametrize(
    ("sleep", "minutes"),
    [(None, 0), (Sleep(seconds=60.0, event="wake-1"), 0), (Sleep(event="wake-1"), 10)],
)
async def test_a_driver_that_waits_for_its_event_alone_has_no_turn_before(sleep: Sleep | None, minutes: int) -> None:
    client = Client()
    before = datetime.now(UTC)
    await driving(client).schedule(DriveInput(run="run_1", driver=1, epoch=1, sleep=sleep))
    assert before <= client.first_turns[0] - timedelta(minutes=minutes) <= datetime.now(UTC)
