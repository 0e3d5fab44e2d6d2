"""POST /v1/events and the topic: an event becomes runs, once, in the right organization."""

from __future__ import annotations

import asyncio

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.invocations import (
    KICKOFF,
    SEARCH,
    SEND_HTTP,
    CrewMessage,
    HttpReply,
    HttpSend,
    KickoffProgress,
    KickoffRequest,
    KickoffResult,
    SearchHit,
    SearchRequest,
    SearchResult,
    TokenUsage,
)
from crewmesh_testkit.identities import ORGANIZATION, OTHER_ORGANIZATION, identity

from services.workflow.tests.conftest import Running

SENDER = identity("events:write", "workflows:write", "runs:read")
OTHERS = identity("events:write", "workflows:write", "runs:read", organization=OTHER_ORGANIZATION)
PURE: JsonObject = {
    "name": "pure",
    "triggers": [{"kind": "event", "type": "com.example.asked"}],
    "nodes": [{"id": "b", "kind": "transform", "output": {"question": "{{ trigger.data.question }}"}}],
}


def event(**more: JsonValue) -> JsonObject:
    return {
        "specversion": "1.0",
        "id": "e1",
        "source": "test",
        "type": "com.example.asked",
        "data": {"question": "why?"},
        **more,
    }


async def save(service: Running, definition: JsonObject = PURE) -> str:
    answer = await service.post("/v1/workflows", SENDER, definition)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


async def test_the_one_real_path(service: Running) -> None:
    async def search(request: SearchRequest) -> SearchResult:
        assert (request.knowledge_base, request.query) == ("handbook", "why?")
        return SearchResult(hits=(SearchHit(document="d", title="Why", position=0, text="Because.", score=1),))

    async def think(request: KickoffRequest) -> KickoffProgress:
        assert request.crew == "answer-desk"
        assert request.inputs == {"question": "why?", "context": "Why\nBecause."}
        assert (request.payer.step, (request.payer.started_by or "")[:4]) == ("answer", "trg_")
        usage = TokenUsage(model="m", requests=1, prompt_tokens=1, completion_tokens=1)
        result = KickoffResult(text="42", messages=(CrewMessage(agent="writer", task="t", text="42"),), usage=usage)
        return KickoffProgress(crew_run="crun_1", status="done", result=result)

    async def deliver(request: HttpSend) -> HttpReply:
        assert (request.url, request.body) == ("https://x.test/back", {"question": "why?", "answer": "42"})
        return HttpReply(status=200, headers={}, body=None)

    service.sidecar.answer(SEARCH, search)
    service.sidecar.answer(KICKOFF, think)
    service.sidecar.answer(SEND_HTTP, deliver)
    created: JsonObject = {
        "specversion": "1.0",
        "id": "evt_1",
        "source": "crewmesh/gateway",
        "type": "crewmesh.organization.created.v1",
        "data": {"organization": ORGANIZATION, "name": "Test"},
    }
    for _ in range(2):
        assert await service.event("organizations", created) == "SUCCESS"
    assert await service.event("organizations", {**created, "id": "evt_2"}) == "SUCCESS"
    asked = event(type="com.example.question.asked", data={"question": "why?", "callback_url": "https://x.test/back"})
    answer = await service.post("/v1/events", SENDER, asked)
    assert answer.status_code == 202
    (run,) = answer.json()["runs"]
    finished = await service.until(run, "completed", SENDER)
    assert finished["output"] == {"question": "why?", "answer": "42"}
    assert [call.app for call in service.sidecar.calls] == ["knowledge", "agent-crew", "integration"]

    quiet = event(id="e2", type="com.example.question.asked", data={"question": "why?"})
    (run,) = (await service.post("/v1/events", SENDER, quiet)).json()["runs"]
    await service.until(run, "completed", SENDER)
    steps = (await service.get(f"/v1/runs/{run}/steps", SENDER)).json()["items"]
    assert [(step["node"], step["status"]) for step in steps] == [
        ("search", "completed"),
        ("answer", "completed"),
        ("wants-callback", "completed"),
        ("deliver", "skipped"),
    ]


async def test_fifty_at_once_with_one_key_start_one_run(service: Running) -> None:
    await save(service)
    answers = await asyncio.gather(
        *(service.post("/v1/events", SENDER, event(), **{"idempotency-key": "k"}) for _ in range(50))
    )
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.text for answer in answers}) == 1
    assert len((await service.get("/v1/runs", SENDER)).json()["items"]) == 1
    other = await service.post("/v1/events", SENDER, event(id="e9"), **{"idempotency-key": "k"})
    assert other.status_code == 422


