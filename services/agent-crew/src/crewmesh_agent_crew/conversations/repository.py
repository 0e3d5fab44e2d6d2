"""The SQL of conversations and what happens in them. Each method that names an owner finds that one's alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from crewmesh_contracts.base import JsonObject
from crewmesh_kit.ids import new_id
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from crewmesh_agent_crew.conversations.models import ChatSettings, EventKind, Talk

_PAGE = """
SELECT conversations.*, working.id AS answering FROM conversations
LEFT JOIN conversation_messages working ON working.conversation = conversations.id AND working.status = 'working'
WHERE owner = %(owner)s
    AND (%(archived)s::boolean IS NULL OR archived = %(archived)s)
    AND (%(partner)s::text IS NULL OR agent = %(partner)s OR crew = %(partner)s)
    AND (%(search)s::text IS NULL OR title ILIKE %(search)s)
    AND (%(at)s::timestamptz IS NULL OR (active_at, conversations.id) < (%(at)s, %(id)s))
ORDER BY active_at DESC, conversations.id DESC LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A page of somebody's conversations, the latest first. ``after``: when the one before was active, and its id."""

    owner: str
    limit: int
    archived: bool | None = None
    partner: str | None = None
    search: str | None = None
    after: tuple[datetime, str] | None = None


class ConversationRepository:
    def __init__(self, connection: AsyncConnection[DictRow]) -> None:
        self._connection = connection

    async def add(
        self,
        organization: str,
        owner: str,
        *,
        agent: str | None,
        crew: str | None,
        title: str,
        settings: ChatSettings,
    ) -> Talk:
        cursor = await self._connection.execute(
            "INSERT INTO conversations (id, org_id, owner, agent, crew, title, titled, settings)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s) RETURNING *",
            [new_id("conv"), organization, owner, agent, crew, title, bool(title), Jsonb(settings.model_dump())],
        )
        return Talk.of(_one(await cursor.fetchone()))

    async def find(self, id_: str, owner: str, *, hold: bool = False) -> Talk | None:
        """Held, nobody else changes it before the transaction ends."""
        query = "SELECT * FROM conversations WHERE id = %s AND owner = %s" + (" FOR UPDATE" if hold else "")
        row = await (await self._connection.execute(query, [id_, owner])).fetchone()
        return None if row is None else Talk.of(row)

    async def page(self, wanted: Wanted) -> list[tuple[Talk, str | None]]:
        """With the answer that is under way in each."""
        at, id_ = wanted.after or (None, "")
        cursor = await self._connection.execute(
            _PAGE,
            {
                "owner": wanted.owner,
                "archived": wanted.archived,
                "partner": wanted.partner,
                "search": None if wanted.search is None else f"%{_plain(wanted.search)}%",
                "at": at,
                "id": id_,
                "limit": wanted.limit,
            },
        )
        return [(Talk.of(row), row["answering"]) for row in await cursor.fetchall()]

    async def change(
        self, id_: str, *, title: str | None, archived: bool | None, settings: ChatSettings | None, head: str | None
    ) -> Talk:
        cursor = await self._connection.execute(
            "UPDATE conversations SET title = coalesce(%s, title), titled = titled OR %s,"
            " archived = coalesce(%s, archived), settings = coalesce(%s, settings), head = coalesce(%s, head),"
            " version = version + 1 WHERE id = %s RETURNING *",
            [
                title,
                title is not None,
                archived,
                None if settings is None else Jsonb(settings.model_dump()),
                head,
                id_,
            ],
        )
        return Talk.of(_one(await cursor.fetchone()))

    async def go_on(self, id_: str, head: str) -> None:
        """The branch that is shown ends with ``head``."""
        await self._connection.execute(
            "UPDATE conversations SET head = %s, active_at = now(), version = version + 1 WHERE id = %s", [head, id_]
        )

    async def is_untitled(self, id_: str) -> bool:
        cursor = await self._connection.execute(
            "SELECT FROM conversations WHERE id = %s AND title = '' AND NOT titled", [id_]
        )
        return await cursor.fetchone() is not None

    async def give_title(self, id_: str, title: str) -> bool:
        """Unless it has one by now."""
        cursor = await self._connection.execute(
            "UPDATE conversations SET title = %s, version = version + 1 WHERE id = %s AND title = '' AND NOT titled",
            [title, id_],
        )
        return cursor.rowcount == 1

    async def delete(self, id_: str) -> None:
        await self._connection.execute("DELETE FROM conversations WHERE id = %s", [id_])

    async def happened(self, organization: str, id_: str, kind: EventKind, message: str | None = None) -> int:
        """Add an event, and give its number. Others wait until the transaction ends, so numbers come in their order."""
        cursor = await self._connection.execute(
            "WITH told AS (UPDATE conversations SET seq = seq + 1 WHERE id = %s RETURNING id, seq)"
            " INSERT INTO conversation_events (conversation, org_id, seq, kind, message)"
            " SELECT id, %s, seq, %s, %s FROM told RETURNING seq",
            [id_, organization, kind, message],
        )
        row = await cursor.fetchone()
        return 0 if row is None else int(row["seq"])

    async def events(self, id_: str, after: int, limit: int) -> list[DictRow]:
        cursor = await self._connection.execute(
            "SELECT seq, kind, message, at FROM conversation_events WHERE conversation = %s AND seq > %s"
            " ORDER BY seq LIMIT %s",
            [id_, after, limit],
        )
        return await cursor.fetchall()

    async def add_summary(self, organization: str, id_: str, upto: str, text: str) -> None:
        await self._connection.execute(
            "INSERT INTO conversation_summaries (conversation, org_id, upto, text) SELECT id, %s, %s, %s"
            " FROM conversations WHERE id = %s ON CONFLICT DO NOTHING",
            [organization, upto, text, id_],
        )

    async def summaries(self, id_: str, among: Sequence[str]) -> dict[str, str]:
        """By the message up to which they tell."""
        cursor = await self._connection.execute(
            "SELECT upto, text FROM conversation_summaries WHERE conversation = %s AND upto = ANY(%s)",
            [id_, list(among)],
        )
        return {row["upto"]: row["text"] for row in await cursor.fetchall()}


def described(talk: Talk) -> JsonObject:
    """As the audit log keeps it: titles are made of what was said, and stay private."""
    partner: JsonObject = {"agent": talk.agent} if talk.agent else {"crew": talk.crew}
    return {**partner, "archived": talk.archived, "settings": talk.settings.model_dump(mode="json")}


def _plain(search: str) -> str:
    """Without what LIKE reads as something else."""
    return search.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _one(row: DictRow | None) -> DictRow:
    if row is None:
        raise LookupError("a statement that always gives a row gave none")
    return row
