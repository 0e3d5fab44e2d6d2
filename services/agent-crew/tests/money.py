"""What tests of money share: models with simple prices, and servers that answer what they are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import cast

from crewmesh_agent_crew.catalogue.models import ModelEntry, Prices
from crewmesh_agent_crew.models.calls import Message, ModelCall, ModelReply, TextSink, Tokens
from crewmesh_agent_crew.models.errors import UnknownModel
from crewmesh_agent_crew.models.thinking import Thinking
from crewmesh_agent_crew.pool.service import Pool
from crewmesh_agent_crew.providers.protocol import Account
from crewmesh_agent_crew.routing.answers import KeptAnswers
from crewmesh_agent_crew.routing.attempts import Attempts
from crewmesh_agent_crew.routing.breaker import Breakers
from crewmesh_agent_crew.routing.candidates import Patience
from crewmesh_agent_crew.routing.limits import AccountLimits
from crewmesh_agent_crew.routing.router import Router
from crewmesh_agent_crew.routing.valkey import Valkey
from crewmesh_agent_crew.settings import PoolSettings
from crewmesh_agent_crew.spending.charge import Charge
from crewmesh_agent_crew.spending.service import Ledger
from crewmesh_contracts.base import JsonObject
from crewmesh_kit.db.database import Database
from crewmesh_kit.ids import new_id

ACCOUNT = Account("acme", "openai-compatible", "http://127.0.0.1:1")
# A token that is written costs a thousandth of a dollar, one that is read nothing: what a call costs is easy to see.
PER_TOKEN = 1_000_000


def entry(name: str, *, output: str = "1000", input: str = "0") -> ModelEntry:  # noqa: A002  as prices call it
    return ModelEntry(
        name=name,
        provider=ACCOUNT.name,
        kind="openai-compatible",
        model=name,
        prices=Prices(input=Decimal(input), output=Decimal(output)),
        price_version="1",
        source="organization",
    )


@dataclass
class Models:
    """``chains``: which models a name stands for; others stand for themselves."""

    entries: dict[str, ModelEntry] = field(
        default_factory=lambda: {
            "smart": entry("smart"),
            "cheap": entry("cheap", output="100"),
            "free": entry("free", output="0"),
        }
    )
    chains: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    missing: set[str] = field(default_factory=set[str])

    async def chain(self, organization: str, name: str) -> tuple[ModelEntry, ...]:
        if name in self.missing:
            raise UnknownModel(name, list(self.entries))
        return tuple(self.entries[each] for each in self.chains.get(name, (name,)))


class Accounts:
    async def all(self, organization: str) -> Mapping[str, Account]:
        return {ACCOUNT.name: ACCOUNT}


class Kept:
    """As much of Valkey as keeps an answer."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}

    def register_script(self, script: str) -> None:
        """No account of these tests has limits."""

    async def get(self, name: str) -> str | None:
        return self._values.get(name)

    async def set(self, name: str, value: str, *, ex: int) -> None:
        self._values[name] = value


Behaviour = Callable[[str, ModelCall, TextSink | None], ModelReply | BaseException]


@dataclass
class Servers:
    """Answers ten tokens, at once or when ``gate`` is open. ``behave`` decides otherwise."""

    behave: Behaviour | None = None
    gate: asyncio.Event | None = None
    asked: list[str] = field(default_factory=list[str])
    abandoned: int = 0

    async def send(self, account: Account, model: str, call: ModelCall, sink: TextSink | None) -> ModelReply:
        self.asked.append(model)
        if sink is not None:
            sink.add("half ")
        try:
            if self.gate is not None:
                await self.gate.wait()
        except asyncio.CancelledError:
            self.abandoned += 1
            raise
        outcome = self.behave(model, call, sink) if self.behave else said("ok")
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


def said(text: str, *, output: int = 10) -> ModelReply:
    return ModelReply(text=text, tokens=Tokens(input=100, output=output))


def question(text: str = "How much?", *, model: str = "smart", max_tokens: int = 10) -> ModelCall:
    return ModelCall(model=model, messages=(Message(role="user", content=text),), max_tokens=max_tokens)


def a_charge(organization: str | None = None) -> Charge:
    return Charge(organization or new_id("org"))


@dataclass
class Money:
    """One replica, as far as money is concerned."""

    database: Database
    ledger: Ledger
    router: Router
    thinking: Thinking
    servers: Servers
    models: Models

    async def rows(self, organization: str, query: bytes) -> list[JsonObject]:
        async with self.database.tenant(organization) as conn:
            return [dict(row) for row in await (await conn.execute(query)).fetchall()]

    async def calls(self, organization: str) -> list[JsonObject]:
        return await self.rows(organization, b"SELECT * FROM model_calls ORDER BY at, id")

    async def balances(self, organization: str) -> list[JsonObject]:
        return await self.rows(organization, b"SELECT * FROM budget_balances ORDER BY id")


def money_with(
    database: Database, *, servers: Servers | None = None, lease_seconds: float = 15.0, places: int = 64
) -> Money:
    models, servers = Models(), servers or Servers()
    ledger = Ledger(database, lease_seconds=lease_seconds)
    valkey = cast(Valkey, Kept())
    pool = Pool(PoolSettings(most_at_one_account=places))
    breakers = Breakers(failures=100, seconds=1)
    attempts = Attempts(servers, pool, breakers, AccountLimits(valkey), first_token_seconds=60)
    patience = Patience(attempts=3, pause=0.01)
    router = Router(models, Accounts(), attempts, KeptAnswers(valkey, seconds=60), patience=patience, seconds=60.0)
    return Money(database, ledger, router, Thinking(ledger, router), servers, models)


@asynccontextmanager
async def a_replica(url: str, *, lease_seconds: float = 15.0, places: int = 64) -> AsyncGenerator[Money]:
    async with Database.open(url, app_id="agent-crew") as database:
        money = money_with(database, lease_seconds=lease_seconds, places=places)
        yield money
        await money.thinking.close()
