"""Records within somebody's transaction: found for who asks, put there, put anew, and told to the audit log.

What a kind of record knows beyond that, it says in three methods: ``asked_about``, ``mistakes``, ``used_by``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic

from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_kit import audit
from crewmesh_kit.db.database import Database
from crewmesh_kit.db.idempotency import Idempotency
from crewmesh_kit.identity import Identity
from crewmesh_kit.sharing.models import Need
from crewmesh_kit.sharing.service import Sharing
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from pydantic import ValidationError

from crewmesh_agent_crew.records.diff import diff
from crewmesh_agent_crew.records.errors import Archived
from crewmesh_agent_crew.records.findings import Findings, in_itself
from crewmesh_agent_crew.records.mistakes import InvalidDefinition, Mistake, mistakes_of
from crewmesh_agent_crew.records.models import DefinitionT
from crewmesh_agent_crew.records.repository import RecordRepository, Stored
from crewmesh_agent_crew.records.schemas import Change, Hint, Record
from crewmesh_agent_crew.records.shelf import Shelf

_MOST_TOLD = 50

Connection = AsyncConnection[DictRow]


class Keeping(Generic[DefinitionT]):
    def __init__(
        self, shelf: Shelf[DefinitionT], database: Database, idempotency: Idempotency, sharing: Sharing
    ) -> None:
        self.shelf = shelf
        self.database = database
        self.idempotency = idempotency
        self.sharing = sharing

    async def examined(self, organization: str, definition: DefinitionT) -> Findings:
        """What can be said of a definition before the transaction, because it takes time."""
        found = await self.asked_about(organization, definition)
        return Findings([*in_itself(self.shelf, definition), *found.mistakes], found.hints)

    async def asked_about(self, organization: str, definition: DefinitionT) -> Findings:
        """What others say of it."""
        _ = organization, definition
        return Findings()

    async def mistakes(self, connection: Connection, identity: Identity, definition: DefinitionT) -> Sequence[Mistake]:
        """What is wrong with what it refers to; that stays as it is until the transaction ends."""
        _ = connection, identity, definition
        return ()

    async def used_by(self, connection: Connection, identity: Identity, name: str) -> Sequence[str]:
        """What refers to it and would break without it."""
        _ = connection, identity, name
        return ()

    async def reached(
        self, connection: Connection, identity: Identity, ref: str, need: Need | None, *, lock: bool = False
    ) -> Stored:
        """By name or id; one that is hidden from ``identity`` is not found."""
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

    async def check(self, connection: Connection, identity: Identity, definition: DefinitionT) -> None:
        mistakes = await self.mistakes(connection, identity, definition)
        if mistakes:
            raise InvalidDefinition(mistakes)

    async def put_new(self, connection: Connection, identity: Identity, definition: DefinitionT) -> Stored:
        """A definition that was checked."""
        stored = await self.repository(connection, identity).add(definition, by=identity.subject)
        if stored is None:
            raise self.shelf.taken(definition.name)
        await self.tell(connection, identity, "created", stored, after={"name": stored.name, "version": 1})
        return stored

    async def put_anew(
        self,
        connection: Connection,
        identity: Identity,
        stored: Stored,
        definition: DefinitionT,
        *,
        message: str = "",
        verb: str = "updated",
    ) -> Stored:
        """A definition that was checked, of a record that is held by a lock; the same again changes nothing."""
        changes = self.changes(stored, definition)
        if not changes:
            return stored
        repository = self.repository(connection, identity)
        renewed = await repository.replace(stored.id, definition, by=identity.subject, message=message)
        paths: list[JsonValue] = [change.path for change in changes[:_MOST_TOLD]]
        after: JsonObject = {"version": renewed.version, "changes": paths}
        await self.tell(connection, identity, verb, renewed, before={"version": stored.version}, after=after)
        return renewed

    def changes(self, stored: Stored, definition: DefinitionT) -> Sequence[Change]:
        return diff(self.spelled_out(stored.definition), definition.model_dump(mode="json")).changes

    def spelled_out(self, definition: JsonObject) -> JsonObject:
        """With every default in it, so that what was left out differs from nothing."""
        try:
            return self.shelf.model.model_validate(definition).model_dump(mode="json")
        except ValidationError:
            return definition

    def read(self, definition: JsonObject) -> DefinitionT:
        """A version that obeyed the rules of its time may not obey those of today."""
        try:
            return self.shelf.model.model_validate(definition)
        except ValidationError as error:
            raise InvalidDefinition(list(mistakes_of(error))) from error

    def shown(self, stored: Stored, hints: Sequence[Mistake] = ()) -> Record[DefinitionT]:
        return self.shelf.record(
            id=stored.id,
            version=stored.version,
            definition=self.read(stored.definition),
            message=stored.message,
            created_at=stored.created_at,
            updated_at=stored.changed_at,
            updated_by=stored.changed_by,
            archived_at=stored.archived_at,
            warnings=tuple(Hint(path=hint.path, message=hint.message) for hint in hints),
        )

    def repository(self, connection: Connection, identity: Identity) -> RecordRepository[DefinitionT]:
        return RecordRepository(connection, identity.organization, self.shelf)

    async def tell(
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
