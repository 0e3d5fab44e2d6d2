"""Keeping records: made, found, changed under their ETag, archived and brought back; every version stays to be read.

What a kind of record knows beyond that, it says in the two methods that are empty here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic

from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_kit import audit
from crewmesh_kit.db.database import Database
from crewmesh_kit.db.idempotency import Idempotency
from crewmesh_kit.http.etags import check_match, require_match
from crewmesh_kit.http.pagination import PageRequest
from crewmesh_kit.identity import Identity
from crewmesh_kit.sharing.models import Need
from crewmesh_kit.sharing.rules import EVERYTHING
from crewmesh_kit.sharing.service import Sharing
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from pydantic import BaseModel, ValidationError

from crewmesh_agent_crew.records.diff import diff
from crewmesh_agent_crew.records.errors import Archived, NameStays, StillUsed, UnknownRecordVersion
from crewmesh_agent_crew.records.mistakes import InvalidDefinition, Mistake, mistakes_of
from crewmesh_agent_crew.records.models import DefinitionT
from crewmesh_agent_crew.records.repository import Filters, RecordRepository, Stored
from crewmesh_agent_crew.records.schemas import Diff, Hint, Record, RollbackRequest, Version, VersionSummary
from crewmesh_agent_crew.records.shelf import Shelf

_MOST_TOLD = 50

Connection = AsyncConnection[DictRow]


@dataclass(frozen=True, slots=True)
class Findings:
    """``mistakes`` stand in the way of saving; ``hints`` do not."""

    mistakes: Sequence[Mistake] = ()
    hints: Sequence[Mistake] = ()


class Records(Generic[DefinitionT]):
    def __init__(
        self, shelf: Shelf[DefinitionT], database: Database, idempotency: Idempotency, sharing: Sharing
    ) -> None:
        self.shelf = shelf
        self.database = database
        self.idempotency = idempotency
        self.sharing = sharing

    async def findings(self, connection: Connection, identity: Identity, definition: DefinitionT) -> Findings:
        """What can be said of a definition by looking at what it refers to."""
        _ = connection, identity, definition
        return Findings()

    async def used_by(self, connection: Connection, organization: str, name: str) -> Sequence[str]:
        """What refers to it and would break without it."""
        _ = connection, organization, name
        return ()

    async def get(self, identity: Identity, ref: str) -> Record[DefinitionT]:
        """By name or id; one that is hidden from ``identity`` is not found."""
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
        async with self.database.tenant(identity.organization) as connection:

            async def add() -> Record[DefinitionT]:
                return await self.add(connection, identity, definition)

            return await self._once(connection, identity, f"create-{self.shelf.noun}", key, definition, add)

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
        async with self.database.tenant(identity.organization) as connection:

            async def renew() -> Record[DefinitionT]:
                stored = await self.changeable(connection, identity, ref)
                require_match(if_match, stored.version)
                return await self.renew(connection, identity, stored, definition, message=message)

            return await self._once(connection, identity, f"{self.shelf.path}/{ref}", key, definition, renew)

    async def roll_back(
        self, identity: Identity, ref: str, request: RollbackRequest, *, if_match: str | None, key: str | None
    ) -> Record[DefinitionT]:
        """A new version with the content of an old one."""
        async with self.database.tenant(identity.organization) as connection:

            async def renew() -> Record[DefinitionT]:
                stored = await self.changeable(connection, identity, ref)
                check_match(if_match, stored.version)
                old = await self.repository(connection, identity).version(stored.id, request.version)
                if old is None:
                    raise UnknownRecordVersion(self.shelf.path, ref, request.version)
                message = request.message or f"Back to version {request.version}."
                definition = self._read(old.definition)
                return await self.renew(connection, identity, stored, definition, message=message, verb="rolled-back")

            return await self._once(connection, identity, f"{self.shelf.path}/{ref}/rollback", key, request, renew)

    async def archive(self, identity: Identity, ref: str, *, if_match: str | None) -> None:
        """Nothing may refer to it. It stays to be read under its id, and gives its name back."""
        async with self.database.tenant(identity.organization) as connection:
            stored = await self.reached(connection, identity, ref, self.shelf.change, lock=True)
            check_match(if_match, stored.version)
            if stored.archived_at is not None:
                return
            users = await self.used_by(connection, identity.organization, stored.name)
            if users:
                raise StillUsed(self.shelf.noun, stored.name, users)
            await self.repository(connection, identity).archive(stored.id)
            await self._tell(connection, identity, "archived", stored, before={"name": stored.name})

    async def restore(self, identity: Identity, ref: str) -> Record[DefinitionT]:
        """Under the name that it had, if nobody took that meanwhile."""
        async with self.database.tenant(identity.organization) as connection:
            stored = await self.reached(connection, identity, ref, self.shelf.change, lock=True)
            if stored.archived_at is None:
                return self.shown(stored)
            restored = await self.repository(connection, identity).restore(stored.id)
            if restored is None:
                raise self.shelf.taken(str(stored.definition["name"]))
            await self._tell(connection, identity, "restored", restored, after={"name": restored.name})
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
        return diff(self._spelled_out(one.definition), self._spelled_out(other.definition))

    # What follows happens in somebody's transaction.

    async def add(
        self, connection: Connection, identity: Identity, definition: DefinitionT, *, message: str = ""
    ) -> Record[DefinitionT]:
        hints = await self._hints(connection, identity, definition)
        repository = self.repository(connection, identity)
        stored = await repository.add(definition, by=identity.subject, message=message)
        if stored is None:
            raise self.shelf.taken(definition.name)
        await self._tell(connection, identity, "created", stored, after={"name": stored.name, "version": 1})
        return self.shown(stored, hints)

    async def renew(
        self,
        connection: Connection,
        identity: Identity,
        stored: Stored,
        definition: DefinitionT,
        *,
        message: str = "",
        verb: str = "changed",
    ) -> Record[DefinitionT]:
        if definition.name != stored.name:
            raise NameStays(self.shelf.noun, stored.name, definition.name)
        hints = await self._hints(connection, identity, definition)
        changes = diff(self._spelled_out(stored.definition), definition.model_dump(mode="json")).changes
        if not changes:
            return self.shown(stored, hints)
        repository = self.repository(connection, identity)
        renewed = await repository.replace(stored.id, definition, by=identity.subject, message=message)
        paths: list[JsonValue] = [change.path for change in changes[:_MOST_TOLD]]
        after: JsonObject = {"version": renewed.version, "changes": paths}
        await self._tell(connection, identity, verb, renewed, before={"version": stored.version}, after=after)
        return self.shown(renewed, hints)

    async def reached(
        self, connection: Connection, identity: Identity, ref: str, need: Need | None, *, lock: bool = False
    ) -> Stored:
        stored = await self.repository(connection, identity).find(ref, lock=lock)
        if stored is None:
            raise self.shelf.unknown(ref)
        if need is not None:
            await self.sharing.ensure(connection, identity, need, stored.id, unknown=self.shelf.unknown(ref))
        return stored

    async def changeable(self, connection: Connection, identity: Identity, ref: str) -> Stored:
        """Held by a lock until the transaction ends."""
        stored = await self.reached(connection, identity, ref, self.shelf.change, lock=True)
        if stored.archived_at is not None:
            raise Archived(self.shelf.noun, self.shelf.path, stored.id)
        return stored

    def repository(self, connection: Connection, identity: Identity) -> RecordRepository[DefinitionT]:
        return RecordRepository(connection, identity.organization, self.shelf)

    def shown(self, stored: Stored, hints: Sequence[Mistake] = ()) -> Record[DefinitionT]:
        return self.shelf.record(
            id=stored.id,
            version=stored.version,
            definition=self._read(stored.definition),
            message=stored.message,
            created_at=stored.created_at,
            changed_at=stored.changed_at,
            changed_by=stored.changed_by,
            archived_at=stored.archived_at,
            warnings=tuple(Hint(path=hint.path, message=hint.message) for hint in hints),
        )

    async def _hints(self, connection: Connection, identity: Identity, definition: DefinitionT) -> Sequence[Mistake]:
        findings = await self.findings(connection, identity, definition)
        if findings.mistakes:
            raise InvalidDefinition(findings.mistakes)
        return findings.hints

    def _read(self, definition: JsonObject) -> DefinitionT:
        """A version that obeyed the rules of its time may not obey those of today."""
        try:
            return self.shelf.model.model_validate(definition)
        except ValidationError as error:
            raise InvalidDefinition(list(mistakes_of(error))) from error

    def _spelled_out(self, definition: JsonObject) -> JsonObject:
        """With every default in it, so that what was left out differs from nothing."""
        try:
            return self.shelf.model.model_validate(definition).model_dump(mode="json")
        except ValidationError:
            return definition

    async def _tell(
        self,
        connection: Connection,
        identity: Identity,
        verb: str,
        stored: Stored,
        *,
        before: JsonObject | None = None,
        after: JsonObject | None = None,
    ) -> None:
        action = f"{self.shelf.action}.{verb}"
        await audit.record(connection, identity, action, stored.id, before=before, after=after)

    async def _once(
        self,
        connection: Connection,
        identity: Identity,
        scope: str,
        key: str | None,
        request: BaseModel,
        work: Callable[[], Awaitable[Record[DefinitionT]]],
    ) -> Record[DefinitionT]:
        return await self.idempotency.once_in(
            connection,
            identity=identity,
            scope=scope,
            key=key,
            request=request,
            work=work,
            result=self.shelf.record,
        )
