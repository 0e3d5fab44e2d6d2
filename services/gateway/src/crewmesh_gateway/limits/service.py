"""Showing an organization its limits, and changing from where it admits requests."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from ipaddress import ip_network

from crewmesh_contracts.base import JsonObject
from crewmesh_kit import audit
from crewmesh_kit.db.database import Database
from crewmesh_kit.http.etags import require_match

from crewmesh_gateway.limits import repository
from crewmesh_gateway.limits.allowlist import admits
from crewmesh_gateway.limits.errors import WouldLockYouOut
from crewmesh_gateway.limits.gate import Gate
from crewmesh_gateway.limits.plans import Plans
from crewmesh_gateway.limits.quotas import Quotas
from crewmesh_gateway.limits.schemas import AllowlistChange, LimitsView, QuotaView, RateView
from crewmesh_gateway.principals.models import Principal
from crewmesh_gateway.principals.service import Principals


class Limits:
    def __init__(self, database: Database, principals: Principals, plans: Plans, quotas: Quotas, gate: Gate) -> None:
        self._database = database
        self._principals = principals
        self._plans = plans
        self._quotas = quotas
        self._gate = gate

    async def of(self, principal: Principal) -> LimitsView:
        async with self._database.tenant(principal.organization) as conn:
            plan, usages = await self._quotas.usage(conn, principal.organization)
        used = self._gate.used(principal)
        rates = {limit: plan.organization if limit == "organization" else plan.credential for limit in used}
        return LimitsView(
            plan=plan.name,
            rates=tuple(
                RateView(
                    limit=limit,
                    per_minute=rate.per_minute,
                    per_second=rate.per_second,
                    used_in_the_last_minute=used[limit],
                )
                for limit, rate in rates.items()
            ),
            quotas=tuple(QuotaView(quota=usage.quota, used=usage.used, limit=usage.allowed) for usage in usages),
        )

    async def allowlist(self, principal: Principal) -> tuple[str, ...]:
        async with self._database.tenant(principal.organization) as conn:
            return await repository.networks_of(conn, principal.organization)

    async def replace_allowlist(
        self, principal: Principal, change: AllowlistChange, *, address: str, if_match: str | None, force: bool
    ) -> tuple[str, ...]:
        """Refused when it would shut the caller out, unless that is wanted by ``force``."""
        wanted, organization = change.networks, principal.organization
        async with self._database.tenant(organization) as conn:
            present = await repository.networks_of(conn, organization, to_change=True)
            require_match(if_match, version_of(present))
            if wanted and not force and not admits(map(ip_network, wanted), address):
                raise WouldLockYouOut(address)
            await repository.replace_networks(conn, organization, wanted)
            before: JsonObject = {"networks": list(present)}
            after: JsonObject = {"networks": list(wanted), "forced": force}
            await audit.record(conn, principal.identity, "allowlist.replaced", organization, before=before, after=after)
            self._principals.forget_with(conn, organization)
        return wanted


def version_of(networks: Sequence[str]) -> str:
    """The list names its own version, so that changing it to what it is changes nothing."""
    return hashlib.sha256("\n".join(networks).encode()).hexdigest()[:16]
