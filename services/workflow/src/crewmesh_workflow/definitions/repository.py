"""SQL of workflows and their drafts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import cast

from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.workflow import Definition
from crewmesh_kit.ids import new_id
from crewmesh_kit.sharing.rules import Reach
from psycopg import AsyncConnection
from psycopg.rows import DictRow, class_row
from psycopg.types.json import Jsonb

from crewmesh_workflow.definitions import publishing
from crewmesh_workflow.definitions.normal import same
from crewmesh_workflow.definitions.schemas import Workflow, WorkflowStatus, WorkflowSummary

_SUMMARY = "w.id, w.name, w.slug, w.status, w.version, w.draft IS NOT NULL AS has_draft, w.created_at, w.updated_at"
_ADD = """
INSERT INTO workflows (id, org_id, name, version, seed, draft) VALUES (%s, %s, %s, 0, %s, %s)
ON CONFLICT (org_id, seed) DO NOTHING RETURNING id
"""
_STORED = f"""
SELECT {_SUMMARY}, w.draft, w.draft_revision, v.definition
FROM workflows w LEFT JOIN workflow_versions v ON v.workflow_id = w.id AND v.version = w.version
"""
# An id beats a slug, should somebody have chosen a slug that looks like one. Archiving a workflow frees its slug.
_FIND = f"""{_STORED}
WHERE w.org_id = %(org)s AND (w.id = %(workflow)s OR (w.slug = %(workflow)s AND w.status <> 'archived'))
ORDER BY w.id = %(workflow)s DESC LIMIT 1
"""
_WITH_SLUGS = "w.org_id = %s AND w.slug = ANY(%s)"
_FIND_SLUGS = f"{_STORED} WHERE {_WITH_SLUGS} ORDER BY w.status = 'archived', w.id DESC"
_APPLIED_BUT = "w.org_id = %s AND w.applied AND w.status <> 'archived' AND w.slug <> ALL(%s)"
_FIND_APPLIED = f"{_STORED} WHERE {_APPLIED_BUT} ORDER BY w.slug"
# Locked by a statement of its own: one that waits for the lock would find the row as it is then, joined with what stood
# beside it before.
_LOCK = "SELECT FROM workflows w WHERE w.id = %s FOR UPDATE"
_LOCK_SLUGS = f"SELECT FROM workflows w WHERE {_WITH_SLUGS} ORDER BY w.id FOR UPDATE"
_LOCK_APPLIED = f"SELECT FROM workflows w WHERE {_APPLIED_BUT} ORDER BY w.id FOR UPDATE"
# Newest first; ids are ordered by time.
_PAGE = f"""
SELECT {_SUMMARY} FROM workflows w
WHERE w.org_id = %(org)s AND w.status = ANY(%(statuses)s)
  AND (%(before)s::text IS NULL OR w.id < %(before)s)
  AND (%(only)s::text[] IS NULL OR w.id = ANY(%(only)s)) AND w.id <> ALL(%(but)s::text[])
  AND (%(slug)s::text IS NULL OR w.slug = %(slug)s)
  AND (%(name)s::text IS NULL OR strpos(lower(w.name), lower(%(name)s)) > 0)
  AND (%(trigger)s::text IS NULL
       OR EXISTS (SELECT FROM triggers t WHERE t.workflow_id = w.id AND t.kind = %(trigger)s))
