"""All models and aliases of one organization, put together: its own, the deployment's, the built-in ones.

Whoever is nearer wins: a model of the organization stands in for a built-in one of the same name, and takes over what
it does not say itself. Where a model names no account, the organization's first one of its kind is asked, by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from crewmesh_agent_crew.catalogue.built_in import BUILT_IN_ALIASES, built_in
from crewmesh_agent_crew.catalogue.definitions import OwnModel, completed
from crewmesh_agent_crew.catalogue.models import ModelEntry
from crewmesh_agent_crew.models.errors import UnknownModel
from crewmesh_agent_crew.providers.protocol import Account, ProviderKind

# Accounts that are asked for the same models, each in its own protocol.
_ALIKE: Mapping[ProviderKind, ProviderKind] = {"openai-responses": "openai"}


class Book:
    def __init__(
        self,
        *,
        deployment: Mapping[str, ModelEntry],
        deployment_aliases: Mapping[str, tuple[str, ...]],
        own: Mapping[str, OwnModel],
        own_aliases: Mapping[str, tuple[str, ...]],
        accounts: Mapping[str, Account],
    ) -> None:
        self._shipped = {**built_in(), **deployment}
        self.aliases = {**BUILT_IN_ALIASES, **deployment_aliases, **own_aliases}
        self._of_the_deployment = frozenset(deployment_aliases)
        self._accounts = accounts
        by_kind = _first_of_each_kind(accounts)
        self.models = {name: _at(entry, by_kind) for name, entry in self._shipped.items()}
        self.models.update({name: self._entry(name, model, by_kind) for name, model in own.items()})

    def chain(self, name: str) -> tuple[ModelEntry, ...]:
        """The models that the name stands for, in the order they are asked, whether there are accounts or not."""
        if name not in self.models and name not in self.aliases:
            raise UnknownModel(name, self.names())
        return tuple(dict.fromkeys(self._expanded(name, set())))

    def can_be_asked(self, entry: ModelEntry) -> bool:
        return entry.provider is not None and entry.provider in self._accounts

    def names(self) -> list[str]:
        """Those that somebody may want to hear of first: what can be asked, and is near."""
        usable = sorted(name for name, entry in self.models.items() if self.can_be_asked(entry))
        return list(dict.fromkeys(("default", *usable, *sorted(self.aliases))))

    def shipped(self, name: str) -> ModelEntry | None:
        """The model of that name that is there without the organization's doing."""
        return self._shipped.get(name)

    def is_of_the_deployment(self, alias: str) -> bool:
        return alias in self._of_the_deployment

    def is_shipped_alias(self, alias: str) -> bool:
        return alias in self._of_the_deployment or alias in BUILT_IN_ALIASES

    def _expanded(self, name: str, seen: set[str]) -> Iterator[ModelEntry]:
        """An alias that was met before is passed over, as is what has been deleted since it was named.

        So each is looked into once: aliases of aliases may lead to the same models in more ways than can be counted.
        """
        chain = self.aliases.get(name)
        if chain is None:
            if name in self.models:
                yield self.models[name]
        elif name not in seen:
            seen.add(name)
            for each in chain:
                yield from self._expanded(each, seen)

    def _entry(self, name: str, model: OwnModel, by_kind: Mapping[ProviderKind, str]) -> ModelEntry:
        return _at(completed(name, model, self._shipped.get(name)), by_kind)


def _first_of_each_kind(accounts: Mapping[str, Account]) -> dict[ProviderKind, str]:
    """By name; those of the organization before those of the deployment."""
    found: dict[ProviderKind, str] = {}
    for account in sorted(accounts.values(), key=lambda each: (each.organization is None, each.name)):
        found.setdefault(_ALIKE.get(account.kind, account.kind), account.name)
    return found


def _at(entry: ModelEntry, by_kind: Mapping[ProviderKind, str]) -> ModelEntry:
    if entry.provider is not None or entry.kind not in by_kind:
        return entry
    return entry.model_copy(update={"provider": by_kind[entry.kind]})
