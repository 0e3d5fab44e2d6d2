"""Events that start runs by a filter, and events that runs wait for: none lost, none twice, whoever comes first."""

from __future__ import annotations

import asyncio

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_testkit.identities import ORGANIZATION, OTHER_ORGANIZATION, auth_headers, identity
from crewmesh_testkit.polling import until
from crewmesh_workflow.engine.assembly import Assembly
from crewmesh_workflow.triggers.looking_back import LookingBack
from crewmesh_workflow.triggers.schemas import EventAccepted

from services.workflow.tests.conftest import Running

SENDER = identity("events:write", "workflows:write", "runs:read", "runs:write", "workflows:read")
OTHERS = identity("events:write", "workflows:write", "runs:read", organization=OTHER_ORGANIZATION)


def event(type_: str, id_: str = "e1", source: str = "shop", **more: JsonValue) -> JsonObject:
    return {"specversion": "1.0", "id": id_, "source": source, "type": type_, **more}


async def save(service: Running, nodes: list[JsonValue], *triggers: JsonValue, **more: JsonValue) -> str:
    definition: JsonObject = {"name": "w", "triggers": [*triggers], "nodes": nodes, **more}
    answer = await service.post("/v1/workflows", SENDER, definition)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


async def publish(service: Running, workflow: str, definition: JsonObject) -> None:
    """As the next version."""
    for method, path, body in (("PUT", "draft", definition), ("POST", "publish", {"message": "next"})):
        etag = (await service.get(f"/v1/workflows/{workflow}/draft", SENDER)).headers["etag"]
        headers = auth_headers(SENDER, audience="workflow") | {"if-match": etag}
        answer = await service.client.request(method, f"/v1/workflows/{workflow}/{path}", json=body, headers=headers)
        assert answer.status_code in (200, 201), answer.text


async def send(service: Running, sent: JsonObject) -> EventAccepted:
    answer = await service.post("/v1/events", SENDER, sent)
    assert answer.status_code == 202, answer.text
    return EventAccepted.model_validate(answer.json())


def waiting(**more: JsonValue) -> JsonObject:
    return {
        "id": "paid",
        "kind": "wait_event",
        "type": "order.paid",
        "correlation": "data.order",
        "key": "{{ trigger.data.order }}",
        **more,
    }


PLACED: JsonObject = {"kind": "event", "type": "order.placed"}
OUTPUT: JsonObject = {"by": "{{ steps.paid.output.event.id }}"}
NOTHING: JsonObject = {"id": "n", "kind": "transform", "output": {}}


async def place(service: Running, order: JsonValue, id_: str = "p1") -> str:
    """A run that waits until its order is paid."""
    (run,) = (await send(service, event("order.placed", id_, data={"order": order}))).runs
    await service.until(run, "waiting", SENDER)
    return run


async def drive(service: Running, run: str, status: str) -> JsonObject:
    """Advance what is due, as Dapr's drivers do, until the run is there."""

    async def there() -> JsonObject | None:
        await drive_once(service, run)
        found: JsonObject = (await service.get(f"/v1/runs/{run}", SENDER)).json()
        return found if found["status"] == status else None

    return await until(there, seconds=60, what=f"{run} to be {status}")


async def drive_once(service: Running, run: str) -> None:
    """A run that is at work is left to whoever has it."""
    engine = service.app.state.resources.get(Assembly).engine
    async with service.database.system() as conn:
        await conn.execute(
            "UPDATE runs SET due_at = now() WHERE id = %s AND status = 'waiting' AND due_at > now()", [run]
        )
    while service.scheduled:
        await engine.advance(service.scheduled.pop(0))


class TestFilters:
    async def test_only_where_it_is_true(self, service: Running) -> None:
        large = await save(service, [NOTHING], {**PLACED, "filter": "event.data.sum > 100 && event.source == 'shop'"})
        answer = await send(service, event("order.placed", data={"sum": 99}))
        assert answer.runs == ()
        (run,) = (await send(service, event("order.placed", "e2", data={"sum": 101}))).runs
        found = (await service.get(f"/v1/runs/{run}", SENDER)).json()
        assert (found["workflow"], found["origin"]) == (large, "event")

    async def test_one_that_has_no_value_is_told_to_the_sender(self, service: Running) -> None:
        workflow = await save(service, [NOTHING], {**PLACED, "id": "big", "filter": "event.data.sum > 100"})
        answer = await send(service, event("order.placed", data={}))
        assert answer.runs == ()
        (failure,) = answer.filter_failures
        assert (failure.workflow, failure.trigger) == (workflow, "big")
        assert "sum" in failure.detail

    async def test_that_of_a_waiting_step_names_its_run(self, service: Running) -> None:
        await save(service, [waiting(filter="event.data.sum > 100")], PLACED)
        run = await place(service, 7)
        answer = await send(service, event("order.paid", "p2", data={"order": 7}))
        assert answer.woken == ()
        (failure,) = answer.filter_failures
        assert (failure.run, failure.step, failure.workflow) == (run, "paid", None)
        assert "sum" in failure.detail
        assert (await send(service, event("order.paid", "p3", data={"order": 7, "sum": 101}))).woken == (run,)

    async def test_two_triggers_of_one_workflow_are_one_run(self, service: Running) -> None:
        await save(service, [NOTHING], PLACED, {**PLACED, "source": "shop"})
        assert len((await send(service, event("order.placed"))).runs) == 1


