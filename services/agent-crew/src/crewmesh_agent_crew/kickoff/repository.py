"""The SQL of kickoffs. Row-level security keeps every statement within the transaction's organization."""

from __future__ import annotations

from crewmesh_contracts.invocations import KickoffResult, TokenUsage
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from crewmesh_agent_crew.kickoff.schemas import Kickoff


class KickoffRepository:
    def __init__(self, connection: AsyncConnection[DictRow]) -> None:
        self._connection = connection

    async def add(self, organization: str, key: str, kickoff: Kickoff) -> None:
        """Repeating it changes nothing, nor does a second success under the same key."""
        await self._connection.execute(
            "INSERT INTO kickoffs (id, org_id, crew, idempotency_key, requested_by, status, inputs, text, messages,"
            " error, model, requests, prompt_tokens, completion_tokens, started_at, ended_at)"
            " VALUES (%(id)s, %(org)s, %(crew)s, %(key)s, %(requested_by)s, %(status)s, %(inputs)s, %(text)s,"
            " %(messages)s, %(error)s, %(model)s, %(requests)s, %(prompt_tokens)s, %(completion_tokens)s,"
            " %(started_at)s, %(ended_at)s) ON CONFLICT DO NOTHING",
            {
                **kickoff.model_dump(exclude={"usage", "inputs", "messages"}),
                **kickoff.usage.model_dump(),
                "inputs": Jsonb(kickoff.inputs),
                "messages": Jsonb([message.model_dump() for message in kickoff.messages]),
                "org": organization,
                "key": key,
            },
        )

    async def completed(self, key: str) -> KickoffResult | None:
        """The result that was paid for under this key, if there is one."""
        cursor = await self._connection.execute(
            "SELECT * FROM kickoffs WHERE idempotency_key = %s AND status = 'completed'", [key]
        )
        row = await cursor.fetchone()
        if row is None:
            return None
        return KickoffResult.model_validate({**row, "usage": TokenUsage.model_validate(row)})

    async def list_before(self, crew: str, kickoff: str | None, limit: int) -> list[Kickoff]:
        """Of one crew, the newest first: ids grow with time."""
        cursor = await self._connection.execute(
            "SELECT * FROM kickoffs WHERE crew = %(crew)s AND (%(before)s::text IS NULL OR id < %(before)s)"
            " ORDER BY id DESC LIMIT %(limit)s",
            {"crew": crew, "before": kickoff, "limit": limit},
        )
        return [
            Kickoff.model_validate({**row, "usage": TokenUsage.model_validate(row)}) for row in await cursor.fetchall()
        ]
