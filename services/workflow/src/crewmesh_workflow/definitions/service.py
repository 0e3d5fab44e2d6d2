"""Workflows as a whole: saved, found, paused, archived. What is published has been compiled, so it can run."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from crewmesh_contracts.base import Contract, JsonObject
from crewmesh_contracts.workflow import Definition
from crewmesh_contracts.workflow.triggers.base import TRIGGER_KINDS
from crewmesh_kit import audit
from crewmesh_kit.db.database import Database
from crewmesh_kit.db.idempotency import Idempotency
from crewmesh_kit.http.pagination import Page, PageRequest
from crewmesh_kit.identity import Identity
from crewmesh_kit.resources import Resources
from crewmesh_kit.sharing.service import Sharing
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_workflow.access import CHANGE, SEE
from crewmesh_workflow.audited import definition_changed
from crewmesh_workflow.definitions import publishing, repository
from crewmesh_workflow.definitions.applying import Applying
from crewmesh_workflow.definitions.changes import Changes
from crewmesh_workflow.definitions.checking import check_aside, runnable
from crewmesh_workflow.definitions.drafts import Drafts, require_current
from crewmesh_workflow.definitions.errors import NothingPublished, UnknownTriggerKind
from crewmesh_workflow.definitions.moves import Moves
from crewmesh_workflow.definitions.normal import build, spelled_out
from crewmesh_workflow.definitions.repository import Filters, Stored
from crewmesh_workflow.definitions.schemas import (
    Created,
    StatusRequest,
    Workflow,
    WorkflowStatus,
    WorkflowSummary,
    mistakes_at,
)
from crewmesh_workflow.definitions.versions import Versions

_STATUS_ACTIONS: dict[WorkflowStatus, str] = {
    "active": "workflow.activated",
    "paused": "workflow.paused",
    "archived": "workflow.archived",
}


class Sent(Contract):
    """What was sent to be saved; the same under the same key is the same request."""

    document: JsonObject
    publish: bool


class Definitions:
    def __init__(self, changes: Changes) -> None:
        self._changes = changes

    async def create(self, identity: Identity, document: JsonObject, *, publish: bool, key: str | None) -> Created:
        """A workflow at version 1, or one that is a draft yet and may be wrong."""
        definition = await runnable(document) if publish else None

        async def save(conn: AsyncConnection[DictRow]) -> Created:
            if definition is None:
                stored = await repository.add_draft(conn, identity.organization, document)
                checked = await check_aside(document)
                await _created(conn, identity, Created(**dict(stored.workflow())), document)
                return Created(**dict(stored.workflow()), mistakes=mistakes_at(checked.mistakes))
            added = await repository.add(conn, identity.organization, definition, by=identity.subject)
            if added is None:
                raise LookupError("a workflow without a seed is always new")
            await _created(conn, identity, Created(**dict(added)), spelled_out(definition))
            return Created(**dict(added))

        request = Sent(document=document, publish=publish)
        return await self._changes.once(identity, "workflows", key, request, Created, save)

    async def plant(
        self, conn: AsyncConnection[DictRow], organization: str, seed: str, definition: Definition
    ) -> Workflow | None:
        """Starting content of an organization: added unless this seed was planted before."""
        return await repository.add(conn, organization, definition, seed=seed)

    async def get(self, identity: Identity, workflow: str) -> Workflow:
        async with self._changes.reading(identity) as conn:
            return (await self._changes.lookup.found(conn, identity, workflow, SEE)).workflow()

    async def published(self, identity: Identity, workflow: str) -> Definition:
        found = await self.get(identity, workflow)
        if found.definition is None:
            raise NothingPublished(found.id)
        return found.definition

    async def page(self, identity: Identity, page: PageRequest, filters: Filters) -> Page[WorkflowSummary]:
        kinds = TRIGGER_KINDS.all()
        if filters.trigger is not None and filters.trigger not in kinds:
            raise UnknownTriggerKind(filters.trigger, kinds)
        before = page.after_text()
        async with self._changes.reading(identity) as conn:
            reach = await self._changes.sharing.reach(conn, identity, SEE)
            found = await repository.page(conn, identity.organization, filters, reach, before, page.limit + 1)
        return page.page(found, lambda workflow: (workflow.id,))

    async def set_status(
        self,
        identity: Identity,
        workflow: str,
        request: StatusRequest,
        *,
        if_match: str | None = None,
        key: str | None = None,
    ) -> Workflow:
        """Runs that have begun go on whatever the status; it says whether new ones start."""

        async def change(conn: AsyncConnection[DictRow]) -> Workflow:
            stored = await self._changes.lookup.found(conn, identity, workflow, CHANGE, lock=True)
            if if_match is not None:
                require_current(if_match, stored)
            if stored.status != request.status:
                await change_status(conn, identity.organization, stored, request.status)
                before, after = {"status": stored.status}, {"status": request.status}
                await audit.record(
                    conn, identity, _STATUS_ACTIONS[request.status], stored.id, before={**before}, after={**after}
                )
            return (await repository.get(conn, identity.organization, stored.id)).workflow()

        return await self._changes.once(identity, "status", key, request, Workflow, change, of=workflow)


async def _created(conn: AsyncConnection[DictRow], identity: Identity, created: Created, document: JsonObject) -> None:
    after: JsonObject = {"name": created.name, "slug": created.slug, "version": created.version}
    await definition_changed(
        conn, identity, "workflow.created", created.id, content=(None, document), before=None, after=after
    )


async def change_status(
    conn: AsyncConnection[DictRow], organization: str, stored: Stored, status: WorkflowStatus
) -> None:
    """To another one, with its triggers."""
    definition = None if stored.definition is None else Definition.model_validate(stored.definition)
    await publishing.set_status(
        conn, organization, stored.id, status, version=stored.version, definition=definition, slug=stored.slug
    )


@asynccontextmanager
async def open_definitions(resources: Resources) -> AsyncGenerator[Definitions]:
    build()
    changes = Changes(resources.get(Database), resources.get(Idempotency), resources.get(Sharing))
    resources.add(Drafts(changes))
    resources.add(Versions(changes))
    resources.add(Moves(changes))
    resources.add(Applying(changes))
    yield Definitions(changes)
