"""Asking for exports, watching them, and having their files."""

from __future__ import annotations

from collections.abc import AsyncIterator

from crewmesh_kit import audit
from crewmesh_kit.db.database import Database
from crewmesh_kit.http.pagination import Page, PageRequest
from crewmesh_kit.ids import new_id

from crewmesh_gateway.exports import repository
from crewmesh_gateway.exports.errors import ExportNotReady, ExportRunning, ExportUnknown
from crewmesh_gateway.exports.gatherer import Gatherer
from crewmesh_gateway.exports.schemas import Export
from crewmesh_gateway.principals.models import Principal


class Exports:
    def __init__(self, database: Database, gatherer: Gatherer) -> None:
        self._database = database
        self._gatherer = gatherer

    async def request(self, principal: Principal) -> Export:
        async with self._database.tenant(principal.organization) as conn:
            export = new_id("exp")
            if not await repository.add(conn, principal.organization, export, principal.identity.subject):
                raise ExportRunning(await repository.unfinished(conn) or "before it")
            await audit.record(conn, principal.identity, "export.requested", export)
            requested = await repository.get(conn, export)
        self._gatherer.nudge()
        return _there(requested)

    async def all(self, principal: Principal, request: PageRequest) -> Page[Export]:
        before = request.after_text()
        async with self._database.tenant(principal.organization) as conn:
            found = await repository.newest_first(conn, before, request.limit + 1)
        return request.page(found, lambda export: (export.id,))

    async def one(self, principal: Principal, export: str) -> Export:
        async with self._database.tenant(principal.organization) as conn:
            return _there(await repository.get(conn, export))

    async def file(self, principal: Principal, export: str) -> AsyncIterator[bytes]:
        """The compressed JSON lines, read part by part while they are sent."""
        async with self._database.tenant(principal.organization) as conn:
            found = _there(await repository.get(conn, export))
            if found.status != "done":
                raise ExportNotReady(found.status)
            blobs = await repository.blobs(conn, export)
            await audit.record(conn, principal.identity, "export.downloaded", export)
        return self._gatherer.file(blobs)

    async def delete(self, principal: Principal, export: str) -> None:
        """Its file goes with it; one that is running stops."""
        async with self._database.tenant(principal.organization) as conn:
            await repository.hold(conn, export)
            _there(await repository.get(conn, export))
            blobs = await repository.blobs(conn, export)
            await self._gatherer.drop(blobs)
            await repository.delete(conn, export)
            await audit.record(conn, principal.identity, "export.deleted", export)


def _there(export: Export | None) -> Export:
    if export is None:
        raise ExportUnknown
    return export
