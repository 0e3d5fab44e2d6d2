"""The doorkeeper inside the running gateway, with what it needs to know and to forget."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from crewmesh_kit.dapr.sidecar import Sidecar
from crewmesh_kit.db.database import Database
from crewmesh_kit.identity import Authenticator
from crewmesh_kit.resources import Resources
from crewmesh_kit.signals import Signals

from crewmesh_gateway.api_keys.last_use import LastUse
from crewmesh_gateway.api_keys.repository import ApiKeyRepository
from crewmesh_gateway.api_keys.throttle import WrongKeyThrottle
from crewmesh_gateway.limits.gate import Gate
from crewmesh_gateway.principals.doorkeeper import Doorkeeper
from crewmesh_gateway.principals.repository import PrincipalRepository
from crewmesh_gateway.principals.service import Principals
from crewmesh_gateway.sessions.access_tokens import AccessTokens
from crewmesh_gateway.settings import Settings


@asynccontextmanager
async def open_signals(resources: Resources) -> AsyncGenerator[Signals]:
    url = await resources.get(Sidecar).secret("redis-url")
    async with Signals.open(url, app_id="gateway") as signals:
        yield signals


@asynccontextmanager
async def open_door(resources: Resources) -> AsyncGenerator[Doorkeeper]:
    settings, database = resources.get(Settings), resources.get(Database)
    last_use = LastUse(ApiKeyRepository(database), every_seconds=settings.keys.last_use_seconds)
    principals = Principals(
        PrincipalRepository(database),
        resources.get(AccessTokens).read,
        WrongKeyThrottle(settings.throttle),
        last_use,
        settings.keys,
        resources.get(Signals),
    )
    doorkeeper = Doorkeeper(
        principals,
        resources.get(Gate),
        app_api_token=settings.dapr.app_api_token.get_secret_value(),
        edge_token=settings.edge.token.get_secret_value(),
    )
    resources.add(principals)
    resources.add(last_use)
    resources.add(doorkeeper, as_=Authenticator)
    async with last_use.flushed_at_the_end():
        yield doorkeeper