async def test_a_workflow_at_its_limit_holds_up_no_other(service: Running) -> None:
    one_at_a_time: JsonObject = {"concurrency": {"limit": 1, "when_full": "refuse"}}
    wait: JsonObject = {"id": "w", "kind": "wait_event", "type": "never", "timeout_seconds": 1}
    busy = await save(service, [wait], PLACED, settings=one_at_a_time)
    await save(service, [NOTHING], PLACED)
    async with service.database.system() as conn:
        await conn.execute(
            "INSERT INTO runs (id, org_id, workflow_id, workflow_version, status, trigger, epoch, seq, due_at)"
            " VALUES ('run_1', %s, %s, 1, 'running', '{}', 1, 0, now() + interval '1 hour')",
            [ORGANIZATION, busy],
        )
    answer = await send(service, event("order.placed"))
    assert (len(answer.runs), [refusal.workflow for refusal in answer.refused]) == (1, [busy])


class TestWaitingRuns:
    async def test_the_event_of_its_order_wakes_a_run(self, service: Running) -> None:
        await save(service, [waiting()], PLACED, output=OUTPUT)
        mine, other = await place(service, 7), await place(service, 8, "p2")
        assert (await send(service, event("order.paid", "x", data={"order": 9}))).woken == ()
        assert (await send(service, event("order.paid", "y", data={}))).woken == ()
        assert (await send(service, event("order.paid", "z", data={"order": 7}))).woken == (mine,)
        assert (await drive(service, mine, "completed"))["output"] == {"by": "z"}
        assert (await service.get(f"/v1/runs/{other}", SENDER)).json()["status"] == "waiting"

    async def test_source_and_filter_are_looked_at(self, service: Running) -> None:
        wait = waiting(source="bank", filter="event.data.sum >= trigger.data.sum")
        await save(service, [wait], PLACED, output=OUTPUT)
        (run,) = (await send(service, event("order.placed", data={"order": 1, "sum": 5}))).runs
        await service.until(run, "waiting", SENDER)
        for number, (source, total) in enumerate((("shop", 5), ("bank", 4), ("bank", "much"))):
            paid = event("order.paid", f"x{number}", source, data={"order": 1, "sum": total})
            assert (await send(service, paid)).woken == ()
        paid = event("order.paid", "y", "bank", data={"order": 1, "sum": 5})
        assert (await send(service, paid)).woken == (run,)

    async def test_a_run_that_is_done_again_waits_as_its_version_did(self, service: Running) -> None:
        workflow = await save(service, [waiting()], PLACED, output=OUTPUT)
        first = await place(service, 7)
        await send(service, event("order.paid", "x", data={"order": 7}))
        await drive(service, first, "completed")
        await publish(service, workflow, {"name": "w", "nodes": [NOTHING]})
        again = (await service.post(f"/v1/runs/{first}/rerun", SENDER, None)).json()["id"]
        await service.until(again, "waiting", SENDER)
        assert (await send(service, event("order.paid", "y", data={"order": 7}))).woken == (again,)
        assert (await drive(service, again, "completed"))["output"] == {"by": "y"}

    async def test_an_event_sent_fifty_times_at_once_wakes_it_once(self, service: Running) -> None:
        await save(service, [waiting()], PLACED, output=OUTPUT)
        run = await place(service, 7)
        answers = await asyncio.gather(
            *(send(service, event("order.paid", "same", data={"order": 7})) for _ in range(25)),
            *(send(service, event("order.paid", f"other{n}", data={"order": 7})) for n in range(25)),
        )
        assert sum(len(answer.woken) for answer in answers) == 1
        await drive(service, run, "completed")

    async def test_the_next_wait_of_a_run_gets_the_next_event(self, service: Running) -> None:
        two: list[JsonValue] = [waiting(id="first"), waiting(id="paid")]
        edges: list[JsonValue] = [{"from": "first", "to": "paid"}]
        await save(service, two, PLACED, edges=edges, output=OUTPUT)
        run = await place(service, 7)
        one = event("order.paid", "one", data={"order": 7})
        assert (await send(service, one)).woken == (run,)
        await until_waits(service, run, "paid")
        await service.app.state.resources.get(LookingBack).sweep()
        assert (await send(service, one)).woken == (), "it had this one"
        await send(service, event("order.paid", "two", data={"order": 7}))
        assert (await drive(service, run, "completed"))["output"] == {"by": "two"}

    async def test_other_organizations_wake_nobody(self, service: Running) -> None:
        await save(service, [waiting()], PLACED, output=OUTPUT)
        await place(service, 7)
        answer = await service.post("/v1/events", OTHERS, event("order.paid", data={"order": 7}))
        assert answer.json()["woken"] == []

    async def test_the_topic_wakes_as_well(self, service: Running) -> None:
        await save(service, [waiting()], PLACED, output=OUTPUT)
        run = await place(service, 7)
        paid = event("order.paid", "z", data={"order": 7}, crewmeshorg=ORGANIZATION)
        for _ in range(2):
            assert await service.event("events", paid) == "SUCCESS"
        assert (await drive(service, run, "completed"))["output"] == {"by": "z"}