ORDER BY w.id DESC LIMIT %(limit)s
"""
_SAVE_DRAFT = """
UPDATE workflows SET draft = %s, draft_revision = draft_revision + 1, updated_at = now() WHERE id = %s
"""
_NAME_DRAFT = "UPDATE workflows SET name = %s WHERE id = %s AND version = 0"
_MARK_APPLIED = "UPDATE workflows SET applied = true WHERE id = %s AND NOT applied"

UNTITLED = "Untitled"
NOT_ARCHIVED: tuple[WorkflowStatus, ...] = ("active", "paused")


@dataclass(frozen=True, slots=True)
class Stored:
    """A workflow as its row tells it; the definitions are JSON as yet."""

    id: str
    name: str
    slug: str | None
    status: WorkflowStatus
    version: int
    has_draft: bool
    created_at: datetime
    updated_at: datetime
    draft: JsonObject | None
    draft_revision: int
    definition: JsonObject | None

    @property
    def edited(self) -> JsonObject:
        """The draft, which is the published version where nobody has saved another."""
        return self.draft if self.draft is not None else self.definition or {}

    @property
    def differs(self) -> bool:
        return self.draft is not None and (self.definition is None or not same(self.draft, self.definition))

    @property
    def etag(self) -> str:
        """Of what is edited: another version or another revision is something else to start from."""
        return f"{self.version}.{self.draft_revision}"

    @property
    def tag(self) -> str:
        """Of the workflow as a whole."""
        return f"{self.etag}.{self.status}"

    def workflow(self) -> Workflow:
        return Workflow(
            **{name: getattr(self, name) for name in WorkflowSummary.model_fields},
            definition=None if self.definition is None else Definition.model_validate(self.definition),
            draft_revision=self.draft_revision,
            draft_differs=self.differs,
        )


@dataclass(frozen=True, slots=True)
class Filters:
    """What a list is narrowed down to."""

    statuses: tuple[WorkflowStatus, ...] = NOT_ARCHIVED
    slug: str | None = None
    name: str | None = None
    trigger: str | None = None


async def add(
    conn: AsyncConnection[DictRow],
    organization: str,
    definition: Definition,
    *,
    seed: str | None = None,
    message: str = "",
    by: str = "",
) -> Workflow | None:
    """The new workflow at version 1, with its triggers; none when this seed was planted before."""
    id_ = new_id("wf")
    row = await (await conn.execute(_ADD, [id_, organization, definition.name, seed, None])).fetchone()
    if row is None:
        return None
    await publishing.publish(conn, organization, id_, 1, definition, message=message, by=by)
    return (await get(conn, organization, id_)).workflow()


async def add_draft(conn: AsyncConnection[DictRow], organization: str, draft: JsonObject) -> Stored:
    id_ = new_id("wf")
    await conn.execute(_ADD, [id_, organization, _name(draft), None, Jsonb(draft)])
    return await get(conn, organization, id_)


async def find(
    conn: AsyncConnection[DictRow], organization: str, workflow: str, *, lock: bool = False
) -> Stored | None:
    """By id or slug. ``lock``: nobody else changes it until the transaction ends."""
    async with conn.cursor(row_factory=class_row(Stored)) as cursor:
        await cursor.execute(_FIND, {"org": organization, "workflow": workflow})
        found = await cursor.fetchone()
        if found is None or not lock:
            return found
        await conn.execute(_LOCK, [found.id])
        await cursor.execute(_FIND, {"org": organization, "workflow": found.id})
        return await cursor.fetchone()


async def get(conn: AsyncConnection[DictRow], organization: str, workflow: str) -> Stored:
    """What is there for sure, for this transaction has written it or holds it locked."""
    return cast(Stored, await find(conn, organization, workflow))


async def page(
    conn: AsyncConnection[DictRow], organization: str, filters: Filters, reach: Reach, before: str | None, limit: int
) -> list[WorkflowSummary]:
    parameters: dict[str, object] = {
        **reach.parameters,
        "org": organization,
        "statuses": list(filters.statuses),
        "slug": filters.slug,
        "name": filters.name,
        "trigger": filters.trigger,
        "before": before,
        "limit": limit,
    }
    async with conn.cursor(row_factory=class_row(WorkflowSummary)) as cursor:
        await cursor.execute(_PAGE, parameters)
        return await cursor.fetchall()


async def with_slugs(conn: AsyncConnection[DictRow], organization: str, slugs: list[str]) -> dict[str, Stored]:
    """Workflows by slug, locked: the one that is not archived, else the one that was archived last."""
    await conn.execute(_LOCK_SLUGS, [organization, slugs])
    async with conn.cursor(row_factory=class_row(Stored)) as cursor:
        await cursor.execute(_FIND_SLUGS, [organization, slugs])
        found = await cursor.fetchall()
    return {cast(str, stored.slug): stored for stored in reversed(found)}


async def applied_but(conn: AsyncConnection[DictRow], organization: str, slugs: list[str]) -> list[Stored]:
    """What files brought earlier and these slugs do not name, locked."""
    await conn.execute(_LOCK_APPLIED, [organization, slugs])
    async with conn.cursor(row_factory=class_row(Stored)) as cursor:
        await cursor.execute(_FIND_APPLIED, [organization, slugs])
        return await cursor.fetchall()


async def save_draft(conn: AsyncConnection[DictRow], workflow: str, draft: JsonObject) -> None:
    await conn.execute(_SAVE_DRAFT, [Jsonb(draft), workflow])
    await conn.execute(_NAME_DRAFT, [_name(draft), workflow])


async def mark_applied(conn: AsyncConnection[DictRow], workflow: str) -> None:
    await conn.execute(_MARK_APPLIED, [workflow])


def _name(draft: JsonObject) -> str:
    """What a workflow is called while it is only a draft."""
    name = draft.get("name")
    return name[:200] if isinstance(name, str) and name.strip() else UNTITLED
