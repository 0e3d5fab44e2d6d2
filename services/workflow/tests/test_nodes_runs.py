"""Nodes in runs of the real service: code in the real sandbox, variables, events that leave once, a child run."""

from __future__ import annotations

from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.events import CloudEvent
from crewmesh_testkit.identities import identity

from services.workflow.tests.conftest import Bench, Running
from services.workflow.tests.test_control import controlled, until

OWNER = identity("workflows:write", "workflows:read", "runs:read", "runs:write")
# How long code takes is judged where it takes too long.
SLOWLY: JsonObject = {"timeout_seconds": 60}


async def run(
    service: Running, nodes: list[JsonValue], edges: list[JsonValue], data: JsonValue, **more: JsonValue
) -> JsonObject:
    """The run at its end."""
    saved = await service.post("/v1/workflows", OWNER, {"name": "w", "nodes": nodes, "edges": edges, **more})
    assert saved.status_code == 201, saved.text
    started = await service.post(f"/v1/workflows/{saved.json()['id']}/runs?wait=50", OWNER, {"input": data})
    assert started.status_code in (200, 201, 202), started.text
    found: JsonObject = (await service.get(f"/v1/runs/{started.json()['id']}", OWNER)).json()
    assert found["finished_at"] is not None, found
    return found


class TestCode:
    async def test_for_every_item(self, service: Running) -> None:
        code: JsonObject = {"id": "double", "kind": "code", "source": "print(n)\nn * 2", "inputs": {"n": "{{ item }}"}}
        code |= SLOWLY
        body: JsonObject = {"nodes": [code], "output": {"n": "{{ steps.double.output.result }}"}}
        ended = await run(
            service,
            [{"id": "each", "kind": "for_each", "items": "{{ trigger.data.list }}", "body": body}],
            [],
            {"list": [1, 2, 3]},
            output={"all": "{{ steps.each.output.items | pluck('n') }}"},
        )
        assert ended["output"] == {"all": [2, 4, 6]}

    async def test_its_mistake_is_told_once_with_its_line(self, service: Running) -> None:
        ended = await run(service, [{"id": "sum", "kind": "code", "source": "a = 1\na / 0", **SLOWLY}], [], None)
        assert ended["status"] == "failed"
        assert ended["error"] == {
            "node": "sum",
            "type": "code-failed",
            "detail": "Line 2: ZeroDivisionError: division by zero",
        }

    async def test_a_loop_without_end_is_handled(self, service: Running) -> None:
        loop: JsonObject = {
            "id": "loop", "kind": "code", "source": "while True: pass", "timeout_seconds": 0.3, "on_error": "handle",
        }  # fmt: skip
        ended = await run(
            service,
            [loop, {"id": "after", "kind": "transform", "output": {"why": "{{ steps.loop.output.error.type }}"}}],
            [{"from": "loop", "port": "error", "to": "after"}],
            None,
            output={"why": "{{ steps.after.output.why }}"},
        )
        assert ended["output"] == {"why": "code-timed-out"}


class TestEmitAndSet:
    async def test_variables_of_all_rounds_and_one_event_each(self, service: Running) -> None:
        body: JsonObject = {
            "nodes": [
                {"id": "count", "kind": "set", "variables": {"seen": "{{ item }}"}},
                {"id": "tell", "kind": "emit", "type": "com.example.seen", "subject": "{{ vars.seen }}"},
            ],
            "edges": [{"from": "count", "to": "tell"}],
        }
        ended = await run(
            service,
            [
                {"id": "first", "kind": "set", "variables": {"seen": ""}},
                {"id": "each", "kind": "for_each", "items": ["a", "b"], "body": body, "concurrency": 1},
            ],
            [{"from": "first", "to": "each"}],
            None,
            output={"last": "{{ vars.seen }}"},
        )
        assert ended["output"] == {"last": "b"}
        emitted = await self.emitted(service)
        assert [event.subject for event in emitted] == ["a", "b"]
        assert len({event.id for event in emitted}) == 2

    @staticmethod
    async def emitted(service: Running) -> list[CloudEvent]:
        """What has been published or is about to be, and once what went out while we looked."""
        async with service.database.system() as conn:
            rows = await (await conn.execute("SELECT event FROM outbox ORDER BY position")).fetchall()
        waiting = [CloudEvent.model_validate_json(row["event"]) for row in rows]
        published = [event for _, event in service.sidecar.published]
        seen = [event for event in [*published, *waiting] if event.type == "com.example.seen"]
        return [*{event.id: event for event in seen}.values()]


class TestWorkflow:
    async def test_the_result_of_the_other_is_ours(self, bench: Bench) -> None:
        add: JsonObject = {"id": "add", "kind": "transform", "output": {"n": "{{ trigger.data.n }}"}}
        call: JsonObject = {"id": "c", "kind": "workflow", "workflow": "adds", "inputs": {"n": "{{ trigger.data.x }}"}}
        async with controlled(bench):
            await bench.save([add], slug="adds", output={"sum": "{{ steps.add.output.n }}"})
            parent = await bench.save([call], output={"n": "{{ steps.c.output.output.sum }}"})
            started = await bench.start(parent, {"x": 42})
            await until(bench, started, "completed")
        assert (await bench.row(started))["output"] == {"n": 42}
