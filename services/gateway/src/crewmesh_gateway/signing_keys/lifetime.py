"""The signing keys inside the running gateway."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from crewmesh_kit.app import Service
from crewmesh_kit.dapr.sidecar import Sidecar
from crewmesh_kit.db.database import Database
from crewmesh_kit.resources import Resources

from crewmesh_gateway.settings import Settings
from crewmesh_gateway.signing_keys import endpoints
from crewmesh_gateway.signing_keys.master import MASTER_KEY, MasterKey
from crewmesh_gateway.signing_keys.repository import SigningKeyRepository
from crewmesh_gateway.signing_keys.service import SigningKeys


def install(service: Service) -> None:
    service.lifetime(open_signing_keys)
    service.background("signing keys", lambda resources: resources.get(SigningKeys).keep_tending())
    service.routes(endpoints.router)


@asynccontextmanager
async def open_signing_keys(resources: Resources) -> AsyncGenerator[SigningKeys]:
    master = MasterKey(await resources.get(Sidecar).secret(MASTER_KEY))
    resources.add(master)
    keys = SigningKeys(resources.get(Database), SigningKeyRepository(master), resources.get(Settings).tokens)
    await keys.tend()
    yield keys
