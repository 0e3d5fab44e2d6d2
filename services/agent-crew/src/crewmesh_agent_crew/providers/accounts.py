"""The accounts with which an organization's models are asked: its own, and the one that the deployment gives to all.

They are asked for at every call, so that they are remembered for some seconds, and forgotten at once when one changes.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

from crewmesh_kit.app import Resources
from crewmesh_kit.dapr.sidecar import Sidecar
from crewmesh_kit.db.database import Database
from crewmesh_kit.errors import Problem
from crewmesh_kit.logs import get_logger
from crewmesh_kit.remembering import Remembered
from crewmesh_kit.sealing import MasterKeys
from crewmesh_kit.signals import Signals
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_agent_crew.providers.keys import Keys
from crewmesh_agent_crew.providers.protocol import Account
from crewmesh_agent_crew.providers.repository import AccountRepository, KeptAccount
from crewmesh_agent_crew.settings import ModelSettings, Settings

DEPLOYMENT = "default"
MASTER_KEY = "provider-master-key"
_SECONDS = 10.0

log = get_logger(__name__)


class Accounts:
    def __init__(
        self,
        database: Database,
        keys: Keys,
        signals: Signals,
        sidecar: Sidecar,
        *,
        deployment: Account,
        secrets: Mapping[str, str],
    ) -> None:
        self._database = database
        self._keys = keys
        self._sidecar = sidecar
        self._deployment = deployment
        self._secrets = secrets
        self._known = Remembered[Mapping[str, Account]](signals, "provider-accounts:", seconds=_SECONDS)

    async def all(self, organization: str) -> Mapping[str, Account]:
        """Every account that this organization has, by name."""
        return await self._known.of(organization, lambda: self._read(organization))

    async def get(self, organization: str, name: str) -> Account | None:
        return (await self.all(organization)).get(name)

    def forget_with(self, connection: AsyncConnection[DictRow], organization: str) -> None:
        """Once this transaction is committed nobody remembers the organization's accounts as they were."""
        self._known.forget_with(connection, organization)

    async def _read(self, organization: str) -> Mapping[str, Account]:
        async with self._database.tenant(organization) as connection:
            kept = await AccountRepository(connection).all()
            keys = await self._keys.opened(connection, organization, kept)
        accounts = {DEPLOYMENT: self._deployment}
        for each in kept:
            trusted = self._is_given(each)
            key = await self._given(each) if trusted else keys.get(each.name, "")
            accounts[each.name] = _account(organization, each, key, trusted=trusted)
        return accounts

    def _is_given(self, account: KeptAccount) -> bool:
        """Whether it leads where the operator says: as long as there is a secret for this address."""
        given = self._secrets.get(account.key_secret or "")
        return given is not None and given.rstrip("/") == account.base_url

    async def _given(self, account: KeptAccount) -> str:
        """The secret that the operator gave for this address."""
        name = account.key_secret or ""
        try:
            return (await self._sidecar.secret(name)).strip()
        except Problem as problem:
            log.error("a secret for accounts at providers cannot be read", name=name, reason=problem.detail)
            return ""


def _account(organization: str, kept: KeptAccount, key: str, *, trusted: bool) -> Account:
    return Account(
        name=kept.name,
        kind=kept.kind,
        base_url=kept.base_url,
        organization=organization,
        # What an operator gave a secret for may be inside.
        trusted=trusted,
        key=key,
        options=kept.options,
        most_at_once=kept.most_at_once,
        requests_per_minute=kept.requests_per_minute,
        tokens_per_minute=kept.tokens_per_minute,
    )


def deployment_account(settings: ModelSettings, key: str) -> Account:
    return Account(
        name=DEPLOYMENT,
        kind="openai-compatible",
        base_url=settings.url,
        key=key,
        options={"token_limit_parameter": settings.token_limit_parameter},
    )


@asynccontextmanager
async def open_accounts(resources: Resources) -> AsyncGenerator[Accounts]:
    settings, sidecar = resources.get(Settings), resources.get(Sidecar)
    given = settings.model.api_key
    key = await sidecar.secret("model-api-key") if given is None else given.get_secret_value()
    keys = Keys(MasterKeys(await sidecar.secret(MASTER_KEY)))
    resources.add(keys)
    yield Accounts(
        resources.get(Database),
        keys,
        resources.get(Signals),
        sidecar,
        deployment=deployment_account(settings.model, key.strip()),
        secrets=settings.providers.secrets,
    )
