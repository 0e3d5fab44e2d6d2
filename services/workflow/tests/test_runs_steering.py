"""Cancelling, pausing, resuming and forgetting runs; asking twice is asking once."""

from __future__ import annotations

import asyncio

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.invocations import (
    ASK_MODEL,
    SEARCH,
    STOP_THINKING,
    ModelAnswer,
    ModelRequest,
    SearchRequest,
    SearchResult,
    StopRequest,
    StopResult,
)
from crewmesh_kit.errors import GatewayTimeout
from crewmesh_testkit.identities import OTHER_ORGANIZATION, auth_headers, identity

from services.workflow.tests.conftest import Running

OWNER = identity("workflows:write", "workflows:read", "runs:read", "runs:write")
STRANGER = identity("*", organization=OTHER_ORGANIZATION)
SEARCH_NODES: list[JsonValue] = [
    {"id": id_, "kind": "knowledge.search", "knowledge_base": "kb", "query": id_} for id_ in ("a", "b")
]
TWO_SEARCHES: JsonObject = {"name": "two", "nodes": SEARCH_NODES, "edges": [{"from": "a", "to": "b"}]}
WAITS: JsonObject = {"name": "waits", "nodes": [{"id": "d", "kind": "delay", "seconds": 3600}]}


def headers() -> dict[str, str]:
    return auth_headers(OWNER, audience="workflow")


class Gate:
    """Lets searches through, and knows which were asked for."""

    def __init__(self, service: Running) -> None:
        self.open = asyncio.Event()
        self.asked: list[str] = []
        self.begun = asyncio.Event()
        service.sidecar.answer(SEARCH, self._search)

    async def _search(self, request: SearchRequest) -> SearchResult:
        self.asked.append(request.query)
        self.begun.set()
        await self.open.wait()
        return SearchResult(hits=())


async def start(service: Running, definition: JsonObject) -> str:
    workflow = (await service.post("/v1/workflows", OWNER, definition)).json()["id"]
    started = await service.post(f"/v1/workflows/{workflow}/runs", OWNER, {})
    assert started.status_code == 201, started.text
    return started.json()["id"]


async def ask(service: Running, run: str, what: str) -> tuple[int, JsonObject]:
    answered = await service.post(f"/v1/runs/{run}/{what}", OWNER, None)
    return answered.status_code, answered.json()


async def types(service: Running, run: str) -> list[str]:
    async with service.database.system() as conn:
        cursor = await conn.execute("SELECT type FROM run_events WHERE run_id = %s ORDER BY seq", [run])
        return [row["type"] for row in await cursor.fetchall()]


