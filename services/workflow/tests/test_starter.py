"""Starts that are not as smooth as most: again, at a limit, of what cannot be begun, of several at a time."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.events import CloudEvent
from crewmesh_kit.db.idempotency import Idempotency
from crewmesh_kit.errors import PayloadTooLarge
from crewmesh_testkit import polling
from crewmesh_testkit.identities import ORGANIZATION
from crewmesh_workflow.engine.admission import QueueFull, WorkflowBusy
from crewmesh_workflow.engine.execution import Execution
from crewmesh_workflow.engine.outcome import DriveInput
from crewmesh_workflow.engine.payloads import LARGE_BYTES
from crewmesh_workflow.engine.starter import NewRun
from crewmesh_workflow.engine.turn import Turn
from crewmesh_workflow.settings import EngineSettings
from crewmesh_workflow.triggers.deliveries import Deliveries
from crewmesh_workflow.triggers.service import Triggers
from psycopg.rows import DictRow

from services.workflow.tests.conftest import Bench, empty, replica
from services.workflow.tests.test_control import Held, controlled, search, small_organization, until


class TestWhatWasStartedBefore:
    async def test_is_found_at_the_limit_of_its_workflow(self, bench: Bench) -> None:
        Held(bench)
        workflow = await bench.save([search()], settings={"concurrency": {"limit": 1, "when_full": "refuse"}})
        run = await bench.start(workflow)
        assert await bench.start(workflow) == run
        with pytest.raises(WorkflowBusy):
            await bench.start(workflow, event_id="e2")
        with pytest.raises(WorkflowBusy):
            await bench.start(workflow, key=None)

    async def test_is_found_when_the_queue_is_full(self, url: str) -> None:
        async with small_organization(url) as bench:
            workflow = await bench.save([search()])
            runs = {number: await bench.start(workflow, event_id=number) for number in ("e1", "e2")}
            await bench.parts.admission.let_in()
            runs["e3"] = await bench.start(workflow, event_id="e3")
            assert {number: await bench.start(workflow, event_id=number) for number in runs} == runs
            with pytest.raises(QueueFull):
                await bench.start(workflow, event_id="e4")


async def test_the_time_in_the_queue_is_not_of_the_time_that_a_run_has(bench: Bench) -> None:
    held = Held(bench)
    settings: JsonObject = {"concurrency": {"limit": 1}, "timeout_seconds": 3_600}
    workflow = await bench.save([search()], settings=settings)
    runs = [await bench.start(workflow, event_id=number) for number in ("e1", "e2")]
    async with bench.database.system() as conn:  # two hours pass
        await conn.execute(
            "UPDATE runs SET created_at = created_at - interval '2h', deadline_at = deadline_at - interval '2h'"
            " WHERE status = 'queued'"
        )
    held.go.set()
    async with controlled(bench):
        for run in runs:
            await until(bench, run, "completed")
    rows = await bench.database.statement("SELECT deadline_at > now() AS ahead FROM runs", {})
    assert [row["ahead"] for row in rows] == [True, True]


async def test_a_start_that_had_to_wait_takes_no_time_from_the_run(bench: Bench) -> None:
    """Else its lease may be over when it begins, and somebody else begins it too."""
    Held(bench)
    workflow = await bench.save([search()], settings={"timeout_seconds": 3_600})
    new = NewRun(workflow=workflow, version=1, trigger={}, origin="event")
    with bench.parts.starter.starting() as starting:
        async with bench.database.tenant(ORGANIZATION) as conn:
            await conn.execute("SELECT pg_sleep(2)")
            started = await starting.start(conn, ORGANIZATION, new)
            cursor = await conn.execute(
                "SELECT extract(epoch FROM due_at - now())::float8 AS due_in,"
                " extract(epoch FROM deadline_at - now())::float8 AS left FROM runs WHERE id = %s",
                [started.run],
            )
            row = await cursor.fetchone()
        starting.launch()
    assert row is not None
    # By the clock of the transaction, which stands still since it began.
    assert row["due_in"] >= bench.parts.leases.seconds + 2
    assert row["left"] >= 3_602


NOTHING: JsonObject = {"id": "n", "kind": "transform", "output": {}}

LOCK = "hashtextextended(%s, 0)"
WAITING_LOCKS = """
SELECT FROM pg_locks JOIN pg_database d ON d.oid = database
WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()
"""


async def start_together(bench: Bench, *workflows: str, data: JsonValue = None) -> list[str]:
    """As one event does that all of them asked for."""
    with bench.parts.starter.starting() as starting:
        async with bench.database.tenant(ORGANIZATION) as conn:
            planned = [
                NewRun(workflow=workflow, version=1, trigger={"data": data}, origin="event") for workflow in workflows
            ]
            runs = [(await starting.start(conn, ORGANIZATION, new)).run for new in planned]
        starting.launch()
    await bench.settle()
    return runs


async def drive_until_given_up(bench: Bench, run: str, error: type[Exception]) -> DictRow:
    """As the sweeper does, each time that the run is due."""
    for attempt in range(5):
        row = await bench.row(run)
        assert (row["status"], row["faults"]) == ("running", attempt)
        with suppress(error):
            await bench.parts.engine.advance(DriveInput(run=run, driver=row["driver"], epoch=row["epoch"]))
    return await bench.row(run)


class TestWhatCannotBeBegun:
    """It starts all the same, and keeps nobody else from starting; the engine tries it, but not for ever."""

    async def test_a_turn_that_cannot_be_taken(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        broken, whole = await bench.save([NOTHING]), await bench.save([NOTHING])
        begin = Execution.begin

        def begin_or_break(execution: Execution) -> Turn:
            if execution.facts.about["workflow"] == broken:
                raise ZeroDivisionError("a mistake of ours")
            return begin(execution)

        monkeypatch.setattr(Execution, "begin", begin_or_break)
        bad, good = await start_together(bench, broken, whole)
        assert (await bench.row(good))["status"] == "completed"
        row = await bench.row(bad)
        assert (row["status"], row["epoch"]) == ("running", 1)
        assert row["due_in"] <= 0
        assert await bench.events(bad) == [(1, "run.started", None)]
        row = await drive_until_given_up(bench, bad, ZeroDivisionError)
        assert (row["status"], row["error"]["type"]) == ("failed", "internal-error")

    async def test_a_turn_that_cannot_be_recorded(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        async def put(payload: bytes) -> str:
            raise PayloadTooLarge("The sidecar could not store a blob: it is larger than a message may be.")

        monkeypatch.setattr(bench.sidecar.blobs, "put", put)
        large = await bench.save([{"id": "n", "kind": "transform", "output": {"all": "{{ trigger.data }}"}}])
        bad, good = await start_together(bench, large, await bench.save([NOTHING]), data="x" * LARGE_BYTES)
        assert (await bench.row(good))["status"] == "completed"
        assert (await bench.row(bad))["due_in"] <= 0
        row = await drive_until_given_up(bench, bad, PayloadTooLarge)
        assert (row["status"], row["error"]["type"]) == ("failed", "internal-error")

    async def test_an_event_that_no_subject_fits_fails_its_step(self, bench: Bench) -> None:
        emit: JsonObject = {"id": "tell", "kind": "emit", "type": "t", "subject": "{{ trigger.data }}"}
        bad, good = await start_together(bench, await bench.save([emit]), await bench.save([NOTHING]), data="")
        assert (await bench.row(good))["status"] == "completed"
        row = await bench.row(bad)
        assert (row["error"]["node"], row["error"]["type"]) == ("tell", "expression-failed")


async def test_an_event_waits_for_a_workflow_before_it_holds_its_organization(url: str) -> None:
    """Else it would wait for a start of that workflow, which waits for the organization."""
    async with replica(url, settings=EngineSettings(inline_slots=8, organization_runs=2)) as bench:
        await empty(bench.database)
        Held(bench)
        at_work = await bench.save([search()])
        for number in ("w1", "w2"):
            await bench.start(at_work, event_id=number)
        await bench.parts.admission.let_in()  # it finds the organization crowded
        triggered: list[JsonValue] = [{"kind": "event", "type": "placed"}]
        limited: JsonObject = {"concurrency": {"limit": 1}}
        _, last = sorted([await bench.save([NOTHING], settings=limited, triggers=triggered) for _ in range(2)])
        triggers = Triggers(
            bench.database, bench.parts.starter, Deliveries(bench.parts.control), Idempotency(bench.database)
        )
        placed = CloudEvent(id="e1", source="shop", type="placed", crewmeshorg=ORGANIZATION)

        async def waits() -> bool:
            return bool(await bench.database.statement(WAITING_LOCKS))

        async with bench.database.system() as conn:
            await conn.execute(f"SELECT pg_advisory_xact_lock({LOCK})", [last])
            taking = asyncio.create_task(triggers.consume(placed))
            bench.tasks.append(taking)
            await polling.until(waits, seconds=60, what="the event to wait for the workflow", every=0.01)
            cursor = await conn.execute(f"SELECT pg_try_advisory_xact_lock({LOCK}) AS free", [ORGANIZATION])
            row = await cursor.fetchone()
            assert row is not None
            assert row["free"]
        assert len((await taking).runs) == 2
