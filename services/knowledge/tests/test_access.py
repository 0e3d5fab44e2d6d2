"""Every route wants a proof of identity and the right permission."""

from __future__ import annotations

from collections.abc import Callable

import httpx2
import pytest
from crewmesh_contracts.invocations import SEARCH
from crewmesh_testkit.identities import APP_API_TOKEN
from fastapi import FastAPI

pytestmark = pytest.mark.asyncio(loop_scope="module")

DOCUMENT = "/v1/knowledge-bases/policies/documents/doc_" + "0" * 32
READING = [
    ("GET", "/v1/knowledge-bases"),
    ("GET", "/v1/knowledge-bases/policies"),
    ("GET", "/v1/knowledge-bases/policies/documents"),
    ("GET", DOCUMENT),
    ("POST", "/v1/knowledge-bases/policies/search"),
    ("POST", SEARCH.path),
]
WRITING = [
    ("POST", "/v1/knowledge-bases"),
    ("POST", "/v1/knowledge-bases/policies/documents"),
    ("DELETE", DOCUMENT),
]
MANAGING = [
    ("GET", "/v1/knowledge-bases/policies/access"),
    ("PUT", "/v1/knowledge-bases/policies/access"),
]


@pytest.mark.parametrize(("method", "path"), READING + WRITING + MANAGING)
async def test_nobody_gets_in_without_a_token(app: FastAPI, method: str, path: str) -> None:
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://knowledge.test") as anonymous:
        assert (await anonymous.request(method, path)).status_code == 401
        forged = {"dapr-api-token": APP_API_TOKEN, "authorization": "Bearer eyJhbGciOiJub25lIn0.e30."}
        assert (await anonymous.request(method, path, headers=forged)).status_code == 401


@pytest.mark.parametrize(("method", "path"), READING)
async def test_reading_needs_its_permission(
    caller: Callable[..., httpx2.AsyncClient], organization: str, method: str, path: str
) -> None:
    answer = await caller(organization, "knowledge:write").request(method, path, json={"query": "x"})
    assert answer.status_code == 403
    assert "knowledge:read" in answer.json()["detail"]


@pytest.mark.parametrize(("method", "path"), WRITING)
async def test_writing_needs_its_permission(
    caller: Callable[..., httpx2.AsyncClient], organization: str, method: str, path: str
) -> None:
    answer = await caller(organization, "knowledge:read").request(method, path, json={"name": "x"})
    assert answer.status_code == 403
    assert "knowledge:write" in answer.json()["detail"]


@pytest.mark.parametrize(("method", "path"), MANAGING)
async def test_saying_who_may_needs_its_permission(
    caller: Callable[..., httpx2.AsyncClient], organization: str, method: str, path: str
) -> None:
    answer = await caller(organization, "knowledge:read", "knowledge:write").request(method, path, json={})
    assert answer.status_code == 403
    assert "access:manage" in answer.json()["detail"]
