"""Who one is, inside the running gateway."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from crewmesh_kit.app import Service
from crewmesh_kit.db.database import Database
from crewmesh_kit.resources import Resources

from crewmesh_gateway.me import endpoints
from crewmesh_gateway.me.repository import MeRepository


def install(service: Service) -> None:
    service.lifetime(open_me)
    service.routes(endpoints.router)


@asynccontextmanager
async def open_me(resources: Resources) -> AsyncGenerator[MeRepository]:
    yield MeRepository(resources.get(Database))
