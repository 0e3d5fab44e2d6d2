"""What happens when a version comes to be, whoever asks for it: a person, a rollback, a file, a seed.

All of it is part of the caller's transaction: the version, what the workflow is called now, and its triggers.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from crewmesh_contracts.workflow import Definition
from psycopg import AsyncConnection
from psycopg.errors import UniqueViolation
from psycopg.rows import DictRow

from crewmesh_workflow.definitions.errors import SlugTaken
from crewmesh_workflow.definitions.schemas import WorkflowStatus
from crewmesh_workflow.triggers import registration

_ADD_VERSION = """
INSERT INTO workflow_versions (workflow_id, version, org_id, definition, message, published_by)
VALUES (%s, %s, %s, %s::jsonb, %s, %s)
"""
_SET_VERSION = """
UPDATE workflows SET version = %s, name = %s, slug = %s, updated_at = now() WHERE id = %s
RETURNING status = 'active' AS active
"""
_SET_STATUS = """
UPDATE workflows w SET status = %(status)s, updated_at = now() FROM workflows was
WHERE w.id = %(workflow)s AND was.id = w.id RETURNING was.status AS was
"""
_DROP_DRAFT = "UPDATE workflows SET draft = NULL, draft_revision = draft_revision + 1 WHERE id = %s"


async def publish(
    conn: AsyncConnection[DictRow],
    organization: str,
    workflow: str,
    version: int,
    definition: Definition,
    *,
    message: str,
    by: str,
) -> None:
    """New runs start with this version from the commit on. The definition has been checked."""
    content = definition.model_dump_json(by_alias=True)
    await conn.execute(_ADD_VERSION, [workflow, version, organization, content, message, by])
    with slug_is_free(definition.slug):
        cursor = await conn.execute(_SET_VERSION, [version, definition.name, definition.slug, workflow])
        row = await cursor.fetchone()
    active = row is not None and bool(row["active"])
    await registration.register(conn, organization, workflow, version, definition, enabled=active)


async def drop_draft(conn: AsyncConnection[DictRow], workflow: str) -> None:
    """What is edited is what is published, again."""
    await conn.execute(_DROP_DRAFT, [workflow])


async def set_status(
    conn: AsyncConnection[DictRow],
    organization: str,
    workflow: str,
    status: WorkflowStatus,
    *,
    version: int,
    definition: Definition | None,
    slug: str | None,
) -> None:
    """With the triggers of the published version. What an archived one was called may be another's by now."""
    with slug_is_free(slug):
        row = await (await conn.execute(_SET_STATUS, {"status": status, "workflow": workflow})).fetchone()
    if definition is None or row is None:
        return
    active = status == "active"
    await registration.enable(conn, workflow, active)
    if row["was"] == "archived":
        # Who waits for the ends of runs of this slug waits for this workflow again.
        await registration.register(conn, organization, workflow, version, definition, enabled=active)


@contextmanager
def slug_is_free(slug: str | None) -> Generator[None]:
    """The database decides whether it is: two may ask at the same time."""
    try:
        yield
    except UniqueViolation as error:
        if error.diag.constraint_name != "workflows_by_slug":
            raise
        raise SlugTaken(slug) from error
