"""Limits inside the running gateway. The gate, with the way to the other replicas' counts, opens with the door."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from crewmesh_kit.app import Service
from crewmesh_kit.dapr.sidecar import Sidecar
from crewmesh_kit.db.database import Database
from crewmesh_kit.resources import Resources
from starlette.middleware import Middleware

from crewmesh_gateway.limits import endpoints
from crewmesh_gateway.limits.clock import SharedClock
from crewmesh_gateway.limits.exchange import Exchange
from crewmesh_gateway.limits.gate import Gate
from crewmesh_gateway.limits.layer import AnswerInTime, RateLimitLayer
from crewmesh_gateway.limits.plans import Plans
from crewmesh_gateway.limits.quotas import Quotas
from crewmesh_gateway.limits.service import Limits
from crewmesh_gateway.principals.service import Principals
from crewmesh_gateway.settings import Settings


def install(service: Service) -> None:
    service.lifetime(open_limits)
    service.background("counts of requests", lambda resources: resources.get(Exchange).keep_exchanging())
    service.routes(endpoints.router)
    # Innermost: whatever they say is counted, logged and traced like any other answer.
    for layer in (RateLimitLayer, AnswerInTime):
        service.app.user_middleware.append(Middleware(layer, resources=service.resources))


@asynccontextmanager
async def open_gate(resources: Resources) -> AsyncGenerator[Gate]:
    settings = resources.get(Settings).limits
    url = await resources.get(Sidecar).secret("redis-url")
    plans, clock = Plans(settings.default_plan), SharedClock()
    resources.add(plans)
    resources.add(Quotas(plans))
    async with Exchange.open(url, clock, every_seconds=settings.exchange_seconds) as exchange:
        resources.add(exchange)
        yield Gate(plans, settings, clock, exchange)


@asynccontextmanager
async def open_limits(resources: Resources) -> AsyncGenerator[Limits]:
    yield Limits(
        resources.get(Database),
        resources.get(Principals),
        resources.get(Plans),
        resources.get(Quotas),
        resources.get(Gate),
    )
