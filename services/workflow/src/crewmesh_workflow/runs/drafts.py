"""Pinning a draft, so that a test run of it has an immutable version like every other run.

A tried draft is a version with a negative number that follows from its content: the same draft is the same version, and
no number ever means two things. Lists of versions do not show them; retention forgets them after their runs.
"""

from __future__ import annotations

import hashlib

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_workflow.definitions.lookup import draft_to_test

_LOWEST = 1 << 31
_PIN = """
INSERT INTO workflow_versions (workflow_id, version, org_id, definition, message)
VALUES (%(workflow)s, %(version)s, %(org)s, %(definition)s::jsonb, 'A draft that was tried')
ON CONFLICT (workflow_id, version) DO UPDATE SET created_at = now()
RETURNING definition = %(definition)s::jsonb AS same
"""


async def pin_draft(conn: AsyncConnection[DictRow], organization: str, workflow: str) -> tuple[str, int]:
    """The workflow's id and the version that now holds its draft; InvalidDefinition when the draft cannot run."""
    draft = await draft_to_test(conn, organization, workflow)
    definition = draft.definition.model_dump_json(by_alias=True)
    for attempt in range(3):
        version = _number(definition, attempt)
        parameters = {"workflow": draft.workflow, "version": version, "org": organization, "definition": definition}
        row = await (await conn.execute(_PIN, parameters)).fetchone()
        if row is not None and row["same"]:
            return draft.workflow, version
    raise LookupError("three different drafts of one workflow have the same number")


def _number(definition: str, attempt: int) -> int:
    digest = hashlib.sha256(f"{attempt} {definition}".encode()).digest()
    return -1 - int.from_bytes(digest[:8]) % (_LOWEST - 1)
