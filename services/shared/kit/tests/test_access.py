"""Who is not known hears 401 before anything of the request is judged; who may not, 403."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated

import httpx2
import pytest
from crewmesh_kit.app import Service
from crewmesh_kit.http.pagination import PageQuery
from crewmesh_kit.identity import Identity, public, requires
from crewmesh_kit.settings import ServiceSettings
from crewmesh_testkit.fake_sidecar import FakeSidecar
from crewmesh_testkit.identities import auth_headers, identity
from crewmesh_testkit.services import running
from fastapi import APIRouter, Path
from pydantic import BaseModel

JSON = {"content-type": "application/json"}
TOO_DEEP = b'{"name":' + b"[" * 10_000 + b"]" * 10_000 + b"}"


class Thing(BaseModel):
    name: str


def things() -> APIRouter:
    router = APIRouter(prefix="/v1/things")
    opened = APIRouter(prefix="/open", dependencies=[public()])

    @router.get("/{thing}")
    async def listed(
        page: PageQuery, thing: Annotated[str, Path(min_length=3)], _: Annotated[Identity, requires("things:read")]
    ) -> int:
        return page.limit

    async def made(body: Thing, _: Annotated[Identity, requires("things:read")]) -> str:
        return body.name

    @opened.post("")
    async def open_to_all(thing: Thing) -> str:
        return thing.name

    _ = (listed, open_to_all)
    router.include_router(opened)
    router.post("/{thing}")(made)
    return router


@pytest.fixture
async def client() -> AsyncGenerator[httpx2.AsyncClient]:
    service = Service("knowledge", ServiceSettings(), title="N", version="1", sidecar=FakeSidecar("knowledge"))
    service.routes(things())
    async with running(service.app) as client:
        yield client


WRONG: list[tuple[str, str, bytes | None, int]] = [
    ("GET", "/v1/things/all?kind=a", None, 400),
    ("GET", "/v1/things/all?limit=many", None, 400),
    ("GET", "/v1/things/a", None, 400),
    ("POST", "/v1/things/all?force=1", b'{"name": "a"}', 400),
    ("POST", "/v1/things/all", b'{"name": ', 400),
    ("POST", "/v1/things/all", b"\xff\xfe", 400),
    ("POST", "/v1/things/all", TOO_DEEP, 400),
    ("POST", "/v1/things/all", b"{}", 422),
]


@pytest.mark.parametrize(("method", "path", "body", "status"), WRONG)
async def test_access_is_judged_before_the_request(
    client: httpx2.AsyncClient, method: str, path: str, body: bytes | None, status: int
) -> None:
    reader, other = (auth_headers(identity(f"{what}:read"), audience="knowledge") for what in ("things", "other"))
    for headers, expected in (({}, 401), ({"authorization": "Bearer a.b.c"}, 401), (other, 403), (reader, status)):
        answer = await client.request(method, path, content=body, headers={**JSON, **headers})
        assert answer.status_code == expected, answer.text
        assert answer.headers["content-type"] == "application/problem+json"


async def test_what_is_open_says_what_is_wrong(client: httpx2.AsyncClient) -> None:
    answer = await client.post("/v1/things/open", content=b"{", headers=JSON)
    assert (answer.status_code, answer.json()["type"].rpartition("/")[2]) == (400, "malformed-json")
