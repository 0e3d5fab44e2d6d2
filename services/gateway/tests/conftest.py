"""A gateway with a real database, and behind it a real small server in the place of the services and their sidecars."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator

import httpx2
import pytest
from aiohttp import web
from crewmesh_gateway.main import create_app
from crewmesh_gateway.proxy.routing import SERVICES
from crewmesh_gateway.settings import Settings
from crewmesh_testkit import FakeSidecar, running
from crewmesh_testkit.audit_trail import watching_changes
from fastapi import FastAPI

from .gateway import KEY, Upstream, settings_for
from .post import PostOffice, post_office
from .told import WITHOUT_A_LINE


@pytest.fixture(scope="session", autouse=True)
def every_change_is_told(request: pytest.FixtureRequest) -> Generator[None]:
    """No line of the audit log tells a secret; and of all tests together, each route that changed something left one.

    A test that is run alone may only repeat what changes nothing, so the second is asked with test_audit_routes.py.
    """
    with watching_changes("Crewmesh gateway") as changes:
        yield
    assert changes.leaked == set()
    if any(item.path.name == "test_audit_routes.py" for item in request.session.items):
        assert changes.silent <= WITHOUT_A_LINE.keys()


@pytest.fixture(autouse=True)
def time_to_connect(monkeypatch: pytest.MonkeyPatch) -> None:
    """A crowd on a slow machine waits for its connections, and is not told to come again."""
    monkeypatch.setattr("crewmesh_kit.db.database._POOL_WAIT_SECONDS", 120.0)
    monkeypatch.setattr("crewmesh_kit.db.database._CONNECT_SECONDS", 60)
    monkeypatch.setattr("crewmesh_kit.signals._CONNECT_SECONDS", 60.0)


@pytest.fixture
async def upstream() -> AsyncGenerator[Upstream]:
    upstream = Upstream()
    application = web.Application(client_max_size=64 * 1024 * 1024)
    application.router.add_route("*", "/{anything:.*}", upstream.handle)
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    upstream.url = f"http://{host}:{port}"
    yield upstream
    await runner.cleanup()


@pytest.fixture
def sidecar(upstream: Upstream, valkey: str) -> FakeSidecar:
    sidecar = FakeSidecar("gateway", secrets={"first-run-api-key": KEY.text, "redis-url": valkey})
    for app in SERVICES:
        sidecar.forward_to(app, f"{upstream.url}/{app}")
    return sidecar


@pytest.fixture
def settings(database_url: Callable[[str], str]) -> Settings:
    return settings_for(database_url("gateway"))


@pytest.fixture
def app(settings: Settings, sidecar: FakeSidecar) -> FastAPI:
    return create_app(settings, sidecar)


@pytest.fixture
async def client(app: FastAPI) -> AsyncGenerator[httpx2.AsyncClient]:
    """Of the running app, which a test may take beside it."""
    async with running(app) as client:
        yield client


@pytest.fixture
async def office() -> AsyncGenerator[PostOffice]:
    """Where mails arrive when the settings say so."""
    async with post_office() as office:
        yield office
