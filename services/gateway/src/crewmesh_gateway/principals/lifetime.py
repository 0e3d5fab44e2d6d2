"""The door of the running gateway: the doorkeeper, with what they need to know, to count and to forget."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from crewmesh_kit.app import Service
from crewmesh_kit.db.database import Database
from crewmesh_kit.identity import Authenticator
from crewmesh_kit.resources import Resources
from crewmesh_kit.signals import Signals, open_signals

from crewmesh_gateway.api_keys.last_use import LastUse
from crewmesh_gateway.api_keys.repository import ApiKeyRepository
from crewmesh_gateway.api_keys.throttle import WrongKeyThrottle
from crewmesh_gateway.limits.gate import Gate
from crewmesh_gateway.limits.lifetime import open_gate
from crewmesh_gateway.principals.doorkeeper import Doorkeeper
from crewmesh_gateway.principals.repository import PrincipalRepository
from crewmesh_gateway.principals.service import Principals
from crewmesh_gateway.sessions.access_tokens import AccessTokens
from crewmesh_gateway.settings import Settings
from crewmesh_gateway.signing_keys.service import SigningKeys


def install(service: Service) -> None:
    service.lifetime(open_signals)
    service.lifetime(open_access_tokens)
    service.lifetime(open_gate)
    service.lifetime(open_door)
    service.background("last use of keys", lambda resources: resources.get(LastUse).keep_flushing())


@asynccontextmanager
async def open_access_tokens(resources: Resources) -> AsyncGenerator[AccessTokens]:
    yield AccessTokens(resources.get(SigningKeys), resources.get(Settings).tokens)


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
