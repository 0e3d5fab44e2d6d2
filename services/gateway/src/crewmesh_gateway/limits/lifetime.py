"""The gate inside the running gateway, with the way to the other replicas' counts."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from crewmesh_kit.dapr.sidecar import Sidecar
from crewmesh_kit.db.database import Database
from crewmesh_kit.resources import Resources

from crewmesh_gateway.limits.clock import SharedClock
from crewmesh_gateway.limits.exchange import Exchange
from crewmesh_gateway.limits.gate import Gate
from crewmesh_gateway.limits.plans import Plans
from crewmesh_gateway.limits.quotas import Quotas
from crewmesh_gateway.limits.service import Limits
from crewmesh_gateway.principals.service import Principals
from crewmesh_gateway.settings import Settings


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
