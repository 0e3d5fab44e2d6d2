"""Retention and exports inside the running gateway."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from crewmesh_kit.app import Service
from crewmesh_kit.dapr.sidecar import Sidecar
from crewmesh_kit.db.database import Database
from crewmesh_kit.resources import Resources

from crewmesh_gateway.exports import endpoints
from crewmesh_gateway.exports.gatherer import Gatherer
from crewmesh_gateway.exports.service import Exports
from crewmesh_gateway.retention import endpoints as retention
from crewmesh_gateway.retention.service import RetentionPolicyService
from crewmesh_gateway.settings import Settings


def install(service: Service) -> None:
    service.lifetime(open_owned_data)
    service.background("exports", lambda resources: resources.get(Gatherer).run())
    service.routes(endpoints.router, retention.router)


@asynccontextmanager
async def open_owned_data(resources: Resources) -> AsyncGenerator[Gatherer]:
    database, sidecar = resources.get(Database), resources.get(Sidecar)
    gatherer = Gatherer(database, sidecar, resources.get(Settings).exports)
    resources.add(Exports(database, gatherer))
    resources.add(RetentionPolicyService(database, sidecar))
    yield gatherer
