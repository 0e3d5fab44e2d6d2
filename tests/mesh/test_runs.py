"""Runs steered through the gateway, both sidecars and real drivers: waited for, paused, cancelled, begun again."""

from __future__ import annotations

import asyncio

from crewmesh_testkit.mesh import MeshClient, MeshProcess
from crewmesh_testkit.mesh_client import JsonDict
from crewmesh_testkit.polling import until

LOOP: JsonDict = {
    "name": "loop",
    "nodes": [
        {
            "id": "each",
            "kind": "for_each",
            "items": "{{ trigger.data.items }}",
            "body": {
                "nodes": [{"id": "double", "kind": "transform", "output": {"n": "{{ item }}{{ item }}"}}],
                "output": {"n": "{{ steps.double.output.n }}"},
            },
        },
        {"id": "last", "kind": "transform", "output": {"all": "{{ steps.each.output.items }}"}},
    ],
    "edges": [{"from": "each", "to": "last"}],
    "output": {"all": "{{ steps.last.output.all }}"},
}
CODE: JsonDict = {
    "name": "code",
    "nodes": [{"id": "js", "kind": "code", "language": "javascript", "source": "1 + 1", "retry": {"attempts": 1}}],
    "output": {"sum": "{{ steps.js.output.result }}"},
}
WAITS: JsonDict = {"name": "waits", "nodes": [{"id": "sleep", "kind": "delay", "seconds": 3600}]}


async def save(client: MeshClient, definition: JsonDict) -> str:
    saved = await client.post("/v1/workflows", definition)
    assert saved.status == 201, saved.body
    return str(saved.body["id"])


async def status(client: MeshClient, run: str, wanted: str) -> JsonDict:
    async def there() -> JsonDict | None:
        found = (await client.get(f"/v1/runs/{run}")).body
        return found if found["status"] == wanted else None

    return await until(there, seconds=120, what=f"{run} to be {wanted}")


async def test_a_run_is_waited_for_and_begun_again_from_a_step(mesh: MeshProcess) -> None:
    async with mesh.client() as client:
        workflow = await save(client, LOOP)
        body, key = {"input": {"items": ["a", "b"]}}, {"idempotency-key": f"mesh {workflow}"}
        first = await client.post(f"/v1/workflows/{workflow}/runs?wait=20", body, key)
        assert (first.status, first.body["output"]) == (200, {"all": [{"n": "aa"}, {"n": "bb"}]})
        same = await client.post(f"/v1/workflows/{workflow}/runs", body, key)
        assert same.body["id"] == first.body["id"]

        run = first.body["id"]
        step = await client.get(f"/v1/runs/{run}/steps/each%5B1%5D.double")
        assert step.body["output"] == {"n": "bb"}
        listed = await client.get(f"/v1/runs/{run}/steps?prefix=each%5B1%5D&status=completed&status=failed")
        assert [found["path"] for found in listed.body["items"]] == ["each[1].double"]
        refused = await client.post(f"/v1/runs/{run}/rerun-from/each%5B1%5D.double", {})
        assert (refused.status, refused.body["path"]) == (409, "each[1].double")
        again = await client.post(f"/v1/runs/{run}/rerun-from/last?wait=20", {})
        assert (again.status, again.body["output"]) == (200, first.body["output"])
        log = (await client.get(f"/v1/runs/{again.body['id']}/logs")).body["items"]
        assert log[0]["text"] == f"the run began as a rerun of {run}"


async def test_a_run_that_sleeps_is_paused_resumed_and_cancelled(mesh: MeshProcess) -> None:
    async with mesh.client() as client:
        workflow = await save(client, WAITS)
        run = (await client.post(f"/v1/workflows/{workflow}/runs", {})).body["id"]
        waiting = await status(client, run, "waiting")
        assert [wait["kind"] for wait in waiting["waiting_for"]] == ["timer"]
        assert (await client.post(f"/v1/runs/{run}/pause", {})).body["status"] == "paused"
        assert (await client.post(f"/v1/runs/{run}/resume", {})).status == 200
        await status(client, run, "waiting")

        async def follow() -> list[str]:
            return [event.type async for event in client.events(run)]

        following = asyncio.create_task(follow())
        assert (await client.post(f"/v1/runs/{run}/cancel", {})).status == 200
        async with asyncio.timeout(120):
            told = await following
        assert told[-1] == "run.cancelled"
        assert [type_ for type_ in told if type_ in ("run.paused", "run.resumed")] == ["run.paused", "run.resumed"]
        deleted = await client.request("DELETE", f"/v1/runs/{run}")
        assert deleted.status == 204
        assert (await client.get(f"/v1/runs/{run}")).status == 404


async def test_runs_of_a_full_workflow_say_when_to_come_again(mesh: MeshProcess) -> None:
    async with mesh.client() as client:
        settings = {"concurrency": {"limit": 1, "when_full": "refuse"}}
        slow = {"id": "slow", "kind": "http", "method": "GET", "url": "http://127.0.0.1:1/", "retry": {"attempts": 20}}
        workflow = await save(client, {"name": "one", "nodes": [slow], "settings": settings})
        first = await client.post(f"/v1/workflows/{workflow}/runs", {})
        assert first.status == 201, first.body
        refused = await client.post(f"/v1/workflows/{workflow}/runs", {})
        assert (refused.status, refused.body["type"].rsplit("/", 1)[-1]) == (429, "workflow-busy")
        assert int(refused.headers["retry-after"]) > 0
        await client.post(f"/v1/runs/{first.body['id']}/cancel", {})
        await status(client, first.body["id"], "cancelled")


async def test_processes_for_code_start_in_a_service_that_talks_to_its_sidecar(mesh: MeshProcess) -> None:
    """Each of them at its first attempt: children of a process that holds connections of gRPC die easily."""
    async with mesh.client() as client:
        workflow = await save(client, CODE)
        ended = [await client.post(f"/v1/workflows/{workflow}/runs?wait=50", {}) for _ in range(12)]
        assert [run.body.get("output") for run in ended] == [{"sum": 2}] * 12
