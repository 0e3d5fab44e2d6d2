"""The test button: whether an account works, asked in the cheapest way there is, and what helps when it does not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

from crewmesh_kit import audit
from crewmesh_kit.app import Resources
from crewmesh_kit.db.database import Database
from crewmesh_kit.identity import Identity

from crewmesh_agent_crew.providers.accounts import Accounts
from crewmesh_agent_crew.providers.adapters import Adapters
from crewmesh_agent_crew.providers.errors import UnknownProvider
from crewmesh_agent_crew.providers.protocol import Account, FailureKind, ProviderError
from crewmesh_agent_crew.providers.repository import AccountRepository
from crewmesh_agent_crew.providers.schemas import ProviderTest, ProviderTrouble

_SECONDS = 15.0
_MOST_MODELS = 500
_LONGEST_NAME = 300
_ADVICE: Mapping[FailureKind, str] = {
    "bad-key": "Make a new key at the provider, give it here with PUT, and see that the account there has credit.",
    "limited": "The account works, and is at its limit. Try again later, or have the limit raised at the provider.",
    "overloaded": "The provider has too much to do at the moment. Try again later.",
    "unavailable": "See that base_url is right and that the server runs and can be reached from here.",
    "timeout": "See that base_url is right and that nothing on the way there holds requests up.",
    "refused": "See that kind, base_url and options fit together: the server is reached and takes no such request.",
    "unreadable": "See that kind and base_url fit together: what answers there speaks another protocol.",
}
_OTHERWISE = "Try again; if it stays so, see that kind and base_url fit together."


class Trials:
    def __init__(self, database: Database, accounts: Accounts, adapters: Adapters) -> None:
        self._database = database
        self._accounts = accounts
        self._adapters = adapters

    async def test(self, identity: Identity, name: str) -> ProviderTest:
        """Ask the provider which models it has: that costs nothing, and needs the key."""
        account = await self._accounts.get(identity.organization, name)
        if account is None:
            raise UnknownProvider(name)
        result = await self._tried(account)
        async with self._database.tenant(identity.organization) as connection:
            kept = await AccountRepository(connection).find(name)
            resource = name if kept is None else kept.id
            await audit.record(connection, identity, "provider.tested", resource, after={"ok": result.ok})
        return result

    async def _tried(self, account: Account) -> ProviderTest:
        began = time.monotonic()
        try:
            async with asyncio.timeout(_SECONDS):
                models = await self._adapters.models(account)
        except TimeoutError:
            failure = ProviderError("timeout", f"its server did not answer within {_SECONDS:g} s")
            return ProviderTest(ok=False, latency_ms=_since(began), trouble=_trouble(failure))
        except ProviderError as failure:
            return ProviderTest(ok=False, latency_ms=_since(began), trouble=_trouble(failure))
        names = tuple(sorted(each[:_LONGEST_NAME] for each in models))
        return ProviderTest(ok=True, latency_ms=_since(began), models=names[:_MOST_MODELS], models_found=len(names))


def _trouble(failure: ProviderError) -> ProviderTrouble:
    detail = failure.detail[:1].upper() + failure.detail[1:]
    return ProviderTrouble(kind=failure.kind, detail=f"{detail}.", advice=_ADVICE.get(failure.kind, _OTHERWISE))


def _since(began: float) -> float:
    return round((time.monotonic() - began) * 1_000, 1)


@asynccontextmanager
async def open_trials(resources: Resources) -> AsyncGenerator[Trials]:
    yield Trials(resources.get(Database), resources.get(Accounts), resources.get(Adapters))
