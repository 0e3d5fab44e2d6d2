"""One description of the whole API, whatever services are up, and a page that needs nothing but itself."""

from __future__ import annotations

import re
from typing import cast

import pytest
from aiohttp import web
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_gateway.main import create_app
from crewmesh_gateway.openapi.merge import merged
from crewmesh_gateway.openapi.page import page
from crewmesh_gateway.proxy.routing import OWN_RESOURCES
from crewmesh_gateway.settings import OpenApiSettings, Settings
from crewmesh_testkit import FakeSidecar, running
from fastapi import FastAPI

from .gateway import Upstream


def at(document: JsonValue, *path: str) -> JsonValue:
    for name in path:
        document = cast(JsonObject, document)[name]
    return document


def described(path: str, schema: str, **schemas: JsonValue) -> JsonObject:
    content: JsonObject = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    operation: JsonObject = {"operationId": "list", "responses": {"200": {"description": "", "content": content}}}
    return {"openapi": "3.1.0", "paths": {path: {"get": operation}}, "components": {"schemas": schemas}}


def test_equal_schemas_are_one_and_different_ones_get_their_services_name() -> None:
    problem: JsonObject = {"type": "object"}
    item: JsonObject = {"$ref": "#/components/schemas/Item"}
    document = merged(
        {
            "workflow": described(
                "/v1/runs", "Page", Problem=problem, Page={"items": item}, Item={"type": "string"}, Own={"x": item}
            ),
            "agent-crew": described(
                "/v1/crews", "Page", Problem=problem, Page={"items": item}, Item={"type": "integer"}, Else={"x": item}
            ),
        },
        {"openapi": "3.1.0", "components": {"securitySchemes": {"bearer": {}}}},
    )
    schemas = cast(JsonObject, at(document, "components", "schemas"))
    assert set(schemas) == {"Problem", "Page", "Item", "Own", "AgentCrewPage", "AgentCrewItem", "Else"}
    assert schemas["Page"] == {"items": item}
    assert schemas["AgentCrewPage"] == schemas["Else"] or schemas["Else"] == {
        "x": at(schemas, "AgentCrewPage", "items")
    }
    reference = at(document, "paths", "/v1/crews", "get", "responses", "200", "content", "application/json", "schema")
    assert reference == {"$ref": "#/components/schemas/AgentCrewPage"}
    assert at(document, "paths", "/v1/crews", "get", "operationId") == "agent_crew_list"
    assert at(document, "components", "securitySchemes") == {"bearer": {}}


def test_a_service_describes_its_own_resources_only() -> None:
    document = merged({"knowledge": described("/v1/runs", "X", X={})}, {})
    assert document["paths"] == {}


async def test_the_document_joins_what_answers_and_keeps_what_answered(
    settings: Settings, sidecar: FakeSidecar, upstream: Upstream
) -> None:
    down: set[str] = {"knowledge"}
    asked: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        app = request.path.split("/")[1]
        asked.append(app)
        assert request.path == f"/{app}/internal/openapi.json"
        if app in down:
            return web.Response(status=500, text="down")
        resource = {"workflow": "runs", "knowledge": "knowledge-bases", "agent-crew": "crews"}.get(app, "deliveries")
        return web.json_response(described(f"/v1/{resource}", "Page", Page={"title": app}))

    upstream.handler = handler
    fresh = settings.model_copy(update={"openapi": OpenApiSettings(cache_seconds=0, fetch_seconds=60)})
    async with running(create_app(fresh, sidecar)) as client:
        first = (await client.get("/openapi.json")).json()
        down.clear()
        second = (await client.get("/openapi.json")).json()
        down.update({"workflow", "knowledge", "agent-crew", "integration"})
        third = (await client.get("/openapi.json")).json()
    own = {path for path in first["paths"] if path.split("/")[2] in OWN_RESOURCES}
    assert "/v1/me" in own
    assert set(first["paths"]) - own == {"/v1/runs", "/v1/crews", "/v1/deliveries"}
    assert "knowledge" in first["info"]["description"]
    assert set(second["paths"]) == {*first["paths"], "/v1/knowledge-bases"}
    assert "do not answer" not in second["info"]["description"]
    assert third == second, "the last good is served"
    assert second["openapi"].startswith("3.1")
    assert second["servers"] == [{"url": "/"}]
    assert set(second["components"]["securitySchemes"]) == {"bearer", "header"}
    dangling = set(re.findall(r"#/components/schemas/(\w+)", str(second))) - set(second["components"]["schemas"])
    assert dangling == set()


@pytest.mark.parametrize("public_url", ["https://crewmesh.example", "https://crewmesh.example/"])
async def test_the_document_says_where_people_reach_it(
    settings: Settings, sidecar: FakeSidecar, public_url: str
) -> None:
    placed = settings.model_copy(update={"public_url": public_url})
    async with running(create_app(placed, sidecar)) as client:
        described = (await client.get("/openapi.json")).json()
    assert described["servers"] == [{"url": "https://crewmesh.example"}]


async def test_parts_are_kept_for_a_while(app: FastAPI, upstream: Upstream) -> None:
    async with running(app) as client:
        for _ in range(3):
            assert (await client.get("/openapi.json")).status_code == 200
    assert sorted(seen.app for seen in upstream.seen) == ["agent-crew", "integration", "knowledge", "workflow"]


async def test_the_page_lists_operations_and_loads_nothing(app: FastAPI) -> None:
    async with running(app) as client:
        answer = await client.get("/docs")
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert "/v1/me" in answer.text
    assert not re.search(r"<script|<link|src=|@import|https?://", answer.text)


def test_nothing_in_a_description_becomes_markup() -> None:
    evil = "<script>alert(1)</script>"
    operation: JsonObject = {"summary": evil, "description": evil, "tags": [evil], "responses": {evil: {}}}
    operation["parameters"] = [{"name": evil, "in": evil, "description": evil}]
    html = page({"info": {"title": evil, "version": evil}, "paths": {f"/v1/{evil}": {"get": operation}}})
    assert "<script" not in html


async def test_the_root_says_where_things_are(app: FastAPI) -> None:
    async with running(app) as client:
        welcome = (await client.get("/")).json()
        for link in (welcome["description"], welcome["documentation"]):
            assert (await client.get(link)).status_code == 200
    assert "/v1/runs" in welcome["api"]
