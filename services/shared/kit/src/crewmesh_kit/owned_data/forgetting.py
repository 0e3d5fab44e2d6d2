"""Forgetting: everything when an organization is deleted, and what is too old for the organization's own policies."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import LiteralString

from crewmesh_contracts.events import CloudEvent, OrganizationDeleted, RetentionChanged
from psycopg import AsyncConnection, sql
from psycopg.rows import DictRow

from crewmesh_kit.db.database import Database, DatabaseUnavailable
from crewmesh_kit.errors import NotFound
from crewmesh_kit.logs import get_logger
from crewmesh_kit.owned_data.tables import owned_tables

_BATCH = 5_000
_EVERY_SECONDS = 3_600

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Forgettable:
    """A kind of data that is forgotten by age. Both look at the rows of one organization only.

    ``count`` says how many are older than so many days, ``forget`` deletes a batch of them and says how many that were.
    """

    kind: str
    count: Callable[[AsyncConnection[DictRow], int], Awaitable[int]]
    forget: Callable[[AsyncConnection[DictRow], int], Awaitable[int]]


def by_age(kind: str, *, table: LiteralString, column: LiteralString, and_: LiteralString = "true") -> Forgettable:
    """Rows of one table by the age in one column, of those that are ``and_``."""
    old = sql.SQL("{} < now() - %s * interval '1 day' AND ({})").format(sql.Identifier(column), sql.SQL(and_))
    counting = sql.SQL("SELECT count(*) AS n FROM {} WHERE {}").format(sql.Identifier(table), old)
    deleting = sql.SQL("DELETE FROM {0} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {0} WHERE {1} LIMIT {2}))").format(
        sql.Identifier(table), old, sql.Literal(_BATCH)
    )

    async def count(conn: AsyncConnection[DictRow], days: int) -> int:
        row = await (await conn.execute(counting, [days])).fetchone()
        return 0 if row is None else int(row["n"])

    async def forget(conn: AsyncConnection[DictRow], days: int) -> int:
        return (await conn.execute(deleting, [days])).rowcount

    return Forgettable(kind, count, forget)


class Forgetting:
    def __init__(self, database: Database, kinds: tuple[Forgettable, ...]) -> None:
        self._database = database
        self._kinds = {each.kind: each for each in kinds}

    async def on_organization_event(self, event: CloudEvent) -> None:
        """Both bear repetition, so no event has to be remembered."""
        if event.type == OrganizationDeleted.type():
            await self.everything(OrganizationDeleted.model_validate(event.data).organization)
        elif event.type == RetentionChanged.type():
            changed = RetentionChanged.model_validate(event.data)
            async with self._database.tenant(changed.organization) as conn:
                await keep_policy(conn, changed.organization, changed.kind, changed.days)

    async def everything(self, organization: str) -> int:
        """Delete all rows of the organization, in batches; how many those were."""
        async with self._database.tenant(organization) as conn:
            tables = await owned_tables(conn)
        total = 0
        for table in tables:
            delete = sql.SQL("DELETE FROM {0} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {0} LIMIT {1}))").format(
                sql.Identifier(table.name), sql.Literal(_BATCH)
            )
            while True:
                async with self._database.tenant(organization) as conn:
                    deleted = (await conn.execute(delete)).rowcount
                total += deleted
                if deleted < _BATCH:
                    break
        log.info("everything of a deleted organization is forgotten", organization=organization, rows=total)
        return total

    async def would_forget(self, organization: str, kind: str, days: int) -> int:
        async with self._database.tenant(organization) as conn:
            return await self._known(kind).count(conn, days)

    async def keep_forgetting(self) -> None:
        """Once an hour, replicas at different moments."""
        while True:
            await asyncio.sleep(_EVERY_SECONDS * random.uniform(0.5, 1.5))
            try:
                await self.what_is_too_old()
            except DatabaseUnavailable as problem:
                log.warning("forgetting by policy waits for the next hour", reason=problem.detail)

    async def what_is_too_old(self) -> int:
        """Carry out every organization's policies; how many rows were forgotten."""
        policies = await self._database.statement(
            "SELECT org_id, kind, days FROM retention_policies ORDER BY org_id, kind"
        )
        total = 0
        for policy in policies:
            if (kind := self._kinds.get(policy["kind"])) is None:
                continue
            while True:
                async with self._database.tenant(policy["org_id"]) as conn:
                    forgotten = await kind.forget(conn, policy["days"])
                total += forgotten
                if forgotten == 0:
                    break
        if total:
            log.info("data was forgotten as its organizations want", rows=total)
        return total

    def _known(self, kind: str) -> Forgettable:
        try:
            return self._kinds[kind]
        except KeyError:
            raise NotFound(f"This service keeps nothing of the kind {kind[:60]!r}.") from None


async def keep_policy(conn: AsyncConnection[DictRow], organization: str, kind: str, days: int | None) -> None:
    """Remember what the organization wants; ``None``: it wants nothing special any more."""
    if days is None:
        await conn.execute("DELETE FROM retention_policies WHERE org_id = %s AND kind = %s", [organization, kind])
        return
    await conn.execute(
        "INSERT INTO retention_policies (org_id, kind, days) VALUES (%s, %s, %s)"
        " ON CONFLICT (org_id, kind) DO UPDATE SET days = excluded.days",
        [organization, kind, days],
    )
