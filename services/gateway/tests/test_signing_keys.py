"""Keys follow each other without anybody noticing: each is published before it signs and believed after it signed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

import psycopg
import pytest
from crewmesh_gateway.main import MIGRATIONS
from crewmesh_gateway.sessions.access_tokens import AccessTokens
from crewmesh_gateway.settings import TokenSettings
from crewmesh_gateway.signing_keys.master import MasterKey
from crewmesh_gateway.signing_keys.models import KeyRing
from crewmesh_gateway.signing_keys.repository import SigningKeyRepository
from crewmesh_gateway.signing_keys.service import SigningKeys
from crewmesh_kit.db.database import Database
from crewmesh_kit.db.migrations import migrate
from crewmesh_testkit import FakeSidecar, running
from fastapi import FastAPI
from joserfc import jwt
from joserfc.jwk import KeySet
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from .logins import HERE, log_in, somebody

MASTER = MasterKey("a-master-key-for-these-tests-alone!")
START = 1_800_000_000.0
MINUTE, HOUR, DAY = 60, 3600, 86_400
WHO = ("usr_" + "a" * 32, "org_" + "1" * 32, "ses_" + "c" * 32)


@dataclass
class Clock:
    now: float = START

    def __call__(self) -> float:
        return self.now


class Replica:
    """The keys and tokens of one process, with a clock of the test's."""

    def __init__(self, database: Database, clock: Clock, master: MasterKey = MASTER) -> None:
        self.repository = SigningKeyRepository(master)
        self.keys = SigningKeys(database, self.repository, TokenSettings(), now=clock)
        self.tokens = AccessTokens(self.keys, TokenSettings(), now=clock)
        self.tend, self.read = self.keys.tend, self.tokens.read

    def issue(self) -> str:
        return self.tokens.issue(*WHO)[0]

    def published(self) -> set[str]:
        return set(self.keys.ring.by_kid)


@pytest.fixture
async def database(database_url: Callable[[str], str]) -> AsyncGenerator[Database]:
    url = database_url("gateway")
    await migrate(url, app_id="gateway", migrations=MIGRATIONS)
    async with Database.open(url, app_id="gateway") as database:
        yield database


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def stored(database: Database) -> list[DictRow]:
    async with database.system() as conn:
        return await (await conn.execute("SELECT * FROM signing_keys ORDER BY signs_from")).fetchall()


async def test_the_first_key_is_there_at_once_and_once_only(database: Database, clock: Clock) -> None:
    replicas = [Replica(database, clock) for _ in range(20)]
    await asyncio.gather(*(replica.tend() for replica in replicas))
    (row,) = await stored(database)
    assert {frozenset(replica.published()) for replica in replicas} == {frozenset({row["kid"]})}
    assert await replicas[0].read(replicas[1].issue()) is not None


async def test_private_parts_are_sealed(database: Database, clock: Clock) -> None:
    replica = Replica(database, clock)
    await replica.tend()
    (row,) = await stored(database)
    _, private = replica.keys.signing()
    secret = str(private.as_dict(private=True)["d"])
    assert secret.encode() not in bytes(row["sealed_jwk"])
    assert secret not in str(row["public_jwk"])
    assert set(row["public_jwk"]) == {"kty", "crv", "x", "y"}
    assert all("d" not in key.published() for key in replica.keys.ring.keys)


async def test_a_change_of_keys_goes_unnoticed(database: Database, clock: Clock) -> None:
    """Two months, minute by minute around the changes: every token is good for its whole life at both replicas."""
    replicas = [Replica(database, clock), Replica(database, clock)]
    for replica in replicas:
        await replica.tend()
    first_seen: dict[str, float] = dict.fromkeys(replicas[0].published(), 0.0)
    alive: list[tuple[float, str]] = []
    signed_by: list[str] = []
    while clock.now < START + 61 * DAY:
        for number, replica in enumerate(replicas):
            if number == 0 or int(clock.now) % (2 * MINUTE) == 0:  # the other one looks less often
                await replica.tend()
            token = replica.issue()
            kid, _ = replica.keys.signing()
            signed_by += [kid] if kid not in signed_by else []
            alive.append((clock.now + 590, token))
        for kid in replicas[0].published() & replicas[1].published():
            first_seen.setdefault(kid, clock.now)
        alive = [(until, token) for until, token in alive if until > clock.now]
        for _, token in alive:
            assert all([await replica.read(token) is not None for replica in replicas])
        kid, _ = replicas[0].keys.signing()
        assert clock.now >= first_seen[kid] + HOUR, "no key signs before it was published for an hour"
        clock.now += MINUTE if _is_near_a_change(clock.now) else 12 * HOUR
    assert len(signed_by) == 3, "after thirty days, and after thirty more"
    assert len(await stored(database)) == 1, "those before are forgotten"


def _is_near_a_change(now: float) -> bool:
    since = (now - START) % (30 * DAY + MINUTE)
    return now > START + DAY and (since < 2 * HOUR or since > 30 * DAY - MINUTE)


