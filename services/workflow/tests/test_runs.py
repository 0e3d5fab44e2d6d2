"""Reading runs: lists, one run, its steps, and the stream that can be picked up anywhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.invocations import SEARCH, SearchHit, SearchRequest, SearchResult
from crewmesh_kit.resources import Resources
from crewmesh_kit.signals import Signals
from crewmesh_testkit.identities import OTHER_ORGANIZATION, identity
from crewmesh_workflow.runs.service import Runs
from crewmesh_workflow.runs.stream import Streams
from crewmesh_workflow.settings import StreamSettings

from services.workflow.tests.conftest import Running

OWNER = identity("events:write", "workflows:write", "workflows:read", "runs:read", "runs:write")
STRANGER = identity("*", organization=OTHER_ORGANIZATION)
TYPES = ["run.started", "step.started", "step.completed", "step.completed", "step.skipped", "run.completed"]
DEFINITION: JsonObject = {
    "name": "search, then decide",
    "triggers": [{"kind": "event", "type": "t"}],
    "nodes": [
        {"id": "s", "kind": "knowledge.search", "knowledge_base": "kb", "query": "q"},
        {"id": "b", "kind": "if", "condition": "false"},
        {"id": "t", "kind": "knowledge.search", "knowledge_base": "kb", "query": "q"},
    ],
    "edges": [{"from": "s", "to": "b"}, {"from": "b", "port": "true", "to": "t"}],
    "output": {"text": "{{ steps.s.output.text }}"},
}


async def begin(service: Running, number: int = 1) -> str:
    event: JsonObject = {"specversion": "1.0", "id": f"e{number}", "source": "test", "type": "t", "data": {}}
    return (await service.post("/v1/events", OWNER, event)).json()["runs"][0]


async def save(service: Running) -> str:
    return (await service.post("/v1/workflows", OWNER, DEFINITION)).json()["id"]


def answer(service: Running, text: str = "found", gate: asyncio.Event | None = None) -> None:
    async def found(request: SearchRequest) -> SearchResult:
        if gate is not None:
            await gate.wait()
        return SearchResult(hits=(SearchHit(document="d", title="T", position=0, text=text, score=1),))

    service.sidecar.answer(SEARCH, found)


def read(stream: str) -> list[tuple[str, str]]:
    """(id, event) of each server-sent event."""
    found: list[tuple[str, str]] = []
    for block in stream.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if "event" in fields:
            found.append((fields["id"], fields["event"]))
    return found


async def test_a_run_its_steps_and_its_etag(service: Running) -> None:
    answer(service)
    workflow = await save(service)
    run = await begin(service)
    found = await service.until(run, "completed", OWNER)
    assert found["output"] == {"text": "T\nfound"}
    assert found["workflow"] == workflow
    assert found["event"] == {"id": "e1", "source": "test", "type": "t"}
    steps = (await service.get(f"/v1/runs/{run}/steps", OWNER)).json()["items"]
    assert [(step["path"], step["node"], step["status"], step["ports"]) for step in steps] == [
        ("s", "s", "completed", ["out"]),
        ("b", "b", "completed", ["false"]),
        ("t", "t", "skipped", []),
    ]
    assert steps[0]["input"] == {"knowledge_base": "kb", "query": "q", "limit": 4}
    assert steps[0]["output"]["text"] == "T\nfound"
    etag = (await service.get(f"/v1/runs/{run}", OWNER)).headers["etag"]
    assert (await service.get(f"/v1/runs/{run}", OWNER, **{"if-none-match": etag})).status_code == 304


async def test_what_a_run_is_about(service: Running) -> None:
    answer(service)
    await save(service)
    found = await service.until(await begin(service), "completed", OWNER)
    assert (found["origin"], found["test"], found["asked"], found["workflow_version"]) == ("event", False, None, 1)
    assert found["progress"] == {"completed": 2, "skipped": 1}
    assert (found["waiting_for"], found["children"], found["usage"], found["response"]) == ([], 0, None, None)
    assert str(found["keep_until"]) > str(found["finished_at"]) > str(found["created_at"])


async def test_large_payloads_are_whole_where_one_is_asked_for(service: Running) -> None:
    answer(service, "x" * 100_000)
    await save(service)
    run = await begin(service)
    found = await service.until(run, "completed", OWNER)
    assert found["output"] == {"text": "T\n" + "x" * 100_000}
    step = (await service.get(f"/v1/runs/{run}/steps/s", OWNER)).json()
    assert len(step["output"]["text"]) == 100_002
    assert step["left_out"] == []
    listed = (await service.get(f"/v1/runs/{run}/steps", OWNER)).json()["items"][0]
    assert (listed["output"], listed["left_out"]) == (None, ["output"])
    assert listed["input"] == {"knowledge_base": "kb", "query": "q", "limit": 4}


async def test_a_step_that_is_not_there(service: Running) -> None:
    answer(service)
    await save(service)
    run = await begin(service)
    for path in ("nowhere", "s!undo", "s%5B0%5D.x", "%00", "..%2Fevents"):
        refused = await service.get(f"/v1/runs/{run}/steps/{path}", OWNER)
        assert refused.status_code in (400, 404), path
        assert refused.headers["content-type"] == "application/problem+json"


async def test_the_list_has_pages(service: Running) -> None:
    answer(service)
    await save(service)
    runs = [await begin(service, number) for number in range(5)]
    for run in runs:
        await service.until(run, "completed", OWNER)
    first = (await service.get("/v1/runs?limit=2", OWNER)).json()
    second = (await service.get(f"/v1/runs?limit=3&cursor={first['next_cursor']}", OWNER)).json()
    assert [run["id"] for run in [*first["items"], *second["items"]]] == sorted(runs, reverse=True)
    assert second["next_cursor"] is None


async def test_the_list_has_filters(service: Running) -> None:
    answer(service)
    workflow = await save(service)
    await service.until(await begin(service, 1), "completed", OWNER)
    failing: JsonObject = {
        "name": "f",
        "slug": "fails",
        "nodes": [{"id": "f", "kind": "fail", "message": "Not 100% good: [x]"}],
    }
    other = (await service.post("/v1/workflows", OWNER, failing)).json()["id"]
    failed = (await service.post(f"/v1/workflows/{other}/runs?wait=50", OWNER, {})).json()["id"]
    again = (await service.post(f"/v1/runs/{failed}/rerun?wait=50", OWNER, None)).json()["id"]
    await service.post(f"/v1/workflows/{workflow}/test?wait=50", OWNER, {"version": 1})
    await service.until(again, "failed", OWNER)
    for query, count in [
        ("", 4),
        ("status=completed", 2),
        ("status=completed&status=failed", 4),
        ("status=waiting&status=queued", 0),
        (f"workflow={workflow}", 2),
        (f"workflow={other}&version=1", 2),
        ("workflow=fails", 2),
        ("workflow=nobody", 0),
        ("version=2", 0),
        ("origin=event", 1),
        ("origin=rerun", 1),
        ("test=true", 1),
        ("test=false", 3),
        (f"source={failed}", 1),
        (f"parent={failed}", 0),
        ("error=failed-by-workflow", 2),
        ("error=other", 0),
        ("text=100%25 GOOD", 2),
        ("text=[x]", 2),
        ("text=_", 0),
        ("since=2026-01-01T00:00:00Z", 4),
        ("since=9999-01-01T00:00:00Z", 0),
        ("until=2026-01-01T00:00:00Z", 0),
        ("until=9999-01-01T00:00:00Z", 4),
        ("until=0001-01-01T00:00:00Z", 0),
        ("started_by=nobody", 0),
    ]:
        answered = await service.get(f"/v1/runs?{query}", OWNER)
        assert answered.status_code == 200, (query, answered.text)
        assert len(answered.json()["items"]) == count, query
    by = (await service.get(f"/v1/runs/{failed}", OWNER)).json()["started_by"]
    assert by == OWNER.subject
    assert len((await service.get(f"/v1/runs?started_by={by}", OWNER)).json()["items"]) == 3


async def test_steps_have_filters_and_pages(service: Running) -> None:
    body: JsonObject = {"nodes": [{"id": "x", "kind": "transform", "output": {"n": "{{ item }}"}}]}
    definition: JsonObject = {
        "name": "loop",
        "nodes": [
            {"id": "a", "kind": "for_each", "items": [*range(12)], "body": body},
            {"id": "z", "kind": "transform", "output": {}},
        ],
        "edges": [{"from": "a", "to": "z"}],
    }
    workflow = (await service.post("/v1/workflows", OWNER, definition)).json()["id"]
    run = (await service.post(f"/v1/workflows/{workflow}/runs?wait=50", OWNER, {})).json()["id"]
    paths: list[str] = []
    cursor = ""
    while True:
        page = (await service.get(f"/v1/runs/{run}/steps?limit=5{cursor}", OWNER)).json()
        paths += [step["path"] for step in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert paths == ["a", *(f"a[{number}].x" for number in range(12)), "z"]
    for query, expected in [
        ("nested=false", ["a", "z"]),
        ("prefix=a%5B1%5D", ["a[1].x"]),
        ("status=failed", []),
        ("status=failed&status=completed&limit=2", ["a", "a[0].x"]),
    ]:
        found = (await service.get(f"/v1/runs/{run}/steps?{query}", OWNER)).json()["items"]
        assert [step["path"] for step in found] == expected
    assert (await service.get(f"/v1/runs/{run}/steps/a%5B3%5D.x", OWNER)).json()["output"] == {"n": 3}
    assert (await service.get(f"/v1/runs/{run}", OWNER)).json()["progress"] == {"completed": 14}


async def test_logs(service: Running) -> None:
    answer(service)
    await save(service)
    run = await begin(service)
    await service.until(run, "completed", OWNER)
    first = (await service.get(f"/v1/runs/{run}/logs?limit=4", OWNER)).json()
    rest = (await service.get(f"/v1/runs/{run}/logs?cursor={first['next_cursor']}", OWNER)).json()
    told = [(line["level"], line["path"], line["text"]) for line in [*first["items"], *rest["items"]]]
    assert told == [
        ("info", None, "the run began"),
        ("info", "s", "began (knowledge.search)"),
        ("info", "s", "is done"),
        ("info", "b", "is done by false"),
        ("info", "t", "is skipped, for no way led to it"),
        ("info", None, "the run is completed"),
    ]
    text = await service.get(f"/v1/runs/{run}/logs?limit=2", OWNER, accept="text/plain")
    assert text.headers["content-type"].startswith("text/plain")
    assert text.text.splitlines()[1].endswith("INFO    s began (knowledge.search)")
    assert text.headers["link"].endswith('rel="next"')


async def test_stats(service: Running) -> None:
    answer(service)
    workflow = await save(service)
    await service.until(await begin(service), "completed", OWNER)
    waiting: JsonObject = {"name": "w", "nodes": [{"id": "d", "kind": "delay", "seconds": 600}]}
    other = (await service.post("/v1/workflows", OWNER, waiting)).json()["id"]
    run = (await service.post(f"/v1/workflows/{other}/runs", OWNER, {})).json()["id"]
    await service.until(run, "waiting", OWNER)
    assert (await service.get("/v1/runs/stats", OWNER)).json() == {
        "live": {"waiting": 1},
        "ended": {"completed": 1},
        "ended_counted": 1,
        "oldest_queued_at": None,
        "workflows": [{"workflow": other, "live": {"waiting": 1}}],
    }
    assert workflow != other
    assert (await service.get("/v1/runs/stats", STRANGER)).json()["live"] == {}


@pytest.mark.parametrize("after", range(len(TYPES)))
async def test_the_stream_goes_on_where_the_reader_was(service: Running, after: int) -> None:
    answer(service)
    await save(service)
    run = await begin(service)
    await service.until(run, "completed", OWNER)
    expected = [(str(number), type_) for number, type_ in enumerate(TYPES, start=1)][after:]
    by_header = await service.get(f"/v1/runs/{run}/events", OWNER, **{"last-event-id": str(after)})
    assert by_header.headers["content-type"].startswith("text/event-stream")
    assert read(by_header.text) == expected
    assert read((await service.get(f"/v1/runs/{run}/events?after={after}", OWNER)).text) == expected


async def test_nothing_follows_the_end(service: Running) -> None:
    answer(service)
    await save(service)
    run = await begin(service)
    await service.until(run, "completed", OWNER)
    assert (await service.get(f"/v1/runs/{run}/events?after=6", OWNER)).status_code == 204


def types_in(piece: bytes) -> list[str]:
    return [line.removeprefix("event: ") for line in piece.decode().splitlines() if line.startswith("event: ")]


async def test_a_reader_gets_each_event_as_it_happens(service: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = asyncio.Event()
    answer(service, gate=gate)
    await save(service)
    run = await begin(service)
    seen: list[str] = []
    async with asyncio.timeout(60):
        stream = follow_for_signals_only(service, run, monkeypatch)
        while len(seen) < 2:
            seen += types_in(await anext(stream))
        assert seen == ["run.started", "step.started"]
        gate.set()
        rest = [kind async for piece in stream for kind in types_in(piece)]
    assert rest == TYPES[2:]


def follow_for_signals_only(service: Running, run: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[bytes]:
    """By somebody who does not look again without a signal."""
    monkeypatch.setattr("crewmesh_workflow.runs.stream._ASK_AGAIN_SECONDS", 900.0)
    resources: Resources = service.app.state.resources
    rarely = StreamSettings().model_copy(update={"poll_seconds": 900.0})
    return Streams(resources.get(Runs), resources.get(Signals), rarely).follow(OWNER, run, 0)


@pytest.mark.parametrize("last", ["x", "-1", "1.5", "99999999999999"])
async def test_a_bad_last_event_id_is_refused(service: Running, last: str) -> None:
    answer(service)
    await save(service)
    run = await begin(service)
    refused = await service.get(f"/v1/runs/{run}/events", OWNER, **{"last-event-id": last})
    assert refused.status_code == 400


async def test_nothing_can_follow_an_event_that_was_not_yet(service: Running) -> None:
    gate = asyncio.Event()
    answer(service, gate=gate)
    await save(service)
    run = await begin(service)
    for headers, query in (({"last-event-id": "9999"}, ""), ({}, "?after=9999")):
        refused = await service.get(f"/v1/runs/{run}/events{query}", OWNER, **headers)
        assert (refused.status_code, "9999" in refused.json()["detail"]) == (400, True)
    gate.set()
    await service.until(run, "completed", OWNER)


async def test_another_organization_sees_nothing(service: Running) -> None:
    answer(service)
    workflow = await save(service)
    run = await begin(service)
    await service.until(run, "completed", OWNER)
    below = ("", "/steps", "/steps/s", "/logs", "/events")
    for path in (*(f"/v1/runs/{run}{each}" for each in below), f"/v1/workflows/{workflow}"):
        assert (await service.get(path, OWNER)).status_code == 200
        refused = await service.get(path, STRANGER)
        assert refused.status_code == 404, path
        assert "found" not in refused.text.replace("Not found", "").replace("not-found", "")
    for path in ("/v1/runs", f"/v1/runs?workflow={workflow}", "/v1/workflows", "/v1/dead-letters"):
        assert (await service.get(path, STRANGER)).json()["items"] == []


async def test_row_level_security_holds_without_our_conditions(service: Running) -> None:
    answer(service)
    await save(service)
    run = await begin(service)
    await service.until(run, "completed", OWNER)
    tables = ["workflows", "workflow_versions", "triggers", "runs", "steps", "run_events", "event_starts"]
    for organization, there in ((OWNER.organization, True), (OTHER_ORGANIZATION, False)):
        async with service.database.tenant(organization) as conn:
            for table in tables:
                row = await (await conn.execute(f"SELECT count(*) AS n FROM {table}".encode())).fetchone()
                assert row is not None
                assert (row["n"] > 0) is there, table
    async with service.database.tenant(OTHER_ORGANIZATION) as conn:
        cursor = await conn.execute("UPDATE runs SET status = 'failed' WHERE id = %s", [run])
        assert cursor.rowcount == 0


@pytest.mark.parametrize(
    "path",
    [
        "/v1/runs/run_1",
        "/v1/runs/%00",
        "/v1/runs/run_" + "g" * 32,
        "/v1/runs?status=weird",
        "/v1/runs?workflow=x%20y",
        "/v1/runs?status=completed&status=weird",
        "/v1/runs?since=yesterday",
        "/v1/runs?since=2026-01-01T00:00:00",
        "/v1/runs?text=%00",
        "/v1/runs?parent=x",
        "/v1/runs/run_" + "0" * 32 + "/steps?status=queued",
        "/v1/runs?limit=0",
        "/v1/runs?cursor=nonsense",
        "/v1/workflows/wf_'--",
    ],
)
async def test_bad_questions_are_answered_with_a_problem(service: Running, path: str) -> None:
    refused = await service.get(path, STRANGER)
    assert refused.status_code in (400, 404, 422)
    assert refused.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("path", ["/v1/runs", "/v1/runs/run_" + "0" * 32, "/v1/workflows", "/v1/dead-letters"])
async def test_permissions(service: Running, path: str) -> None:
    assert (await service.client.get(path)).status_code == 401
    assert (await service.get(path, identity("events:write"))).status_code == 403


async def test_a_run_and_those_that_its_steps_started(service: Running) -> None:
    waits: JsonObject = {"name": "child", "slug": "child", "nodes": [{"id": "d", "kind": "delay", "seconds": 600}]}
    await service.post("/v1/workflows", OWNER, waits)
    calls: JsonObject = {"name": "parent", "nodes": [{"id": "c", "kind": "workflow", "workflow": "child"}]}
    workflow = (await service.post("/v1/workflows", OWNER, calls)).json()["id"]
    run = (await service.post(f"/v1/workflows/{workflow}/runs", OWNER, {})).json()["id"]
    parent = await service.until(run, "waiting", OWNER)
    assert parent["children"] == 1
    (child,) = (await service.get(f"/v1/runs?parent={run}", OWNER)).json()["items"]
    assert (child["origin"], child["parent_run"]) == ("child", run)
    found = (await service.get(f"/v1/runs/{child['id']}", OWNER)).json()
    assert found["parent_path"] == "c"
    step = (await service.get(f"/v1/runs/{run}/steps/c", OWNER)).json()
    assert (step["status"], step["waiting_for"]["kind"]) == ("waiting", "child")