class TestCancel:
    async def test_a_run_at_work(self, service: Running) -> None:
        gate = Gate(service)
        run = await start(service, TWO_SEARCHES)
        await gate.begun.wait()
        status, body = await ask(service, run, "cancel")
        assert status == 200
        assert body["asked"] == "cancel" or body["status"] == "cancelled"
        await service.until(run, "cancelled", OWNER)
        assert gate.asked == ["a"]
        assert (await types(service, run))[-1] == "run.cancelled"

    async def test_a_run_that_waits(self, service: Running) -> None:
        run = await start(service, WAITS)
        waiting = await service.until(run, "waiting", OWNER)
        (wait,) = as_list(waiting["waiting_for"])
        assert isinstance(wait, dict)
        assert (wait["path"], wait["kind"]) == ("d", "timer")
        assert str(wait["until"]) > str(wait["since"])
        await ask(service, run, "cancel")
        cancelled = await cancelled_by_its_driver(service, run)
        assert cancelled["waiting_for"] == []
        step = (await service.get(f"/v1/runs/{run}/steps/d", OWNER)).json()
        assert (step["status"], step["waiting_for"]) == ("cancelled", None)

    async def test_a_run_that_pauses_between_attempts(self, service: Running) -> None:
        async def away(_: SearchRequest) -> SearchResult:
            raise GatewayTimeout("knowledge did not answer.")

        service.sidecar.answer(SEARCH, away)
        retry: JsonObject = {"backoff_seconds": 3_600, "jitter": 0}
        search: JsonObject = {
            "id": "a",
            "kind": "knowledge.search",
            "knowledge_base": "kb",
            "query": "q",
            "retry": retry,
        }
        run = await start(service, {"name": "retries", "nodes": [search]})
        waiting = await service.until(run, "waiting", OWNER)
        (wait,) = as_list(waiting["waiting_for"])
        assert isinstance(wait, dict)
        step = (await service.get(f"/v1/runs/{run}/steps/a", OWNER)).json()
        assert wait == {
            "id": "a",
            "path": "a",
            "kind": "retry",
            "title": "knowledge did not answer.",
            "until": step["retry_at"],
            "since": step["started_at"],
        }
        await ask(service, run, "cancel")
        assert (await cancelled_by_its_driver(service, run))["waiting_for"] == []

    async def test_again_and_too_late(self, service: Running) -> None:
        gate = Gate(service)
        run = await start(service, TWO_SEARCHES)
        await gate.begun.wait()
        for _ in range(3):
            assert (await ask(service, run, "cancel"))[0] == 200
        await service.until(run, "cancelled", OWNER)
        assert (await ask(service, run, "cancel"))[0] == 200
        gate.open.set()
        other = await start(service, TWO_SEARCHES)
        await service.until(other, "completed", OWNER)
        status, problem = await ask(service, other, "cancel")
        assert (status, problem["run_status"]) == (409, "completed")
        assert f"/v1/runs/{other}/rerun" in str(problem["detail"])

    async def test_it_reaches_the_model_that_is_thinking(self, service: Running) -> None:
        thinking, stopped = asyncio.Event(), asyncio.Event()

        async def think(request: ModelRequest) -> ModelAnswer:
            thinking.set()
            await asyncio.Event().wait()
            raise AssertionError(request)

        async def stop(request: StopRequest) -> StopResult:
            assert request.key == f"{run}/think"
            stopped.set()
            return StopResult(stopped=True)

        service.sidecar.answer(ASK_MODEL, think)
        service.sidecar.answer(STOP_THINKING, stop)
        run = await start(service, {"name": "m", "nodes": [{"id": "think", "kind": "llm", "prompt": "p"}]})
        await thinking.wait()
        await ask(service, run, "cancel")
        async with asyncio.timeout(60):
            await stopped.wait()
        await service.until(run, "cancelled", OWNER)

    async def test_whoever_follows_is_told(self, service: Running) -> None:
        gate = Gate(service)
        run = await start(service, TWO_SEARCHES)
        await gate.begun.wait()
        stream = asyncio.create_task(service.get(f"/v1/runs/{run}/events", OWNER))
        await ask(service, run, "cancel")
        async with asyncio.timeout(60):
            told = await stream
        assert told.text.rstrip().splitlines()[-2] == "event: run.cancelled" or "event: run.cancelled" in told.text
        last = (await service.get(f"/v1/runs/{run}", OWNER)).json()["last_event"]
        assert (await service.get(f"/v1/runs/{run}/events?after={last}", OWNER)).status_code == 204


