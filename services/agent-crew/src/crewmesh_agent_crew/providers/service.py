"""What can be done with an organization's accounts at providers."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

from crewmesh_contracts.base import Contract, JsonObject
from crewmesh_kit import audit
from crewmesh_kit.app import Resources
from crewmesh_kit.db.database import Database
from crewmesh_kit.db.idempotency import Idempotency
from crewmesh_kit.http.etags import check_match, require_match
from crewmesh_kit.http.pagination import Page, PageRequest
from crewmesh_kit.identity import Identity
from crewmesh_kit.ids import new_id
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_agent_crew.providers.accounts import DEPLOYMENT, Accounts
from crewmesh_agent_crew.providers.addresses import Gate
from crewmesh_agent_crew.providers.errors import (
    ProviderExists,
    ProviderOfTheDeployment,
    UnknownProvider,
    UnusableProvider,
)
from crewmesh_agent_crew.providers.keys import Keys
from crewmesh_agent_crew.providers.kinds import NEEDS_NO_KEY, base_url_of, checked_options
from crewmesh_agent_crew.providers.repository import AccountRepository, KeptAccount
from crewmesh_agent_crew.providers.schemas import NewProvider, Provider, ProviderKey, ProviderSettings
from crewmesh_agent_crew.settings import Settings


class _Asked(Contract):
    """A request to add an account, for telling it from another under the same Idempotency-Key."""

    settings: JsonObject
    key: str


class Providers:
    def __init__(
        self,
        database: Database,
        idempotency: Idempotency,
        accounts: Accounts,
        keys: Keys,
        gate: Gate,
        secrets: Mapping[str, str],
    ) -> None:
        self._database = database
        self._idempotency = idempotency
        self._accounts = accounts
        self._keys = keys
        self._gate = gate
        self._secrets = secrets

    async def page(self, identity: Identity, wanted: PageRequest) -> Page[Provider]:
        """By name, with the deployment's own among them."""
        after = wanted.after_text()
        async with self._database.tenant(identity.organization) as connection:
            kept = await AccountRepository(connection).list_after(after, wanted.limit + 1)
        found = [_provider(account) for account in kept]
        if after is None or after < DEPLOYMENT:
            found = sorted([*found, _of_the_deployment()], key=lambda each: each.name)[: wanted.limit + 1]
        return wanted.page(found, lambda each: (each.name,))

    async def get(self, identity: Identity, name: str) -> Provider:
        if name == DEPLOYMENT:
            return _of_the_deployment()
        async with self._database.tenant(identity.organization) as connection:
            return _provider(await _found(connection, name))

    async def create(self, identity: Identity, key: str | None, wanted: NewProvider) -> Provider:
        if wanted.name == DEPLOYMENT:
            raise ProviderOfTheDeployment(wanted.name)
        account = self._checked(wanted, wanted.name)
        async with self._database.tenant(identity.organization) as connection:

            async def add() -> Provider:
                sealed = await self._sealed(connection, identity, account, wanted, before=None)
                kept = await AccountRepository(connection).add(identity.organization, sealed)
                if kept is None:
                    raise ProviderExists(wanted.name)
                await audit.record(connection, identity, "provider.created", kept.id, after=_told(kept))
                self._accounts.forget_with(connection, identity.organization)
                return _provider(kept)

            return await self._idempotency.once_in(
                connection, identity=identity, scope="create-provider", key=key, request=_asked(wanted), work=add
            )

    async def change(self, identity: Identity, name: str, wanted: ProviderSettings, if_match: str | None) -> Provider:
        """The account as it is from now on. Its key is kept only where it is: another address wants it said again."""
        if name == DEPLOYMENT:
            raise ProviderOfTheDeployment(name)
        account = self._checked(wanted, name)
        async with self._database.tenant(identity.organization) as connection:
            before = await _found(connection, name, locked=True)
            require_match(if_match, before.version)
            sealed = await self._sealed(connection, identity, replace(account, id=before.id), wanted, before=before)
            kept = await AccountRepository(connection).change(sealed)
            await audit.record(
                connection, identity, "provider.updated", kept.id, before=_told(before), after=_told(kept)
            )
            self._accounts.forget_with(connection, identity.organization)
        return _provider(kept)

    async def delete(self, identity: Identity, name: str, if_match: str | None) -> None:
        if name == DEPLOYMENT:
            raise ProviderOfTheDeployment(name)
        async with self._database.tenant(identity.organization) as connection:
            before = await _found(connection, name, locked=True)
            check_match(if_match, before.version)
            await AccountRepository(connection).delete(name)
            await audit.record(connection, identity, "provider.deleted", before.id, before=_told(before))
            self._accounts.forget_with(connection, identity.organization)

    def _checked(self, wanted: ProviderSettings, name: str) -> KeptAccount:
        """The account without its key; UnusableProvider for what cannot work."""
        try:
            options = checked_options(wanted.kind, wanted.options)
        except ValueError as error:
            raise UnusableProvider("options", str(error)) from error
        base_url = (wanted.base_url or base_url_of(wanted.kind, options) or "").rstrip("/")
        if not base_url:
            raise UnusableProvider("base_url", f"an account of the kind {wanted.kind} needs one")
        self._check_place(wanted, base_url)
        return KeptAccount(
            id=new_id("prv"),
            name=name,
            kind=wanted.kind,
            base_url=base_url,
            options=options,
            key=None,
            key_secret=wanted.key_secret,
            most_at_once=wanted.most_at_once,
            requests_per_minute=wanted.requests_per_minute,
            tokens_per_minute=wanted.tokens_per_minute,
        )

    def _check_place(self, wanted: ProviderSettings, base_url: str) -> None:
        if wanted.key_secret is None:
            reason = self._gate.why_not(base_url)
            if reason is not None:
                raise UnusableProvider("base_url", reason)
            return
        if wanted.key is not None:
            raise UnusableProvider("key", "it has either a key or a key_secret")
        # Whether there is such a secret for another address is nobody's business.
        if self._secrets.get(wanted.key_secret, "").rstrip("/") != base_url:
            raise UnusableProvider("key_secret", "the operator gave no secret of this name for this base_url")

    async def _sealed(
        self,
        connection: AsyncConnection[DictRow],
        identity: Identity,
        account: KeptAccount,
        wanted: ProviderSettings,
        *,
        before: KeptAccount | None,
    ) -> KeptAccount:
        """The account with its key: the one that was given, or the one that it had."""
        if wanted.key is not None and wanted.key.get_secret_value():
            key = wanted.key.get_secret_value()
            sealed = await self._keys.seal(connection, identity.organization, account.id, key)
            return replace(account, key=sealed)
        kept = before.key if before is not None and wanted.key is None and account.key_secret is None else None
        if kept is not None and before is not None and _place(before) != _place(account):
            why = "it must be given again when kind, base_url or options change, for it is sent there"
            raise UnusableProvider("key", why)
        if kept is None and account.key_secret is None and account.kind not in NEEDS_NO_KEY:
            raise UnusableProvider("key", f"an account of the kind {account.kind} needs one, or a key_secret")
        return replace(account, key=kept)


