"""Making what documents say: all of them or none. What is known by its name becomes a new version of itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, Literal

from crewmesh_contracts.base import Contract, JsonObject, Reply
from crewmesh_kit.identity import Identity
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_agent_crew.records.documents import InvalidDocuments, Read
from crewmesh_agent_crew.records.mistakes import Mistake
from crewmesh_agent_crew.records.models import DefinitionT
from crewmesh_agent_crew.records.repository import Stored
from crewmesh_agent_crew.records.schemas import Hint
from crewmesh_agent_crew.records.service import Records


class ImportedOne(Reply):
    """``change``: what became of the document. A new one has no id in a dry run."""

    document: int
    name: str
    change: Literal["created", "changed", "unchanged"]
    id: str | None = None
    version: int
    warnings: tuple[Hint, ...] = ()


class Imported(Reply):
    """``applied`` is false when it was a dry run."""

    applied: bool
    items: tuple[ImportedOne, ...]


class Sent(Contract):
    """The same under the same key is the same request."""

    documents: tuple[JsonObject, ...]
    dry_run: bool


class Importing(Generic[DefinitionT]):
    def __init__(self, records: Records[DefinitionT]) -> None:
        self._records = records

    async def import_(
        self, identity: Identity, documents: Sequence[Read[DefinitionT]], *, dry_run: bool, key: str | None
    ) -> Imported:
        records = self._records
        sent = Sent(documents=tuple(read.definition.model_dump(mode="json") for read in documents), dry_run=dry_run)
        hints = await self._examined(identity.organization, documents)
        async with records.database.tenant(identity.organization) as connection:

            async def make() -> Imported:
                there = await self._there(connection, identity, documents)
                await self._check(connection, identity, documents)
                items = [
                    await self._one(connection, identity, read, there.get(read.definition.name), dry_run=dry_run)
                    for read in documents
                ]
                with_hints = [
                    item.model_copy(update={"warnings": hints[item.document]}) if item.document in hints else item
                    for item in items
                ]
                return Imported(applied=not dry_run, items=tuple(with_hints))

            scope = f"{records.shelf.path}/import"
            return await records.idempotency.once_in(
                connection, identity=identity, scope=scope, key=key, request=sent, work=make, result=Imported
            )

    async def _there(
        self, connection: AsyncConnection[DictRow], identity: Identity, documents: Sequence[Read[DefinitionT]]
    ) -> dict[str, Stored]:
        """Those that are there by their names, held by locks; all of them may be changed."""
        records = self._records
        names = [read.definition.name for read in documents]
        found = await records.repository(connection, identity).named(names, lock="FOR UPDATE")
        change = records.shelf.change
        mistakes: list[tuple[int, Mistake]] = []
        for stored in found:
            if change is not None and not await records.sharing.reaches(connection, identity, change, stored.id):
                number = next(read.number for read in documents if read.definition.name == stored.name)
                message = f"there is {records.shelf.noun} {stored.name!r} already, which you may not change"
                mistakes.append((number, Mistake("name", message)))
        if mistakes:
            raise InvalidDocuments(mistakes)
        return {stored.name: stored for stored in found}

    async def _examined(self, organization: str, documents: Sequence[Read[DefinitionT]]) -> dict[int, tuple[Hint, ...]]:
        mistakes: list[tuple[int, Mistake]] = []
        hints: dict[int, tuple[Hint, ...]] = {}
        for read in documents:
            found = await self._records.examined(organization, read.definition)
            mistakes += [(read.number, mistake) for mistake in found.mistakes]
            hints[read.number] = tuple(Hint(path=hint.path, message=hint.message) for hint in found.hints)
        if mistakes:
            raise InvalidDocuments(mistakes)
        return hints

    async def _check(
        self, connection: AsyncConnection[DictRow], identity: Identity, documents: Sequence[Read[DefinitionT]]
    ) -> None:
        mistakes = [
            (read.number, mistake)
            for read in documents
            for mistake in await self._records.mistakes(connection, identity, read.definition)
        ]
        if mistakes:
            raise InvalidDocuments(mistakes)

    async def _one(
        self,
        connection: AsyncConnection[DictRow],
        identity: Identity,
        read: Read[DefinitionT],
        stored: Stored | None,
        *,
        dry_run: bool,
    ) -> ImportedOne:
        records, name = self._records, read.definition.name
        if stored is None:
            if dry_run:
                return ImportedOne(document=read.number, name=name, change="created", version=1)
            made = await records.put_new(connection, identity, read.definition)
            return ImportedOne(document=read.number, name=name, change="created", id=made.id, version=made.version)
        if not records.changes(stored, read.definition):
            return ImportedOne(
                document=read.number, name=name, change="unchanged", id=stored.id, version=stored.version
            )
        version = stored.version + 1
        if not dry_run:
            version = (await records.put_anew(connection, identity, stored, read.definition)).version
        return ImportedOne(document=read.number, name=name, change="changed", id=stored.id, version=version)
