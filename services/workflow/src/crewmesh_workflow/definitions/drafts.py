"""Drafts: what an editor saves again and again, right or wrong, until it is published."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from crewmesh_contracts.base import Contract, JsonObject
from crewmesh_kit.errors import PreconditionFailed
from crewmesh_kit.http.etags import require_match
from crewmesh_kit.identity import Identity
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_workflow.access import CHANGE, SEE
from crewmesh_workflow.audited import definition_changed
from crewmesh_workflow.definitions import publishing, repository, versions_repository
from crewmesh_workflow.definitions.changes import Changes
from crewmesh_workflow.definitions.checking import check_aside, runnable
from crewmesh_workflow.definitions.repository import Stored
from crewmesh_workflow.definitions.schemas import Draft, Published, PublishRequest, mistakes_at
from crewmesh_workflow.program.errors import Mistake


class Sent(Contract):
    document: JsonObject


class Drafts:
    def __init__(self, changes: Changes) -> None:
        self._changes = changes

    async def get(self, identity: Identity, workflow: str) -> Draft:
        async with self._changes.reading(identity) as conn:
            stored = await self._changes.lookup.found(conn, identity, workflow, SEE)
        return _draft(stored, (await check_aside(stored.edited)).mistakes)

    async def save(
        self, identity: Identity, workflow: str, document: JsonObject, *, if_match: str | None, key: str | None
    ) -> Draft:
        """Any object is kept, with a list of what is wrong with it, unless somebody else has saved meanwhile."""
        mistakes = (await check_aside(document)).mistakes

        async def write(conn: AsyncConnection[DictRow]) -> Draft:
            stored = await self._changes.lookup.found(conn, identity, workflow, CHANGE, lock=True)
            require_current(if_match, stored)
            await repository.save_draft(conn, stored.id, document)
            await definition_changed(
                conn,
                identity,
                "workflow.draft-saved",
                stored.id,
                content=(stored.edited, document),
                before={"revision": stored.draft_revision},
                after={"revision": stored.draft_revision + 1},
            )
            return _draft(await repository.get(conn, identity.organization, stored.id), mistakes)

        return await self._changes.once(identity, "draft", key, Sent(document=document), Draft, write, of=workflow)

    async def publish(
        self, identity: Identity, workflow: str, request: PublishRequest, *, if_match: str | None, key: str | None
    ) -> Published:
        """The draft becomes the version that new runs start with; runs that have begun keep theirs."""

        async def publish(conn: AsyncConnection[DictRow]) -> Published:
            stored = await self._changes.lookup.found(conn, identity, workflow, CHANGE, lock=True)
            require_current(if_match, stored)
            if stored.definition is not None and not stored.differs:
                if stored.has_draft:
                    await publishing.drop_draft(conn, stored.id)
                return await published(conn, identity.organization, stored.id, changed=False)
            definition = await runnable(stored.edited)
            await publishing.publish(
                conn,
                identity.organization,
                stored.id,
                stored.version + 1,
                definition,
                message=request.message,
                by=identity.subject,
            )
            await publishing.drop_draft(conn, stored.id)
            await version_published(
                conn, identity, "workflow.published", stored, stored.edited, {"message": request.message}
            )
            return await published(conn, identity.organization, stored.id, changed=True)

        return await self._changes.once(identity, "publish", key, request, Published, publish, of=workflow)


async def published(conn: AsyncConnection[DictRow], organization: str, workflow: str, *, changed: bool) -> Published:
    """What there is now, and what stays behind."""
    stored = await repository.get(conn, organization, workflow)
    live = await versions_repository.live(conn, stored.id)
    now = f"Version {stored.version} is published."
    same = f"The content is that of version {stored.version}, so there is no new version."
    return Published(
        workflow=stored.id,
        version=stored.version,
        draft_revision=stored.draft_revision,
        changed=changed,
        detail=now if changed else same,
        waiting=tuple(runs for runs in live if runs.version != stored.version),
    )


async def version_published(
    conn: AsyncConnection[DictRow],
    identity: Identity,
    action: str,
    stored: Stored,
    content: JsonObject,
    beside: JsonObject,
) -> None:
    """For the audit log: the next version of what was stored, with this content."""
    await definition_changed(
        conn,
        identity,
        action,
        stored.id,
        content=(stored.definition, content),
        before={"version": stored.version},
        after={"version": stored.version + 1, **beside},
    )


def require_current(if_match: str | None, stored: Stored) -> None:
    """If-Match must name what is there: by the ETag of the draft, or of the workflow as a whole."""
    with suppress(PreconditionFailed):
        require_match(if_match, stored.tag)
        return
    require_match(if_match, stored.etag)


def _draft(stored: Stored, mistakes: Sequence[Mistake]) -> Draft:
    return Draft(
        workflow=stored.id,
        version=stored.version,
        revision=stored.draft_revision,
        differs=stored.differs,
        definition=stored.edited,
        valid=not mistakes,
        mistakes=mistakes_at(mistakes),
    )
