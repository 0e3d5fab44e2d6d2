"""Logins inside the running gateway. What reads their access tokens stands at the door already (principals)."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from crewmesh_kit.app import Service
from crewmesh_kit.db.database import Database
from crewmesh_kit.resources import Resources

from crewmesh_gateway.principals.service import Principals
from crewmesh_gateway.sessions import endpoints, housekeeping, mine
from crewmesh_gateway.sessions.access_tokens import AccessTokens
from crewmesh_gateway.sessions.origins import AllowedOrigins
from crewmesh_gateway.sessions.refresh_tokens import RefreshTokens
from crewmesh_gateway.sessions.repository import SessionRepository
from crewmesh_gateway.sessions.service import Sessions
from crewmesh_gateway.settings import Settings
from crewmesh_gateway.signing_keys.master import MasterKey


def install(service: Service) -> None:
    service.lifetime(open_sessions)
    service.background("old logins", keep_forgetting)
    service.routes(endpoints.router, mine.router)


@asynccontextmanager
async def open_sessions(resources: Resources) -> AsyncGenerator[Sessions]:
    settings = resources.get(Settings)
    repository = SessionRepository(settings.tokens)
    refresh = RefreshTokens(resources.get(MasterKey))
    resources.add(repository)
    resources.add(refresh)
    resources.add(AllowedOrigins(settings.public_url, settings.tokens.origins))
    yield Sessions(
        resources.get(Database),
        repository,
        resources.get(AccessTokens),
        refresh,
        resources.get(Principals),
        over_https=_over_https(settings),
        most=settings.tokens.most_logins,
    )


async def keep_forgetting(resources: Resources) -> None:
    await housekeeping.keep_forgetting(resources.get(Database), resources.get(SessionRepository))


def _over_https(settings: Settings) -> bool:
    """Unless it is told otherwise, or this is somebody's own machine."""
    return settings.public_url.startswith("https:") or (
        not settings.public_url and settings.environment == "production"
    )
