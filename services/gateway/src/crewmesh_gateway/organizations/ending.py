"""Ending an organization: first it stands still, for as long as somebody may change their mind; then it is forgotten.

Forgetting is one transaction: all that this service holds of the organization goes, and the event that makes the other
services do the same is written. People stay, with their logins, also those who belong to no organization any more.
"""

from __future__ import annotations

import asyncio
import random

from crewmesh_contracts.events import OrganizationDeleted, OrganizationStatusChanged
from crewmesh_kit import audit
from crewmesh_kit.db import outbox
from crewmesh_kit.db.database import Database, DatabaseUnavailable
from crewmesh_kit.logs import get_logger
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_gateway.organizations import erasing, repository
from crewmesh_gateway.organizations.errors import ConfirmationWrong, OrganizationGone
from crewmesh_gateway.organizations.guards import active, held
from crewmesh_gateway.organizations.schemas import Deletion, Organization
from crewmesh_gateway.principals.models import Principal
from crewmesh_gateway.principals.service import Principals
from crewmesh_gateway.settings import OrganizationSettings

_log = get_logger(__name__)


class Ending:
    def __init__(self, database: Database, principals: Principals, settings: OrganizationSettings) -> None:
        self._database = database
        self._principals = principals
        self._settings = settings

    async def delete(self, principal: Principal, asked: Deletion) -> None:
        async with self._database.tenant(principal.organization) as conn:
            before = await active(conn, principal.organization)
            if asked.confirm != before.name:
                raise ConfirmationWrong
            after = await repository.delete_later(conn, before.id, self._settings.grace_days)
            if after is None or after.delete_after is None:
                raise OrganizationGone
            self._principals.forget_with(conn, before.id)
            await _tell(conn, after)
            told = {"name": before.name, "delete_after": after.delete_after.isoformat()}
            await audit.record(conn, principal.identity, "organization.deleted", before.id, after={**told})

    async def restore(self, principal: Principal) -> Organization:
        async with self._database.tenant(principal.organization) as conn:
            before = await held(conn, principal.organization)
            if before.status == "active":
                return before
            after = await repository.restore(conn, before.id)
            if after is None:
                raise OrganizationGone
            self._principals.forget_with(conn, before.id)
            await _tell(conn, after)
            await audit.record(conn, principal.identity, "organization.restored", before.id, after={"name": after.name})
            return after

    async def erase_one(self) -> str | None:
        """Forget an organization whose time is over, and say which; none when there is none."""
        async with self._database.system() as conn:
            organization = await erasing.take_due(conn)
            if organization is None:
                return None
            await erasing.erase(conn, organization)
            # Last: what was still waiting to be told about it has gone with its rows.
            await outbox.add(conn, OrganizationDeleted(organization=organization))
            self._principals.forget_with(conn, organization)
        _log.info("organization erased", organization=organization)
        return organization

    async def keep_erasing(self) -> None:
        while True:
            try:
                while await self.erase_one() is not None:
                    pass
            except DatabaseUnavailable as problem:
                _log.warning("erasing waits", reason=problem.detail)
            await asyncio.sleep(self._settings.erase_every_seconds * random.uniform(0.5, 1.5))


async def _tell(conn: AsyncConnection[DictRow], after: Organization) -> None:
    """To the other services, for what starts by itself."""
    changed = OrganizationStatusChanged(organization=after.id, status=after.status, at=after.updated_at)
    await outbox.add(conn, changed)
