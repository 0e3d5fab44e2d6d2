"""The catalogue of every organization, remembered between calls, and forgotten at once where something changes.

A model call costs a look into a dictionary here. Should the news of a change be lost on its way from another replica,
half a minute is the limit.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from crewmesh_kit.app import Resources
from crewmesh_kit.db.database import Database
from crewmesh_kit.remembering import Remembered
from crewmesh_kit.signals import Signals
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_agent_crew.catalogue.book import Book
from crewmesh_agent_crew.catalogue.deployment import deployment_aliases, deployment_models
from crewmesh_agent_crew.catalogue.models import ModelEntry
from crewmesh_agent_crew.catalogue.repository import CatalogueRepository, KeptAlias, KeptModel
from crewmesh_agent_crew.providers.accounts import Accounts
from crewmesh_agent_crew.providers.protocol import Account, ProviderKind
from crewmesh_agent_crew.settings import ModelSettings, Settings

_SECONDS = 30.0

_Reachable = tuple[tuple[str, ProviderKind, bool], ...]


@dataclass(slots=True)
class Own:
    """What the organization has said itself; ``book`` is what becomes of it with the accounts ``reachable``."""

    models: Mapping[str, KeptModel]
    aliases: Mapping[str, KeptAlias]
    reachable: _Reachable = ()
    book: Book | None = None


class Catalogue:
    def __init__(
        self,
        database: Database,
        accounts: Accounts,
        signals: Signals,
        settings: ModelSettings,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._deployment = deployment_models(settings)
        self._deployment_aliases = deployment_aliases(settings)
        self._own = Remembered[Own](signals, "models:", seconds=_SECONDS, now=now)

    async def chain(self, organization: str, name: str) -> tuple[ModelEntry, ...]:
        """The models that the name stands for there, in the order they are asked. UnknownModel when it has none."""
        return (await self.book(organization)).chain(name)

    async def book(self, organization: str) -> Book:
        accounts = await self._accounts.all(organization)
        return self._book_of(await self._own.of(organization, lambda: self._read(organization)), accounts)

    async def book_in(self, connection: AsyncConnection[DictRow], accounts: Mapping[str, Account]) -> tuple[Own, Book]:
        """As it is in this transaction, remembered nowhere."""
        own = await _own(connection)
        return own, self._book_of(own, accounts)

    def forget_with(self, connection: AsyncConnection[DictRow], organization: str) -> None:
        """After this transaction's commit every replica reads the organization's models anew."""
        self._own.forget_with(connection, organization)

    async def _read(self, organization: str) -> Own:
        async with self._database.tenant(organization) as connection:
            return await _own(connection)

    def _book_of(self, own: Own, accounts: Mapping[str, Account]) -> Book:
        reachable: _Reachable = tuple((each.name, each.kind, each.organization is None) for each in accounts.values())
        if own.book is None or own.reachable != reachable:
            own.reachable = reachable
            own.book = Book(
                deployment=self._deployment,
                deployment_aliases=self._deployment_aliases,
                own={name: kept.own for name, kept in own.models.items()},
                own_aliases={name: kept.models for name, kept in own.aliases.items()},
                accounts=accounts,
            )
        return own.book


async def _own(connection: AsyncConnection[DictRow]) -> Own:
    repository = CatalogueRepository(connection)
    models = {kept.name: kept for kept in await repository.models()}
    aliases = {kept.name: kept for kept in await repository.aliases()}
    return Own(models, aliases)


@asynccontextmanager
async def open_catalogue(resources: Resources) -> AsyncGenerator[Catalogue]:
    """After the accounts and the signals."""
    yield Catalogue(
        resources.get(Database), resources.get(Accounts), resources.get(Signals), resources.get(Settings).model
    )
