"""Runs started by API: once per key, with input that is checked, waited for as long as the caller likes."""

from __future__ import annotations

import asyncio
import time

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.invocations import SEARCH, SearchHit, SearchRequest, SearchResult
from crewmesh_testkit.identities import OTHER_ORGANIZATION, auth_headers, identity

from services.workflow.tests.conftest import Running

OWNER = identity("workflows:write", "workflows:read", "runs:read", "runs:write")
STRANGER = identity("*", organization=OTHER_ORGANIZATION)
GREETS: JsonObject = {
    "name": "greets",
    "slug": "greets",
    "nodes": [{"id": "hello", "kind": "transform", "output": {"text": "Hello {{ trigger.data.name }}"}}],
    "output": {"text": "{{ steps.hello.output.text }}"},
    "settings": {
        "input_schema": {
            "type": "object",
            "required": ["name"],
            "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
            "additionalProperties": False,
        }
    },
}
SEARCHES: JsonObject = {
    "name": "searches",
    "nodes": [{"id": "s", "kind": "knowledge.search", "knowledge_base": "kb", "query": "{{ trigger.data.q ?? 'q' }}"}],
    "output": {"text": "{{ steps.s.output.text }}"},
}


def headers() -> dict[str, str]:
    return auth_headers(OWNER, audience="workflow")


async def save(service: Running, definition: JsonObject) -> str:
    saved = await service.post("/v1/workflows", OWNER, definition)
    assert saved.status_code == 201, saved.text
    return saved.json()["id"]


def search(service: Running, gate: asyncio.Event) -> None:
    async def found(request: SearchRequest) -> SearchResult:
        await gate.wait()
        return SearchResult(hits=(SearchHit(document="d", title="T", position=0, text=request.query, score=1),))

    service.sidecar.answer(SEARCH, found)


async def a_run(service: Running) -> None:
    """Wait until there is one."""
    async with asyncio.timeout(60):
        found = []
        while not found:
            found = (await service.get("/v1/runs", OWNER)).json()["items"]


class TestStart:
    async def test_by_id_and_by_slug(self, service: Running) -> None:
        workflow = await save(service, GREETS)
        for name in (workflow, "greets"):
            started = await service.post(f"/v1/workflows/{name}/runs", OWNER, {"input": {"name": "Ada"}})
            assert started.status_code == 201
            run = started.json()
            assert started.headers["location"] == f"/v1/runs/{run['id']}"
            ended = await service.until(run["id"], "completed", OWNER)
            assert ended["output"] == {"text": "Hello Ada"}
            assert (ended["origin"], ended["started_by"], ended["event"]) == ("api", OWNER.subject, None)
            trigger = ended["trigger"]
            assert isinstance(trigger, dict)
            assert (trigger["kind"], trigger["data"]) == ("api", {"name": "Ada"})

    async def test_a_body_is_not_needed(self, service: Running) -> None:
        workflow = await save(
            service,
            {
                **GREETS,
                "settings": {},
                "nodes": [{"id": "x", "kind": "transform", "output": {}}],
                "output": {"i": "{{ trigger.data }}"},
            },
        )
        started = await service.client.post(f"/v1/workflows/{workflow}/runs?wait=50", headers=headers())
        assert (started.status_code, started.json()["output"]) == (200, {"i": {}})

    async def test_every_mistake_in_the_input_is_told(self, service: Running) -> None:
        await save(service, GREETS)
        refused = await service.post("/v1/workflows/greets/runs", OWNER, {"input": {"age": -1, "x": 1}})
        assert refused.status_code == 422
        assert refused.json()["type"].endswith("/invalid-input")
        assert sorted(error["path"] for error in refused.json()["errors"]) == ["input", "input", "input.age"]
        assert (await service.get("/v1/runs", OWNER)).json()["items"] == []

    async def test_a_misspelt_parameter_starts_and_lists_nothing(self, service: Running) -> None:
        await save(service, GREETS)
        for refused, known in (
            (await service.post("/v1/workflows/greets/runs?wiat=3", OWNER, {"input": {"name": "Ada"}}), "wait"),
            (await service.get("/v1/runs?statuses=failed", OWNER), "status"),
        ):
            assert refused.status_code == 400
            assert known in refused.json()["detail"]
        assert (await service.get("/v1/runs", OWNER)).json()["items"] == []

    @pytest.mark.parametrize("name", [r'"\u0000"', r'"\ud800"', "NaN", "-Infinity"])
    async def test_what_cannot_be_stored_is_refused(self, service: Running, name: str) -> None:
        workflow = await save(service, SEARCHES)
        refused = await service.client.post(
            f"/v1/workflows/{workflow}/runs",
            content=f'{{"input": {{"name": {name}}}}}',
            headers=headers() | {"content-type": "application/json"},
        )
        assert refused.status_code in (400, 422), refused.text
        assert refused.headers["content-type"] == "application/problem+json"

    @pytest.mark.parametrize(
        "body", [[], "x", {"inputs": {}}, {"priority": 10}, {"priority": "high"}, {"input": {}, "version": 1}]
    )
    async def test_a_body_of_another_shape_is_refused(self, service: Running, body: JsonValue) -> None:
        await save(service, GREETS)
        assert (await service.post("/v1/workflows/greets/runs", OWNER, body)).status_code == 422

    @pytest.mark.parametrize("status", ["paused", "archived"])
    async def test_a_workflow_that_is_not_active_says_what_to_do(self, service: Running, status: str) -> None:
        workflow = await save(service, GREETS)
        changed = await service.client.put(
            f"/v1/workflows/{workflow}/status", json={"status": status}, headers=headers()
        )
        assert changed.status_code == 200, changed.text
        refused = await service.post(f"/v1/workflows/{workflow}/runs", OWNER, {"input": {"name": "A"}})
        assert refused.status_code == 409
        assert refused.json()["type"].endswith("/workflow-not-active")
        assert "active" in refused.json()["detail"]

    async def test_a_workflow_without_a_version(self, service: Running) -> None:
        saved = await service.post("/v1/workflows?publish=false", OWNER, GREETS)
        refused = await service.post(f"/v1/workflows/{saved.json()['id']}/runs", OWNER, {"input": {"name": "A"}})
        assert refused.status_code == 409
        assert refused.json()["type"].endswith("/nothing-published")

    async def test_priority(self, service: Running) -> None:
        await save(service, GREETS)
        started = await service.post("/v1/workflows/greets/runs", OWNER, {"input": {"name": "A"}, "priority": 9})
        assert started.json()["priority"] == 9


