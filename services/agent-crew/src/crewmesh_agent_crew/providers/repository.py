"""The SQL of accounts and data keys. Row-level security keeps every statement within the transaction's organization."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import cast

from crewmesh_contracts.base import JsonObject
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from crewmesh_agent_crew.providers.protocol import ProviderKind

_COLUMNS = (
    "id, name, version, kind, base_url, options, sealed_api_key, key_ends_in, key_set_at, key_secret, most_at_once,"
    " requests_per_minute, tokens_per_minute, created_at, changed_at"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedKey:
    sealed: bytes
    ends_in: str
    set_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAccount:
    """A row. What is not there yet when it is written is set by the database."""

    id: str
    name: str
    kind: ProviderKind
    base_url: str
    options: JsonObject
    key: SealedKey | None
    key_secret: str | None
    most_at_once: int | None
    requests_per_minute: int | None
    tokens_per_minute: int | None
    version: int = 1
    created_at: datetime | None = None
    changed_at: datetime | None = None

    @property
    def values(self) -> dict[str, object]:
        key = self.key
        return {
            "id": self.id,
            "name": self.name,
            "kind": self.kind,
            "base_url": self.base_url,
            "options": Jsonb(self.options),
            "sealed": None if key is None else key.sealed,
            "ends_in": None if key is None else key.ends_in,
            "set_at": None if key is None else key.set_at,
            "key_secret": self.key_secret,
            "most_at_once": self.most_at_once,
            "requests_per_minute": self.requests_per_minute,
            "tokens_per_minute": self.tokens_per_minute,
        }


class AccountRepository:
    def __init__(self, connection: AsyncConnection[DictRow]) -> None:
        self._connection = connection

    async def all(self) -> list[KeptAccount]:
        cursor = await self._connection.execute(f"SELECT {_COLUMNS} FROM provider_accounts ORDER BY name")
        return [_account(row) for row in await cursor.fetchall()]

    async def list_after(self, name: str | None, limit: int) -> list[KeptAccount]:
        cursor = await self._connection.execute(
            f"SELECT {_COLUMNS} FROM provider_accounts WHERE name > %s ORDER BY name LIMIT %s", [name or "", limit]
        )
        return [_account(row) for row in await cursor.fetchall()]

    async def find(self, name: str, *, locked: bool = False) -> KeptAccount | None:
        lock = " FOR UPDATE" if locked else ""
        cursor = await self._connection.execute(
            f"SELECT {_COLUMNS} FROM provider_accounts WHERE name = %s{lock}", [name]
        )
        row = await cursor.fetchone()
        return None if row is None else _account(row)

    async def add(self, organization: str, account: KeptAccount) -> KeptAccount | None:
        """The new account; none when the name is taken."""
        cursor = await self._connection.execute(
            "INSERT INTO provider_accounts (org_id, id, name, kind, base_url, options, sealed_api_key, key_ends_in,"
            " key_set_at, key_secret, most_at_once, requests_per_minute, tokens_per_minute)"
            " VALUES (%(org_id)s, %(id)s, %(name)s, %(kind)s, %(base_url)s, %(options)s, %(sealed)s, %(ends_in)s,"
            " %(set_at)s, %(key_secret)s, %(most_at_once)s, %(requests_per_minute)s, %(tokens_per_minute)s)"
            f" ON CONFLICT (org_id, name) DO NOTHING RETURNING {_COLUMNS}",
            {**account.values, "org_id": organization},
        )
        row = await cursor.fetchone()
        return None if row is None else _account(row)

    async def change(self, account: KeptAccount) -> KeptAccount:
        cursor = await self._connection.execute(
            "UPDATE provider_accounts SET kind = %(kind)s, base_url = %(base_url)s, options = %(options)s,"
            " sealed_api_key = %(sealed)s, key_ends_in = %(ends_in)s, key_set_at = %(set_at)s,"
            " key_secret = %(key_secret)s, most_at_once = %(most_at_once)s,"
            " requests_per_minute = %(requests_per_minute)s, tokens_per_minute = %(tokens_per_minute)s,"
            f" version = version + 1, changed_at = now() WHERE name = %(name)s RETURNING {_COLUMNS}",
            account.values,
        )
        row = await cursor.fetchone()
        assert row is not None
        return _account(row)

    async def delete(self, name: str) -> None:
        await self._connection.execute("DELETE FROM provider_accounts WHERE name = %s", [name])

    async def data_key(self) -> bytes | None:
        """The organization's data key, wrapped."""
        row = await (await self._connection.execute("SELECT wrapped_secret FROM data_keys")).fetchone()
        return None if row is None else bytes(row["wrapped_secret"])

    async def add_data_key(self, organization: str, wrapped: bytes) -> bytes:
        """The one that is kept from now on: another's, if that came first."""
        await self._connection.execute(
            "INSERT INTO data_keys (org_id, wrapped_secret) VALUES (%s, %s) ON CONFLICT DO NOTHING",
            [organization, wrapped],
        )
        return cast(bytes, await self.data_key())

    async def wrap_anew(self, wrapped: bytes) -> None:
        await self._connection.execute("UPDATE data_keys SET wrapped_secret = %s", [wrapped])


def _account(row: DictRow) -> KeptAccount:
    sealed = row["sealed_api_key"]
    return KeptAccount(
        id=row["id"],
        name=row["name"],
        kind=row["kind"],
        base_url=row["base_url"],
        options=row["options"],
        key=None
        if sealed is None
        else SealedKey(sealed=bytes(sealed), ends_in=row["key_ends_in"], set_at=row["key_set_at"]),
        key_secret=row["key_secret"],
        most_at_once=row["most_at_once"],
        requests_per_minute=row["requests_per_minute"],
        tokens_per_minute=row["tokens_per_minute"],
        version=row["version"],
        created_at=row["created_at"],
        changed_at=row["changed_at"],
    )
