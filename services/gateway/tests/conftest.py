"""A gateway with a real database, and behind it a real small server in the place of the services and their sidecars."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable

import pytest
from aiohttp import web
from crewmesh_gateway.main import create_app
from crewmesh_gateway.proxy.routing import SERVICES
from crewmesh_gateway.settings import Settings
from crewmesh_testkit import FakeSidecar
from fastapi import FastAPI

from .gateway import KEY, Upstream, settings_for


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