class TestEventsThatCameEarly:
    async def test_one_that_came_before_the_wait_is_found(self, service: Running) -> None:
        first: JsonObject = {"id": "first", "kind": "wait_event", "type": "order.packed"}
        await save(service, [first, waiting()], PLACED, edges=[{"from": "first", "to": "paid"}], output=OUTPUT)
        (run,) = (await send(service, event("order.placed", data={"order": 7}))).runs
        await service.until(run, "waiting", SENDER)
        assert (await send(service, event("order.paid", "other", data={"order": 8}))).woken == ()
        assert (await send(service, event("order.paid", "early", data={"order": 7}))).woken == ()
        assert (await send(service, event("order.packed", "packed"))).woken == (run,)
        assert (await drive(service, run, "completed"))["output"] == {"by": "early"}

    async def test_one_from_before_the_run_is_not(self, service: Running) -> None:
        await save(service, [waiting(timeout_seconds=3600)], PLACED, output=OUTPUT)
        await send(service, event("order.paid", "old", data={"order": 7}))
        run = await place(service, 7)
        await service.app.state.resources.get(LookingBack).sweep()
        assert await looks_left(service, run)
        async with service.database.system() as conn:
            cursor = await conn.execute("SELECT count(*) AS n FROM arrivals")
            row = await cursor.fetchone()
        assert row is not None
        assert row["n"] == 0

    async def test_looking_comes_to_an_end(self, service: Running) -> None:
        await save(service, [waiting()], PLACED, output=OUTPUT)
        run = await place(service, 7)
        async with service.database.system() as conn:
            await conn.execute("UPDATE waits SET created_at = now() - interval '3 minutes', look_at = now()")
        await service.app.state.resources.get(LookingBack).sweep()

        async def over() -> bool:
            return not await looks_left(service, run)

        await until(over, seconds=60, what="the last look, which may be in the hand of the service's own loop")

    async def test_what_is_kept_is_forgotten_after_a_day(self, service: Running) -> None:
        await save(service, [waiting()], PLACED, output=OUTPUT)
        for id_ in ("old", "new"):
            await send(service, event("order.paid", id_, data={"order": 1}))
        async with service.database.system() as conn:
            await conn.execute("UPDATE recent_events SET at = now() - interval '25 hours' WHERE event ->> 'id' = 'old'")
        await service.app.state.resources.get(LookingBack).prune()
        async with service.database.system() as conn:
            rows = await (await conn.execute("SELECT event ->> 'id' AS id FROM recent_events")).fetchall()
        assert [row["id"] for row in rows] == ["new"]

    async def test_events_nobody_may_wait_for_are_not_kept(self, service: Running) -> None:
        await save(service, [NOTHING], PLACED)
        await send(service, event("order.placed"))
        async with service.database.system() as conn:
            assert await (await conn.execute("SELECT 1 FROM recent_events")).fetchall() == []


async def until_waits(service: Running, run: str, path: str) -> None:
    async def waits() -> bool:
        await drive_once(service, run)
        async with service.database.system() as conn:
            cursor = await conn.execute(
                "SELECT 1 FROM waits WHERE run_id = %s AND path = %s AND status = 'open'", [run, path]
            )
            return await cursor.fetchone() is not None

    await until(waits, seconds=60, what=f"{run} to wait at {path}")


async def looks_left(service: Running, run: str) -> bool:
    async with service.database.system() as conn:
        row = await (await conn.execute("SELECT look_at FROM waits WHERE run_id = %s", [run])).fetchone()
    assert row is not None
    return row["look_at"] is not None


@pytest.mark.parametrize("number", [120])
async def test_one_event_wakes_very_many(service: Running, number: int) -> None:
    await save(service, [{"id": "go", "kind": "wait_event", "type": "go"}], PLACED)
    for n in range(number):
        await send(service, event("order.placed", f"p{n}", data={"order": n}))
    await until(lambda: all_wait(service, number), seconds=60, what="all runs to wait")
    woken = (await send(service, event("go"))).woken
    assert len(woken) == number


async def all_wait(service: Running, number: int) -> bool:
    async with service.database.system() as conn:
        row = await (await conn.execute("SELECT count(*) AS n FROM waits WHERE status = 'open'")).fetchone()
    return row is not None and row["n"] == number
