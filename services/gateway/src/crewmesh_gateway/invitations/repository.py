"""SQL of invitations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from crewmesh_kit.ids import new_id
from psycopg import AsyncConnection
from psycopg.rows import DictRow, class_row

from crewmesh_gateway.invitations.schemas import Invitation, InvitationShown, InvitationStatus

_STATUS = """CASE WHEN i.accepted_at IS NOT NULL THEN 'accepted' WHEN i.revoked_at IS NOT NULL THEN 'revoked'
     WHEN i.expires_at <= now() THEN 'expired' ELSE 'open' END"""
_COLUMNS = f"""i.id, i.email, i.role, i.teams, {_STATUS} AS status, i.invited_by, i.created_at, i.sent_at, i.expires_at,
    i.accepted_at, i.accepted_by"""
_FIND = f"SELECT {_COLUMNS} FROM invitations i WHERE i.org_id = %s AND i.id = %s"
# Newest first; ids are ordered by time.
_PAGE = f"""
SELECT {_COLUMNS} FROM invitations i
WHERE i.org_id = %(org)s AND (%(before)s::text IS NULL OR i.id < %(before)s)
  AND (%(status)s::text IS NULL OR {_STATUS} = %(status)s)
ORDER BY i.id DESC LIMIT %(limit)s
"""
_UNSETTLED = f"""
SELECT {_COLUMNS} FROM invitations i
WHERE i.org_id = %s AND lower(i.email) = lower(%s) AND i.accepted_at IS NULL AND i.revoked_at IS NULL
"""
_SINCE_SENT = """
SELECT extract(epoch FROM now() - max(sent_at))::float8 AS seconds FROM invitations
WHERE org_id = %s AND lower(email) = lower(%s)
"""
_MEMBER_WITH = """
SELECT m.user_id FROM memberships m JOIN users u ON u.id = m.user_id WHERE m.org_id = %s AND lower(u.email) = lower(%s)
"""
_ADD = """
INSERT INTO invitations (id, org_id, email, role, teams, token_sha256, invited_by, expires_at)
VALUES (%(id)s, %(org)s, %(email)s, %(role)s, %(teams)s, %(digest)s, %(by)s, now() + %(days)s * interval '1 day')
"""
_SEND_AGAIN = """
UPDATE invitations SET token_sha256 = %(digest)s, sent_at = now(), expires_at = now() + %(days)s * interval '1 day'
WHERE org_id = %(org)s AND id = %(id)s
"""
_REVOKE = """
UPDATE invitations SET revoked_at = now()
WHERE org_id = %s AND id = %s AND accepted_at IS NULL AND revoked_at IS NULL
"""
_REVOKE_SENT_BY = """
UPDATE invitations SET revoked_at = now()
WHERE org_id = %s AND invited_by = %s AND accepted_at IS NULL AND revoked_at IS NULL
"""
_REVOKE_SENT_WITH = """
UPDATE invitations SET revoked_at = now()
WHERE org_id = %(org)s AND accepted_at IS NULL AND revoked_at IS NULL AND invited_by IN (
    SELECT user_id FROM memberships WHERE org_id = %(org)s AND role = %(role)s
    UNION ALL SELECT id FROM service_accounts WHERE org_id = %(org)s AND role = %(role)s
)
"""
_NAME_OF = "SELECT name FROM users WHERE id = %(who)s UNION ALL SELECT name FROM service_accounts WHERE id = %(who)s"
_SHOWN = f"""
SELECT o.name AS organization, i.email, {_STATUS} AS status, i.expires_at,
       COALESCE((SELECT u.name FROM users u JOIN memberships m ON m.user_id = u.id
                 WHERE m.org_id = i.org_id AND u.id = i.invited_by),
                (SELECT a.name FROM service_accounts a WHERE a.org_id = i.org_id AND a.id = i.invited_by)) AS invited_by
