"""The wiring of the gateway, readable as a list of steps."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path

from crewmesh_kit.app import Resources, Service
from crewmesh_kit.dapr.sidecar import Sidecar
from crewmesh_kit.db.database import Database
from crewmesh_kit.http.openapi import public_openapi
from crewmesh_kit.identity import Authenticator, TokenSigner
from fastapi import FastAPI

from crewmesh_gateway.api_keys.authenticator import ApiKeyAuthenticator
from crewmesh_gateway.api_keys.last_use import LastUse
from crewmesh_gateway.api_keys.repository import ApiKeyRepository
from crewmesh_gateway.api_keys.service import ApiKeys
from crewmesh_gateway.api_keys.throttle import WrongKeyThrottle
from crewmesh_gateway.first_run.service import FirstRun
from crewmesh_gateway.me import endpoints as me
from crewmesh_gateway.me.repository import MeRepository
from crewmesh_gateway.openapi import endpoints as openapi
from crewmesh_gateway.openapi.service import PublicApi
from crewmesh_gateway.proxy.endpoints import Proxy, proxy_routes
from crewmesh_gateway.proxy.guesses import Guesses
from crewmesh_gateway.settings import Settings

APP_ID = "gateway"
VERSION = version("crewmesh-gateway")
MIGRATIONS = Path(__file__).parents[2] / "migrations"


def create_app(settings: Settings | None = None, sidecar: Sidecar | None = None) -> FastAPI:
    settings = settings or Settings()
    service = Service(APP_ID, settings, title="Crewmesh gateway", version=VERSION, sidecar=sidecar, edge=True)

    @asynccontextmanager
    async def found(resources: Resources) -> AsyncGenerator[FirstRun]:
        first_run = FirstRun(resources.get(Database), resources.get(Sidecar), settings.first_run)
        await first_run.ensure()
        yield first_run

    @asynccontextmanager
    async def know_keys(resources: Resources) -> AsyncGenerator[LastUse]:
        repository = ApiKeyRepository(resources.get(Database))
        last_use = LastUse(repository, every_seconds=settings.keys.last_use_seconds)
        keys = ApiKeys(repository, WrongKeyThrottle(settings.throttle), last_use, settings.keys)
        authenticator = ApiKeyAuthenticator(keys, app_api_token=settings.dapr.app_api_token.get_secret_value())
        resources.add(keys)
        resources.add(authenticator)
        resources.add(authenticator, as_=Authenticator)
        async with last_use.flushed_at_the_end():
            yield last_use

    @asynccontextmanager
    async def open_doors(resources: Resources) -> AsyncGenerator[Proxy]:
        sidecar = resources.get(Sidecar)
        resources.add(MeRepository(resources.get(Database)))
        resources.add(PublicApi(sidecar, lambda: public_openapi(service.app), settings.openapi, version=VERSION))
        authenticator, signer = resources.get(ApiKeyAuthenticator), resources.get(TokenSigner)
        yield Proxy(authenticator, Guesses(settings.throttle), signer, sidecar, settings.proxy)

    service.database(migrations=MIGRATIONS)
    service.lifetime(found)
    service.lifetime(know_keys)
    service.lifetime(open_doors)
    service.background("last use of keys", lambda resources: resources.get(LastUse).keep_flushing())
    service.routes(me.router, openapi.router)
    service.app.router.routes[:0] = proxy_routes(service.resources)  # first: they are asked for by far the most
    return service.app
