"""Gathers exports in the background: a page of a service becomes a part of the file, written with where to go on.

Whoever dies in between leaves the export to the next replica, which goes on behind the last page that was written down.
A part is a gzip member of its own, so that the parts one behind the other are one valid file. Its name is written in
it: stores know blobs by their content, and one that another export had too would go when that is deleted.
"""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from io import BytesIO

from crewmesh_contracts.invocations.owned_data import EXPORT, KEEPERS, ExportPage, ExportRequest
from crewmesh_kit.dapr.sidecar import Sidecar
from crewmesh_kit.db.database import Database, DatabaseUnavailable
from crewmesh_kit.errors import NotFound, Problem
from crewmesh_kit.identity import Identity
from crewmesh_kit.logs import get_logger
from crewmesh_kit.owned_data.export import export_page

from crewmesh_gateway.exports import repository
from crewmesh_gateway.exports.repository import Taken
from crewmesh_gateway.settings import ExportSettings

GATEWAY = "gateway"
# They grow while they are read.
_ITS_OWN = ("exports", "export_parts")
_ORDER = (GATEWAY, *KEEPERS)
_LEASE_SECONDS = 60.0
_PAUSE_SECONDS = 10.0
_MOST_ATTEMPTS = 20

log = get_logger(__name__)


class Gatherer:
    def __init__(self, database: Database, sidecar: Sidecar, settings: ExportSettings) -> None:
        self._database = database
        self._sidecar = sidecar
        self._settings = settings
        self._asked = asyncio.Event()

    def nudge(self) -> None:
        """There is something to gather."""
        self._asked.set()

    async def run(self) -> None:
        while True:
            self._asked.clear()
            try:
                while await self.gather_one() or await self.drop_one():
                    pass
            except DatabaseUnavailable as problem:
                log.warning("exports wait", reason=problem.detail)
            try:
                async with asyncio.timeout(self._settings.poll_seconds):
                    await self._asked.wait()
            except TimeoutError:
                continue

    async def gather_one(self) -> bool:
        """Bring one export that is due as far as it goes; false when there is none."""
        async with self._database.system() as conn:
            taken = await repository.take(conn, lease_seconds=_LEASE_SECONDS)
        if taken is None:
            return False
        try:
            error = await self._gather(taken)
        except Problem as problem:
            if problem.retryable and taken.attempts < _MOST_ATTEMPTS:
                log.info("an export pauses", export=taken.id, reason=problem.detail)
                async with self._database.system() as conn:
                    await repository.pause(conn, taken, error=problem.detail, seconds=_PAUSE_SECONDS)
                return True
            error = problem.detail
        async with self._database.system() as conn:
            await repository.end(conn, taken, error=error, keep_days=self._settings.keep_days)
        return True

    async def _gather(self, taken: Taken) -> str | None:
        """Every page that is missing; why it cannot be done, if that is so."""
        service, cursor = taken.service or _ORDER[0], taken.cursor
        while True:
            page = await self._page(taken, service, cursor)
            following = service if page.cursor is not None else _after(service)
            payload = await asyncio.to_thread(_member, service, page, f"{taken.id}.{taken.attempts}.{taken.parts}")
            blob = await self._sidecar.blobs.put(payload) if payload else None
            async with self._database.system() as conn:
                ours = await repository.advance(
                    conn,
                    taken,
                    service=following or service,
                    cursor=page.cursor,
                    rows=len(page.rows),
                    blob=blob,
                    size=len(payload),
                    lease_seconds=_LEASE_SECONDS,
                )
            if not ours and blob is not None:
                await self.drop([blob])
            if not ours or following is None:
                return None  # somebody else has it, it was deleted, or it is whole
            taken = replace(taken, parts=taken.parts + int(blob is not None))
            service, cursor = following, page.cursor

    async def _page(self, taken: Taken, service: str, cursor: str | None) -> ExportPage:
        if service == GATEWAY:
            return await export_page(self._database, taken.organization, cursor, without=_ITS_OWN)
        invocation = EXPORT[service]
        identity = Identity(taken.organization, taken.requested_by, frozenset({invocation.permission}))
        return await self._sidecar.call(invocation, ExportRequest(cursor=cursor), identity=identity)

    async def drop_one(self) -> bool:
        """Delete the file of one export that has expired; false when there is none."""
        async with self._database.system() as conn:
            export = await repository.take_expired(conn)
            if export is None:
                return False
            blobs = await repository.blobs(conn, export)
            await self.drop(blobs)
            await repository.drop_parts(conn, export)
        return True

    async def drop(self, blobs: Sequence[str]) -> None:
        for blob in blobs:
            try:
                await self._sidecar.blobs.delete(blob)
            except NotFound:
                log.debug("a part was deleted before", blob=blob)

    async def file(self, blobs: Sequence[str]) -> AsyncIterator[bytes]:
        for blob in blobs:
            yield await self._sidecar.blobs.get(blob)


def _after(service: str) -> str | None:
    following = _ORDER.index(service) + 1
    return _ORDER[following] if following < len(_ORDER) else None


def _member(service: str, page: ExportPage, name: str) -> bytes:
    """JSON lines, compressed; nothing for an empty page."""
    if not page.rows:
        return b""
    lines = (json.dumps({"service": service, "table": each.table, "row": each.row}) + "\n" for each in page.rows)
    member = BytesIO()
    with gzip.GzipFile(name, "wb", compresslevel=6, fileobj=member, mtime=0) as file:
        file.write("".join(lines).encode())
    return member.getvalue()
