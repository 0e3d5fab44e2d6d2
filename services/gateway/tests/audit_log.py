"""What the tests of the audit log share: lines to add, and hands that may do what no service may."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx2
import psycopg
from crewmesh_contracts.base import JsonValue
from crewmesh_contracts.events import AuditRecorded
from crewmesh_gateway.audit.service import AuditLog
from crewmesh_gateway.main import MIGRATIONS
from crewmesh_kit.db.database import Database
from crewmesh_kit.db.migrations import migrate
from crewmesh_kit.db.outbox import cloud_event
from crewmesh_kit.ids import new_id
from crewmesh_testkit import ORGANIZATION, OTHER_ORGANIZATION, PostgresServer
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import TupleRow

HAPPENED = datetime(2026, 11, 1, 12, tzinfo=UTC)


def event(
    action: str = "workflow.published",
    resource: str = "wf_1",
    *,
    organization: str = ORGANIZATION,
    actor: str = "usr_1",
    acting_for: str | None = None,
    at: datetime = HAPPENED,
    outcome: str = "done",
    before: JsonValue = None,
    after: JsonValue = None,
) -> AuditRecorded:
    return AuditRecorded.model_validate(
        {
            "organization": organization,
            "id": new_id("aud"),
            "at": at,
            "actor": actor,
            "acting_for": acting_for,
            "action": action,
            "resource": resource,
            "outcome": outcome,
            "before": before,
            "after": after,
        }
    )


@dataclass(frozen=True)
class Kept:
    """A log on a database of its own, with two organizations."""

    log: AuditLog
    database: Database
    url: str
    admin_url: str

    async def fill(self, lines: int, organization: str = ORGANIZATION) -> None:
        await self.log.append(
            organization, [event(resource=f"wf_{n}", organization=organization) for n in range(1, lines + 1)]
        )

    async def as_superuser(self, statement: str) -> int:
        """Past row-level security and past the triggers; how many rows it met."""
        options = "-c session_replication_role=replica"
        async with await psycopg.AsyncConnection.connect(self._admin(), options=options) as connection:
            return (await connection.execute(statement.encode())).rowcount

    async def rows(self, query: str) -> list[TupleRow]:
        async with await psycopg.AsyncConnection.connect(self._admin()) as connection:
            return await (await connection.execute(query.encode())).fetchall()

    def _admin(self) -> str:
        database = conninfo_to_dict(self.url)["dbname"]
        return make_conninfo(self.admin_url, dbname=str(database))


@asynccontextmanager
async def kept_log(database_url: Callable[[str], str], postgres: PostgresServer) -> AsyncGenerator[Kept]:
    url = database_url("gateway")
    await migrate(url, app_id="gateway", migrations=MIGRATIONS)
    async with Database.open(url, app_id="gateway", pool_max=8) as database:
        async with database.system() as conn:
            await conn.execute(
                "INSERT INTO organizations (id, name) VALUES (%s, 'One'), (%s, 'Other')",
                [ORGANIZATION, OTHER_ORGANIZATION],
            )
        yield Kept(AuditLog(database), database, url, postgres.admin_url)


async def deliver(client: httpx2.AsyncClient, recorded: AuditRecorded) -> str:
    """As the sidecar does; the verdict."""
    envelope = cloud_event(recorded, app_id="workflow").model_dump_json(exclude_none=True)
    answer = await client.post(
        "/subscriptions/audit", json={"data_base64": base64.b64encode(envelope.encode()).decode()}
    )
    assert answer.status_code == 200, answer.text
    return answer.json()["status"]
