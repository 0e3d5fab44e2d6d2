"""What can be asked of records: made, found, changed under their ETag, archived and brought back, and their history.

Each request is one transaction.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from crewmesh_kit.http.etags import check_match, require_match
from crewmesh_kit.http.pagination import PageRequest
from crewmesh_kit.identity import Identity
from crewmesh_kit.sharing.rules import EVERYTHING
from pydantic import BaseModel

from crewmesh_agent_crew.records.diff import diff
from crewmesh_agent_crew.records.errors import NameStays, StillUsed, UnknownRecordVersion
from crewmesh_agent_crew.records.keeping import Connection, Keeping
from crewmesh_agent_crew.records.models import DefinitionT
from crewmesh_agent_crew.records.repository import Filters, Stored
from crewmesh_agent_crew.records.schemas import Diff, Record, RollbackRequest, Version, VersionSummary


class Records(Keeping[DefinitionT]):
    async def get(self, identity: Identity, ref: str) -> Record[DefinitionT]:
        async with self.database.tenant(identity.organization) as connection:
            return self.shown(await self.reached(connection, identity, ref, self.shelf.see))

    async def found(self, identity: Identity, filters: Filters, page: PageRequest) -> list[Stored]:
        """One more than the page holds, by name."""
        after = page.after_text()
        async with self.database.tenant(identity.organization) as connection:
            see = self.shelf.see
            reach = EVERYTHING if see is None else await self.sharing.reach(connection, identity, see)
            return await self.repository(connection, identity).page(filters, reach, after, page.limit + 1)

    async def create(self, identity: Identity, key: str | None, definition: DefinitionT) -> Record[DefinitionT]:
        hints = (await self.examined(identity.organization, definition)).raised()

        async def make(connection: Connection) -> Record[DefinitionT]:
            await self.check(connection, identity, definition)
            return self.shown(await self.put_new(connection, identity, definition), hints)

        return await self._once(identity, f"create-{self.shelf.noun}", key, definition, make)

    async def change(
        self,
        identity: Identity,
        ref: str,
        definition: DefinitionT,
        *,
        if_match: str | None,
        message: str,
        key: str | None,
    ) -> Record[DefinitionT]:
        """The whole definition anew, as a new version; one that says the same changes nothing."""
        hints = (await self.examined(identity.organization, definition)).raised()

        async def renew(connection: Connection) -> Record[DefinitionT]:
            stored = await self.changeable(connection, identity, ref)
            require_match(if_match, stored.version)
            if definition.name != stored.name:
                raise NameStays(self.shelf.noun, stored.name, definition.name)
            await self.check(connection, identity, definition)
            renewed = await self.put_anew(connection, identity, stored, definition, message=message)
            return self.shown(renewed, hints)

        return await self._once(identity, f"{self.shelf.path}/{ref}", key, definition, renew)

    async def archive(self, identity: Identity, ref: str, *, if_match: str | None) -> None:
        """Nothing may refer to it. It stays to be read under its id, and gives its name back."""
        async with self.database.tenant(identity.organization) as connection:
            stored = await self.reached(connection, identity, ref, self.shelf.change, lock=True)
            check_match(if_match, stored.version)
            if stored.archived_at is not None:
                return
            users = await self.used_by(connection, identity, stored.name)
            if users:
                raise StillUsed(self.shelf.noun, stored.name, users)
            await self.repository(connection, identity).archive(stored.id)
            await self.tell(connection, identity, "archived", stored, before={"name": stored.name})

    async def restore(self, identity: Identity, ref: str) -> Record[DefinitionT]:
        """Under the name that it had, if nobody took that meanwhile."""
        async with self.database.tenant(identity.organization) as connection:
            stored = await self.reached(connection, identity, ref, self.shelf.change, lock=True)
            if stored.archived_at is None:
                return self.shown(stored)
            definition = self.read(stored.definition)
            await self.check(connection, identity, definition)
            restored = await self.repository(connection, identity).restore(stored.id)
            if restored is None:
                raise self.shelf.taken(definition.name)
            await self.tell(connection, identity, "restored", restored, after={"name": restored.name})
            return self.shown(restored)

    async def versions(self, identity: Identity, ref: str, page: PageRequest) -> list[VersionSummary]:
        """One more than the page holds, the newest first."""
        after = page.after(int)
        before = int(after[0]) if after else None
        async with self.database.tenant(identity.organization) as connection:
            stored = await self.reached(connection, identity, ref, self.shelf.see)
            found = await self.repository(connection, identity).versions(stored.id, before, page.limit + 1)
        return [VersionSummary.model_validate(each, from_attributes=True) for each in found]

    async def version(self, identity: Identity, ref: str, number: int) -> Version:
        async with self.database.tenant(identity.organization) as connection:
            stored = await self.reached(connection, identity, ref, self.shelf.see)
            found = await self.repository(connection, identity).version(stored.id, number)
        if found is None:
            raise UnknownRecordVersion(self.shelf.path, ref, number)
        return Version.model_validate(found, from_attributes=True)

    async def diff(self, identity: Identity, ref: str, before: int, after: int) -> Diff:
        one, other = await self.version(identity, ref, before), await self.version(identity, ref, after)
        return diff(self.spelled_out(one.definition), self.spelled_out(other.definition))

    async def roll_back(
        self, identity: Identity, ref: str, request: RollbackRequest, *, if_match: str | None, key: str | None
    ) -> Record[DefinitionT]:
        """A new version with the content of an old one."""

        async def renew(connection: Connection) -> Record[DefinitionT]:
            stored = await self.changeable(connection, identity, ref)
            check_match(if_match, stored.version)
            old = await self.repository(connection, identity).version(stored.id, request.version)
            if old is None:
                raise UnknownRecordVersion(self.shelf.path, ref, request.version)
            definition = self.read(old.definition)
            await self.check(connection, identity, definition)
            message = request.message or f"Back to version {request.version}."
            renewed = await self.put_anew(connection, identity, stored, definition, message=message, verb="rolled-back")
            return self.shown(renewed)

        return await self._once(identity, f"{self.shelf.path}/{ref}/rollback", key, request, renew)

    async def _once(
        self,
        identity: Identity,
        scope: str,
        key: str | None,
        request: BaseModel,
        work: Callable[[Connection], Awaitable[Record[DefinitionT]]],
    ) -> Record[DefinitionT]:
        async with self.database.tenant(identity.organization) as connection:

            async def do() -> Record[DefinitionT]:
                return await work(connection)

            return await self.idempotency.once_in(
                connection,
                identity=identity,
                scope=scope,
                key=key,
                request=request,
                work=do,
                result=self.shelf.record,
            )
