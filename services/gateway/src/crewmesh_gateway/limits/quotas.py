"""How many of each thing an organization has, and whether there may be one more.

``check`` is asked in the transaction that creates the thing. It holds the organization's row until that transaction
ends, so that of many who create at once each sees what the others made; where the plan has no quota, nothing is held.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from crewmesh_kit.errors import NotFound
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_gateway.limits.errors import QuotaExceeded
from crewmesh_gateway.limits.plans import QUOTAS, Plan, Plans, QuotaName

# Within an organization's transaction, where only its own rows exist; yet named, for the system's transactions.
_COUNTS: Mapping[QuotaName, bytes] = MappingProxyType(
    {
        "members": b"""
            SELECT (SELECT count(*) FROM memberships WHERE org_id = %(organization)s)
                 + (SELECT count(*) FROM invitations WHERE org_id = %(organization)s AND accepted_at IS NULL
                    AND revoked_at IS NULL AND expires_at > now()) AS used
        """,
        "teams": b"SELECT count(*) AS used FROM teams WHERE org_id = %(organization)s",
        "api_keys": b"""
            SELECT count(*) AS used FROM api_keys
            WHERE org_id = %(organization)s AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
        """,
        "service_accounts": b"SELECT count(*) AS used FROM service_accounts WHERE org_id = %(organization)s",
        "custom_roles": b"SELECT count(*) AS used FROM roles WHERE org_id = %(organization)s",
    }
)


@dataclass(frozen=True, slots=True)
class Usage:
    quota: QuotaName
    used: int
    allowed: int | None


class Quotas:
    def __init__(self, plans: Plans) -> None:
        self._plans = plans

    async def check(
        self, conn: AsyncConnection[DictRow], organization: str, quota: QuotaName, *, more: int = 1
    ) -> None:
        """QuotaExceeded unless the organization may have ``more`` of these; call it before they are written."""
        plan = await self._plan(conn, organization)
        allowed = plan.quota(quota)
        if allowed is None or more < 1:
            return
        await conn.execute("SELECT FROM organizations WHERE id = %s FOR NO KEY UPDATE", (organization,))
        used = await self._used(conn, organization, quota)
        if used + more > allowed:
            raise QuotaExceeded(quota, plan=plan.name, used=used, allowed=allowed)

    async def usage(self, conn: AsyncConnection[DictRow], organization: str) -> tuple[Plan, list[Usage]]:
        """Everything that has a quota on some plan, with how much there is of it."""
        plan = await self._plan(conn, organization)
        return plan, [Usage(quota, await self._used(conn, organization, quota), plan.quota(quota)) for quota in QUOTAS]

    async def _plan(self, conn: AsyncConnection[DictRow], organization: str) -> Plan:
        cursor = await conn.execute("SELECT plan FROM organizations WHERE id = %s", (organization,))
        row = await cursor.fetchone()
        if row is None:
            raise NotFound("There is no such organization.")
        return self._plans.named(row["plan"])

    async def _used(self, conn: AsyncConnection[DictRow], organization: str, quota: QuotaName) -> int:
        row = await (await conn.execute(_COUNTS[quota], {"organization": organization})).fetchone()
        return int(row["used"]) if row else 0
