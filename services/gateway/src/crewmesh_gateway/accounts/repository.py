"""SQL of people's accounts. They belong to no organization: the system's view, in the caller's transaction."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import AsyncConnection
from psycopg.rows import DictRow, class_row

_COLUMNS = """
id, name, email, password_hash, totp_confirmed_at IS NOT NULL AS second_factor, last_org_id AS last_organization
"""
_BY_EMAIL = f"SELECT {_COLUMNS} FROM users WHERE lower(email) = lower(%s)"
_HELD = f"SELECT {_COLUMNS} FROM users WHERE id = %s FOR NO KEY UPDATE"
_ADD = """
INSERT INTO users (id, name, email, email_verified_at, password_hash, password_changed_at)
VALUES (%(id)s, %(name)s, %(email)s, now(), %(password_hash)s, now())
ON CONFLICT (lower(email)) DO NOTHING
"""
_CLAIM = """
UPDATE users SET email = %(email)s, email_verified_at = now(), password_hash = %(password_hash)s,
       password_changed_at = now()
WHERE id = %(id)s
"""
_SET_PASSWORD = "UPDATE users SET password_hash = %s, password_changed_at = now() WHERE id = %s"


@dataclass(frozen=True, slots=True)
class Account:
    """A person as their login sees them."""

    id: str
    name: str
    email: str | None
    password_hash: str | None
    second_factor: bool
    last_organization: str | None


async def by_email(conn: AsyncConnection[DictRow], email: str) -> Account | None:
    async with conn.cursor(row_factory=class_row(Account)) as cursor:
        await cursor.execute(_BY_EMAIL, [email])
        return await cursor.fetchone()


async def held(conn: AsyncConnection[DictRow], user: str) -> Account | None:
    """The account, as it stays until the end of the transaction."""
    async with conn.cursor(row_factory=class_row(Account)) as cursor:
        await cursor.execute(_HELD, [user])
        return await cursor.fetchone()


async def add(conn: AsyncConnection[DictRow], user: str, *, name: str, email: str, password_hash: str) -> bool:
    """Whether it was added: the address may have got an account a moment ago."""
    told = {"id": user, "name": name, "email": email, "password_hash": password_hash}
    return (await conn.execute(_ADD, told)).rowcount == 1


async def give_login(conn: AsyncConnection[DictRow], user: str, *, email: str, password_hash: str) -> None:
    await conn.execute(_CLAIM, {"id": user, "email": email, "password_hash": password_hash})


async def set_password(conn: AsyncConnection[DictRow], user: str, password_hash: str) -> None:
    await conn.execute(_SET_PASSWORD, [password_hash, user])


async def keep_better_hash(conn: AsyncConnection[DictRow], user: str, password_hash: str) -> None:
    """The same password, hashed as the settings are now."""
    await conn.execute("UPDATE users SET password_hash = %s WHERE id = %s", [password_hash, user])


async def rename(conn: AsyncConnection[DictRow], user: str, name: str) -> None:
    await conn.execute("UPDATE users SET name = %s WHERE id = %s", [name, user])
