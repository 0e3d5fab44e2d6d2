"""The SQL of uses of tools, and of what runs have seen."""

from __future__ import annotations

from dataclasses import dataclass

from crewmesh_contracts.base import JsonObject
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from crewmesh_agent_crew.guardrails.taint import Taint
from crewmesh_agent_crew.tools.work import Status, ToolUse

# In a conversation what was seen for earlier answers stands in them, and is read again. Of answers whose runs are
# forgotten nobody knows any more what was seen. In a run of a workflow one step's output is another one's input.
_TAINT = """
WITH heard AS (
    SELECT crew_run AS id FROM conversation_messages
    WHERE conversation = (SELECT conversation FROM crew_runs WHERE org_id = %(org)s AND id = %(run)s)
        AND org_id = %(org)s AND role = 'assistant'
    UNION SELECT other.id FROM crew_runs this JOIN crew_runs other
        ON other.org_id = this.org_id AND other.charge->>'run' = this.charge->>'run'
    WHERE this.org_id = %(org)s AND this.id = %(run)s AND this.charge->>'run' IS NOT NULL
    UNION SELECT %(run)s
)
SELECT coalesce(bool_or(run.id IS NULL OR seen.untrusted), false) AS untrusted,
    coalesce(bool_or(run.id IS NULL OR seen.private), false) AS private
FROM heard LEFT JOIN crew_runs run ON run.id = heard.id
LEFT JOIN crew_run_taints seen ON seen.org_id = %(org)s AND seen.crew_run = heard.id
"""


@dataclass(frozen=True, slots=True)
class Kept:
    """A use that is over. ``result``: what the tool gave, before the guard. ``arguments``: those it was used with."""

    status: Status
    result: str
    arguments: JsonObject


class ToolUseRepository:
    def __init__(self, connection: AsyncConnection[DictRow]) -> None:
        self._connection = connection

    async def find(self, organization: str, key: str) -> Kept | None:
        cursor = await self._connection.execute(
            "SELECT status, result, arguments FROM tool_uses WHERE org_id = %s AND key = %s", [organization, key]
        )
        row = await cursor.fetchone()
        return None if row is None else Kept(row["status"], row["result"], row["arguments"])

    async def add(self, organization: str, crew_run: str, use: ToolUse, result: str, question: str | None) -> bool:
        """Keep it, unless somebody else did."""
        added = await self._connection.execute(
            "INSERT INTO tool_uses (org_id, key, crew_run, agent, tool, arguments, status, result, question)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
            [
                organization,
                use.key,
                crew_run,
                use.agent,
                use.tool,
                Jsonb(use.arguments),
                use.status,
                result,
                question,
            ],
        )
        return added.rowcount == 1

    async def was_used_after(self, organization: str, crew_run: str, question: str) -> bool:
        """Whether the answer to this question let something be done before."""
        cursor = await self._connection.execute(
            "SELECT FROM tool_uses WHERE org_id = %s AND crew_run = %s AND question = %s LIMIT 1",
            [organization, crew_run, question],
        )
        return await cursor.fetchone() is not None

    async def taint(self, organization: str, crew_run: str) -> Taint:
        cursor = await self._connection.execute(_TAINT, {"org": organization, "run": crew_run})
        row = await cursor.fetchone()
        return Taint() if row is None else Taint(row["untrusted"], row["private"])

    async def keep_taint(self, organization: str, crew_run: str, taint: Taint) -> None:
        await self._connection.execute(
            "INSERT INTO crew_run_taints AS kept (org_id, crew_run, untrusted, private) VALUES (%s, %s, %s, %s)"
            " ON CONFLICT (org_id, crew_run) DO UPDATE SET untrusted = kept.untrusted OR excluded.untrusted,"
            " private = kept.private OR excluded.private",
            [organization, crew_run, taint.untrusted, taint.private],
        )
