"""SQL of triggers."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import AsyncConnection
from psycopg.rows import DictRow, class_row

_MATCHING = """
SELECT DISTINCT workflow_id AS workflow, workflow_version AS version FROM triggers
WHERE org_id = %s AND md5(event_type) = md5(%s) AND event_type = %s AND (event_source IS NULL OR event_source = %s)
ORDER BY workflow_id
"""


@dataclass(frozen=True, slots=True)
class Match:
    workflow: str
    version: int


async def matching(conn: AsyncConnection[DictRow], organization: str, type_: str, source: str) -> list[Match]:
    """The workflows that want an event of this type and source."""
    async with conn.cursor(row_factory=class_row(Match)) as cursor:
        await cursor.execute(_MATCHING, [organization, type_, type_, source])
        return await cursor.fetchall()
