"""Showing and changing models and aliases, as the public API does it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import cast

from crewmesh_contracts.base import JsonObject
from crewmesh_kit import audit
from crewmesh_kit.app import Resources
from crewmesh_kit.db.database import Database
from crewmesh_kit.errors import ValidationFailed
from crewmesh_kit.http.etags import check_match, require_match
from crewmesh_kit.identity import Identity
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_agent_crew.catalogue.book import Book
from crewmesh_agent_crew.catalogue.definitions import ModelDefinition, OwnModel, known_of
from crewmesh_agent_crew.catalogue.errors import AliasNotFound, ModelInUse, ModelNameTaken, ModelNotFound, NotYourModel
from crewmesh_agent_crew.catalogue.repository import CatalogueRepository, KeptAlias, KeptModel
from crewmesh_agent_crew.catalogue.schemas import Alias, AliasDefinition, Model, PriceChange
from crewmesh_agent_crew.catalogue.service import Catalogue, Own
from crewmesh_agent_crew.catalogue.views import alias_view, model_view
from crewmesh_agent_crew.providers.accounts import Accounts
from crewmesh_agent_crew.providers.protocol import Account, ProviderKind


@dataclass(frozen=True, slots=True)
class _Change:
    """What a change looks at, while nobody else changes models or aliases of the organization."""

    connection: AsyncConnection[DictRow]
    repository: CatalogueRepository
    accounts: Mapping[str, Account]
    own: Own
    book: Book


class CatalogueChanges:
    def __init__(self, database: Database, catalogue: Catalogue, accounts: Accounts) -> None:
        self._database = database
        self._catalogue = catalogue
        self._accounts = accounts

    async def all_models(self, identity: Identity) -> list[Model]:
        """By name."""
        own, book = await self._present(identity)
        return [self._model(own, book, name) for name in sorted(book.models)]

    async def all_aliases(self, identity: Identity) -> list[Alias]:
        own, book = await self._present(identity)
        return [self._alias(own, book, name) for name in sorted(book.aliases)]

    async def model(self, identity: Identity, name: str) -> Model:
        own, book = await self._present(identity)
        return self._model(own, book, name)

    async def alias(self, identity: Identity, name: str) -> Alias:
        own, book = await self._present(identity)
        return self._alias(own, book, name)

    async def prices(self, identity: Identity, name: str) -> list[PriceChange]:
        """What the organization said that the model costs, the latest first; also of models that it has deleted."""
        async with self._database.tenant(identity.organization) as connection:
            return await CatalogueRepository(connection).prices(name)

    async def put_model(
        self, identity: Identity, name: str, definition: ModelDefinition, if_match: str | None
    ) -> tuple[Model, bool]:
        """And whether the organization had said nothing of it before."""
        async with self._changing(identity) as change:
            before, book = change.own.models.get(name), change.book
            _check_version(if_match, before)
            if name in book.aliases or _is_a_path(name):
                raise ModelNameTaken(name, "an alias" if name in book.aliases else "a list")
            kind = _checked(name, definition, book, change.accounts)
            price_version = await _price_version(change.repository, identity, name, definition, before)
            wanted = OwnModel(definition=definition, kind=kind, price_version=price_version)
            if before is not None and before.own == wanted:
                return self._model(change.own, book, name), False
            kept = await change.repository.put_model(identity.organization, name, wanted)
            action = "model.created" if before is None else "model.updated"
            await audit.record(change.connection, identity, action, kept.id, before=_told(before), after=_told(kept))
            return self._model(*await self._catalogue.book_in(change.connection, change.accounts), name), before is None

    async def delete_model(self, identity: Identity, name: str, if_match: str | None) -> None:
        """What was there without the organization's doing is there again."""
        async with self._changing(identity) as change:
            before = change.own.models.get(name)
            if before is None:
                raise NotYourModel(name) if name in change.book.models else ModelNotFound(name)
            check_match(if_match, before.version)
            users = [alias.name for alias in change.own.aliases.values() if name in alias.models]
            if users and change.book.shipped(name) is None:
                raise ModelInUse(name, users)
            await change.repository.delete_model(name)
            await audit.record(change.connection, identity, "model.deleted", before.id, before=_told(before))

    async def put_alias(
        self, identity: Identity, name: str, definition: AliasDefinition, if_match: str | None
    ) -> tuple[Alias, bool]:
        async with self._changing(identity) as change:
            before = change.own.aliases.get(name)
            _check_version(if_match, before)
            if name in change.book.models:
                raise ModelNameTaken(name, "a model")
            _check_chain(name, definition, change.book)
            if before is not None and before.models == definition.models:
                return self._alias(change.own, change.book, name), False
            kept = await change.repository.put_alias(identity.organization, name, definition.models)
            action = "model-alias.created" if before is None else "model-alias.updated"
            await audit.record(
                change.connection, identity, action, kept.id, before=_told_alias(before), after=_told_alias(kept)
            )
            return self._alias(*await self._catalogue.book_in(change.connection, change.accounts), name), before is None

    async def delete_alias(self, identity: Identity, name: str, if_match: str | None) -> None:
        async with self._changing(identity) as change:
            before = change.own.aliases.get(name)
            if before is None:
                raise AliasNotFound(name)
            check_match(if_match, before.version)
            users = [alias.name for alias in change.own.aliases.values() if name in alias.models and alias.name != name]
            if users and not change.book.is_shipped_alias(name):
                raise ModelInUse(name, users)
            await change.repository.delete_alias(name)
            await audit.record(
                change.connection, identity, "model-alias.deleted", before.id, before=_told_alias(before)
            )

    @asynccontextmanager
    async def _changing(self, identity: Identity) -> AsyncGenerator[_Change]:
        accounts = await self._accounts.all(identity.organization)
        async with self._database.tenant(identity.organization) as connection:
            repository = CatalogueRepository(connection)
            await repository.lock(identity.organization)
            self._catalogue.forget_with(connection, identity.organization)
            yield _Change(connection, repository, accounts, *await self._catalogue.book_in(connection, accounts))

    async def _present(self, identity: Identity) -> tuple[Own, Book]:
        accounts = await self._accounts.all(identity.organization)
        async with self._database.tenant(identity.organization) as connection:
            return await self._catalogue.book_in(connection, accounts)

    def _model(self, own: Own, book: Book, name: str) -> Model:
        if name not in book.models:
            raise ModelNotFound(name)
        return model_view(book, name, own.models.get(name))

    def _alias(self, own: Own, book: Book, name: str) -> Alias:
        if name not in book.aliases:
            raise AliasNotFound(name)
        return alias_view(book, name, own.aliases.get(name))


