"""What can be done with policies. A change holds for every turn that begins after it.

Where it is stricter, it holds for each use of a tool in turns that are under way, too.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from crewmesh_contracts.base import JsonObject
from crewmesh_kit import audit
from crewmesh_kit.app import Resources
from crewmesh_kit.db.database import Database
from crewmesh_kit.db.idempotency import Idempotency
from crewmesh_kit.errors import Conflict
from crewmesh_kit.http.etags import check_match, require_match
from crewmesh_kit.http.pagination import Page, PageRequest
from crewmesh_kit.identity import Identity
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_agent_crew.guardrails.policies.errors import PolicyExists, PolicyNotFound, PolicyRenamed
from crewmesh_agent_crew.guardrails.policies.models import PolicyDefinition
from crewmesh_agent_crew.guardrails.policies.repository import PolicyRepository
from crewmesh_agent_crew.guardrails.policies.schemas import Policy

# All of them are read at the beginning of every turn.
_MOST = 200


class Policies:
    def __init__(self, database: Database, idempotency: Idempotency) -> None:
        self._database = database
        self._idempotency = idempotency

    async def all_in(self, connection: AsyncConnection[DictRow]) -> list[PolicyDefinition]:
        """Those of the transaction's organization."""
        return await PolicyRepository(connection).all()

    async def pinned_in(
        self,
        connection: AsyncConnection[DictRow],
        organization: str,
        crew_run: str,
        place: str,
        policies: Sequence[PolicyDefinition],
    ) -> list[PolicyDefinition]:
        """Those that held when the turn at ``place`` began; these, when it begins now."""
        return await PolicyRepository(connection).pinned(organization, crew_run, place, policies)

    async def page(self, identity: Identity, wanted: PageRequest, tag: str | None) -> Page[Policy]:
        async with self._database.tenant(identity.organization) as connection:
            found = await PolicyRepository(connection).list_after(wanted.after_text(), wanted.limit + 1, tag)
        return wanted.page(found, lambda policy: (policy.definition.name,))

    async def get(self, identity: Identity, name: str) -> Policy:
        async with self._database.tenant(identity.organization) as connection:
            return await _found(connection, name)

    async def create(self, identity: Identity, key: str | None, definition: PolicyDefinition) -> Policy:
        async with self._database.tenant(identity.organization) as connection:

            async def add() -> Policy:
                policies = PolicyRepository(connection)
                if await policies.count() >= _MOST:
                    raise Conflict(f"An organization has {_MOST} policies at most; delete one, or put two together.")
                policy = await policies.add(identity.organization, definition)
                if policy is None:
                    raise PolicyExists(definition.name)
                await audit.record(connection, identity, "policy.created", policy.id, after=_told(policy))
                return policy

            return await self._idempotency.once_in(
                connection, identity=identity, scope="create-policy", key=key, request=definition, work=add
            )

    async def replace(
        self, identity: Identity, name: str, definition: PolicyDefinition, if_match: str | None
    ) -> Policy:
        if definition.name != name:
            raise PolicyRenamed(name, definition.name)
        async with self._database.tenant(identity.organization) as connection:
            before = await _found(connection, name, to_change=True)
            require_match(if_match, before.version)
            after = await PolicyRepository(connection).replace(definition)
            await audit.record(
                connection, identity, "policy.updated", after.id, before=_told(before), after=_told(after)
            )
        return after

    async def delete(self, identity: Identity, name: str, if_match: str | None) -> None:
        async with self._database.tenant(identity.organization) as connection:
            policy = await _found(connection, name, to_change=True)
            check_match(if_match, policy.version)
            await PolicyRepository(connection).delete(name)
            await audit.record(connection, identity, "policy.deleted", policy.id, before=_told(policy))


async def _found(connection: AsyncConnection[DictRow], name: str, *, to_change: bool = False) -> Policy:
    policy = await PolicyRepository(connection).find(name, to_change=to_change)
    if policy is None:
        raise PolicyNotFound(name)
    return policy


def _told(policy: Policy) -> JsonObject:
    return policy.definition.model_dump(mode="json")


@asynccontextmanager
async def open_policies(resources: Resources) -> AsyncGenerator[Policies]:
    yield Policies(resources.get(Database), resources.get(Idempotency))
