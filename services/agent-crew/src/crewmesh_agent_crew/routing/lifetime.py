"""The router as a part of the service."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from crewmesh_kit.app import Resources, Service

from crewmesh_agent_crew.catalogue.service import Catalogue
from crewmesh_agent_crew.pool.service import Pool, open_pool
from crewmesh_agent_crew.providers.accounts import Accounts
from crewmesh_agent_crew.providers.adapters import Adapters
from crewmesh_agent_crew.routing.answers import KeptAnswers
from crewmesh_agent_crew.routing.attempts import Attempts
from crewmesh_agent_crew.routing.breaker import Breakers
from crewmesh_agent_crew.routing.candidates import Patience
from crewmesh_agent_crew.routing.limits import AccountLimits
from crewmesh_agent_crew.routing.router import Router
from crewmesh_agent_crew.routing.valkey import connected
from crewmesh_agent_crew.settings import Settings


def install(service: Service) -> None:
    """After the catalogue, the accounts and the adapters."""
    service.lifetime(open_pool)
    service.lifetime(open_router)


@asynccontextmanager
async def open_router(resources: Resources) -> AsyncGenerator[Router]:
    settings = resources.get(Settings).model
    async with connected(resources) as valkey:
        attempts = Attempts(
            resources.get(Adapters),
            resources.get(Pool),
            Breakers(failures=settings.failures_until_pause, seconds=settings.pause_seconds),
            AccountLimits(valkey),
            first_token_seconds=settings.first_token_seconds,
            with_content=settings.trace_content,
        )
        yield Router(
            resources.get(Catalogue),
            resources.get(Accounts),
            attempts,
            KeptAnswers(valkey, seconds=settings.cache_seconds),
            patience=Patience(attempts=settings.attempts, pause=settings.backoff_seconds),
            seconds=settings.timeout_seconds,
        )
