"""The SQL of messages: a tree, of which one branch is shown."""

from __future__ import annotations

from collections.abc import Sequence

from crewmesh_kit.ids import new_id
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from crewmesh_agent_crew.conversations.models import Ending, File, Role, Spoken, Talk

# How many stand at the same place, and which of them this is.
_VERSIONS = """
(SELECT count(*) FROM conversation_messages s WHERE s.conversation = m.conversation AND s.parent = m.parent
    AND s.role = m.role) AS versions,
(SELECT count(*) FROM conversation_messages s WHERE s.conversation = m.conversation AND s.parent = m.parent
    AND s.role = m.role AND s.added <= m.added) AS version
"""
_BRANCH = """
WITH RECURSIVE branch AS (
    SELECT * FROM conversation_messages WHERE conversation = %(conversation)s AND id = %(head)s
    UNION ALL
    SELECT before.* FROM conversation_messages before JOIN branch ON before.id = branch.parent
)
"""
# From a message to the latest that follows, at each step the latest.
_END = """
WITH RECURSIVE way AS (
    SELECT id, 0 AS step FROM conversation_messages WHERE conversation = %(conversation)s AND id = %(message)s
    UNION ALL
    SELECT following.id, way.step + 1 FROM way CROSS JOIN LATERAL (
        SELECT id FROM conversation_messages WHERE conversation = %(conversation)s AND parent = way.id
        ORDER BY added DESC LIMIT 1
    ) following
)
SELECT id FROM way ORDER BY step DESC LIMIT 1
"""