class TestOncePerKey:
    async def test_the_same_key_is_the_same_run(self, service: Running) -> None:
        await save(service, GREETS)
        body: JsonObject = {"input": {"name": "Ada"}}
        answers = await asyncio.gather(
            *(service.post("/v1/workflows/greets/runs", OWNER, body, **{"idempotency-key": "k"}) for _ in range(20))
        )
        assert {answer.status_code for answer in answers} == {201}
        assert len({answer.json()["id"] for answer in answers}) == 1
        later = await service.post("/v1/workflows/greets/runs?wait=50", OWNER, body, **{"idempotency-key": "k"})
        assert (later.status_code, later.json()["status"]) == (200, "completed")
        assert len((await service.get("/v1/runs", OWNER)).json()["items"]) == 1

    @pytest.mark.parametrize("verb", ["runs", "test"])
    async def test_the_key_is_the_workflows_whichever_way_it_is_named(self, service: Running, verb: str) -> None:
        async def start(name: str) -> str:
            body: JsonObject = {"input": {"name": "Ada"}}
            path = f"/v1/workflows/{name}/{verb}"
            return (await service.post(path, OWNER, body, **{"idempotency-key": "k"})).json()["id"]

        first = await save(service, GREETS)
        run = await start(first)
        assert await start("greets") == run
        gone = await service.client.delete(f"/v1/workflows/{first}", headers=headers())
        assert gone.status_code == 204
        assert await start("greets") == run, "the answer may have been lost"
        await save(service, GREETS)
        assert await start("greets") != run, "the slug is another workflow's by now"
        assert await start(first) == run

    async def test_another_request_under_the_same_key_is_refused(self, service: Running) -> None:
        await save(service, GREETS)
        await service.post("/v1/workflows/greets/runs", OWNER, {"input": {"name": "A"}}, **{"idempotency-key": "k"})
        refused = await service.post(
            "/v1/workflows/greets/runs", OWNER, {"input": {"name": "B"}}, **{"idempotency-key": "k"}
        )
        assert refused.json()["type"].endswith("/idempotency-key-reused")

    @pytest.mark.parametrize("query", ["", "?wait=50"])
    async def test_a_run_that_was_deleted_since(self, service: Running, query: str) -> None:
        await save(service, GREETS)
        body: JsonObject = {"input": {"name": "Ada"}}
        first = await service.post("/v1/workflows/greets/runs?wait=50", OWNER, body, **{"idempotency-key": "k"})
        run = first.json()["id"]
        assert (await service.client.delete(f"/v1/runs/{run}", headers=headers())).status_code == 204
        async with asyncio.timeout(40):  # for there is nothing to wait for
            again = await service.post(f"/v1/workflows/greets/runs{query}", OWNER, body, **{"idempotency-key": "k"})
        problem = again.json()
        assert (again.status_code, problem["type"].rsplit("/", 1)[1], problem["run"]) == (409, "run-deleted", run)
        assert (await service.get("/v1/runs", OWNER)).json()["items"] == []

    async def test_a_refusal_is_not_remembered(self, service: Running) -> None:
        await save(service, GREETS)
        inputs: list[tuple[JsonObject, int]] = [({}, 422), ({"name": "A"}, 201)]
        for input_, status in inputs:
            body: JsonObject = {"input": input_}
            answered = await service.post("/v1/workflows/greets/runs", OWNER, body, **{"idempotency-key": "k"})
            assert answered.status_code == status


