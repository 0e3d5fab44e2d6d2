"""The list of admitted networks in its organization's row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from crewmesh_kit.errors import NotFound
from psycopg import AsyncConnection
from psycopg.rows import DictRow


async def networks_of(conn: AsyncConnection[DictRow], organization: str, *, to_change: bool = False) -> tuple[str, ...]:
    """``to_change``: nobody else changes it until the transaction ends."""
    lock = " FOR NO KEY UPDATE" if to_change else ""
    query = f"SELECT allowlist::text[] AS networks FROM organizations WHERE id = %s{lock}"
    row = await (await conn.execute(query.encode(), (organization,))).fetchone()
    if row is None:
        raise NotFound("There is no such organization.")
    return tuple(cast("list[str]", row["networks"]))


async def replace_networks(conn: AsyncConnection[DictRow], organization: str, networks: Sequence[str]) -> None:
    await conn.execute(
        "UPDATE organizations SET allowlist = %s::text[]::cidr[], updated_at = now() WHERE id = %s",
        (list(networks), organization),
    )
