"""The rows behind the signing keys."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, cast

from joserfc.jwk import ECKey
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from crewmesh_gateway.signing_keys.master import MasterKey, Unsealable
from crewmesh_gateway.signing_keys.models import CURVE, KeyRing, SigningKey

_PURPOSE = "signing keys"
# Any number will do, as long as nobody else in this database takes it for something else.
_LOCK = 0x5E55_1045


class SigningKeyRepository:
    def __init__(self, master: MasterKey) -> None:
        self._master = master

    async def alone(self, conn: AsyncConnection[DictRow]) -> None:
        """Until the end of the transaction no other replica decides about keys."""
        await conn.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])

    async def ring(self, conn: AsyncConnection[DictRow]) -> KeyRing:
        cursor = await conn.execute("SELECT * FROM signing_keys ORDER BY signs_from, kid")
        return KeyRing(tuple(self._key(row) for row in await cursor.fetchall()))

    async def add(self, conn: AsyncConnection[DictRow], *, created_at: float, signs_from: float) -> None:
        key = ECKey.generate_key(CURVE)
        kid = key.thumbprint()
        sealed = self._master.seal(_PURPOSE, json.dumps(key.as_dict(private=True)).encode(), about=kid)
        await conn.execute(
            "INSERT INTO signing_keys (kid, public_jwk, sealed_jwk, created_at, signs_from)"
            " VALUES (%s, %s, %s, %s, %s)",
            [kid, Jsonb(key.as_dict(private=False)), sealed, _moment(created_at), _moment(signs_from)],
        )

    async def forget(self, conn: AsyncConnection[DictRow], kids: list[str]) -> None:
        await conn.execute("DELETE FROM signing_keys WHERE kid = ANY(%s)", [kids])

    def _key(self, row: DictRow) -> SigningKey:
        return SigningKey(
            kid=row["kid"],
            public=ECKey.import_key(row["public_jwk"]),
            private=self._private(row["kid"], bytes(row["sealed_jwk"])),
            created_at=row["created_at"].timestamp(),
            signs_from=row["signs_from"].timestamp(),
        )

    def _private(self, kid: str, sealed: bytes) -> ECKey | None:
        try:
            opened = self._master.open(_PURPOSE, sealed, about=kid)
        except Unsealable:
            return None
        return ECKey.import_key(cast("dict[str, Any]", json.loads(opened)))


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
