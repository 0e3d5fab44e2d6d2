"""The rows behind logins. They have no organization of their own: the system's view, in the caller's transaction."""

from __future__ import annotations

from datetime import datetime

from crewmesh_kit.origin import Origin
from psycopg import AsyncConnection, AsyncCursor
from psycopg.rows import DictRow

from crewmesh_gateway.sessions.models import StoredSession
from crewmesh_gateway.sessions.refresh_tokens import RefreshToken
from crewmesh_gateway.sessions.schemas import SessionView
from crewmesh_gateway.settings import TokenSettings

_INSERT = """
INSERT INTO sessions (id, user_id, org_id, expires_at, address, agent, refresh_sha256)
VALUES (%(id)s, %(user)s, %(organization)s, now() + LEAST(%(refresh_days)s, %(longest_days)s) * interval '1 day',
        %(address)s, %(agent)s, %(digest)s)
RETURNING expires_at
"""
# Where a session works; nowhere when its person belongs there no more.
_WORKS_IN = """
(SELECT m.org_id FROM memberships m WHERE m.user_id = sessions.user_id AND m.org_id = sessions.org_id) AS works_in
"""
_LOCKED = f"""
SELECT *, {_WORKS_IN}, revoked_at IS NULL AND expires_at > now() AS lives,
       refreshed_at + %(grace_seconds)s * interval '1 second' > now() AS in_grace
FROM sessions WHERE id = %(id)s FOR UPDATE
"""
_GO_ON = """
UPDATE sessions SET
    org_id = %(organization)s, previous_sha256 = refresh_sha256, refresh_sha256 = %(digest)s,
    refreshed_at = now(), last_used_at = now(), address = COALESCE(%(address)s, address),
    agent = COALESCE(%(agent)s, agent),
    expires_at = LEAST(now() + %(refresh_days)s * interval '1 day', created_at + %(longest_days)s * interval '1 day')
WHERE id = %(id)s
RETURNING expires_at
"""
_END_ALL = f"""
UPDATE sessions SET revoked_at = now(), revoked_because = %(because)s
WHERE user_id = %(user)s AND revoked_at IS NULL AND expires_at > now() AND id IS DISTINCT FROM %(keep)s
RETURNING id, {_WORKS_IN}
"""
_END_LEAST_USED = f"""
UPDATE sessions SET revoked_at = now(), revoked_because = %(because)s WHERE id IN (
    SELECT id FROM sessions WHERE user_id = %(user)s AND revoked_at IS NULL AND expires_at > now()
    ORDER BY last_used_at DESC, id DESC OFFSET %(most)s
)
RETURNING id, {_WORKS_IN}
"""
_OF_A_USER = f"""
SELECT *, {_WORKS_IN} FROM sessions
WHERE user_id = %(user)s AND revoked_at IS NULL AND expires_at > now() AND (%(after)s::text IS NULL OR id < %(after)s)
ORDER BY id DESC LIMIT %(most)s
"""
_ANY_ORGANIZATION = """
SELECT org_id FROM memberships WHERE user_id = %(user)s
ORDER BY org_id = %(preferred)s DESC, created_at, org_id LIMIT 1
"""


