"""Policies are kept here and told to the service that has the data, which carries them out once an hour."""

from __future__ import annotations

from crewmesh_contracts.events import RetentionChanged
from crewmesh_contracts.invocations.owned_data import (
    RETENTION_KINDS,
    WOULD_FORGET,
    RetentionKind,
    RetentionQuestion,
)
from crewmesh_kit import audit
from crewmesh_kit.dapr.sidecar import Sidecar
from crewmesh_kit.db import outbox
from crewmesh_kit.db.database import Database
from crewmesh_kit.errors import NotFound, ValidationFailed
from crewmesh_kit.owned_data.forgetting import keep_policy
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_gateway.principals.models import Principal
from crewmesh_gateway.retention.schemas import RetentionPolicies, RetentionPolicy, RetentionPreview


class TooShort(ValidationFailed):
    """Data of this kind is kept for some days at least, so that nothing that is under way is lost."""

    def __init__(self, kind: RetentionKind) -> None:
        super().__init__(
            f"{kind.name} are kept for {kind.least_days} days at least; ask for no fewer.", least_days=kind.least_days
        )


class RetentionPolicyService:
    def __init__(self, database: Database, sidecar: Sidecar) -> None:
        self._database = database
        self._sidecar = sidecar

    async def policies(self, principal: Principal) -> RetentionPolicies:
        async with self._database.tenant(principal.organization) as conn:
            days = await _days(conn)
        return RetentionPolicies(items=tuple(_policy(kind, days.get(kind.name)) for kind in RETENTION_KINDS.values()))

    async def change(self, principal: Principal, name: str, days: int | None) -> RetentionPolicy:
        kind = _kind(name, days)
        organization = principal.organization
        async with self._database.tenant(organization) as conn:
            before = (await _days(conn)).get(kind.name)
            if before != days:
                await keep_policy(conn, organization, kind.name, days)
                await outbox.add(conn, RetentionChanged(organization=organization, kind=kind.name, days=days))
                await audit.record(
                    conn,
                    principal.identity,
                    "retention.changed",
                    kind.name,
                    before={"days": before},
                    after={"days": days},
                )
        return _policy(kind, days)

    async def preview(self, principal: Principal, name: str, days: int) -> RetentionPreview:
        kind = _kind(name, days)
        answer = await self._sidecar.call(
            WOULD_FORGET[kind.app], RetentionQuestion(kind=kind.name, days=days), identity=principal.identity
        )
        return RetentionPreview(kind=kind.name, days=days, count=answer.count)


async def _days(conn: AsyncConnection[DictRow]) -> dict[str, int]:
    rows = await (await conn.execute("SELECT kind, days FROM retention_policies")).fetchall()
    return {row["kind"]: row["days"] for row in rows}


def _kind(name: str, days: int | None) -> RetentionKind:
    kind = RETENTION_KINDS.get(name)
    if kind is None:
        known = ", ".join(RETENTION_KINDS)
        raise NotFound(f"No data of the kind {name[:60]!r} is kept for a time that can be chosen; there are: {known}.")
    if days is not None and days < kind.least_days:
        raise TooShort(kind)
    return kind


def _policy(kind: RetentionKind, days: int | None) -> RetentionPolicy:
    return RetentionPolicy(kind=kind.name, about=kind.about, least_days=kind.least_days, days=days)
