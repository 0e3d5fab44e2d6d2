"""Runs that begin with what other runs left: no transaction stays open while the blob store is asked."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from contextvars import ContextVar

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.invocations import SEND_HTTP, HttpReply, HttpSend
from crewmesh_kit.db.database import Database
from crewmesh_testkit.fake_sidecar import FakeBlobStore
from crewmesh_testkit.identities import identity
from crewmesh_workflow.triggers.ended import EndedRuns
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from services.workflow.tests.conftest import Bench, Running

OWNER = identity("workflows:write", "workflows:read", "runs:read", "runs:write")
LARGE = "x" * 100_000
DEFINITION: JsonObject = {
    "name": "large",
    "nodes": [
        {"id": "a", "kind": "http", "url": "https://x.test/a"},
        {"id": "v", "kind": "set", "variables": {"x": "{{ steps.a.output.body }}", "y": 1}},
        {"id": "b", "kind": "http", "url": "https://x.test/b"},
    ],
    "edges": [{"from": "a", "to": "v"}, {"from": "v", "to": "b"}],
    "output": {"x": "{{ vars.x }}", "y": "{{ vars.y }}"},
}


@pytest.fixture
def sent(service: Running) -> list[HttpSend]:
    requests: list[HttpSend] = []

    async def answer(request: HttpSend) -> HttpReply:
        requests.append(request)
        return HttpReply(status=200, headers={}, body=LARGE)

    service.sidecar.answer(SEND_HTTP, answer)
    return requests


@pytest.fixture
def asked(service: Running, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    return watched_store(service.sidecar.blobs, monkeypatch)


def watched_store(blobs: FakeBlobStore, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """What the blob store is asked for, and whether a transaction is open."""
    inside, asked, tenant = ContextVar("inside", default=False), list[tuple[str, bool]](), Database.tenant

    @asynccontextmanager
    async def watched(self: Database, organization: str) -> AsyncGenerator[AsyncConnection[DictRow]]:
        async with tenant(self, organization) as conn:
            token = inside.set(True)
            try:
                yield conn
            finally:
                inside.reset(token)

    async def put(payload: bytes) -> str:
        asked.append(("put", inside.get()))
        return await FakeBlobStore.put(blobs, payload)

    async def get(reference: str) -> bytes:
        asked.append(("get", inside.get()))
        return await FakeBlobStore.get(blobs, reference)

    monkeypatch.setattr(Database, "tenant", watched)
    monkeypatch.setattr(blobs, "put", put)
    monkeypatch.setattr(blobs, "get", get)
    return asked


async def ended(service: Running, path: str, body: JsonValue) -> JsonObject:
    answered = await service.post(f"{path}?wait=50", OWNER, body)
    assert answered.status_code == 200, answered.text
    assert answered.json()["status"] == "completed"
    return answered.json()


async def first_run(service: Running) -> JsonObject:
    workflow = (await service.post("/v1/workflows", OWNER, DEFINITION)).json()["id"]
    return await ended(service, f"/v1/workflows/{workflow}/runs", {})


async def test_a_rerun_with_another_input(
    service: Running, sent: list[HttpSend], asked: list[tuple[str, bool]]
) -> None:
    first = await first_run(service)
    asked.clear()
    edited: JsonObject = {"url": "https://x.test/b", "method": "POST", "body": "b" * 100_000}
    second = await ended(service, f"/v1/runs/{first['id']}/rerun-from/b", {"input": edited})
    assert second["output"] == first["output"]
    assert [request.url[-1] for request in sent] == ["a", "b", "b"]
    assert sent[-1].body == edited["body"]
    assert {("get", False), ("put", False)} == {*asked}


async def test_a_fork_with_another_variable(
    service: Running, sent: list[HttpSend], asked: list[tuple[str, bool]]
) -> None:
    first = await first_run(service)
    asked.clear()
    forked = await ended(service, f"/v1/runs/{first['id']}/fork", {"at": "b", "vars": {"y": "y" * 100_000}})
    assert forked["output"] == {"x": LARGE, "y": "y" * 100_000}
    assert [request.url[-1] for request in sent] == ["a", "b", "b"]
    assert {("get", False), ("put", False)} == {*asked}


async def test_a_repeated_request_asks_for_nothing(
    service: Running, sent: list[HttpSend], asked: list[tuple[str, bool]]
) -> None:
    first = await first_run(service)
    path, key = f"/v1/runs/{first['id']}/rerun-from/b?wait=50", {"idempotency-key": "k"}
    second = (await service.post(path, OWNER, {}, **key)).json()
    await service.until(second["id"], "completed", OWNER)
    asked.clear()
    again = (await service.post(path.partition("?")[0], OWNER, {}, **key)).json()
    assert again["id"] == second["id"]
    assert len(sent) == 3
    assert not any(inside for _, inside in asked)


async def test_the_end_of_another_run(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async def may_see(_conn: object, _organization: str, _workflow: str, _other: str) -> bool:
        return True

    nothing: JsonObject = {"id": "n", "kind": "transform", "output": {}}
    first = await bench.save([nothing], output={"text": "{{ trigger.data.text }}{{ trigger.data.text }}"})
    second = await bench.save([nothing], triggers=[{"kind": "run_ended", "workflow": first}])
    await bench.start(first, {"text": LARGE})
    await bench.settle()
    await bench.parts.sweeper.sweep()  # what is to be stowed is not stowed with the start
    await bench.settle()
    asked = watched_store(bench.sidecar.blobs, monkeypatch)
    await EndedRuns(bench.database, bench.parts.starter, bench.parts.payloads, may_see).sweep()
    async with bench.database.system() as conn:
        started = await (await conn.execute("SELECT trigger FROM runs WHERE workflow_id = %s", [second])).fetchall()
    assert [row["trigger"]["data"]["output"] for row in started] == [{"text": LARGE * 2}]
    assert asked == [("get", False)]