def _is_a_path(name: str) -> bool:
    """Of ``/v1/models/…`` itself."""
    return name == "aliases" or name.startswith("aliases/") or name.endswith("/prices")


def _check_version(if_match: str | None, before: KeptModel | KeptAlias | None) -> None:
    """What is new needs no ETag; it may come with that of what the organization has not changed yet."""
    if before is None:
        check_match(if_match, 0)
    else:
        require_match(if_match, before.version)


def _checked(name: str, definition: ModelDefinition, book: Book, accounts: Mapping[str, Account]) -> ProviderKind:
    """The kind of provider that it will be asked at; refused when something is missing that nobody else knows."""
    shipped = book.shipped(name)
    known = known_of(name, definition, shipped)
    if definition.prices is None and known is None:
        raise _missing("prices", "nobody knows what this model costs; 0 has to be said, too")
    if definition.provider is not None:
        if definition.provider not in accounts:
            raise _missing("provider", f"there is no account {definition.provider!r}; GET /v1/providers lists them")
        return accounts[definition.provider].kind
    if known is None:
        raise _missing("provider", "the account that it is asked by has to be named")
    return known.kind


def _check_chain(name: str, definition: AliasDefinition, book: Book) -> None:
    for number, each in enumerate(definition.models):
        if each == name:
            raise _missing(f"models[{number}]", "an alias cannot stand for itself")
        if each not in book.models and each not in book.aliases:
            raise _missing(f"models[{number}]", f"there is no model or alias {each!r}; GET /v1/models lists them")
    if len(set(definition.models)) != len(definition.models):
        raise _missing("models", "each model is named once")


async def _price_version(
    repository: CatalogueRepository,
    identity: Identity,
    name: str,
    definition: ModelDefinition,
    before: KeptModel | None,
) -> int:
    """The present one while prices stay; prices that are not said have the version of the model it stands in for."""
    if definition.prices is None:
        return 0
    if before is not None and before.own.definition.prices == definition.prices:
        return before.own.price_version
    return await repository.add_price(identity.organization, name, definition.prices)


def _missing(field: str, why: str) -> ValidationFailed:
    place: JsonObject = {"path": f"body.{field}", "message": why}
    return ValidationFailed(f"The model cannot be kept like this: {why}.", errors=[place])


def _told(kept: KeptModel | None) -> JsonObject | None:
    if kept is None:
        return None
    definition = kept.own.definition.model_dump(mode="json", exclude_none=True)
    return cast(JsonObject, {"name": kept.name, **definition})


def _told_alias(kept: KeptAlias | None) -> JsonObject | None:
    return None if kept is None else {"name": kept.name, "models": [*kept.models]}


@asynccontextmanager
async def open_catalogue_changes(resources: Resources) -> AsyncGenerator[CatalogueChanges]:
    yield CatalogueChanges(resources.get(Database), resources.get(Catalogue), resources.get(Accounts))
