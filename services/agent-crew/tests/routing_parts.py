"""The router over real protocols and a real Valkey, with a catalogue and accounts that a test makes up."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal

import pytest
from crewmesh_agent_crew.catalogue.models import EVERYTHING, Capability, ModelEntry, Prices
from crewmesh_agent_crew.models.calls import Message, ModelCall, ModelReply
from crewmesh_agent_crew.models.errors import UnknownModel
from crewmesh_agent_crew.pool.service import Pool
from crewmesh_agent_crew.providers.adapters import open_adapters
from crewmesh_agent_crew.providers.protocol import Account, ProviderError
from crewmesh_agent_crew.routing.answers import KeptAnswers
from crewmesh_agent_crew.routing.attempts import Attempts
from crewmesh_agent_crew.routing.breaker import Breakers
from crewmesh_agent_crew.routing.candidates import Patience
from crewmesh_agent_crew.routing.limits import AccountLimits
from crewmesh_agent_crew.routing.router import Router
from crewmesh_agent_crew.routing.valkey import Valkey, connected
from crewmesh_agent_crew.settings import PoolSettings, Settings
from crewmesh_kit.dapr.sidecar import Sidecar
from crewmesh_kit.ids import new_id
from crewmesh_kit.resources import Resources
from crewmesh_testkit.fake_sidecar import FakeSidecar

PRICES = Prices(input=Decimal(1), output=Decimal(2))


def entry(
    name: str,
    provider: str | None = None,
    *,
    context: int | None = None,
    output: int | None = None,
    can: frozenset[Capability] = EVERYTHING,
    prices: Prices = PRICES,
) -> ModelEntry:
    return ModelEntry(
        name=name,
        provider=provider or name,
        kind="openai-compatible",
        model=f"{name}-at-provider",
        prices=prices,
        price_version="1",
        source="built-in",
        context_tokens=context,
        max_output_tokens=output,
        usual_max_tokens=100,
        capabilities=can,
    )


def question(text: str = "What is a mesh?", **more: object) -> ModelCall:
    return ModelCall.model_validate({"model": "any", "messages": (Message(role="user", content=text),), **more})


class Chain:
    """Every name stands for these."""

    def __init__(self, entries: Sequence[ModelEntry]) -> None:
        self.entries = tuple(entries)

    async def chain(self, organization: str, name: str) -> tuple[ModelEntry, ...]:
        if name == "unknown":
            raise UnknownModel(name, [entry.name for entry in self.entries])
        return self.entries


@dataclass
class Accounts:
    known: dict[str, Account]

    async def all(self, organization: str) -> Mapping[str, Account]:
        return self.known


@dataclass
class Clock:
    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Routing:
    router: Router
    attempts: Attempts
    chain: Chain
    accounts: Accounts
    clock: Clock
    organization: str = field(default_factory=lambda: new_id("org"))

    async def ask(self, call: ModelCall, organization: str | None = None) -> ModelReply:
        """As the one door to models goes along a course."""
        course = await self.router.course(organization or self.organization, call)
        while True:
            candidate = await course.next()
            try:
                return await self.router.send(candidate, call, deadline=course.deadline)
            except ProviderError as error:
                course.failed(candidate, error)


@asynccontextmanager
async def patiently_connected(resources: Resources) -> AsyncGenerator[Valkey]:
    """On a busy machine an answer may take longer than one is worth waiting for; here everything depends on it."""
    with pytest.MonkeyPatch.context() as patched:
        for limit in ("_CONNECT_SECONDS", "_ANSWER_SECONDS"):
            patched.setattr(f"crewmesh_agent_crew.routing.valkey.{limit}", 60.0)
        async with connected(resources) as store:
            yield store


@asynccontextmanager
async def routing(
    valkey: str,
    accounts: Mapping[str, str] | Sequence[Account],
    entries: Sequence[ModelEntry] | None = None,
    *,
    attempts: int = 3,
    failures: int = 1_000,
    first_token_seconds: float = 60,
    longest_pause: float = 0.5,
    pool: PoolSettings | None = None,
    with_content: bool = False,
) -> AsyncGenerator[Routing]:
    """Accounts by name and URL; unless said otherwise there is one model at each, called like it."""
    made = accounts if not isinstance(accounts, Mapping) else [account(name, url) for name, url in accounts.items()]
    known = {each.name: each for each in made}
    chain = Chain(entries if entries is not None else [entry(name) for name in known])
    clock = Clock()
    resources = Resources()
    resources.add(FakeSidecar("agent-crew", secrets={"redis-url": valkey}), as_=Sidecar)
    resources.add(Settings())
    async with open_adapters(resources) as adapters, patiently_connected(resources) as store:
        trying = Attempts(
            adapters,
            Pool(pool or PoolSettings()),
            Breakers(failures=failures, seconds=10, now=clock),
            AccountLimits(store),
            first_token_seconds=first_token_seconds,
            with_content=with_content,
        )
        reachable = Accounts(known)
        patience = Patience(attempts=attempts, pause=0.01, longest_pause=longest_pause, pause_with_others=0.1)
        kept = KeptAnswers(store, seconds=60)
        router = Router(chain, reachable, trying, kept, patience=patience, seconds=60)
        yield Routing(router, trying, chain, reachable, clock)


def account(
    name: str, url: str, *, most: int | None = None, requests: int | None = None, tokens: int | None = None
) -> Account:
    return Account(
        name,
        "openai-compatible",
        url,
        most_at_once=most,
        requests_per_minute=requests,
        tokens_per_minute=tokens,
        trusted=True,
    )
