"""A NUL character, which PostgreSQL cannot hold, wherever it comes: it is refused with its place and breaks nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import httpx2
import pytest
from crewmesh_contracts.base import JsonObject
from crewmesh_testkit.identities import auth_headers, identity
from fastapi import FastAPI

from services.workflow.tests.conftest import Running

OWNER = identity("*")
NUL = "a\0b"
NODE: JsonObject = {"id": "s", "kind": "transform", "output": {"x": 1}}
SEARCH: JsonObject = {"id": "q", "kind": "knowledge.search", "knowledge_base": "kb", "query": "q", "approval": "always"}
BODIES: list[tuple[str, JsonObject, str]] = [
    ("/v1/workflows", {"name": NUL, "nodes": [NODE]}, "name"),
    ("/v1/workflows/validate", {"name": "n", "nodes": [{**NODE, "name": NUL}]}, "nodes"),
    ("/v1/workflows/{workflow}/runs", {"input": {"a": [{"b": NUL}]}}, "input.a[0].b"),
    ("/v1/workflows/{workflow}/runs", {"input": {NUL: 1}}, "input.a\ufffdb"),
    ("/v1/workflows/{workflow}/test", {"samples": {"q": {"text": NUL}}}, "samples.q.text"),
    ("/v1/workflows/{workflow}/test", {"trigger": {"data": NUL}}, "trigger.data"),
    ("/v1/runs/{run}/rerun-from/q", {"input": {"knowledge_base": "kb", "query": NUL}}, "input.query"),
    ("/v1/runs/{run}/rerun-from/q", {"trigger_data": {"x": NUL}}, "trigger_data.x"),
    ("/v1/runs/{run}/fork", {"at": "q", "trigger_data": NUL}, "trigger_data"),
    ("/v1/runs/{run}/fork", {"at": NUL}, "There is no step"),
    ("/v1/schedules/preview", {"expression": NUL, "timezone": "UTC"}, "must have five fields"),
    ("/v1/schedules/preview", {"expression": "* * * * *", "timezone": NUL}, "is no time zone"),
]


def addresses(app: FastAPI, ids: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Every GET with a NUL in one parameter, and the name of that."""
    paths = cast("dict[str, dict[str, JsonObject]]", app.openapi()["paths"])
    for path, operations in paths.items():
        parameters = cast("list[JsonObject]", operations.get("get", {}).get("parameters", []))
        for parameter in parameters:
            name, place = str(parameter["name"]), parameter["in"]
            known = {**ids, name: "a%00b"} if place == "path" else ids
            address = path
            for each, value in known.items():
                address = address.replace("{" + each + "}", value)
            if place != "header":
                yield address + (f"?{name}=a%00b" if place == "query" else ""), name


def headers() -> dict[str, str]:
    return auth_headers(OWNER, audience="workflow")


async def a_run(service: Running) -> dict[str, str]:
    definition: JsonObject = {"name": "w", "nodes": [NODE, SEARCH]}
    workflow = (await service.post("/v1/workflows", OWNER, definition)).json()["id"]
    tried = await service.post(f"/v1/workflows/{workflow}/runs", OWNER, {})
    run = tried.json()["id"]
    return {"workflow": workflow, "run": run, "path": "s", "approval": "apr_" + "0" * 32, "version": "1"}


def is_refused(answer: httpx2.Response, about: object) -> None:
    assert answer.status_code in (400, 404, 422), (about, answer.status_code, answer.text)
    assert answer.headers["content-type"] == "application/problem+json", about


async def test_in_addresses(service: Running) -> None:
    ids = await a_run(service)
    tried = [*addresses(service.app, ids)]
    assert len(tried) > 30
    for address, name in tried:
        answer = await service.get(address, OWNER)
        is_refused(answer, address)
        if answer.status_code != 404:
            told = [*answer.json().get("errors", []), {"path": answer.json()["detail"]}]
            assert any(name in each["path"] for each in told), (address, answer.text)


@pytest.mark.parametrize(("path", "body", "place"), BODIES)
async def test_in_bodies(service: Running, path: str, body: JsonObject, place: str) -> None:
    answer = await service.post(path.format(**await a_run(service)), OWNER, body)
    is_refused(answer, path) if path != "/v1/workflows/validate" else None
    errors: list[JsonObject] = answer.json().get("errors", [])
    told = [str(error["path"]) for error in errors] or [answer.json()["detail"]]
    assert any(place in each for each in told), answer.text


async def test_in_an_idempotency_key(service: Running) -> None:
    ids = await a_run(service)
    for path in (f"/v1/workflows/{ids['workflow']}/runs", f"/v1/runs/{ids['run']}/rerun"):
        answer = await service.client.post(path, json={}, headers={**headers(), "idempotency-key": NUL})
        is_refused(answer, path)
        assert "idempotency-key" in answer.text.lower()


@pytest.mark.parametrize("number", ["1e400", "-1e400", "NaN"])
async def test_a_number_that_is_too_large_is_named(service: Running, number: str) -> None:
    ids = await a_run(service)
    answer = await service.client.post(
        f"/v1/workflows/{ids['workflow']}/runs",
        content=f'{{"input": {{"a": [1, {number}]}}}}',
        headers={**headers(), "content-type": "application/json"},
    )
    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert (error["path"], "too large" in error["message"]) == ("input.a[1]", True)
