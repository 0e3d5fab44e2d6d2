"""The integration service, wired."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path

from crewmesh_kit.app import Resources, Service
from crewmesh_kit.dapr.sidecar import Sidecar
from crewmesh_kit.db.database import Database
from crewmesh_kit.db.idempotency import Idempotency
from crewmesh_kit.outbound.connector import SystemLookup
from crewmesh_kit.owned_data.forgetting import by_age
from fastapi import FastAPI

from crewmesh_integration.actions.connections import built_in
from crewmesh_integration.actions.endpoints import router as actions_router
from crewmesh_integration.actions.service import Actions
from crewmesh_integration.deliveries.endpoints import router as deliveries_router
from crewmesh_integration.deliveries.repository import DeliveryRepository
from crewmesh_integration.deliveries.service import Deliveries
from crewmesh_integration.guard.client import GuardedClient
from crewmesh_integration.guard.policy import OutboundPolicy
from crewmesh_integration.http_requests.endpoints import router as http_requests_router
from crewmesh_integration.http_requests.service import HttpRequests
from crewmesh_integration.mcp.endpoints import router as mcp_router
from crewmesh_integration.mcp.servers import McpServers
from crewmesh_integration.settings import IntegrationSettings
from crewmesh_integration.signing.webhooks import WebhookSigner

VERSION = version("crewmesh-integration")
MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"
SIGNING_SECRET = "webhook-signing-secret"  # the name of the secret, not the secret


def create_app(settings: IntegrationSettings | None = None, sidecar: Sidecar | None = None) -> FastAPI:
    settings = settings or IntegrationSettings()
    service = Service("integration", settings, title="Crewmesh integration", version=VERSION, sidecar=sidecar)
    service.database(migrations=MIGRATIONS)
    service.lifetime(_signer)
    service.lifetime(_client)
    service.lifetime(_delivery_records)
    service.lifetime(_http_requests)
    service.lifetime(_actions)
    service.resources.add(McpServers())
    service.owned_data(by_age("deliveries", table="deliveries", column="at"))
    service.background("delivery retention", _forget_old_deliveries)
    service.routes(http_requests_router, actions_router, mcp_router, deliveries_router)
    return service.app


@asynccontextmanager
async def _signer(resources: Resources) -> AsyncGenerator[WebhookSigner]:
    yield WebhookSigner(await resources.get(Sidecar).secret(SIGNING_SECRET))


@asynccontextmanager
async def _client(resources: Resources) -> AsyncGenerator[GuardedClient]:
    settings = resources.get(IntegrationSettings)
    lookup = SystemLookup()
    client = GuardedClient(
        OutboundPolicy(allow_loopback=settings.outbound.allow_loopback, mesh_ports=settings.refused_ports),
        lookup=lookup,
        user_agent=f"Crewmesh/{VERSION}",
        connect_seconds=settings.outbound.connect_seconds,
        max_body_bytes=settings.outbound.max_answer_bytes,
    )
    try:
        yield client
    finally:
        await client.close()
        lookup.close()


@asynccontextmanager
async def _delivery_records(resources: Resources) -> AsyncGenerator[Deliveries]:
    yield Deliveries(DeliveryRepository(resources.get(Database)))


@asynccontextmanager
async def _http_requests(resources: Resources) -> AsyncGenerator[HttpRequests]:
    yield HttpRequests(
        client=resources.get(GuardedClient),
        signer=resources.get(WebhookSigner),
        deliveries=resources.get(Deliveries),
        idempotency=resources.get(Idempotency),
    )


@asynccontextmanager
async def _actions(resources: Resources) -> AsyncGenerator[Actions]:
    yield Actions(built_in(resources.get(HttpRequests)))


async def _forget_old_deliveries(resources: Resources) -> None:
    days = resources.get(IntegrationSettings).deliveries.retention_days
    await resources.get(Deliveries).forget_old_ones(days=days)