class MessageRepository:
    def __init__(self, connection: AsyncConnection[DictRow]) -> None:
        self._connection = connection

    async def add(
        self,
        talk: Talk,
        *,
        role: Role,
        parent: Spoken | None,
        added: int,
        id_: str = "",
        text: str = "",
        attachments: Sequence[str] = (),
        crew_run: str | None = None,
    ) -> Spoken:
        """A message of a person, or an answer that is under way."""
        cursor = await self._connection.execute(
            "INSERT INTO conversation_messages AS m"
            " (id, org_id, conversation, parent, depth, role, text, attachments, status, crew_run, added)"
            " VALUES (%(id)s, %(org)s, %(conversation)s, %(parent)s, %(depth)s, %(role)s, %(text)s, %(attachments)s,"
            " %(status)s, %(crew_run)s, %(added)s) RETURNING m.*",
            {
                "id": id_ or new_message_id(),
                "org": talk.organization,
                "conversation": talk.id,
                "parent": "" if parent is None else parent.id,
                "depth": 0 if parent is None else parent.depth + 1,
                "role": role,
                "text": text,
                "attachments": list(attachments),
                "status": "done" if role == "user" else "working",
                "crew_run": crew_run,
                "added": added,
            },
        )
        row = await cursor.fetchone()
        found = None if row is None else await self.get(talk.id, row["id"])
        if found is None:
            raise LookupError("a message that was added just now is not there")
        return found

    async def get(self, conversation: str, id_: str) -> Spoken | None:
        found = await self.several(conversation, [id_])
        return found.get(id_)

    async def several(self, conversation: str, ids: Sequence[str]) -> dict[str, Spoken]:
        cursor = await self._connection.execute(
            f"SELECT m.*, {_VERSIONS} FROM conversation_messages m WHERE conversation = %s AND id = ANY(%s)",
            [conversation, list(ids)],
        )
        return {row["id"]: Spoken.of(row) for row in await cursor.fetchall()}

    async def working(self, conversation: str) -> Spoken | None:
        """The answer that is under way."""
        cursor = await self._connection.execute(
            "SELECT * FROM conversation_messages WHERE conversation = %s AND status = 'working'", [conversation]
        )
        row = await cursor.fetchone()
        return None if row is None else Spoken.of(row)

    async def branch(self, conversation: str, head: str) -> list[Spoken]:
        """From the beginning to ``head``, without numbers of versions."""
        cursor = await self._connection.execute(
            f"{_BRANCH} SELECT * FROM branch ORDER BY depth", {"conversation": conversation, "head": head}
        )
        return [Spoken.of(row) for row in await cursor.fetchall()]

    async def page(
        self, conversation: str, head: str, *, depth: int | None, limit: int, newest_first: bool
    ) -> list[Spoken]:
        """Of the branch, what stands behind ``depth``; or before it, when the newest come first."""
        order, compare = ("DESC", "<") if newest_first else ("ASC", ">")
        cursor = await self._connection.execute(
            f"{_BRANCH} SELECT m.*, {_VERSIONS} FROM branch m"
            f" WHERE %(depth)s::bigint IS NULL OR depth {compare} %(depth)s ORDER BY depth {order} LIMIT %(limit)s",
            {"conversation": conversation, "head": head, "depth": depth, "limit": limit},
        )
        return [Spoken.of(row) for row in await cursor.fetchall()]

    async def end_of(self, conversation: str, message: str) -> str | None:
        """Where the latest branch through this message ends."""
        row = await (
            await self._connection.execute(_END, {"conversation": conversation, "message": message})
        ).fetchone()
        return None if row is None else str(row["id"])

    async def count(self, conversation: str) -> int:
        cursor = await self._connection.execute(
            "SELECT count(*) AS n FROM conversation_messages WHERE conversation = %s", [conversation]
        )
        row = await cursor.fetchone()
        return 0 if row is None else int(row["n"])

    async def end(self, id_: str, ending: Ending) -> bool:
        """Whether it was under way until now."""
        cursor = await self._connection.execute(
            "UPDATE conversation_messages SET status = %s, text = %s, error = %s, usage = %s, ended_at = now()"
            " WHERE id = %s AND status = 'working'",
            [
                ending.status,
                ending.text,
                None if ending.error is None else Jsonb(ending.error),
                None if ending.usage is None else Jsonb(ending.usage),
                id_,
            ],
        )
        return cursor.rowcount == 1

    async def of_run(self, crew_run: str) -> DictRow | None:
        """The answer under way that the run gives, with its organization."""
        cursor = await self._connection.execute(
            "SELECT * FROM conversation_messages WHERE crew_run = %s AND status = 'working'", [crew_run]
        )
        return await cursor.fetchone()

    async def under_way(self, *, older_than_seconds: float, limit: int) -> list[str]:
        """The runs of answers of all organizations, the oldest first."""
        cursor = await self._connection.execute(
            "SELECT crew_run FROM conversation_messages WHERE status = 'working' AND crew_run IS NOT NULL"
            " AND at < now() - make_interval(secs => %s) ORDER BY at LIMIT %s",
            [older_than_seconds, limit],
        )
        return [row["crew_run"] for row in await cursor.fetchall()]


class FileRepository:
    def __init__(self, connection: AsyncConnection[DictRow]) -> None:
        self._connection = connection

    async def add(self, organization: str, conversation: str, file: File) -> None:
        await self._connection.execute(
            "INSERT INTO conversation_attachments (id, org_id, conversation, name, media_type, bytes, content)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s)",
            [file.id, organization, conversation, file.name, file.media_type, file.bytes, file.content],
        )

    async def size(self, conversation: str) -> tuple[int, int]:
        """How many there are, and their bytes."""
        cursor = await self._connection.execute(
            "SELECT count(*) AS files, coalesce(sum(bytes), 0) AS bytes FROM conversation_attachments"
            " WHERE conversation = %s",
            [conversation],
        )
        row = await cursor.fetchone()
        return (0, 0) if row is None else (int(row["files"]), int(row["bytes"]))

    async def several(self, conversation: str, ids: Sequence[str], *, content: bool = False) -> dict[str, File]:
        if not ids:
            return {}
        columns = "id, name, media_type, bytes" + (", content" if content else "")
        cursor = await self._connection.execute(
            f"SELECT {columns} FROM conversation_attachments WHERE conversation = %s AND id = ANY(%s)",
            [conversation, list(ids)],
        )
        return {
            row["id"]: File(row["id"], row["name"], row["media_type"], row["bytes"], bytes(row.get("content", b"")))
            for row in await cursor.fetchall()
        }


def new_message_id() -> str:
    return new_id("msg")