class TestWait:
    async def test_it_answers_when_the_run_has_ended(self, service: Running) -> None:
        gate = asyncio.Event()
        search(service, gate)
        workflow = await save(service, SEARCHES)
        asked = asyncio.create_task(
            service.post(f"/v1/workflows/{workflow}/runs?wait=50", OWNER, {"input": {"q": "Q"}})
        )
        await a_run(service)
        gate.set()
        began = time.monotonic()
        ended = await asked
        assert (ended.status_code, ended.json()["output"]) == (200, {"text": "T\nQ"})
        assert time.monotonic() - began < 40, "it waits for the end, and not for as long as it may"

    async def test_it_gives_up_in_time_and_the_run_goes_on(self, service: Running) -> None:
        gate = asyncio.Event()
        search(service, gate)
        workflow = await save(service, SEARCHES)
        began = await service.post(f"/v1/workflows/{workflow}/runs?wait=0.2", OWNER, {})
        assert (began.status_code, began.json()["status"]) == (201, "running")
        gate.set()
        await service.until(began.json()["id"], "completed", OWNER)

    async def test_a_failed_run_is_an_answer_too(self, service: Running) -> None:
        workflow = await save(service, {"name": "f", "nodes": [{"id": "f", "kind": "fail", "message": "no"}]})
        failed = await service.post(f"/v1/workflows/{workflow}/runs?wait=50", OWNER, {})
        assert (failed.status_code, failed.json()["status"]) == (200, "failed")
        assert failed.json()["error"] == {"type": "failed-by-workflow", "detail": "no", "node": "f"}

    async def test_the_answer_of_a_respond_node_comes_before_the_end(self, service: Running) -> None:
        gate = asyncio.Event()
        search(service, gate)
        respond: JsonObject = {"id": "r", "kind": "respond", "status": 202, "body": {"got": "{{ trigger.data.q }}"}}
        nodes: list[JsonValue] = [respond, {"id": "s", "kind": "knowledge.search", "knowledge_base": "k", "query": "q"}]
        workflow = await save(service, {"name": "r", "nodes": nodes, "edges": [{"from": "r", "to": "s"}]})
        answered = await service.post(f"/v1/workflows/{workflow}/runs?wait=50", OWNER, {"input": {"q": 1}})
        assert (answered.status_code, answered.json()["status"]) == (200, "running")
        assert answered.json()["response"] == {"status": 202, "headers": {}, "body": {"got": 1}}
        gate.set()
        await service.until(answered.json()["id"], "completed", OWNER)

    @pytest.mark.parametrize("wait", ["-1", "56", "x", "nan", "inf"])
    async def test_bounds(self, service: Running, wait: str) -> None:
        await save(service, GREETS)
        refused = await service.post(f"/v1/workflows/greets/runs?wait={wait}", OWNER, {"input": {"name": "A"}})
        assert refused.status_code == 400


