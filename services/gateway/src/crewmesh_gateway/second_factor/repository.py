"""SQL of the second factor: the system's view, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import AsyncConnection
from psycopg.rows import DictRow

_GET = "SELECT totp_secret, totp_confirmed_at IS NOT NULL AS confirmed FROM users WHERE id = %s FOR NO KEY UPDATE"
_KEEP_SECRET = "UPDATE users SET totp_secret = %s, totp_confirmed_at = NULL, totp_last_step = NULL WHERE id = %s"
_CONFIRM = "UPDATE users SET totp_confirmed_at = now() WHERE id = %s"
_REMOVE = "UPDATE users SET totp_secret = NULL, totp_confirmed_at = NULL, totp_last_step = NULL WHERE id = %s"
# A code is good once: neither it nor one before it works again.
_USE_STEP = """
UPDATE users SET totp_last_step = %(step)s
WHERE id = %(user)s AND (totp_last_step IS NULL OR totp_last_step < %(step)s)
"""


@dataclass(frozen=True, slots=True)
class StoredFactor:
    sealed: bytes | None
    confirmed: bool


async def held(conn: AsyncConnection[DictRow], user: str) -> StoredFactor:
    """As it stays until the end of the transaction."""
    row = await (await conn.execute(_GET, [user])).fetchone()
    if row is None:
        return StoredFactor(None, confirmed=False)
    secret = row["totp_secret"]
    return StoredFactor(None if secret is None else bytes(secret), row["confirmed"])


async def keep_secret(conn: AsyncConnection[DictRow], user: str, sealed: bytes) -> None:
    await conn.execute(_KEEP_SECRET, [sealed, user])


async def confirm(conn: AsyncConnection[DictRow], user: str) -> None:
    await conn.execute(_CONFIRM, [user])


async def remove(conn: AsyncConnection[DictRow], user: str) -> None:
    await conn.execute(_REMOVE, [user])
    await conn.execute("DELETE FROM recovery_codes WHERE user_id = %s", [user])


async def use_step(conn: AsyncConnection[DictRow], user: str, step: int) -> bool:
    return (await conn.execute(_USE_STEP, {"user": user, "step": step})).rowcount == 1


async def use_recovery_code(conn: AsyncConnection[DictRow], user: str, digest: bytes) -> bool:
    deleted = await conn.execute("DELETE FROM recovery_codes WHERE user_id = %s AND code_sha256 = %s", [user, digest])
    return deleted.rowcount == 1


async def replace_recovery_codes(conn: AsyncConnection[DictRow], user: str, digests: Sequence[bytes]) -> None:
    await conn.execute("DELETE FROM recovery_codes WHERE user_id = %s", [user])
    await conn.execute(
        "INSERT INTO recovery_codes (user_id, code_sha256) SELECT %s, unnest(%s::bytea[])", [user, list(digests)]
    )