FROM invitations i JOIN organizations o ON o.id = i.org_id WHERE i.token_sha256 = %s
"""
_PLACE_OF = "SELECT org_id FROM invitations WHERE token_sha256 = %s"
_BY_TOKEN = f"SELECT {_COLUMNS} FROM invitations i WHERE i.token_sha256 = %s"
_HAS_ADDRESS = """
SELECT FROM users WHERE id = %s AND lower(email) = lower(%s) AND email_verified_at IS NOT NULL
"""
_ACCEPT = "UPDATE invitations SET accepted_at = now(), accepted_by = %s WHERE id = %s"


@dataclass(frozen=True, slots=True)
class ToSend:
    """An invitation that is about to be written."""

    email: str
    role: str
    teams: Sequence[str]
    invited_by: str


async def find(conn: AsyncConnection[DictRow], organization: str, invitation: str) -> Invitation | None:
    return await _one(conn, _FIND, [organization, invitation])


async def page(
    conn: AsyncConnection[DictRow], organization: str, status: InvitationStatus | None, before: str | None, limit: int
) -> list[Invitation]:
    asked: dict[str, object] = {"org": organization, "status": status, "before": before, "limit": limit}
    async with conn.cursor(row_factory=class_row(Invitation)) as cursor:
        await cursor.execute(_PAGE, asked)
        return await cursor.fetchall()


async def unsettled(conn: AsyncConnection[DictRow], organization: str, email: str) -> Invitation | None:
    """The one invitation of an address that was neither accepted nor revoked; it may have expired."""
    return await _one(conn, _UNSETTLED, [organization, email])


async def seconds_since_sent(conn: AsyncConnection[DictRow], organization: str, email: str) -> float | None:
    """Since the latest mail to this address, whatever became of its invitation."""
    row = await (await conn.execute(_SINCE_SENT, [organization, email])).fetchone()
    return row["seconds"] if row else None


async def member_with(conn: AsyncConnection[DictRow], organization: str, email: str) -> str | None:
    row = await (await conn.execute(_MEMBER_WITH, [organization, email])).fetchone()
    return row["user_id"] if row else None


async def add(
    conn: AsyncConnection[DictRow], organization: str, new: ToSend, *, digest: bytes, days: float
) -> Invitation | None:
    invitation = new_id("inv")
    parameters: dict[str, object] = {
        "id": invitation,
        "org": organization,
        "email": new.email,
        "role": new.role,
        "teams": list(new.teams),
        "digest": digest,
        "by": new.invited_by,
        "days": days,
    }
    await conn.execute(_ADD, parameters)
    return await find(conn, organization, invitation)


async def send_again(
    conn: AsyncConnection[DictRow], organization: str, invitation: str, *, digest: bytes, days: float
) -> Invitation | None:
    await conn.execute(_SEND_AGAIN, {"org": organization, "id": invitation, "digest": digest, "days": days})
    return await find(conn, organization, invitation)


async def revoke(conn: AsyncConnection[DictRow], organization: str, invitation: str) -> bool:
    return (await conn.execute(_REVOKE, [organization, invitation])).rowcount == 1


async def revoke_sent_by(conn: AsyncConnection[DictRow], organization: str, sender: str) -> int:
    """All that somebody sent who may not invite any more: nobody keeps a door for themselves."""
    return (await conn.execute(_REVOKE_SENT_BY, [organization, sender])).rowcount


async def revoke_sent_with(conn: AsyncConnection[DictRow], organization: str, role: str) -> int:
    """All that was sent by those who have a role that allows less from now on."""
    return (await conn.execute(_REVOKE_SENT_WITH, {"org": organization, "role": role})).rowcount


async def name_of(conn: AsyncConnection[DictRow], who: str) -> str | None:
    row = await (await conn.execute(_NAME_OF, {"who": who})).fetchone()
    return row["name"] if row else None


async def shown(conn: AsyncConnection[DictRow], digest: bytes) -> InvitationShown | None:
    """In the system's view: whoever holds the link belongs to no organization yet."""
    async with conn.cursor(row_factory=class_row(InvitationShown)) as cursor:
        await cursor.execute(_SHOWN, [digest])
        return await cursor.fetchone()


async def place_of(conn: AsyncConnection[DictRow], digest: bytes) -> str | None:
    """The organization that a token invites to, in the system's view."""
    row = await (await conn.execute(_PLACE_OF, [digest])).fetchone()
    return row["org_id"] if row else None


async def by_token(conn: AsyncConnection[DictRow], digest: bytes) -> Invitation | None:
    return await _one(conn, _BY_TOKEN, [digest])


async def has_address(conn: AsyncConnection[DictRow], user: str, email: str) -> bool:
    """Whether this is the person's address, and verified."""
    return await (await conn.execute(_HAS_ADDRESS, [user, email])).fetchone() is not None


async def accept(conn: AsyncConnection[DictRow], invitation: str, user: str) -> None:
    await conn.execute(_ACCEPT, [user, invitation])


async def _one(conn: AsyncConnection[DictRow], query: str, parameters: list[str] | list[bytes]) -> Invitation | None:
    async with conn.cursor(row_factory=class_row(Invitation)) as cursor:
        await cursor.execute(query.encode(), parameters)
        return await cursor.fetchone()
