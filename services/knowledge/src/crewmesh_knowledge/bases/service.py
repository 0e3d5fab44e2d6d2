"""Creating and finding knowledge bases."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from crewmesh_kit import audit
from crewmesh_kit.db.database import Database
from crewmesh_kit.db.idempotency import Idempotency
from crewmesh_kit.http.pagination import Page, PageRequest
from crewmesh_kit.identity import Identity
from crewmesh_kit.resources import Resources
from crewmesh_kit.sharing.models import Need
from crewmesh_kit.sharing.service import Sharing
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_knowledge.access import SEE
from crewmesh_knowledge.bases import repository
from crewmesh_knowledge.bases.errors import KnowledgeBaseExists, UnknownKnowledgeBase
from crewmesh_knowledge.bases.schemas import KnowledgeBase, NewKnowledgeBase


class Bases:
    def __init__(self, database: Database, idempotency: Idempotency, sharing: Sharing) -> None:
        self._database = database
        self._idempotency = idempotency
        self._sharing = sharing

    async def create(self, identity: Identity, new: NewKnowledgeBase, *, key: str | None) -> KnowledgeBase:
        async with self._database.tenant(identity.organization) as connection:

            async def work() -> KnowledgeBase:
                created = await repository.add(connection, identity.organization, new)
                if created is None:
                    raise KnowledgeBaseExists(new.name)
                await audit.record(
                    connection, identity, "knowledge-base.created", created.id, after={"name": created.name}
                )
                return created

            return await self._idempotency.once_in(
                connection, identity=identity, scope="knowledge-bases", key=key, request=new, work=work
            )

    async def get(self, identity: Identity, name: str) -> KnowledgeBase:
        async with self._database.tenant(identity.organization) as connection:
            return await self.reached(connection, identity, name, SEE)

    async def page(self, identity: Identity, request: PageRequest) -> Page[KnowledgeBase]:
        after = request.after_text() or ""
        async with self._database.tenant(identity.organization) as connection:
            reach = await self._sharing.reach(connection, identity, SEE)
            found = await repository.after(connection, identity.organization, reach, after, request.limit + 1)
        return request.page(found, lambda base: (base.name,))

    async def ensure(
        self, connection: AsyncConnection[DictRow], organization: str, new: NewKnowledgeBase
    ) -> KnowledgeBase:
        """The base of this name, made now if there is none."""
        created = await repository.add(connection, organization, new)
        return created or await required(connection, organization, new.name)

    async def reached(
        self, connection: AsyncConnection[DictRow], identity: Identity, name: str, need: Need
    ) -> KnowledgeBase:
        """The base of this name, in the caller's transaction; one that is hidden from ``identity`` is unknown."""
        found = await required(connection, identity.organization, name)
        await self._sharing.ensure(connection, identity, need, found.id, unknown=UnknownKnowledgeBase(name))
        return found


async def required(connection: AsyncConnection[DictRow], organization: str, name: str) -> KnowledgeBase:
    found = await repository.named(connection, organization, name)
    if found is None:
        raise UnknownKnowledgeBase(name)
    return found


async def base_id(connection: AsyncConnection[DictRow], organization: str, name: str) -> str:
    return (await required(connection, organization, name)).id


@asynccontextmanager
async def open_bases(resources: Resources) -> AsyncGenerator[Bases]:
    yield Bases(resources.get(Database), resources.get(Idempotency), resources.get(Sharing))