class SessionRepository:
    def __init__(self, settings: TokenSettings) -> None:
        self._lasts = settings.model_dump(include={"refresh_days", "longest_days", "grace_seconds"})

    async def add(
        self,
        conn: AsyncConnection[DictRow],
        token: RefreshToken,
        *,
        user: str,
        organization: str | None,
        origin: Origin,
    ) -> datetime:
        """When the new session is over, unless it is used before."""
        values = {"user": user, **self._values(token, organization, origin)}
        return await _expiry(await conn.execute(_INSERT, values))

    async def locked(self, conn: AsyncConnection[DictRow], session: str) -> StoredSession | None:
        """The session, held until the end of the transaction."""
        row = await (await conn.execute(_LOCKED.encode(), {**self._lasts, "id": session})).fetchone()
        return _stored(row) if row else None

    async def go_on(
        self, conn: AsyncConnection[DictRow], successor: RefreshToken, *, organization: str | None, origin: Origin
    ) -> datetime:
        """Exchange the token for its successor; says when the session is over now."""
        return await _expiry(await conn.execute(_GO_ON, self._values(successor, organization, origin)))

    async def end(self, conn: AsyncConnection[DictRow], session: str, because: str) -> None:
        await conn.execute(
            "UPDATE sessions SET revoked_at = now(), revoked_because = %s WHERE id = %s", [because, session]
        )

    async def end_all(
        self, conn: AsyncConnection[DictRow], user: str, because: str, keep: str | None
    ) -> list[tuple[str, str | None]]:
        """The sessions that ended, each with the organization it worked in."""
        return await _ended(conn, _END_ALL, {"user": user, "because": because, "keep": keep})

    async def end_least_used(
        self, conn: AsyncConnection[DictRow], user: str, because: str, *, most: int
    ) -> list[tuple[str, str | None]]:
        """All but the ``most`` that were used or begun last."""
        return await _ended(conn, _END_LEAST_USED, {"user": user, "because": because, "most": most})

    async def organization_of(self, conn: AsyncConnection[DictRow], user: str, preferred: str | None) -> str | None:
        """The preferred organization while the user belongs to it, or else the one they joined first, if there is."""
        cursor = await conn.execute(_ANY_ORGANIZATION, {"user": user, "preferred": preferred})
        row = await cursor.fetchone()
        return row["org_id"] if row else None

    async def work_in(self, conn: AsyncConnection[DictRow], session: str, user: str, organization: str) -> None:
        """From now on this session, and the next one that begins, is in the organization."""
        await conn.execute("UPDATE sessions SET org_id = %s WHERE id = %s", [organization, session])
        await conn.execute("UPDATE users SET last_org_id = %s WHERE id = %s", [organization, user])

    async def of_user(
        self, conn: AsyncConnection[DictRow], user: str, *, current: str, after: str | None, most: int
    ) -> list[SessionView]:
        cursor = await conn.execute(_OF_A_USER.encode(), {"user": user, "after": after, "most": most})
        return [_view(row, current) for row in await cursor.fetchall()]

    async def forget_old(self, conn: AsyncConnection[DictRow]) -> int:
        """Delete what has been over for a day, ended or not."""
        return (await conn.execute("DELETE FROM sessions WHERE expires_at < now() - interval '1 day'")).rowcount

    def _values(self, token: RefreshToken, organization: str | None, origin: Origin) -> dict[str, object]:
        return {
            **self._lasts,
            "id": token.session,
            "digest": token.digest(),
            "organization": organization,
            "address": origin.address,
            "agent": origin.agent,
        }


async def _expiry(cursor: AsyncCursor[DictRow]) -> datetime:
    row = await cursor.fetchone()
    assert row is not None, "the statement changes the one row that it returns"
    return row["expires_at"]


def _stored(row: DictRow) -> StoredSession:
    previous = row["previous_sha256"]
    return StoredSession(
        id=row["id"],
        user=row["user_id"],
        organization=row["works_in"],
        refresh_sha256=bytes(row["refresh_sha256"]),
        previous_sha256=None if previous is None else bytes(previous),
        expires_at=row["expires_at"],
        lives=row["lives"],
        in_grace=row["in_grace"],
    )


async def _ended(
    conn: AsyncConnection[DictRow], query: str, parameters: dict[str, object]
) -> list[tuple[str, str | None]]:
    cursor = await conn.execute(query.encode(), parameters)
    return [(row["id"], row["works_in"]) for row in await cursor.fetchall()]


def _view(row: DictRow, current: str) -> SessionView:
    return SessionView(
        id=row["id"],
        current=row["id"] == current,
        organization=row["works_in"],
        address=row["address"],
        agent=row["agent"],
        created_at=row["created_at"],
        last_used_at=row["last_used_at"],
        expires_at=row["expires_at"],
    )