def _place(account: KeptAccount) -> tuple[str, str, JsonObject]:
    return account.kind, account.base_url, account.options


def _asked(wanted: NewProvider) -> _Asked:
    key = "" if wanted.key is None else wanted.key.get_secret_value()
    return _Asked(
        settings=wanted.model_dump(mode="json", exclude={"key"}), key=hashlib.sha256(key.encode()).hexdigest()
    )


def _provider(account: KeptAccount) -> Provider:
    key = account.key
    return Provider(
        id=account.id,
        name=account.name,
        kind=account.kind,
        base_url=account.base_url,
        key=None
        if key is None
        else ProviderKey(reference=f"vault:{account.id}", ends_in=key.ends_in, set_at=key.set_at),
        key_secret=account.key_secret,
        options=account.options,
        most_at_once=account.most_at_once,
        requests_per_minute=account.requests_per_minute,
        tokens_per_minute=account.tokens_per_minute,
        version=account.version,
        created_at=account.created_at,
        updated_at=account.changed_at,
    )


def _of_the_deployment() -> Provider:
    """Where it leads is the operator's business."""
    return Provider(id=DEPLOYMENT, name=DEPLOYMENT, kind="openai-compatible", managed_by="deployment")


def _told(account: KeptAccount) -> JsonObject:
    """What the audit log keeps."""
    return _provider(account).model_dump(mode="json", exclude={"id", "created_at", "updated_at"}, exclude_none=True)


async def _found(connection: AsyncConnection[DictRow], name: str, *, locked: bool = False) -> KeptAccount:
    account = await AccountRepository(connection).find(name, locked=locked)
    if account is None:
        raise UnknownProvider(name)
    return account


@asynccontextmanager
async def open_providers(resources: Resources) -> AsyncGenerator[Providers]:
    """After the adapters and the accounts."""
    yield Providers(
        resources.get(Database),
        resources.get(Idempotency),
        resources.get(Accounts),
        resources.get(Keys),
        resources.get(Gate),
        resources.get(Settings).providers.secrets,
    )
