"""What is known of sharing: read once, forgotten at every replica after a change, never older than half a minute."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import pytest
from crewmesh_kit.db.database import Database
from crewmesh_kit.db.idempotency import Idempotency
from crewmesh_kit.db.migrations import migrate
from crewmesh_kit.errors import NotFound
from crewmesh_kit.identity import Identity
from crewmesh_kit.ids import new_id
from crewmesh_kit.sharing import repository
from crewmesh_kit.sharing.errors import LevelMissing
from crewmesh_kit.sharing.models import AccessRequest, Kind, Need
from crewmesh_kit.sharing.service import Sharing
from crewmesh_kit.signals import Signals
from crewmesh_testkit.polling import until
from psycopg import AsyncConnection
from psycopg.rows import DictRow

THING = Kind("thing", path="things", called="thing")
SEE = Need(THING, "view", "things:read", seeing="things:read")
CHANGE = Need(THING, "edit", "things:write", seeing="things:read")
CLOSED = AccessRequest(restricted=True)


@dataclass
class Replicas:
    """Two of one service, and a clock that a test moves."""

    database: Database
    one: Sharing
    other: Sharing
    signals: Signals
    clock: list[float] = field(default_factory=lambda: [0.0])
    anna: Identity = field(
        default_factory=lambda: Identity(
            new_id("org"), "usr_" + "1" * 32, frozenset({"things:read", "things:write"}), frozenset({"role:editor"})
        )
    )

    async def sees(self, sharing: Sharing, thing: str = "t") -> bool:
        async with self.database.tenant(self.anna.organization) as conn:
            return await sharing.reaches(conn, self.anna, SEE, thing)

    async def put(self, sharing: Sharing, request: AccessRequest, thing: str = "t") -> None:
        async with self.database.tenant(self.anna.organization) as conn:
            await sharing.put(conn, self.anna, THING, thing, request, if_match="*", key=None)


@pytest.fixture
async def replicas(database_url: Callable[[str], str], valkey: str) -> AsyncGenerator[Replicas]:
    url = database_url("knowledge")
    await migrate(url, app_id="knowledge", migrations=None)
    clock = [0.0]
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(Database.open(url, app_id="knowledge"))
        signals = [
            await stack.enter_async_context(Signals.open(valkey, app_id=f"sharing-{id(clock)}")) for _ in range(2)
        ]
        one, other = (Sharing(database, Idempotency(database), each, now=lambda: clock[0]) for each in signals)
        # What is known by then is forgotten.
        for each in signals:
            await asyncio.wait_for(each.begun.wait(), 60)
        yield Replicas(database, one, other, signals[0], clock)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The organizations whose sharing was read from the database."""
    found: list[str] = []
    of_organization = repository.of_organization

    async def counted(conn: AsyncConnection[DictRow], organization: str) -> object:
        found.append(organization)
        return await of_organization(conn, organization)

    monkeypatch.setattr(repository, "of_organization", counted)
    return found


async def test_it_is_read_once_and_again_after_half_a_minute(replicas: Replicas, reads: list[str]) -> None:
    for _ in range(50):
        assert await replicas.sees(replicas.one)
    assert reads == [replicas.anna.organization]
    replicas.clock[0] = 31.0
    assert await replicas.sees(replicas.one)
    assert len(reads) == 2


async def test_a_change_holds_at_once_here_and_in_a_moment_everywhere(replicas: Replicas) -> None:
    for _ in range(5):
        await replicas.put(replicas.one, CLOSED)
        assert not await replicas.sees(replicas.one)

        async def is_closed() -> bool:
            return not await replicas.sees(replicas.other)

        await until(is_closed, seconds=60, every=0.01, what="the other replica to know")
        await replicas.put(replicas.other, AccessRequest())
        assert await replicas.sees(replicas.other)

        async def is_open() -> bool:
            return await replicas.sees(replicas.one)

        await until(is_open, seconds=60, every=0.01, what="the first replica to know")


async def test_a_change_that_is_rolled_back_changes_nothing(replicas: Replicas) -> None:
    async def put_and_fail() -> None:
        async with replicas.database.tenant(replicas.anna.organization) as conn:
            await replicas.one.put(conn, replicas.anna, THING, "t", CLOSED, if_match="*", key=None)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await put_and_fail()
    assert await replicas.sees(replicas.one)


async def test_what_was_read_before_a_change_is_not_remembered_after_it(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_organization = repository.of_organization

    async def slow(conn: AsyncConnection[DictRow], organization: str) -> object:
        found = await of_organization(conn, organization)
        await replicas.put(replicas.one, CLOSED)
        return found

    with monkeypatch.context() as patched:
        patched.setattr(repository, "of_organization", slow)
        assert await replicas.sees(replicas.one), "it was open when it was read"
    assert not await replicas.sees(replicas.one)


async def test_another_organization_s_sharing_is_its_own(replicas: Replicas) -> None:
    await replicas.put(replicas.one, CLOSED)
    stranger = Identity(new_id("org"), replicas.anna.subject, replicas.anna.permissions, replicas.anna.groups)
    async with replicas.database.tenant(stranger.organization) as conn:
        assert await replicas.one.reaches(conn, stranger, SEE, "t")
        assert (await replicas.one.get(conn, replicas.anna.organization, THING, "t")).version == 0


async def test_hidden_is_unknown_and_visible_names_the_level(replicas: Replicas) -> None:
    unknown = NotFound("There is no such thing.")
    organization = replicas.anna.organization
    await replicas.put(replicas.one, CLOSED)
    async with replicas.database.tenant(organization) as conn:
        with pytest.raises(NotFound):
            await replicas.one.ensure(conn, replicas.anna, CHANGE, "t", unknown=unknown)
    view = AccessRequest.model_validate({"restricted": True, "grants": [{"grantee": "role:editor", "level": "view"}]})
    await replicas.put(replicas.one, view)
    async with replicas.database.tenant(organization) as conn:
        await replicas.one.ensure(conn, replicas.anna, SEE, "t", unknown=unknown)
        with pytest.raises(LevelMissing) as refused:
            await replicas.one.ensure(conn, replicas.anna, CHANGE, "t", unknown=unknown)
    assert refused.value.extensions == {"level": "edit", "resource": "t"}
