"""The rows of mails on their way out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from crewmesh_kit.db.database import Database
from psycopg import AsyncConnection
from psycopg.rows import DictRow

_CLAIM = b"""
UPDATE mails SET attempts = attempts + 1, due_at = now() + %(lease)s * interval '1 second'
WHERE id = ANY(ARRAY(
    SELECT id FROM mails WHERE due_at <= now() AND gave_up_at IS NULL
    ORDER BY due_at LIMIT %(most)s FOR UPDATE SKIP LOCKED
))
RETURNING id, sealed, created_at, attempts
"""
_SETTLE = b"""
UPDATE mails SET trouble = %(trouble)s, due_at = now() + %(pause)s * interval '1 second',
       gave_up_at = CASE WHEN %(last)s THEN now() END, sealed = CASE WHEN %(last)s THEN NULL ELSE sealed END
WHERE id = %(id)s
"""


@dataclass(frozen=True, slots=True)
class MailRow:
    id: str
    sealed: bytes
    created_at: datetime
    attempts: int


class MailRepository:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, conn: AsyncConnection[DictRow], mail_id: str, recipient: str, sealed: bytes) -> None:
        """In any transaction, an organization's too: everybody may write here, and only the system reads."""
        await conn.execute(
            "INSERT INTO mails (id, recipient, sealed) VALUES (%s, %s, %s)", [mail_id, recipient, sealed]
        )

    async def claim(self, *, most: int, lease_seconds: float) -> list[MailRow]:
        """Mails that are due. Whoever dies with them leaves them to others when the lease is over."""
        async with self._database.system() as conn:
            cursor = await conn.execute(_CLAIM, {"most": most, "lease": lease_seconds})
            return [
                MailRow(row["id"], bytes(row["sealed"]), row["created_at"], row["attempts"])
                for row in await cursor.fetchall()
            ]

    async def sent(self, mail_id: str) -> None:
        await self._database.statement(b"DELETE FROM mails WHERE id = %(id)s", {"id": mail_id})

    async def failed(self, mail_id: str, trouble: str, *, pause_seconds: float, last: bool) -> None:
        told: Mapping[str, object] = {
            "id": mail_id,
            "trouble": trouble[:500],
            "pause": pause_seconds,
            "last": last,
        }
        await self._database.statement(_SETTLE, told)

    async def forget_given_up(self, *, days: int) -> None:
        await self._database.statement(
            b"DELETE FROM mails WHERE gave_up_at < now() - %(days)s * interval '1 day'", {"days": days}
        )
