"""The description of the whole API inside the running gateway, whose own part it asks the app for."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

from crewmesh_kit.app import Service
from crewmesh_kit.dapr.sidecar import Sidecar
from crewmesh_kit.http.openapi import public_openapi
from crewmesh_kit.resources import Resources

from crewmesh_gateway.openapi import endpoints
from crewmesh_gateway.openapi.service import PublicApi
from crewmesh_gateway.settings import Settings


def install(service: Service) -> None:
    own, version = partial(public_openapi, service.app), service.app.version

    @asynccontextmanager
    async def open_description(resources: Resources) -> AsyncGenerator[PublicApi]:
        settings = resources.get(Settings)
        yield PublicApi(resources.get(Sidecar), own, settings.openapi, version=version, public_url=settings.public_url)

    service.lifetime(open_description)
    service.routes(endpoints.router)
