"""Saving workflows: what is saved can run, and every mistake is named."""

from __future__ import annotations

import asyncio

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_testkit.identities import identity
from crewmesh_workflow.definitions.service import check
from crewmesh_workflow.seed.subscriptions import answer_a_question

from services.workflow.tests.conftest import Running

WRITER = identity("workflows:read", "workflows:write")


def definition(**more: JsonValue) -> JsonObject:
    return {"name": "w", "nodes": [{"id": "b", "kind": "if", "condition": "true"}], **more}


async def test_save_get_list(service: Running) -> None:
    saved = await service.post("/v1/workflows", WRITER, definition(name="{{7*7}} verbatim"))
    assert saved.status_code == 201
    assert saved.headers["location"] == f"/v1/workflows/{saved.json()['id']}"
    got = await service.get(saved.headers["location"], WRITER)
    assert got.json() == saved.json()
    assert got.json()["definition"]["name"] == "{{7*7}} verbatim"
    again = await service.get(saved.headers["location"], WRITER, **{"if-none-match": got.headers["etag"]})
    assert again.status_code == 304
    listed = (await service.get("/v1/workflows", WRITER)).json()["items"]
    assert [workflow["id"] for workflow in listed] == [saved.json()["id"]]


async def test_one_key_saves_one_workflow(service: Running) -> None:
    answers = await asyncio.gather(
        *(service.post("/v1/workflows", WRITER, definition(), **{"idempotency-key": "k"}) for _ in range(10))
    )
    assert len({answer.text for answer in answers}) == 1
    assert len((await service.get("/v1/workflows", WRITER)).json()["items"]) == 1


async def test_every_mistake_is_listed(service: Running) -> None:
    nodes: list[JsonValue] = [
        {"id": "a", "kind": "http", "url": "{{7*7}}", "body": {"deep": ["{{ steps.gone.output }}"]}},
        {"id": "b", "kind": "if", "condition": "steps.a.output.status =="},
        {"id": "c", "kind": "crew", "crew": "x", "inputs": {"q": "{{ steps.b.output.result }}"}},
    ]
    refused = await service.post("/v1/workflows", WRITER, definition(nodes=nodes))
    assert refused.status_code == 422
    assert refused.json()["type"].endswith("/invalid-definition")
    assert {error["path"] for error in refused.json()["errors"]} == {
        "nodes.a.url",
        "nodes.a.body",
        "nodes.b.condition",
        "nodes.c.inputs.q",
    }


@pytest.mark.parametrize(
    "bad",
    [
        {},
        [],
        definition(unknown=1),
        definition(nodes=[]),
        definition(nodes=[{"id": "x", "kind": "shell", "command": "rm"}]),
        definition(nodes=[{"id": "__proto__", "kind": "if", "condition": "true"}]),
        definition(edges=[{"from": "b", "to": "b"}]),
        definition(edges=[{"from": "b", "to": "nowhere"}]),
        definition(name="a\0b"),
        definition(output={"$blob": "sha256:" + "0" * 64}),
        definition(triggers=[{"type": "t", "cron": "* * * * *"}]),
    ],
)
async def test_bad_definitions_are_refused(service: Running, bad: JsonValue) -> None:
    refused = await service.post("/v1/workflows", WRITER, bad)
    assert refused.status_code == 422, refused.text
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["errors"]


async def test_permissions(service: Running) -> None:
    assert (await service.post("/v1/workflows", identity("workflows:read"), definition())).status_code == 403
    assert (await service.client.post("/v1/workflows", json=definition())).status_code == 401


def test_the_seed_can_run() -> None:
    check(answer_a_question())
