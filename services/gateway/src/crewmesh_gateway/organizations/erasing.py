"""SQL of forgetting an organization: the rows of every table that names it, found in the catalogue.

So a table that is added later cannot be forgotten here.
"""

from __future__ import annotations

from psycopg import AsyncConnection, sql
from psycopg.rows import DictRow

_TAKE_DUE = """
SELECT id FROM organizations WHERE status = 'deleting' AND delete_after <= now()
ORDER BY delete_after LIMIT 1 FOR UPDATE SKIP LOCKED
"""
# Of sessions the organization is only where they are at the moment; they are their person's.
_TABLES = """
SELECT c.table_name AS name
FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
WHERE c.table_schema = current_schema() AND c.column_name = 'org_id' AND t.table_type = 'BASE TABLE'
  AND c.table_name <> 'sessions'
ORDER BY c.table_name
"""
# Years of an audit log take longer than a request may.
_TAKE_TIME = "SET LOCAL statement_timeout = '15min'"
_FORGET_LAST = "UPDATE users SET last_org_id = NULL WHERE last_org_id = %s"


async def take_due(conn: AsyncConnection[DictRow]) -> str | None:
    """One whose time is over, locked; none when there is none that nobody else is at."""
    row = await (await conn.execute(_TAKE_DUE)).fetchone()
    return row["id"] if row else None


async def erase(conn: AsyncConnection[DictRow], organization: str) -> None:
    await conn.execute(_TAKE_TIME)
    await conn.execute(_FORGET_LAST, [organization])
    await conn.execute("DELETE FROM organizations WHERE id = %s", [organization])
    for row in await (await conn.execute(_TABLES)).fetchall():
        statement = sql.SQL("DELETE FROM {} WHERE org_id = %s").format(sql.Identifier(row["name"]))
        await conn.execute(statement, [organization])
