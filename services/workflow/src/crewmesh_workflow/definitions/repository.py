"""SQL of definitions and their triggers."""

from __future__ import annotations

from crewmesh_contracts.workflow import Definition
from crewmesh_kit.ids import new_id
from psycopg import AsyncConnection
from psycopg.rows import DictRow, class_row

from crewmesh_workflow.definitions.schemas import Workflow, WorkflowSummary

_ADD = """
INSERT INTO workflows (id, org_id, name, version, seed) VALUES (%s, %s, %s, 1, %s)
ON CONFLICT (org_id, seed) DO NOTHING
RETURNING id, name, version, created_at
"""
_ADD_VERSION = "INSERT INTO workflow_versions (workflow_id, version, org_id, definition) VALUES (%s, 1, %s, %s::jsonb)"
_ADD_TRIGGER = """
INSERT INTO triggers (id, org_id, workflow_id, workflow_version, event_type, event_source)
VALUES (%s, %s, %s, 1, %s, %s)
"""
_GET = """
SELECT w.id, w.name, w.version, w.created_at, v.definition
FROM workflows w JOIN workflow_versions v ON v.workflow_id = w.id AND v.version = w.version
WHERE w.org_id = %s AND w.id = %s
"""
# Newest first; ids are ordered by time.
_PAGE = """
SELECT id, name, version, created_at FROM workflows
WHERE org_id = %(org)s AND (%(before)s::text IS NULL OR id < %(before)s) ORDER BY id DESC LIMIT %(limit)s
"""


async def add(
    conn: AsyncConnection[DictRow], organization: str, definition: Definition, *, seed: str | None = None
) -> Workflow | None:
    """The new workflow with its triggers; none when this seed was planted before."""
    workflow_id = new_id("wf")
    row = await (await conn.execute(_ADD, [workflow_id, organization, definition.name, seed])).fetchone()
    if row is None:
        return None
    await conn.execute(_ADD_VERSION, [workflow_id, organization, definition.model_dump_json(by_alias=True)])
    for trigger in definition.triggers:
        await conn.execute(_ADD_TRIGGER, [new_id("trg"), organization, workflow_id, trigger.type, trigger.source])
    return Workflow.model_validate({**row, "definition": definition})


async def get(conn: AsyncConnection[DictRow], organization: str, workflow: str) -> Workflow | None:
    row = await (await conn.execute(_GET, [organization, workflow])).fetchone()
    return None if row is None else Workflow.model_validate(row)


async def page(
    conn: AsyncConnection[DictRow], organization: str, before: str | None, limit: int
) -> list[WorkflowSummary]:
    async with conn.cursor(row_factory=class_row(WorkflowSummary)) as cursor:
        await cursor.execute(_PAGE, {"org": organization, "before": before, "limit": limit})
        return await cursor.fetchall()