class TestTryingOut:
    async def test_the_draft_is_tried_and_no_effect_is_done(self, service: Running) -> None:
        workflow = await save(service, SEARCHES)
        draft = {**SEARCHES, "name": "as it will be", "output": {"new": "{{ steps.s.output.text }}"}}
        etag = (await service.get(f"/v1/workflows/{workflow}/draft", OWNER)).headers["etag"]
        stored = await service.client.put(
            f"/v1/workflows/{workflow}/draft", json=draft, headers=headers() | {"if-match": etag}
        )
        assert stored.status_code == 200, stored.text
        body: JsonObject = {"samples": {"s": {"text": "a sample", "hits": []}}}
        tried = await service.post(f"/v1/workflows/{workflow}/test?wait=50", OWNER, body)
        run = tried.json()
        assert (tried.status_code, run["status"], run["output"]) == (200, "completed", {"new": "a sample"})
        assert (run["test"], run["origin"]) == (True, "test")
        assert run["workflow_version"] < 0
        again = (await service.post(f"/v1/workflows/{workflow}/test?wait=50", OWNER, body)).json()
        assert again["workflow_version"] == run["workflow_version"]
        versions = (await service.get(f"/v1/workflows/{workflow}/versions", OWNER)).json()["items"]
        assert [version["version"] for version in versions] == [1]
        published = (
            await service.post(f"/v1/workflows/{workflow}/test?wait=50", OWNER, {**body, "version": "latest"})
        ).json()
        assert (published["output"], published["workflow_version"]) == ({"text": "a sample"}, 1)
        assert service.sidecar.calls == []
        step = (await service.get(f"/v1/runs/{run['id']}/steps/s", OWNER)).json()
        assert (step["input"]["query"], step["output"]["text"]) == ("q", "a sample")

    async def test_a_workflow_that_was_never_published(self, service: Running) -> None:
        saved = await service.post("/v1/workflows?publish=false", OWNER, GREETS)
        workflow = saved.json()["id"]
        tried = await service.post(f"/v1/workflows/{workflow}/test?wait=50", OWNER, {"input": {"name": "A"}})
        assert tried.json()["output"] == {"text": "Hello A"}
        refused = await service.post(
            f"/v1/workflows/{workflow}/test", OWNER, {"input": {"name": "A"}, "version": "latest"}
        )
        assert refused.json()["type"].endswith("/nothing-published")

    async def test_a_draft_that_cannot_run(self, service: Running) -> None:
        saved = await service.post("/v1/workflows?publish=false", OWNER, {**GREETS, "output": {"x": "{{ nothing }}"}})
        tried = await service.post(f"/v1/workflows/{saved.json()['id']}/test", OWNER, {"input": {"name": "A"}})
        assert tried.status_code == 422
        assert tried.json()["type"].endswith("/invalid-definition")
        assert [error["path"] for error in tried.json()["errors"]] == ["output.x"]

    async def test_any_trigger_can_be_tried(self, service: Running) -> None:
        await save(service, GREETS)
        trigger: JsonObject = {"kind": "webhook", "id": 7, "source": [], "type": {}, "data": {"name": "hook"}}
        tried = await service.post("/v1/workflows/greets/test?wait=50", OWNER, {"trigger": trigger})
        assert (tried.json()["output"], tried.json()["trigger"]) == ({"text": "Hello hook"}, trigger)

    async def test_a_version_that_there_is_not(self, service: Running) -> None:
        await save(service, GREETS)
        refused = await service.post("/v1/workflows/greets/test", OWNER, {"input": {"name": "A"}, "version": 2})
        assert refused.status_code == 404
        for version in (0, -1, "newest"):
            refused = await service.post("/v1/workflows/greets/test", OWNER, {"version": version})
            assert refused.status_code == 422


class TestLimits:
    async def test_a_full_workflow_says_when_to_come_again(self, service: Running) -> None:
        gate = asyncio.Event()
        search(service, gate)
        limited: JsonObject = {**SEARCHES, "settings": {"concurrency": {"limit": 1, "when_full": "refuse"}}}
        workflow = await save(service, limited)
        first = await service.post(f"/v1/workflows/{workflow}/runs", OWNER, {}, **{"idempotency-key": "1"})
        refused = await service.post(f"/v1/workflows/{workflow}/runs", OWNER, {}, **{"idempotency-key": "2"})
        assert (refused.status_code, refused.json()["retryable"]) == (429, True)
        assert int(refused.headers["retry-after"]) > 0
        gate.set()
        await service.until(first.json()["id"], "completed", OWNER)
        retried = await service.post(f"/v1/workflows/{workflow}/runs?wait=50", OWNER, {}, **{"idempotency-key": "2"})
        assert retried.status_code == 200, retried.text

    async def test_what_queues_is_begun_later(self, service: Running) -> None:
        gate = asyncio.Event()
        search(service, gate)
        limited: JsonObject = {**SEARCHES, "settings": {"concurrency": {"limit": 1}}}
        workflow = await save(service, limited)
        first = (await service.post(f"/v1/workflows/{workflow}/runs", OWNER, {})).json()["id"]
        second = (await service.post(f"/v1/workflows/{workflow}/runs", OWNER, {})).json()
        assert second["status"] == "queued"
        stats = (await service.get("/v1/runs/stats", OWNER)).json()
        assert (stats["live"], stats["oldest_queued_at"]) == ({"running": 1, "queued": 1}, second["created_at"])
        refused = await service.post(f"/v1/runs/{second['id']}/pause", OWNER, None)
        assert refused.status_code == 409
        gate.set()
        await service.until(first, "completed", OWNER)
        await service.until(second["id"], "completed", OWNER)


class TestWho:
    async def test_another_organization_cannot(self, service: Running) -> None:
        workflow = await save(service, GREETS)
        for name in (workflow, "greets"):
            for what in ("runs", "test"):
                refused = await service.post(f"/v1/workflows/{name}/{what}", STRANGER, {"input": {"name": "A"}})
                assert refused.status_code == 404

    @pytest.mark.parametrize("what", ["runs", "test"])
    async def test_permissions(self, service: Running, what: str) -> None:
        path = f"/v1/workflows/greets/{what}"
        assert (await service.client.post(path, json={})).status_code == 401
        assert (await service.post(path, identity("runs:read", "workflows:write"), {})).status_code == 403
