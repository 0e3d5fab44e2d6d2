"""SQL of a workflow's triggers as people see them."""

from __future__ import annotations

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_workflow.hooks.repository import Hook, hook_of

_OF_WORKFLOW = """
SELECT t.*, last.id AS last_run, last.created_at AS last_run_at
FROM triggers t LEFT JOIN LATERAL (
    SELECT id, created_at FROM (
        SELECT id, created_at, started_by FROM runs
        WHERE org_id = t.org_id AND workflow_id = t.workflow_id ORDER BY id DESC LIMIT 1000
    ) newest WHERE started_by = t.id ORDER BY id DESC LIMIT 1
) last ON true
WHERE t.org_id = %s AND t.workflow_id = %s AND t.kind <> 'wait' ORDER BY t.key
"""
_LOCK_HOOK = """
SELECT * FROM triggers WHERE org_id = %s AND workflow_id = %s AND key = %s AND kind = 'webhook' FOR UPDATE
"""
_NEW_SECRET = """
UPDATE triggers SET secret_generation = secret_generation + 1, secret_rotated_at = now() WHERE id = %s RETURNING *
"""
_NEW_ADDRESS = "UPDATE triggers SET address_generation = address_generation + 1 WHERE id = %s RETURNING *"


async def of_workflow(conn: AsyncConnection[DictRow], organization: str, workflow: str) -> list[DictRow]:
    return await (await conn.execute(_OF_WORKFLOW, [organization, workflow])).fetchall()


async def locked_hook(conn: AsyncConnection[DictRow], organization: str, workflow: str, key: str) -> Hook | None:
    row = await (await conn.execute(_LOCK_HOOK, [organization, workflow, key])).fetchone()
    return None if row is None else hook_of(row)


async def renew_secret(conn: AsyncConnection[DictRow], hook: Hook) -> DictRow | None:
    return await (await conn.execute(_NEW_SECRET, [hook.id])).fetchone()


async def renew_address(conn: AsyncConnection[DictRow], hook: Hook) -> DictRow | None:
    return await (await conn.execute(_NEW_ADDRESS, [hook.id])).fetchone()