class TestPause:
    async def test_what_is_under_way_ends_and_nothing_new_begins(self, service: Running) -> None:
        gate = Gate(service)
        run = await start(service, TWO_SEARCHES)
        await gate.begun.wait()
        for _ in range(2):
            status, body = await ask(service, run, "pause")
            assert (status, body["status"], body["asked"]) == (200, "running", "pause")
        gate.open.set()
        paused = await service.until(run, "paused", OWNER)
        assert (gate.asked, paused["asked"]) == (["a"], None)
        assert (await ask(service, run, "pause"))[0] == 200
        status, _ = await ask(service, run, "resume")
        assert status == 200
        await service.until(run, "completed", OWNER)
        assert gate.asked == ["a", "b"]
        told = await types(service, run)
        assert told.index("run.paused") < told.index("run.resumed") < told.index("run.completed")

    async def test_it_can_be_taken_back(self, service: Running) -> None:
        gate = Gate(service)
        run = await start(service, TWO_SEARCHES)
        await gate.begun.wait()
        await ask(service, run, "pause")
        _, body = await ask(service, run, "resume")
        assert body["asked"] is None
        gate.open.set()
        await service.until(run, "completed", OWNER)
        assert "run.paused" not in await types(service, run)

    async def test_a_run_that_waits(self, service: Running) -> None:
        run = await start(service, WAITS)
        await service.until(run, "waiting", OWNER)
        _, body = await ask(service, run, "pause")
        assert body["status"] == "paused"
        await ask(service, run, "resume")
        await service.until(run, "waiting", OWNER)

    async def test_a_paused_run_can_be_cancelled(self, service: Running) -> None:
        run = await start(service, WAITS)
        await service.until(run, "waiting", OWNER)
        await ask(service, run, "pause")
        await ask(service, run, "cancel")
        await cancelled_by_its_driver(service, run)

    async def test_a_run_that_goes_on_anyway_needs_no_resuming(self, service: Running) -> None:
        run = await start(service, WAITS)
        await service.until(run, "waiting", OWNER)
        status, body = await ask(service, run, "resume")
        assert (status, body["status"]) == (200, "waiting")

    @pytest.mark.parametrize("what", ["pause", "resume"])
    async def test_an_ended_run_cannot(self, service: Running, what: str) -> None:
        Gate(service).open.set()
        run = await start(service, TWO_SEARCHES)
        await service.until(run, "completed", OWNER)
        status, problem = await ask(service, run, what)
        assert (status, str(problem["type"]).rsplit("/", 1)[-1]) == (409, "run-has-ended")


class TestForget:
    async def delete(self, service: Running, run: str) -> int:
        return (await service.client.delete(f"/v1/runs/{run}", headers=headers())).status_code

    async def test_an_ended_run_with_all_that_belongs_to_it(self, service: Running) -> None:
        Gate(service).open.set()
        run, kept = await start(service, TWO_SEARCHES), await start(service, TWO_SEARCHES)
        for each in (run, kept):
            await service.until(each, "completed", OWNER)
        assert await self.delete(service, run) == 204
        assert await self.delete(service, run) == 404
        async with service.database.system() as conn:
            for table in ("steps", "run_events", "waits", "arrivals"):
                cursor = await conn.execute(f"SELECT count(*) AS n FROM {table} WHERE run_id = %s".encode(), [run])
                assert (await cursor.fetchone() or {"n": 1})["n"] == 0, table
        assert len((await service.get(f"/v1/runs/{kept}/steps", OWNER)).json()["items"]) == 2

    async def test_a_live_run_is_not_forgotten(self, service: Running) -> None:
        run = await start(service, WAITS)
        await service.until(run, "waiting", OWNER)
        assert await self.delete(service, run) == 409


class TestWho:
    async def test_another_organization_cannot(self, service: Running) -> None:
        run = await start(service, WAITS)
        await service.until(run, "waiting", OWNER)
        for what in ("cancel", "pause", "resume"):
            assert (await service.post(f"/v1/runs/{run}/{what}", STRANGER, None)).status_code == 404
        theirs = auth_headers(STRANGER, audience="workflow")
        assert (await service.client.delete(f"/v1/runs/{run}", headers=theirs)).status_code == 404
        found = (await service.get(f"/v1/runs/{run}", OWNER)).json()
        assert (found["status"], found["asked"]) == ("waiting", None)

    @pytest.mark.parametrize("what", ["cancel", "pause", "resume", "rerun", "rerun-from/a", "fork"])
    async def test_permissions(self, service: Running, what: str) -> None:
        path = f"/v1/runs/run_{'0' * 32}/{what}"
        assert (await service.client.post(path)).status_code == 401
        assert (await service.post(path, identity("runs:read"), {"at": 1})).status_code == 403
        assert (await service.post(path, OWNER, {"at": 1} if what == "fork" else None)).status_code == 404


def as_list(value: JsonValue) -> list[JsonValue]:
    assert isinstance(value, list)
    return value


async def cancelled_by_its_driver(service: Running, run: str) -> JsonObject:
    """Nobody is asleep for the run here, so what sleeps until it is woken is made due."""
    async with service.database.system() as conn:
        await conn.execute("UPDATE runs SET due_at = now() WHERE id = %s AND status = 'waiting'", [run])
    return await service.until(run, "cancelled", OWNER)
