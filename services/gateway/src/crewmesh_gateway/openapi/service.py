"""Collects what each service says about itself and keeps it: for a while when all is well, for as long as needed when
a service is down."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import aiohttp
from crewmesh_contracts.base import JsonObject
from crewmesh_kit.dapr.sidecar import Sidecar
from crewmesh_kit.errors import Problem
from crewmesh_kit.logs import get_logger

from crewmesh_gateway.openapi.merge import GATEWAY, merged
from crewmesh_gateway.proxy.routing import SERVICES
from crewmesh_gateway.settings import OpenApiSettings

_log = get_logger(__name__)

_DESCRIPTION = (
    "Build, run and watch AI-agent workflows. Errors are RFC 9457 problem documents whose `detail` says what to do; "
    "lists are paged by cursor; mutations take an `Idempotency-Key`; resources have an ETag."
)


@dataclass(slots=True)
class _Part:
    document: JsonObject | None = None
    fresh_until: float = 0.0


class PublicApi:
    """The one document of all services."""

    def __init__(
        self,
        sidecar: Sidecar,
        own: Callable[[], JsonObject],
        settings: OpenApiSettings,
        *,
        version: str,
        public_url: str = "",
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sidecar = sidecar
        self._own = own
        self._settings = settings
        self._version = version
        self._public_url = public_url
        self._now = now
        self._parts = {app: _Part() for app in SERVICES}
        self._collecting = asyncio.Lock()
        self._merged: JsonObject | None = None

    async def document(self) -> JsonObject:
        """As fresh as the settings say; callers that come while it is collected wait for the same result."""
        async with self._collecting:
            stale = [app for app, part in self._parts.items() if part.fresh_until <= self._now()]
            if stale or self._merged is None:
                await asyncio.gather(*(self._refresh(app) for app in stale))
                self._merged = self._merge()
            return self._merged

    def _merge(self) -> JsonObject:
        parts = {GATEWAY: self._own()}
        parts |= {app: part.document for app, part in self._parts.items() if part.document is not None}
        missing = [app for app in self._parts if app not in parts]
        return merged(parts, base_document(version=self._version, public_url=self._public_url, missing=missing))

    async def _refresh(self, app: str) -> None:
        part = self._parts[app]
        try:
            async with asyncio.timeout(self._settings.fetch_seconds):
                part.document = await self._fetch(app)
        except (Problem, aiohttp.ClientError, TimeoutError, ValueError) as error:
            _log.warning(
                "a service does not describe itself right now",
                service=app,
                kept=part.document is not None,
                reason=str(error),
            )
        part.fresh_until = self._now() + self._settings.cache_seconds

    async def _fetch(self, app: str) -> JsonObject:
        async with self._sidecar.forward(
            app, "GET", "/internal/openapi.json", headers={"accept": "application/json"}
        ) as answer:
            content = await answer.read()
            if answer.status != 200:
                raise ValueError(f"status {answer.status}")
        document: object = json.loads(content)
        if not isinstance(document, dict):
            raise ValueError("not an OpenAPI document")
        return cast(JsonObject, document)


def base_document(*, version: str, public_url: str = "", missing: Sequence[str] = ()) -> JsonObject:
    """What is true of the whole API, without any service's part.

    Without a public URL the API is where its description is. ``missing`` names services that do not answer.
    """
    note = f"\n\nNot described right now, because they do not answer: {', '.join(missing)}." if missing else ""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Crewmesh",
            "version": version,
            "description": _DESCRIPTION + note,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": public_url.rstrip("/") or "/"}],
        "security": [{"bearer": []}, {"header": []}],
        "components": {
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key (cm_live_…), or the access token of a login",
                },
                "header": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same key."},
            }
        },
    }
