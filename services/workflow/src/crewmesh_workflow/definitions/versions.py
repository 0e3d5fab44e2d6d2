"""The history of a workflow: its versions, what differs between them, and the way back."""

from __future__ import annotations

from typing import Literal, cast

from crewmesh_contracts.base import JsonObject
from crewmesh_kit.http.pagination import Page, PageRequest
from crewmesh_kit.identity import Identity
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_workflow.access import CHANGE, SEE
from crewmesh_workflow.definitions import publishing, versions_repository
from crewmesh_workflow.definitions.changes import Changes
from crewmesh_workflow.definitions.checking import runnable
from crewmesh_workflow.definitions.diff import Diff, diff
from crewmesh_workflow.definitions.drafts import published, require_current, version_published
from crewmesh_workflow.definitions.errors import UnknownVersion
from crewmesh_workflow.definitions.normal import same
from crewmesh_workflow.definitions.repository import Stored
from crewmesh_workflow.definitions.schemas import Published, RollbackRequest, RunCounts, Version, VersionSummary


class Versions:
    def __init__(self, changes: Changes) -> None:
        self._changes = changes

    async def page(self, identity: Identity, workflow: str, page: PageRequest) -> Page[VersionSummary]:
        after = page.after(int)
        before = int(after[0]) if after else None
        async with self._changes.reading(identity) as conn:
            stored = await self._changes.lookup.found(conn, identity, workflow, SEE)
            found = await versions_repository.page(conn, stored.id, before, page.limit + 1)
            live = {runs.version: runs.runs for runs in await versions_repository.live(conn, stored.id)}
        summaries = [
            VersionSummary(
                version=row.version,
                message=row.message,
                published_by=row.published_by,
                created_at=row.created_at,
                published=row.version == stored.version,
                runs=live.get(row.version, RunCounts()),
            )
            for row in found
        ]
        return page.page(summaries, lambda version: (version.version,))

    async def get(self, identity: Identity, workflow: str, version: int) -> Version:
        async with self._changes.reading(identity) as conn:
            stored = await self._changes.lookup.found(conn, identity, workflow, SEE)
            found = await versions_repository.get(conn, stored.id, version)
        if found is None:
            raise UnknownVersion(workflow, version)
        return found

    async def diff(self, identity: Identity, workflow: str, before: int, after: int | Literal["draft"]) -> Diff:
        async with self._changes.reading(identity) as conn:
            stored = await self._changes.lookup.found(conn, identity, workflow, SEE)
            one = await content(conn, stored, before)
            other = stored.edited if after == "draft" else await content(conn, stored, after)
        return diff(one, other)

    async def rollback(
        self, identity: Identity, workflow: str, request: RollbackRequest, *, if_match: str | None, key: str | None
    ) -> Published:
        """A new version with the content of an old one. A draft stays what it is."""

        async def roll_back(conn: AsyncConnection[DictRow]) -> Published:
            stored = await self._changes.lookup.found(conn, identity, workflow, CHANGE, lock=True)
            if if_match is not None:
                require_current(if_match, stored)
            old = await content(conn, stored, request.version)
            if same(old, cast(JsonObject, stored.definition)):
                return await published(conn, identity.organization, stored.id, changed=False)
            await publishing.publish(
                conn,
                identity.organization,
                stored.id,
                stored.version + 1,
                await runnable(old, stored=True),
                message=request.message or f"Back to version {request.version}.",
                by=identity.subject,
            )
            await version_published(conn, identity, "workflow.rolled-back", stored, old, {"to": request.version})
            return await published(conn, identity.organization, stored.id, changed=True)

        return await self._changes.once(identity, "rollback", key, request, Published, roll_back, of=workflow)


async def content(conn: AsyncConnection[DictRow], stored: Stored, version: int) -> JsonObject:
    """What the version says; UnknownVersion when there is none of this number."""
    found = await versions_repository.content(conn, stored.id, version)
    if found is None:
        raise UnknownVersion(stored.id, version)
    return found
