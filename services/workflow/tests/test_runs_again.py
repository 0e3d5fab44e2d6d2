"""Reruns, reruns from a step, and forks: what was done is not done again, and what is done again really is."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Generator

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.invocations import SEARCH, SearchHit, SearchRequest, SearchResult
from crewmesh_kit.errors import BadGateway
from crewmesh_testkit.identities import OTHER_ORGANIZATION, auth_headers, identity
from crewmesh_testkit.polling import until

from services.workflow.tests.conftest import Running

OWNER = identity("workflows:write", "workflows:read", "runs:read", "runs:write", "approvals:read", "approvals:decide")
STRANGER = identity("*", organization=OTHER_ORGANIZATION)


def search(id_: str, query: str, **more: JsonValue) -> JsonObject:
    return {"id": id_, "kind": "knowledge.search", "knowledge_base": "kb", "query": query, **more}


# Each search finds what it was asked for.
CHAIN: JsonObject = {
    "name": "chain",
    "nodes": [
        search("a", "a {{ trigger.data.name ?? 'nobody' }}"),
        search("b", "b after {{ steps.a.output.text }}"),
        search("c", "c after {{ steps.b.output.text }}"),
    ],
    "edges": [{"from": "a", "to": "b"}, {"from": "b", "to": "c"}],
    "output": {"text": "{{ steps.c.output.text }}"},
}
VARIABLES: JsonObject = {
    "name": "variables",
    "nodes": [
        {"id": "one", "kind": "set", "variables": {"x": "{{ trigger.data }}", "y": "kept"}},
        search("a", "a"),
        {"id": "two", "kind": "set", "variables": {"x": "late"}},
    ],
    "edges": [{"from": "one", "to": "a"}, {"from": "a", "to": "two"}],
    "output": {"x": "{{ vars.x }}", "y": "{{ vars.y }}", "one": "{{ steps.one.output.x }}"},
}


def headers() -> dict[str, str]:
    return auth_headers(OWNER, audience="workflow")


ONCE: JsonObject = {"attempts": 1}
EVERY_WAY: list[tuple[str, JsonValue]] = [("rerun", None), ("rerun-from/b", None), ("fork", {"at": "b"})]


class Searches:
    """Finds what it is asked for, or fails for what a test wants to fail."""

    def __init__(self, service: Running) -> None:
        self.asked: Counter[str] = Counter()
        self.failing: set[str] = set()
        self.held: set[str] = set()
        self.go = asyncio.Event()
        self.padding = ""
        service.sidecar.answer(SEARCH, self._search)

    async def _search(self, request: SearchRequest) -> SearchResult:
        self.asked[request.query[:1]] += 1
        if request.query[:1] in self.failing:
            raise BadGateway("no")
        if request.query[:1] in self.held:
            await self.go.wait()
        text = request.query + self.padding
        return SearchResult(hits=(SearchHit(document="d", title="T", position=0, text=text, score=1),))


@pytest.fixture
def searches(service: Running) -> Generator[Searches]:
    made = Searches(service)
    yield made
    made.go.set()


async def save(service: Running, definition: JsonObject) -> str:
    saved = await service.post("/v1/workflows", OWNER, definition)
    assert saved.status_code == 201, saved.text
    return saved.json()["id"]


async def publish(service: Running, workflow: str, definition: JsonObject) -> None:
    """As the next version."""
    for method, path, body in (("PUT", "draft", definition), ("POST", "publish", {"message": "next"})):
        etag = (await service.get(f"/v1/workflows/{workflow}/draft", OWNER)).headers["etag"]
        answered = await service.client.request(
            method, f"/v1/workflows/{workflow}/{path}", json=body, headers=headers() | {"if-match": etag}
        )
        assert answered.status_code in (200, 201), answered.text


async def start(service: Running, workflow: str, input_: JsonValue = None) -> JsonObject:
    """A run that has ended."""
    started = await service.post(f"/v1/workflows/{workflow}/runs?wait=50", OWNER, {"input": input_ or {}})
    assert started.status_code == 200, started.text
    return started.json()


async def again(service: Running, run: JsonObject, what: str, body: JsonValue = None) -> JsonObject:
    """A new run that has ended."""
    answered = await service.post(f"/v1/runs/{run['id']}/{what}?wait=50", OWNER, body)
    assert answered.status_code == 200, answered.text
    return answered.json()


async def refused(service: Running, run: JsonObject, what: str, body: JsonValue = None) -> tuple[int, str]:
    answered = await service.post(f"/v1/runs/{run['id']}/{what}?wait=50", OWNER, body)
    problem = answered.json()
    return answered.status_code, f"{str(problem.get('type')).rsplit('/', 1)[-1]}: {problem.get('detail')}"


class TestRerun:
    async def test_all_of_it_is_done_again(self, service: Running, searches: Searches) -> None:
        first = await start(service, await save(service, CHAIN), {"name": "Ada"})
        second = await again(service, first, "rerun")
        assert second["output"] == first["output"] == {"text": "T\nc after T\nb after T\na Ada"}
        assert second["id"] != first["id"]
        assert (second["origin"], second["source_run"], second["trigger"]) == ("rerun", first["id"], first["trigger"])
        assert searches.asked == {"a": 2, "b": 2, "c": 2}
        assert len({call.idempotency_key for call in service.sidecar.calls}) == 6

    async def test_the_same_version_or_the_latest(self, service: Running, searches: Searches) -> None:
        workflow = await save(service, CHAIN)
        first = await start(service, workflow)
        await publish(service, workflow, {**CHAIN, "output": {"new": True}})
        assert (await again(service, first, "rerun"))["workflow_version"] == 1
        latest = await again(service, first, "rerun", {"version": "latest"})
        assert (latest["workflow_version"], latest["output"]) == (2, {"new": True})
        assert (await again(service, first, "rerun", {"version": 2}))["workflow_version"] == 2
        assert (await refused(service, first, "rerun", {"version": 3}))[0] == 404

    async def test_once_per_key(self, service: Running, searches: Searches) -> None:
        first = await start(service, await save(service, CHAIN))
        answers = await asyncio.gather(
            *(service.post(f"/v1/runs/{first['id']}/rerun", OWNER, {}, **{"idempotency-key": "k"}) for _ in range(10))
        )
        assert len({answer.json()["id"] for answer in answers}) == 1

    async def test_a_paused_workflow_starts_nothing(self, service: Running, searches: Searches) -> None:
        workflow = await save(service, CHAIN)
        first = await start(service, workflow)
        await service.client.put(f"/v1/workflows/{workflow}/status", json={"status": "paused"}, headers=headers())
        for what, body in EVERY_WAY:
            status, why = await refused(service, first, what, body)
            assert (status, why.split(":")[0]) == (409, "workflow-not-active")

    async def test_a_test_run_stays_one(self, service: Running, searches: Searches) -> None:
        workflow = await save(service, CHAIN)
        body: JsonObject = {"samples": {"c": {"text": "sample"}}}
        first = (await service.post(f"/v1/workflows/{workflow}/test?wait=50", OWNER, body)).json()
        for what, more in EVERY_WAY:
            second = await again(service, first, what, more)
            assert (second["test"], second["output"]) == (True, {"text": "sample"})
        assert not searches.asked
        assert (await refused(service, first, "rerun-from/b", {"input": {"query": "x"}}))[0] == 409
        assert not searches.asked


class TestRerunFrom:
    async def test_after_a_failure_was_mended(self, service: Running, searches: Searches) -> None:
        searches.failing = {"b"}
        first = await start(service, await save(service, CHAIN), {"name": "Ada"})
        assert first["status"] == "failed"
        searches.failing = set()
        second = await again(service, first, "rerun-from/b")
        assert second["output"] == {"text": "T\nc after T\nb after T\na Ada"}
        assert (searches.asked["a"], searches.asked["c"]) == (1, 1)
        steps = (await service.get(f"/v1/runs/{second['id']}/steps", OWNER)).json()["items"]
        assert [(step["path"], step["status"]) for step in steps] == [(id_, "completed") for id_ in "abc"]
        assert (steps[0]["input"]["query"], steps[0]["output"]["text"]) == ("a Ada", "T\na Ada")

    async def test_with_another_input(self, service: Running, searches: Searches) -> None:
        first = await start(service, await save(service, CHAIN))
        edited: JsonObject = {"knowledge_base": "kb", "query": "better", "limit": 1}
        second = await again(service, first, "rerun-from/b", {"input": edited})
        assert second["output"] == {"text": "T\nc after T\nbetter"}
        assert searches.asked == {"a": 1, "b": 2, "c": 2}
        step = (await service.get(f"/v1/runs/{second['id']}/steps/b", OWNER)).json()
        assert (step["input"], step["attempt"]) == (edited, 1)

    async def test_an_input_that_the_action_does_not_take(self, service: Running, searches: Searches) -> None:
        first = await start(service, await save(service, CHAIN))
        body: JsonObject = {"input": {"knowledge_base": "kb", "query": "q", "nonsense": True}}
        refused = await service.post(f"/v1/runs/{first['id']}/rerun-from/b", OWNER, body)
        assert (refused.status_code, refused.json()["type"].rsplit("/", 1)[1]) == (422, "invalid-step-input")
        places = [(error["path"], error["message"]) for error in refused.json()["errors"]]
        assert places == [("input.nonsense", "there is no such field here; remove it, or correct its name")]

    async def test_with_other_data(self, service: Running, searches: Searches) -> None:
        first = await start(service, await save(service, VARIABLES), "old")
        second = await again(service, first, "rerun-from/one", {"trigger_data": "new"})
        assert second["output"] == {"x": "late", "y": "kept", "one": "new"}
        third = await again(service, second, "rerun-from/a", {"trigger_data": None})
        assert third["output"] == second["output"]
        assert third["trigger"] == {**as_object(second["trigger"]), "data": None}

    async def test_other_data_follows_the_schema(self, service: Running, searches: Searches) -> None:
        schema: JsonObject = {"input_schema": {"type": "object"}}
        first = await start(service, await save(service, {**CHAIN, "settings": schema}))
        status, why = await refused(service, first, "rerun-from/b", {"trigger_data": "text"})
        assert (status, why.split(":")[0]) == (422, "invalid-input")

    async def test_variables_are_as_they_were(self, service: Running, searches: Searches) -> None:
        first = await start(service, await save(service, VARIABLES), "v")
        second = await again(service, first, "rerun-from/two")
        assert second["output"] == first["output"] == {"x": "late", "y": "kept", "one": "v"}
        assert searches.asked == {"a": 1}

    async def test_a_loop_is_taken_over_or_done_again_as_a_whole(self, service: Running, searches: Searches) -> None:
        loop: JsonObject = {
            "id": "loop",
            "kind": "for_each",
            "items": ["a", "b", "c"],
            "body": {"nodes": [search("x", "{{ item }}")], "output": {"text": "{{ steps.x.output.text }}"}},
        }
        nodes: list[JsonValue] = [loop, search("z", "z")]
        definition: JsonObject = {
            "name": "loop",
            "nodes": nodes,
            "edges": [{"from": "loop", "to": "z"}],
            "output": {"all": "{{ steps.loop.output.items }}"},
        }
        first = await start(service, await save(service, definition))
        second = await again(service, first, "rerun-from/z")
        assert second["output"] == first["output"]
        assert searches.asked == {"a": 1, "b": 1, "c": 1, "z": 2}
        assert second["progress"] == {"completed": 5}
        third = await again(service, first, "rerun-from/loop")
        assert third["output"] == first["output"]
        assert searches.asked == {"a": 2, "b": 2, "c": 2, "z": 3}
        status, why = await refused(service, first, "rerun-from/loop%5B1%5D.x")
        assert status == 409
        assert "name the loop, loop" in why

    async def test_large_outputs_are_taken_over(self, service: Running, searches: Searches) -> None:
        searches.padding = "x" * 100_000
        nodes: list[JsonValue] = [search("a", "a"), search("b", "b")]
        definition: JsonObject = {"name": "large", "nodes": nodes, "edges": [{"from": "a", "to": "b"}]}
        definition["output"] = {"text": "{{ steps.a.output.text }}"}
        first = await start(service, await save(service, definition))
        second = await again(service, first, "rerun-from/b")
        assert second["output"] == first["output"] == {"text": "T\na" + searches.padding}
        assert searches.asked == {"a": 1, "b": 2}

    @pytest.mark.parametrize(("path", "status"), [("nowhere", 404), ("a%21undo", 409), ("%21failure.x", 409)])
    async def test_no_such_step(self, service: Running, searches: Searches, path: str, status: int) -> None:
        first = await start(service, await save(service, CHAIN))
        assert (await refused(service, first, f"rerun-from/{path}"))[0] == status

    async def test_somebody_has_to_agree_to_an_edited_action_too(self, service: Running, searches: Searches) -> None:
        nodes: list[JsonValue] = [search("a", "a"), search("b", "b", approval="always")]
        definition: JsonObject = {"name": "careful", "nodes": nodes, "edges": [{"from": "a", "to": "b"}]}
        workflow = await save(service, definition)
        first = (await service.post(f"/v1/workflows/{workflow}/runs", OWNER, {})).json()
        await service.until(first["id"], "waiting", OWNER)
        body: JsonObject = {"input": {"knowledge_base": "kb", "query": "better"}}
        second = (await service.post(f"/v1/runs/{first['id']}/rerun-from/b", OWNER, body)).json()
        waiting = await service.until(second["id"], "waiting", OWNER)
        assert [as_object(wait)["kind"] for wait in as_list(waiting["waiting_for"])] == ["approval"]
        assert searches.asked == {"a": 1}


class TestFork:
    async def test_before_a_step(self, service: Running, searches: Searches) -> None:
        first = await start(service, await save(service, CHAIN))
        forked = await again(service, first, "fork", {"at": "c"})
        assert (forked["output"], forked["origin"], forked["source_run"]) == (first["output"], "fork", first["id"])
        assert searches.asked == {"a": 1, "b": 1, "c": 2}

    async def test_at_an_event(self, service: Running, searches: Searches) -> None:
        first = await start(service, await save(service, CHAIN))
        logs = (await service.get(f"/v1/runs/{first['id']}/logs", OWNER)).json()["items"]
        done_b = next(line["seq"] for line in logs if line["path"] == "b" and line["text"] == "is done")
        await again(service, first, "fork", {"at": done_b})
        assert searches.asked == {"a": 1, "b": 1, "c": 2}
        await again(service, first, "fork", {"at": done_b - 1})
        assert searches.asked == {"a": 1, "b": 2, "c": 3}
        await again(service, first, "fork", {"at": 0})
        assert searches.asked == {"a": 2, "b": 3, "c": 4}
        assert (await refused(service, first, "fork", {"at": 99}))[0] == 400

    async def test_with_other_variables_and_data(self, service: Running, searches: Searches) -> None:
        first = await start(service, await save(service, VARIABLES), "old")
        forked = await again(service, first, "fork", {"at": "a", "vars": {"y": ["other"]}})
        assert forked["output"] == {"x": "late", "y": ["other"], "one": "old"}
        unknown = await refused(service, first, "fork", {"at": "a", "vars": {"z": 1}})
        assert (unknown[0], unknown[1].split(":")[0]) == (422, "unknown-variable")

    async def test_into_another_version(self, service: Running, searches: Searches) -> None:
        workflow = await save(service, CHAIN)
        first = await start(service, workflow)
        other: list[JsonValue] = [
            search("a", "another a"),
            search("b", "b of new"),
            {"id": "c", "kind": "transform", "output": {}},
        ]
        new: JsonObject = {**CHAIN, "nodes": other, "output": {"text": "{{ steps.b.output.text }}"}}
        await publish(service, workflow, new)
        forked = await again(service, first, "fork", {"at": "b", "version": "latest"})
        assert (forked["workflow_version"], forked["output"]) == (2, {"text": "T\nb of new"})
        assert searches.asked == {"a": 1, "b": 2, "c": 1}

    @pytest.mark.parametrize(
        "body", [{}, {"at": -1}, {"at": None}, {"at": True}, {"at": 1.5}, {"at": 1, "vars": []}, {"at": 1e99}]
    )
    async def test_requests_of_another_shape(self, service: Running, searches: Searches, body: JsonObject) -> None:
        first = await start(service, await save(service, CHAIN))
        assert (await refused(service, first, "fork", body))[0] == 422


class TestUndone:
    async def test_what_was_undone_is_done_again(self, service: Running, searches: Searches) -> None:
        nodes: list[JsonValue] = [
            search("a", "a", compensate={"do": search("u", "undo a")}),
            search("b", "b"),
            search("c", "c", retry=ONCE),
        ]
        edges: list[JsonValue] = [{"from": "a", "to": "b"}, {"from": "b", "to": "c"}]
        searches.failing = {"c"}
        first = await start(service, await save(service, {"name": "saga", "nodes": nodes, "edges": edges}))
        assert first["status"] == "failed"
        assert searches.asked == {"a": 1, "b": 1, "c": 1, "u": 1}
        status, why = await refused(service, first, "rerun-from/c")
        assert status == 409
        assert "begin again from a" in why
        searches.failing = set()
        second = await again(service, first, "rerun-from/a")
        assert second["status"] == "completed"
        assert searches.asked == {"a": 2, "b": 2, "c": 2, "u": 1}

    @pytest.mark.parametrize("cancelled", [False, True])
    async def test_what_a_run_is_yet_to_undo_is_not_taken_over(
        self, service: Running, searches: Searches, *, cancelled: bool
    ) -> None:
        """It is about to undo b, and then a."""
        waits: JsonObject = {"id": "c", "kind": "wait_event", "type": "com.example.go"}
        nodes: list[JsonValue] = [
            search("a", "a", compensate={"do": search("u", "u")}),
            search("b", "b", compensate={"do": search("v", "v")}),
            waits if cancelled else search("c", "c", retry=ONCE),
        ]
        edges: list[JsonValue] = [{"from": "a", "to": "b"}, {"from": "b", "to": "c"}]
        searches.failing, searches.held = {"c"}, {"v"}
        workflow = await save(service, {"name": "saga", "nodes": nodes, "edges": edges})
        run = (await service.post(f"/v1/workflows/{workflow}/runs", OWNER, {})).json()
        if cancelled:
            await service.until(run["id"], "waiting", OWNER)
            assert (await service.post(f"/v1/runs/{run['id']}/cancel", OWNER, None)).status_code == 200

        async def undoes() -> bool:
            return searches.asked["v"] == 1

        await until(undoes, seconds=60, what="b to be undone", every=0.01)
        status, why = await refused(service, run, "rerun-from/b")
        assert (status, "begin again from a" in why) == (409, True)
        assert (await service.post(f"/v1/runs/{run['id']}/fork", OWNER, {"at": "b"})).status_code == 201

        async def begins_anew() -> bool:
            return searches.asked["a"] == 2

        await until(begins_anew, seconds=60, what="the fork to do a again", every=0.01)


class TestWho:
    async def test_another_organization_cannot(self, service: Running, searches: Searches) -> None:
        first = await start(service, await save(service, CHAIN))
        for what, body in EVERY_WAY:
            answered = await service.post(f"/v1/runs/{first['id']}/{what}", STRANGER, body)
            assert answered.status_code == 404


def as_object(value: JsonValue) -> JsonObject:
    assert isinstance(value, dict)
    return value


def as_list(value: JsonValue) -> list[JsonValue]:
    assert isinstance(value, list)
    return value
