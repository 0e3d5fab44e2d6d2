"""The first start of an installation, inside the gateway that starts."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from crewmesh_kit.app import Service
from crewmesh_kit.dapr.sidecar import Sidecar
from crewmesh_kit.db.database import Database
from crewmesh_kit.resources import Resources

from crewmesh_gateway.first_run.service import FirstRun
from crewmesh_gateway.settings import Settings


def install(service: Service) -> None:
    service.lifetime(open_first_run)


@asynccontextmanager
async def open_first_run(resources: Resources) -> AsyncGenerator[FirstRun]:
    first_run = FirstRun(resources.get(Database), resources.get(Sidecar), resources.get(Settings).first_run)
    await first_run.ensure()
    yield first_run
