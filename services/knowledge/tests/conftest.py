"""The service as it runs, on a real database, and callers of several organizations."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable

import httpx2
import pytest
import pytest_asyncio
from crewmesh_kit.ids import new_id
from crewmesh_kit.settings import DaprSettings, DatabaseSettings
from crewmesh_knowledge.main import create_app
from crewmesh_knowledge.settings import IndexingSettings, KnowledgeSettings
from crewmesh_testkit.fake_sidecar import FakeSidecar
from crewmesh_testkit.identities import APP_API_TOKEN, auth_headers, identity
from crewmesh_testkit.services import running
from fastapi import FastAPI
from pydantic import SecretStr


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def app(database_url: Callable[[str], str], valkey: str) -> AsyncGenerator[FastAPI]:
    settings = KnowledgeSettings(
        database=DatabaseSettings(url=SecretStr(database_url("knowledge"))),
        dapr=DaprSettings(app_api_token=SecretStr(APP_API_TOKEN)),
        indexing=IndexingSettings(wait_seconds=20),  # on a busy machine two may not be enough
    )
    app = create_app(settings, sidecar=FakeSidecar("knowledge", secrets={"redis-url": valkey}))
    with pytest.MonkeyPatch.context() as patched:
        # Where many ask at once on a slow machine the last waits long for a connection; nothing is judged by that.
        patched.setattr("crewmesh_kit.db.database._POOL_WAIT_SECONDS", 60.0)
        async with running(app):
            yield app


@pytest.fixture
def organization() -> str:
    """A fresh organization for every test."""
    return new_id("org")


@pytest.fixture
def caller(app: FastAPI) -> Callable[..., httpx2.AsyncClient]:
    """``caller(organization, "knowledge:read")``: a client that calls as somebody of that organization."""

    def client_of(organization: str, *permissions: str) -> httpx2.AsyncClient:
        who = identity(*permissions, organization=organization)
        return httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app=app, raise_app_exceptions=False),
            base_url="http://knowledge.test",
            headers=auth_headers(who, audience="knowledge"),
            timeout=30,
        )

    return client_of


@pytest.fixture
def client(caller: Callable[..., httpx2.AsyncClient], organization: str) -> httpx2.AsyncClient:
    """Somebody who may read and write in ``organization``."""
    return caller(organization, "knowledge:read", "knowledge:write")
