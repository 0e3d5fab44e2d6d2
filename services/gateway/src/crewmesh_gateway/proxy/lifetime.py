"""The way to the other services inside the running gateway."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from crewmesh_kit.app import Service
from crewmesh_kit.dapr.sidecar import Sidecar
from crewmesh_kit.identity import TokenSigner
from crewmesh_kit.resources import Resources

from crewmesh_gateway.principals.doorkeeper import Doorkeeper
from crewmesh_gateway.proxy.absences import Absences
from crewmesh_gateway.proxy.endpoints import Proxy, proxy_routes
from crewmesh_gateway.proxy.guesses import Guesses
from crewmesh_gateway.settings import Settings


def install(service: Service) -> None:
    """After everything else: its routes come first, for they are asked for by far the most."""
    service.lifetime(open_proxy)
    service.app.router.routes[:0] = proxy_routes(service.resources)


@asynccontextmanager
async def open_proxy(resources: Resources) -> AsyncGenerator[Proxy]:
    settings = resources.get(Settings)
    yield Proxy(
        resources.get(Doorkeeper),
        Guesses(settings.throttle),
        Absences(settings.proxy.absence_seconds),
        resources.get(TokenSigner),
        resources.get(Sidecar),
        settings.proxy,
    )
