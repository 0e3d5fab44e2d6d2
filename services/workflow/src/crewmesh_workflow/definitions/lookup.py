"""What other features ask of a workflow: may it be started, with which version, and what does its draft say."""

from __future__ import annotations

from dataclasses import dataclass

from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.workflow import Definition
from crewmesh_kit.identity import Identity
from crewmesh_kit.sharing.models import Need
from crewmesh_kit.sharing.service import Sharing
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_workflow.access import RUN
from crewmesh_workflow.definitions import repository
from crewmesh_workflow.definitions.checking import runnable
from crewmesh_workflow.definitions.errors import NothingPublished, UnknownWorkflow, WorkflowNotActive
from crewmesh_workflow.definitions.repository import Stored

_ID = """
SELECT id FROM workflows WHERE org_id = %(org)s AND (id = %(name)s OR (slug = %(name)s AND status <> 'archived'))
ORDER BY id = %(name)s DESC LIMIT 1
"""
_ARCHIVED_ID = "SELECT id FROM workflows WHERE org_id = %(org)s AND slug = %(name)s ORDER BY id DESC LIMIT 1"


@dataclass(frozen=True, slots=True)
class Startable:
    """The version that new runs start with, as JSON of its definition."""

    workflow: str
    version: int
    definition: JsonObject


@dataclass(frozen=True, slots=True)
class DraftToTest:
    """A draft that can run, and which one it was."""

    workflow: str
    revision: int
    definition: Definition


class Lookup:
    """Workflows as far as somebody reaches them. Those that are hidden are unknown."""

    def __init__(self, sharing: Sharing) -> None:
        self._sharing = sharing

    async def found(
        self, conn: AsyncConnection[DictRow], identity: Identity, workflow: str, need: Need, *, lock: bool = False
    ) -> Stored:
        """By id or slug."""
        stored = await existing(conn, identity.organization, workflow, lock=lock)
        await self._sharing.ensure(conn, identity, need, stored.id, unknown=UnknownWorkflow(workflow))
        return stored

    async def startable(self, conn: AsyncConnection[DictRow], identity: Identity, workflow: str) -> Startable:
        """By id or slug; a problem that says what to do when it may not be started."""
        found = await self.found(conn, identity, workflow, RUN)
        if found.status != "active":
            raise WorkflowNotActive(found.id, found.status)
        if found.definition is None:
            raise NothingPublished(found.id)
        return Startable(found.id, found.version, found.definition)


async def existing(conn: AsyncConnection[DictRow], organization: str, workflow: str, *, lock: bool = False) -> Stored:
    """By id or slug; UnknownWorkflow when there is none."""
    found = await repository.find(conn, organization, workflow, lock=lock)
    if found is None:
        raise UnknownWorkflow(workflow)
    return found


async def workflow_id(conn: AsyncConnection[DictRow], organization: str, workflow: str) -> str:
    """From an id or slug."""
    return (await existing(conn, organization, workflow)).id


async def id_in_filter(conn: AsyncConnection[DictRow], organization: str, workflow: str | None) -> str | None:
    """From an id or slug; what names no workflow stays as it is, and nothing is found for it."""
    row = await (await conn.execute(_ID, {"org": organization, "name": workflow})).fetchone() if workflow else None
    return workflow if row is None else row["id"]


async def id_in_scope(conn: AsyncConnection[DictRow], organization: str, workflow: str) -> str:
    """For the scope of an idempotency key, which is the workflow's and not the name's: that may be another's by now.

    An archived one is meant as long as no other has its slug, for a repeated request is to find what it did.
    """
    parameters = {"org": organization, "name": workflow}
    row = await (await conn.execute(_ID, parameters)).fetchone()
    row = row or await (await conn.execute(_ARCHIVED_ID, parameters)).fetchone()
    return workflow if row is None else row["id"]


async def draft_to_test(conn: AsyncConnection[DictRow], organization: str, workflow: str) -> DraftToTest:
    """The draft, or the published version where there is no other; InvalidDefinition when it could not run."""
    found = await existing(conn, organization, workflow)
    return DraftToTest(found.id, found.draft_revision, await runnable(found.edited))
