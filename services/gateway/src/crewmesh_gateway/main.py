"""The wiring of the gateway, readable as a list of steps."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path

from crewmesh_kit.app import Resources, Service
from crewmesh_kit.dapr.sidecar import Sidecar
from crewmesh_kit.db.database import Database
from crewmesh_kit.http.openapi import public_openapi
from crewmesh_kit.identity import TokenSigner
from fastapi import FastAPI
from starlette.middleware import Middleware

from crewmesh_gateway.accounts import lifetime as accounts
from crewmesh_gateway.api_keys import endpoints as api_keys
from crewmesh_gateway.api_keys.last_use import LastUse
from crewmesh_gateway.api_keys.lifetime import open_keys
from crewmesh_gateway.audit.lifetime import keep_an_audit_log
from crewmesh_gateway.exports import endpoints as exports
from crewmesh_gateway.exports.gatherer import Gatherer
from crewmesh_gateway.exports.lifetime import open_owned_data
from crewmesh_gateway.first_run.service import FirstRun
from crewmesh_gateway.limits import endpoints as limits
from crewmesh_gateway.limits.exchange import Exchange
from crewmesh_gateway.limits.layer import AnswerInTime, RateLimitLayer
from crewmesh_gateway.limits.lifetime import open_gate, open_limits
from crewmesh_gateway.mail.lifetime import keep_delivering, open_mailer
from crewmesh_gateway.me import endpoints as me
from crewmesh_gateway.me.repository import MeRepository
from crewmesh_gateway.openapi import endpoints as openapi
from crewmesh_gateway.openapi.service import PublicApi
from crewmesh_gateway.organizations.lifetime import ROUTERS as ORGANIZATION_ROUTERS
from crewmesh_gateway.organizations.lifetime import keep_erasing, open_organizations
from crewmesh_gateway.principals.doorkeeper import Doorkeeper
from crewmesh_gateway.principals.lifetime import open_door, open_signals
from crewmesh_gateway.proxy.endpoints import Proxy, proxy_routes
from crewmesh_gateway.proxy.guesses import Guesses
from crewmesh_gateway.retention import endpoints as retention
from crewmesh_gateway.service_accounts import endpoints as service_accounts
from crewmesh_gateway.sessions import endpoints as sessions
from crewmesh_gateway.sessions import mine as my_sessions
from crewmesh_gateway.sessions.lifetime import keep_forgetting, open_access_tokens, open_sessions
from crewmesh_gateway.settings import Settings
from crewmesh_gateway.signing_keys import endpoints as signing_keys
from crewmesh_gateway.signing_keys.service import SigningKeys

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
    async def open_doors(resources: Resources) -> AsyncGenerator[Proxy]:
        sidecar = resources.get(Sidecar)
        resources.add(MeRepository(resources.get(Database)))
        own = partial(public_openapi, service.app)
        api = PublicApi(sidecar, own, settings.openapi, version=VERSION, public_url=settings.public_url)
        resources.add(api)
        doorkeeper, signer = resources.get(Doorkeeper), resources.get(TokenSigner)
        yield Proxy(doorkeeper, Guesses(settings.throttle), signer, sidecar, settings.proxy)

    service.database(migrations=MIGRATIONS)
    service.lifetime(found)
    service.lifetime(open_signals)
    service.lifetime(open_access_tokens)
    service.lifetime(open_gate)
    service.lifetime(open_door)
    service.lifetime(open_limits)
    service.lifetime(open_sessions)
    service.lifetime(open_doors)
    service.lifetime(open_keys)
    service.lifetime(open_mailer)
    service.lifetime(open_organizations)
    service.lifetime(accounts.open_accounts)
    service.lifetime(open_owned_data)
    service.background("last use of keys", lambda resources: resources.get(LastUse).keep_flushing())
    service.background("mails", keep_delivering)
    service.background("requests about accounts", accounts.do_later)
    service.background("old tokens of accounts", accounts.keep_forgetting)
    service.background("counts of requests", lambda resources: resources.get(Exchange).keep_exchanging())
    service.background("exports", lambda resources: resources.get(Gatherer).run())
    service.background("signing keys", lambda resources: resources.get(SigningKeys).keep_tending())
    service.background("organizations that end", keep_erasing)
    service.background("old logins", keep_forgetting)
    service.routes(*accounts.ROUTERS, *ORGANIZATION_ROUTERS)
    service.routes(api_keys.router, service_accounts.router, limits.router, exports.router, retention.router)
    service.routes(me.router, openapi.router, signing_keys.router, sessions.router, my_sessions.router)
    # Innermost: whatever they say is counted, logged and traced like any other answer.
    for layer in (RateLimitLayer, AnswerInTime):
        service.app.user_middleware.append(Middleware(layer, resources=service.resources))
    keep_an_audit_log(service)
    service.app.router.routes[:0] = proxy_routes(service.resources)  # first: they are asked for by far the most
    return service.app