async def test_many_replicas_make_one_next_key(database: Database, clock: Clock) -> None:
    replicas = [Replica(database, clock) for _ in range(10)]
    for turn in range(3):
        await asyncio.gather(*(replica.tend() for replica in replicas))
        assert len(await stored(database)) == 1 + (turn > 0)
        clock.now = START + 30 * DAY


async def test_a_mesh_that_slept_for_long_signs_at_once_and_changes_soon(database: Database, clock: Clock) -> None:
    await Replica(database, clock).tend()
    clock.now += 400 * DAY
    awake = Replica(database, clock)
    await awake.tend()
    before, _ = awake.keys.signing()
    assert await awake.read(awake.issue()) is not None
    clock.now += 2 * HOUR
    assert awake.keys.signing()[0] != before


class Crashing(SigningKeyRepository):
    async def add(self, conn: AsyncConnection[DictRow], *, created_at: float, signs_from: float) -> None:
        await super().add(conn, created_at=created_at, signs_from=signs_from)
        await conn.execute("SELECT pg_terminate_backend(pg_backend_pid())")


async def test_a_crash_in_the_middle_changes_nothing(database: Database, clock: Clock) -> None:
    replica = Replica(database, clock)
    await replica.tend()
    token, before = replica.issue(), await stored(database)
    clock.now += 30 * DAY
    crashing = SigningKeys(database, Crashing(MASTER), TokenSettings(), now=clock)
    with pytest.raises(Exception, match="database cannot be reached"):
        await crashing.tend()
    assert await stored(database) == before
    await replica.tend()
    assert len(await stored(database)) == 2, "the next one makes the key, and nobody waits for a lock"
    clock.now = START + MINUTE
    assert await replica.read(token) is not None


async def test_a_key_that_another_replica_made_is_looked_for_but_not_for_everybody(
    database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = Replica(database, clock), Replica(database, clock)
    await old.tend()
    async with database.system() as conn:
        await conn.execute("DELETE FROM signing_keys")
    await new.tend()
    asked = 0
    ring = old.repository.ring

    async def counted(conn: AsyncConnection[DictRow]) -> KeyRing:
        nonlocal asked
        asked += 1
        return await ring(conn)

    monkeypatch.setattr(old.repository, "ring", counted)
    monkeypatch.setattr("crewmesh_gateway.signing_keys.service._RELOAD_SECONDS", 3600.0)
    assert await old.read(new.issue()) is not None
    assert asked == 1
    header, claims, signature = new.issue().split(".")
    foreign = Replica(database, clock, MasterKey("another-master-key-of-the-same-length"))
    async with database.system() as conn:
        await conn.execute("DELETE FROM signing_keys")
    await foreign.tend()
    async with database.system() as conn:
        await conn.execute("DELETE FROM signing_keys")
    unknown = foreign.issue()
    monkeypatch.setattr(old.keys, "_reloaded_at", float("-inf"))  # that was long ago
    found = await asyncio.gather(*(old.read(unknown) for _ in range(200)), old.read(f"{header}.{claims}.{signature}"))
    assert [each is not None for each in found] == [False] * 200 + [True]
    assert asked == 2, "once for all of them"


async def test_with_another_master_key_there_is_a_new_signing_key_and_the_old_one_is_believed(
    database: Database, clock: Clock
) -> None:
    before = Replica(database, clock)
    await before.tend()
    token = before.issue()
    clock.now += MINUTE
    after = Replica(database, clock, MasterKey("another-master-key-of-the-same-length"))
    await after.tend()
    assert after.keys.signing()[0] != before.keys.signing()[0]
    assert await after.read(token) is not None
    assert await before.read(after.issue()) is not None
    assert await after.read(after.issue()) is not None


@pytest.mark.parametrize("path", ["/v1/auth/jwks", "/.well-known/jwks.json"])
async def test_the_published_keys_prove_tokens_to_others(app: FastAPI, path: str) -> None:
    async with running(app) as client:
        await somebody(app, HERE)
        begun = await log_in(app)
        answer = await client.get(path)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "public, max-age=300"
    assert set(answer.json()["keys"][0]) == {"kty", "crv", "x", "y", "kid", "alg", "use"}
    read = jwt.decode(begun.access_token, KeySet.import_key_set(answer.json()), algorithms=["ES256"])
    assert read.claims["sid"] == begun.session


async def test_without_the_master_key_the_gateway_does_not_start(app: FastAPI, sidecar: FakeSidecar) -> None:
    sidecar.secrets["session-master-key"] = "short"
    with pytest.raises(ValueError, match="session-master-key has 5 characters"):
        async with running(app):
            raise AssertionError("it started")


async def test_no_organization_sees_the_keys_or_the_logins(database: Database, clock: Clock) -> None:
    await Replica(database, clock).tend()
    async with database.tenant("org_" + "1" * 32) as conn:
        for table in ("signing_keys", "sessions"):
            assert await (await conn.execute(f"SELECT * FROM {table}".encode())).fetchall() == []
    async with database.tenant("org_" + "1" * 32) as conn:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await conn.execute(
                "INSERT INTO signing_keys (kid, public_jwk, sealed_jwk, created_at, signs_from)"
                " VALUES ('mine', '{}', '', now(), now())"
            )
        await conn.rollback()
