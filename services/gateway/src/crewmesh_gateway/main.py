"""The wiring of the gateway, readable as a list of steps.

Every feature installs itself: what it opens at start-up, what it does in the background, its routes. They start in the
order of the list, and those below find what those above have opened.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from crewmesh_kit.app import Service
from crewmesh_kit.dapr.sidecar import Sidecar
from fastapi import FastAPI

from crewmesh_gateway.accounts import lifetime as accounts
from crewmesh_gateway.api_keys import lifetime as api_keys
from crewmesh_gateway.audit import lifetime as audit
from crewmesh_gateway.exports import lifetime as exports
from crewmesh_gateway.first_run import lifetime as first_run
from crewmesh_gateway.limits import lifetime as limits
from crewmesh_gateway.mail import lifetime as mail
from crewmesh_gateway.me import lifetime as me
from crewmesh_gateway.openapi import lifetime as openapi
from crewmesh_gateway.organizations import lifetime as organizations
from crewmesh_gateway.principals import lifetime as principals
from crewmesh_gateway.proxy import lifetime as proxy
from crewmesh_gateway.sessions import lifetime as sessions
from crewmesh_gateway.settings import Settings
from crewmesh_gateway.signing_keys import lifetime as signing_keys

APP_ID = "gateway"
VERSION = version("crewmesh-gateway")
MIGRATIONS = Path(__file__).parents[2] / "migrations"


def create_app(settings: Settings | None = None, sidecar: Sidecar | None = None) -> FastAPI:
    settings = settings or Settings()
    service = Service(APP_ID, settings, title="Crewmesh gateway", version=VERSION, sidecar=sidecar, edge=True)
    service.database(migrations=MIGRATIONS)
    first_run.install(service)
    signing_keys.install(service)
    principals.install(service)
    limits.install(service)
    sessions.install(service)
    me.install(service)
    openapi.install(service)
    api_keys.install(service)
    mail.install(service)
    organizations.install(service)
    accounts.install(service)
    exports.install(service)
    audit.install(service)
    proxy.install(service)
    return service.app
