"""JSON that is nested very deep is refused where it comes in, and by nothing that comes later."""

from __future__ import annotations

import json
from typing import cast

import pytest
from crewmesh_contracts.base import JsonObject
from crewmesh_kit.db.storable import DEEPEST_SENT
from crewmesh_testkit.identities import APP_API_TOKEN, auth_headers, identity

from services.workflow.tests.conftest import Running

OWNER = identity("*")
DEPTHS = (DEEPEST_SENT + 2, 220, 254, 255, 256, 900, 10_000)
EVENT = '{"specversion": "1.0", "id": "e", "source": "/tests", "type": "com.example.deep", "data": DEEP}'
BODIES = {
    "/v1/events": EVENT,
    "/v1/workflows/{workflow}/runs": '{"input": DEEP}',
    "/v1/workflows/{workflow}/test": '{"samples": {"a": {"x": DEEP}}}',
    "/v1/workflows/{workflow}/test?wait=0": '{"trigger": {"data": DEEP}}',
    "/v1/runs/{run}/rerun-from/a": '{"trigger_data": DEEP}',
    "/v1/runs/{run}/fork": '{"at": "b", "vars": {"v": DEEP}}',
    "/v1/approvals/{approval}/decisions": '{"approved": true, "data": DEEP}',
    "/v1/workflows": '{"name": "n", "nodes": [{"id": "n", "kind": "transform", "output": {"x": DEEP}}]}',
    "/v1/schedules/preview": '{"expression": DEEP}',
    "{hook}": "DEEP",
}
DEFINITION: JsonObject = {
    "name": "deep",
    "triggers": [
        {"id": "h", "kind": "webhook", "auth": "none"},
        {"id": "e", "kind": "event", "type": "com.example.deep"},
    ],
    "nodes": [
        {"id": "a", "kind": "set", "variables": {"v": "{{ trigger.data }}"}},
        {"id": "b", "kind": "approval", "title": "?", "expires_seconds": 60},
        {"id": "c", "kind": "transform", "output": {"said": "{{ steps.b.output }}"}},
    ],
    "edges": [{"from": "a", "to": "b"}, {"from": "b", "port": "approved", "to": "c"}],
}


# Their shape is refused whatever it is nested in.
SHAPELESS = ("/v1/schedules/preview",)


def nested(depth: int, *, objects: bool) -> str:
    return '{"a":' * depth + "1" + "}" * depth if objects else "[" * depth + "]" * depth


@pytest.fixture
async def places(service: Running) -> dict[str, str]:
    """A run that waits for somebody, by the names of the paths' parts."""
    made = await service.post("/v1/workflows", OWNER, DEFINITION)
    assert made.status_code == 201, made.text
    workflow = made.json()["id"]
    triggers = (await service.get(f"/v1/workflows/{workflow}/triggers", OWNER)).json()["items"]
    (hook,) = (each["webhook"]["url"] for each in triggers if each["kind"] == "webhook")
    run = (await service.post(f"/v1/workflows/{workflow}/runs", OWNER, {})).json()["id"]
    waiting = await service.until(run, "waiting", OWNER)
    (wait,) = cast("list[JsonObject]", waiting["waiting_for"])
    address = "/v1/" + hook.partition("/v1/")[2]
    return {"workflow": workflow, "run": run, "approval": str(wait["id"]), "hook": address}


@pytest.mark.parametrize("path", BODIES)
async def test_wherever_it_comes_in_it_is_refused(service: Running, places: dict[str, str], path: str) -> None:
    address, known = path.format(**places), (await service.get("/v1/runs", OWNER)).json()["items"]
    headers = {**auth_headers(OWNER, audience="workflow"), "content-type": "application/json"}
    if path == "{hook}":
        headers = {"content-type": "application/json", "dapr-api-token": APP_API_TOKEN}
    for depth in DEPTHS:
        for objects in (False, True):
            body = BODIES[path].replace("DEEP", nested(depth, objects=objects))
            answer = await service.client.post(address, content=body, headers=headers)
            assert answer.status_code in (400, 422), (depth, answer.text)
            assert answer.headers["content-type"] == "application/problem+json"
            said = str([answer.json()["detail"], answer.json().get("errors")])
            assert any(word in said for word in ("nested", "recursion")) or path in SHAPELESS, (depth, said)
    assert (await service.get("/v1/runs", OWNER)).json()["items"] == known


async def test_what_is_just_not_too_deep_is_taken(service: Running, places: dict[str, str]) -> None:
    for objects in (False, True):
        body = f'{{"input": {nested(DEEPEST_SENT, objects=objects)}}}'
        headers = {**auth_headers(OWNER, audience="workflow"), "content-type": "application/json"}
        address = f"/v1/workflows/{places['workflow']}/runs"
        answer = await service.client.post(address, content=body, headers=headers)
        assert answer.status_code == 201, answer.text
        found = await service.until(answer.json()["id"], "waiting", OWNER)
        assert json.dumps(found["trigger"]).count("[" if not objects else "{") >= DEEPEST_SENT


async def test_an_event_of_the_topic_that_is_too_deep_is_poison(service: Running, places: dict[str, str]) -> None:
    for depth in DEPTHS:
        event = EVENT.replace("DEEP", nested(depth, objects=False)).replace(
            '"id"', f'"crewmeshorg": "{OWNER.organization}", "id"'
        )
        assert await service.event("events", event.encode()) == "SUCCESS"
    assert len((await service.get("/v1/runs", OWNER)).json()["items"]) == 1
    assert len(service.sidecar.published_on("events.dead")) == len(DEPTHS)
