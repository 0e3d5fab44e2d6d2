"""The whole service inside a test, with a real PostgreSQL, and callers that speak to it as its sidecar would."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import cast

import httpx2
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.invocations import SEND_HTTP
from crewmesh_integration.main import SIGNING_SECRET, create_app
from crewmesh_integration.settings import IntegrationSettings, OutboundSettings
from crewmesh_kit.identity import Identity
from crewmesh_kit.ids import new_id
from crewmesh_kit.settings import DaprSettings, DatabaseSettings, HttpServerSettings
from crewmesh_testkit.fake_sidecar import FakeSidecar
from crewmesh_testkit.identities import APP_API_TOKEN, auth_headers, identity
from crewmesh_testkit.services import running
from pydantic import SecretStr

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()
RUN = "run_" + "a" * 32


@dataclass
class Integration:
    """The service, and an organization that nobody else has."""

    http: httpx2.AsyncClient
    organization: str

    def run(self, subject: str = RUN) -> Identity:
        """The engine, acting for a run of the organization; it may look at the record as well."""
        return identity(SEND_HTTP.permission, "deliveries:read", subject=subject, organization=self.organization)

    def stranger(self) -> Identity:
        """Who may do the same, in another organization."""
        return replace(self.run(), organization=new_id("org"))

    async def send(self, key: str | None, who: Identity | None = None, **request: JsonValue) -> httpx2.Response:
        headers = {} if key is None else {"Idempotency-Key": key}
        proof = auth_headers(who or self.run(), audience="integration")
        return await self.http.post(SEND_HTTP.path, json=request, headers={**headers, **proof})

    async def get(
        self, path: str, who: Identity | None = None, *, headers: Mapping[str, str] | None = None
    ) -> httpx2.Response:
        proof = auth_headers(who or self.run(), audience="integration")
        return await self.http.get(path, headers={**(headers or {}), **proof})

    async def deliveries(self, query: str = "", who: Identity | None = None) -> list[JsonObject]:
        answer = await self.get(f"/v1/deliveries{query}", who)
        assert answer.status_code == 200, answer.text
        return cast("list[JsonObject]", answer.json()["items"])


@asynccontextmanager
async def integration(
    database_url: str,
    *,
    allow_loopback: bool = True,
    mesh_ports: Sequence[int] = (),
    shutdown_seconds: float = 15.0,
) -> AsyncGenerator[Integration]:
    settings = IntegrationSettings(
        database=DatabaseSettings(url=SecretStr(database_url)),
        http=HttpServerSettings(shutdown_seconds=shutdown_seconds),
        dapr=DaprSettings(app_api_token=SecretStr(APP_API_TOKEN)),
        outbound=OutboundSettings(allow_loopback=allow_loopback, mesh_ports=tuple(mesh_ports)),
    )
    sidecar = FakeSidecar("integration", secrets={SIGNING_SECRET: SECRET})
    async with running(create_app(settings, sidecar)) as http:
        yield Integration(http, new_id("org"))
