"""Knowing what is restricted without asking the database every time, and forgetting at once what has changed.

What an organization shares in a way of its own is little, and mostly nothing. It is read once, in the transaction that
needs it first, and remembered; so a request costs a look into a dictionary. A change is told to every replica after its
commit. Should the news be lost on the way, half a minute is the limit.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager

from crewmesh_contracts.base import JsonValue
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_kit import audit
from crewmesh_kit.db.database import Database
from crewmesh_kit.db.idempotency import Idempotency
from crewmesh_kit.errors import Problem
from crewmesh_kit.http.etags import require_match
from crewmesh_kit.identity import Identity
from crewmesh_kit.remembering import Remembered
from crewmesh_kit.resources import Resources
from crewmesh_kit.sharing import repository, rules
from crewmesh_kit.sharing.errors import LevelMissing
from crewmesh_kit.sharing.models import AccessRequest, Kind, Need, ResourceAccess, Shared
from crewmesh_kit.sharing.rules import Reach
from crewmesh_kit.signals import Signals

_SECONDS = 30.0

ByKind = Mapping[str, Mapping[str, Shared]]


class Sharing:
    def __init__(
        self,
        database: Database,
        idempotency: Idempotency,
        signals: Signals,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._idempotency = idempotency
        self._shared = Remembered[ByKind](signals, "access:", seconds=_SECONDS, now=now)

    async def reach(self, conn: AsyncConnection[DictRow], identity: Identity, need: Need) -> Reach:
        """What of the kind ``identity`` reaches; for lists."""
        shared = await self._of(conn, identity.organization)
        return rules.reach(identity, need, shared.get(need.kind.name, {}))

    async def reaches(self, conn: AsyncConnection[DictRow], identity: Identity, need: Need, resource: str) -> bool:
        shared = await self._of(conn, identity.organization)
        return rules.reaches(identity, need, resource, shared.get(need.kind.name, {}).get(resource))

    async def ensure(
        self, conn: AsyncConnection[DictRow], identity: Identity, need: Need, resource: str, *, unknown: Problem
    ) -> None:
        """``unknown`` when the resource is hidden from ``identity``, LevelMissing when it may be seen and no more."""
        if await self.reaches(conn, identity, need, resource):
            return
        shared = await self._of(conn, identity.organization)
        if rules.sees(identity, need, resource, shared.get(need.kind.name, {}).get(resource)):
            raise LevelMissing(need, resource)
        raise unknown

    async def reaches_any(self, identity: Identity, need: Need) -> bool:
        """Whether there is anything of the kind for somebody whose role does not go so far; before any transaction."""
        if identity.allows(need.permission):
            return True
        async with self._database.tenant(identity.organization) as conn:
            return not (await self.reach(conn, identity, need)).nothing

    async def get(self, conn: AsyncConnection[DictRow], organization: str, kind: Kind, resource: str) -> ResourceAccess:
        return await repository.get(conn, (organization, kind.name, resource))

    async def put(
        self,
        conn: AsyncConnection[DictRow],
        identity: Identity,
        kind: Kind,
        resource: str,
        request: AccessRequest,
        *,
        if_match: str | None,
        key: str | None,
    ) -> ResourceAccess:
        """Replace the whole access, if it is the one that was read."""
        place = (identity.organization, kind.name, resource)

        async def put() -> ResourceAccess:
            await repository.lock(conn, place)
            before = await repository.get(conn, place)
            require_match(if_match, before.version)
            await repository.replace(conn, place, restricted=request.restricted, grants=request.grants)
            after = await repository.get(conn, place)
            action = f"{kind.name}.access-changed"
            await audit.record(conn, identity, action, resource, before=_told(before), after=_told(after))
            self.forget_with(conn, identity.organization)
            return after

        scope = f"access/{kind.name}/{resource}"
        return await self._idempotency.once_in(
            conn, identity=identity, scope=scope, key=key, request=request, work=put, result=ResourceAccess
        )

    def forget_with(self, conn: AsyncConnection[DictRow], organization: str) -> None:
        """After this transaction's commit every replica reads the organization's sharing anew."""
        self._shared.forget_with(conn, organization)

    async def _of(self, conn: AsyncConnection[DictRow], organization: str) -> ByKind:
        return await self._shared.of(organization, lambda: repository.of_organization(conn, organization))


def _told(access: ResourceAccess) -> JsonValue:
    """As the audit log keeps it."""
    return {"restricted": access.restricted, "grants": {grant.grantee: grant.level for grant in access.grants}}


@asynccontextmanager
async def open_sharing(resources: Resources) -> AsyncGenerator[Sharing]:
    """After the signals of the service."""
    yield Sharing(resources.get(Database), resources.get(Idempotency), resources.get(Signals))
