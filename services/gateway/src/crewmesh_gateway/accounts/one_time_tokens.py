"""Tokens that work once and not for long: they travel in mails, and between the password and the second factor.

Of a token only the SHA-256 is kept; it is 256 random bits, which nobody searches.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from crewmesh_contracts.base import JsonObject
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from crewmesh_gateway.accounts import repository as accounts
from crewmesh_gateway.accounts.repository import Account

# signup: somebody nobody knows yet; claim: a login for somebody who has none; reset: a new password.
Purpose = Literal["signup", "claim", "reset", "second-factor"]

_ADD = """
INSERT INTO account_tokens (token_sha256, purpose, user_id, email, detail, expires_at)
VALUES (%(digest)s, %(purpose)s, %(user)s, %(email)s, %(detail)s, now() + %(seconds)s * interval '1 second')
RETURNING expires_at
"""
_COLUMNS = "token_sha256, purpose, user_id, email, detail, tries"
_SEEN = f"""
SELECT {_COLUMNS} FROM account_tokens
WHERE token_sha256 = %(digest)s AND purpose = ANY(%(purposes)s) AND expires_at > now()
"""
_HELD = f"{_SEEN} FOR UPDATE"
_NEWEST = f"""
SELECT {_COLUMNS} FROM account_tokens
WHERE lower(email) = lower(%(email)s) AND purpose = ANY(%(purposes)s) AND expires_at > now()
ORDER BY created_at DESC LIMIT 1 FOR UPDATE
"""
_KEEP_NEWEST = """
DELETE FROM account_tokens WHERE token_sha256 IN (
    SELECT token_sha256 FROM account_tokens WHERE purpose = %(purpose)s AND lower(email) = lower(%(email)s)
    ORDER BY created_at DESC OFFSET %(most)s
)
"""


@dataclass(frozen=True, slots=True)
class StoredToken:
    digest: bytes
    purpose: Purpose
    user: str | None
    email: str | None
    detail: JsonObject
    tries: int


async def make(
    conn: AsyncConnection[DictRow],
    purpose: Purpose,
    *,
    seconds: float,
    user: str | None = None,
    email: str | None = None,
    detail: JsonObject | None = None,
) -> tuple[str, datetime]:
    """The text of a new token, and until when it is good."""
    text = secrets.token_urlsafe(32)
    told = {"user": user, "email": email, "detail": Jsonb(detail or {}), "seconds": seconds}
    cursor = await conn.execute(_ADD, {"digest": _digest(text), "purpose": purpose, **told})
    row = await cursor.fetchone()
    assert row is not None, "the statement returns the row that it adds"
    return text, row["expires_at"]


async def seen(conn: AsyncConnection[DictRow], text: str, *purposes: Purpose) -> StoredToken | None:
    """What a good token is for, without holding it."""
    return await _one(conn, _SEEN, {"digest": _digest(text), "purposes": list(purposes)})


async def held(
    conn: AsyncConnection[DictRow], text: str, *purposes: Purpose
) -> tuple[StoredToken, Account | None] | None:
    """What a good token is for and whose it is, both locked: whoever shows it at the same time waits.

    In the order in which everybody locks them: the address, the person, the token. So two never wait for each other.
    """
    asked: dict[str, object] = {"digest": _digest(text), "purposes": list(purposes)}
    seen = await _one(conn, _SEEN, asked)
    if seen is None:
        return None
    if seen.email is not None:
        await conn.execute("SELECT pg_advisory_xact_lock(hashtextextended(lower(%s), 0))", [seen.email])
    account = await accounts.held(conn, seen.user) if seen.user else None
    token = await _one(conn, _HELD, asked)
    return (token, account) if token else None


async def newest(conn: AsyncConnection[DictRow], email: str, *purposes: Purpose) -> StoredToken | None:
    return await _one(conn, _NEWEST, {"email": email, "purposes": list(purposes)})


async def keep_newest(conn: AsyncConnection[DictRow], purpose: Purpose, email: str, *, most: int) -> None:
    """Strangers must not fill the table with what they would prove to be theirs."""
    await conn.execute(_KEEP_NEWEST, {"purpose": purpose, "email": email, "most": most})


async def use_up(conn: AsyncConnection[DictRow], token: StoredToken) -> None:
    await conn.execute("DELETE FROM account_tokens WHERE token_sha256 = %s", [token.digest])


async def use_up_all(conn: AsyncConnection[DictRow], *, user: str | None = None, email: str | None = None) -> None:
    """Nothing that was sent to this person, or to this address, works any more."""
    await conn.execute("DELETE FROM account_tokens WHERE user_id = %s OR lower(email) = lower(%s)", [user, email])


async def count_try(conn: AsyncConnection[DictRow], token: StoredToken) -> None:
    await conn.execute("UPDATE account_tokens SET tries = tries + 1 WHERE token_sha256 = %s", [token.digest])


async def forget_old(conn: AsyncConnection[DictRow]) -> None:
    await conn.execute("DELETE FROM account_tokens WHERE expires_at < now()")


async def _one(conn: AsyncConnection[DictRow], query: str, parameters: dict[str, object]) -> StoredToken | None:
    row = await (await conn.execute(query.encode(), parameters)).fetchone()
    if row is None:
        return None
    digest, detail = bytes(row["token_sha256"]), row["detail"]
    return StoredToken(digest, row["purpose"], row["user_id"], row["email"], detail, row["tries"])


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
