"""A query holds what the route declares; anything else is told, and nothing is done."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated

import httpx2
import pytest
from crewmesh_kit.app import Service
from crewmesh_kit.http.pagination import PageQuery
from crewmesh_kit.http.queries import any_query
from crewmesh_kit.identity import public
from crewmesh_kit.settings import ServiceSettings
from crewmesh_testkit.fake_sidecar import FakeSidecar
from crewmesh_testkit.services import running
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel


class Window(BaseModel):
    since: int = 0
    until: int = 9


def things(done: list[str]) -> APIRouter:
    router = APIRouter(prefix="/v1/things", dependencies=[public()])
    nested = APIRouter(prefix="/{thing}/parts")

    @router.get("")
    async def listed(page: PageQuery, kind: Annotated[str | None, Query(alias="of")] = None) -> int:
        return page.limit

    @router.get("/window")
    async def window(window: Annotated[Window, Query()]) -> int:
        return window.until

    @router.post("")
    async def make(wait: int = 0) -> int:
        done.append("made")
        return wait

    @nested.delete("")
    async def delete(thing: str) -> str:
        done.append(thing)
        return thing

    @router.get("/anything", dependencies=[any_query()])
    async def anything(request: Request) -> dict[str, str]:
        return dict(request.query_params)

    _ = (listed, window, make, delete, anything)
    router.include_router(nested)
    return router


def inside() -> APIRouter:
    router = APIRouter(prefix="/internal", dependencies=[public()])

    @router.get("/things")
    async def thing() -> str:
        return "one"

    _ = thing
    return router


@pytest.fixture
def done() -> list[str]:
    return []


@pytest.fixture
async def client(done: list[str]) -> AsyncGenerator[httpx2.AsyncClient]:
    service = Service("knowledge", ServiceSettings(), title="N", version="1", sidecar=FakeSidecar("knowledge"))
    service.routes(things(done), inside())
    async with running(service.app) as client:
        yield client


@pytest.mark.parametrize(
    ("method", "path", "unknown", "known"),
    [
        ("GET", "/v1/things?off=a", "off", "cursor, limit, of"),
        ("GET", "/v1/things?kind=a&limit=3", "kind", "cursor, limit, of"),
        ("GET", "/v1/things?b&a=&LIMIT=3", "LIMIT, a, b", "cursor, limit, of"),
        ("GET", "/v1/things/window?sinc=3", "sinc", "since, until"),
        ("POST", "/v1/things?wiat=3", "wiat", "wait"),
        ("DELETE", "/v1/things/t/parts?force=true", "force", None),
    ],
)
async def test_what_nobody_reads_is_refused(
    client: httpx2.AsyncClient, done: list[str], method: str, path: str, unknown: str, known: str | None
) -> None:
    answer = await client.request(method, path)
    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (400, "https://crewmesh.dev/problems/invalid-request")
    there_are = f"there are {known}" if known else "there are none"
    assert problem["detail"] == f"There is no query parameter {unknown} here; {there_are}."
    assert [each["path"] for each in problem["errors"]] == [f"query.{name}" for name in unknown.split(", ")]
    assert done == []


@pytest.mark.parametrize(
    ("path", "answered"),
    [
        ("/v1/things?limit=3&of=a", 3),
        ("/v1/things?", 50),
        ("/v1/things/window?until=3", 3),
        ("/v1/things/anything?utm_source=mail", {"utm_source": "mail"}),
        ("/internal/things?whatever=1", "one"),
    ],
)
async def test_what_is_declared_is_taken(client: httpx2.AsyncClient, path: str, answered: object) -> None:
    answer = await client.get(path)
    assert (answer.status_code, answer.json()) == (200, answered)


async def test_health_is_told_whatever_stands_in_the_query(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/healthz?probe=1")).status_code == 200


async def test_a_page_of_names_is_not_repeated_whole(client: httpx2.AsyncClient) -> None:
    query = "&".join(f"{number:03}{'x' * 100}=1" for number in range(100))
    problem = (await client.get(f"/v1/things?{query}")).json()
    assert len(problem["errors"]) == 10
    assert len(problem["detail"]) < 1_000