async def test_the_same_event_again_gives_the_same_run(service: Running) -> None:
    await save(service)
    answers = await asyncio.gather(*(service.post("/v1/events", SENDER, event()) for _ in range(20)))
    assert len({answer.text for answer in answers}) == 1
    assert await service.event("events", event(crewmeshorg=ORGANIZATION)) == "SUCCESS"
    assert len((await service.get("/v1/runs", SENDER)).json()["items"]) == 1


async def test_every_matching_workflow_gets_a_run(service: Running) -> None:
    both = {await save(service), await save(service)}
    await save(service, {**PURE, "triggers": [{"kind": "event", "type": "com.example.asked", "source": "elsewhere"}]})
    await save(service, {**PURE, "triggers": [{"kind": "event", "type": "com.example.other"}]})
    runs = (await service.post("/v1/events", SENDER, event())).json()["runs"]
    assert len(runs) == 2
    assert {run["workflow"] for run in (await service.get("/v1/runs", SENDER)).json()["items"]} == both


async def test_an_event_belongs_to_its_sender(service: Running) -> None:
    await save(service)
    answer = await service.post("/v1/events", OTHERS, event(crewmeshorg=ORGANIZATION))
    assert answer.json()["runs"] == []
    (run,) = (await service.post("/v1/events", SENDER, event(crewmeshorg=OTHER_ORGANIZATION))).json()["runs"]
    assert (await service.get(f"/v1/runs/{run}", SENDER)).json()["trigger"]["crewmeshorg"] == ORGANIZATION


async def test_a_topic_event_starts_a_run_in_its_organization(service: Running) -> None:
    await save(service)
    assert await service.event("events", event(crewmeshorg=ORGANIZATION)) == "SUCCESS"
    (run,) = (await service.get("/v1/runs", SENDER)).json()["items"]
    assert run["status"] == "completed"


@pytest.mark.parametrize(
    "poison",
    [
        event(),
        event(crewmeshorg=ORGANIZATION, data={"a": "\0"}),
        event(crewmeshorg="org_1"),
        {"no": "event"},
        b"not json",
    ],
)
async def test_poison_goes_to_the_dead_letters(service: Running, poison: JsonObject | bytes) -> None:
    await save(service)
    assert await service.event("events", poison) == "SUCCESS"
    assert [topic for topic, _ in service.sidecar.published if topic.endswith(".dead")] == ["events.dead"]
    assert (await service.get("/v1/runs", SENDER)).json()["items"] == []


@pytest.mark.parametrize(
    "bad",
    [
        {"id": "x"},
        [],
        "x",
        event(id=""),
        event(type=7),
        event(data={"a": "\0"}),
        event(source="a\0b"),
        event(traceid=7),
        event(datacontenttype="text/plain"),
        {**event(), "Upper": "x"},
    ],
)
async def test_bad_events_are_refused_with_what_to_do(service: Running, bad: JsonValue) -> None:
    answer = await service.post("/v1/events", SENDER, bad)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]


@pytest.mark.parametrize(
    ("type_", "says"),
    [("crewmesh.run.completed.v1", "the platform's own"), ("a\nb", "no line breaks"), ("a ", "blank")],
)
async def test_what_no_trigger_may_wait_for_is_not_taken(service: Running, type_: str, says: str) -> None:
    answer = await service.post("/v1/events", SENDER, event(type=type_))
    assert (answer.status_code, answer.json()["type"].rpartition("/")[2]) == (422, "unfit-event-type")
    assert says in answer.json()["detail"]


async def test_a_type_of_a_thousand_wide_characters_matches(service: Running) -> None:
    long = "😀" * 1024
    await save(service, {**PURE, "triggers": [{"kind": "event", "type": long, "source": long}]})
    answer = await service.post("/v1/events", SENDER, event(type=long, source=long, id="😀" * 256))
    assert len(answer.json()["runs"]) == 1


async def test_permission_is_needed(service: Running) -> None:
    assert (await service.client.post("/v1/events", json=event())).status_code == 401
    answer = await service.post("/v1/events", identity("runs:read"), event())
    assert answer.status_code == 403
