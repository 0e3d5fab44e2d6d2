"""Keys and service accounts inside the running gateway."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from crewmesh_kit.app import Service
from crewmesh_kit.db.database import Database
from crewmesh_kit.db.idempotency import Idempotency
from crewmesh_kit.resources import Resources

from crewmesh_gateway.api_keys import endpoints
from crewmesh_gateway.api_keys.service import ApiKeys
from crewmesh_gateway.limits.quotas import Quotas
from crewmesh_gateway.principals.service import Principals
from crewmesh_gateway.service_accounts import endpoints as service_accounts
from crewmesh_gateway.service_accounts.service import ServiceAccounts


def install(service: Service) -> None:
    service.lifetime(open_keys)
    service.routes(endpoints.router, service_accounts.router)


@asynccontextmanager
async def open_keys(resources: Resources) -> AsyncGenerator[ApiKeys]:
    database, idempotency = resources.get(Database), resources.get(Idempotency)
    principals, quotas = resources.get(Principals), resources.get(Quotas)
    resources.add(ServiceAccounts(database, idempotency, principals, quotas))
    yield ApiKeys(database, idempotency, principals, quotas)
