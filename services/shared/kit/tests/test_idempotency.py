"""Once per key: however many ask at once, whatever dies meanwhile, one effect, and everybody hears the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest
from crewmesh_contracts.base import Contract, Reply
from crewmesh_kit.db.claims import fingerprint_of
from crewmesh_kit.db.database import Database
from crewmesh_kit.db.idempotency import Idempotency
from crewmesh_kit.db.migrations import migrate
from crewmesh_kit.errors import (
    IdempotencyKeyReused,
    NotFound,
    OperationInProgress,
    Problem,
    Unavailable,
)
from crewmesh_testkit import OTHER_ORGANIZATION, identity
from crewmesh_testkit.polling import until
from crewmesh_testkit.servers import running_postgres
from psycopg import AsyncConnection
from psycopg.rows import DictRow

WHO = identity("things:write")


class Order(Contract):
    item: str


class Receipt(Reply):
    number: int
    item: str


class Shop:
    """The world in which an effect can be counted."""

    def __init__(self, *, seconds: float = 0.0) -> None:
        self.sold = 0
        self.seconds = seconds
        self.broken_by: Problem | None = None
        self.doors = asyncio.Event()
        self.doors.set()

    async def sell(self) -> Receipt:
        self.sold += 1
        number = self.sold
        await asyncio.sleep(self.seconds)
        await self.doors.wait()
        if self.broken_by is not None:
            raise self.broken_by
        return Receipt(number=number, item="tea")


@pytest.fixture
async def url(database_url: Callable[[str], str]) -> str:
    url = database_url("integration")
    await migrate(url, app_id="integration", migrations=None)
    return url


@pytest.fixture
async def databases(url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[list[Database]]:
    """Two replicas. Many wait for a connection at once; the last of them does not get one soon everywhere."""
    monkeypatch.setattr("crewmesh_kit.db.database._POOL_WAIT_SECONDS", 60.0)
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(Database.open(url, app_id="integration", pool_max=8)) for _ in range(2)]


@pytest.fixture
def replicas(databases: list[Database]) -> list[Idempotency]:
    """Whose leases do not run out, however long they are held up."""
    return [Idempotency(database, lease_seconds=3600) for database in databases]


async def buy(
    idempotency: Idempotency,
    shop: Shop,
    *,
    key: str | None = "k",
    item: str = "tea",
    wait: float = 60,
    org: str | None = None,
) -> Receipt:
    who = WHO if org is None else identity(organization=org)
    return await idempotency.once(
        identity=who, scope="orders", key=key, request=Order(item=item), result=Receipt, work=shop.sell, wait=wait
    )


class TestOnce:
    async def test_fifty_callers_at_two_replicas_cause_one_effect(self, replicas: list[Idempotency]) -> None:
        shop = Shop(seconds=0.3)
        receipts = await asyncio.gather(*(buy(replicas[n % 2], shop) for n in range(50)))
        assert shop.sold == 1
        assert {receipt.number for receipt in receipts} == {1}

    async def test_a_repeated_call_gets_the_stored_result(self, replicas: list[Idempotency]) -> None:
        shop = Shop()
        assert await buy(replicas[0], shop) == await buy(replicas[1], shop) == await buy(replicas[0], shop)
        assert shop.sold == 1

    async def test_other_keys_and_other_organizations_are_other_operations(self, replicas: list[Idempotency]) -> None:
        shop = Shop()
        await buy(replicas[0], shop, key="a")
        await buy(replicas[0], shop, key="b")
        await buy(replicas[0], shop, key="a", org=OTHER_ORGANIZATION)
        assert shop.sold == 3

    async def test_without_a_key_nothing_is_remembered(self, replicas: list[Idempotency]) -> None:
        shop = Shop()
        await buy(replicas[0], shop, key=None)
        await buy(replicas[0], shop, key=None)
        assert shop.sold == 2

    async def test_a_key_is_for_one_request_only(self, replicas: list[Idempotency]) -> None:
        shop = Shop()
        await buy(replicas[0], shop, item="tea")
        for replica in replicas:
            with pytest.raises(IdempotencyKeyReused):
                await buy(replica, shop, item="coffee")
        assert shop.sold == 1

    async def test_a_key_in_use_is_for_one_request_only(self, replicas: list[Idempotency]) -> None:
        shop = Shop()
        shop.doors.clear()
        first = asyncio.create_task(buy(replicas[0], shop, item="tea"))
        await until(lambda: shop.sold == 1, seconds=60, what="the work to begin")
        for replica in replicas:
            with pytest.raises(IdempotencyKeyReused):
                await buy(replica, shop, item="coffee")
        shop.doors.set()
        await first

    async def test_who_will_not_wait_is_told_to_come_again(self, replicas: list[Idempotency]) -> None:
        shop = Shop()
        shop.doors.clear()
        first = asyncio.create_task(buy(replicas[0], shop))
        await until(lambda: shop.sold == 1, seconds=60, what="the work to begin")
        for replica in replicas:
            with pytest.raises(OperationInProgress) as told:
                await buy(replica, shop, wait=0.1)
            assert int(told.value.headers["Retry-After"]) > 0
        shop.doors.set()
        assert (await first).number == 1
        assert (await buy(replicas[1], shop)).number == 1

    async def test_a_caller_who_leaves_does_not_stop_the_work(self, replicas: list[Idempotency]) -> None:
        shop = Shop()
        shop.doors.clear()
        impatient = asyncio.create_task(buy(replicas[0], shop))
        await until(lambda: shop.sold == 1, seconds=60, what="the work to begin")
        impatient.cancel()
        with pytest.raises(asyncio.CancelledError):
            await impatient
        shop.doors.set()
        assert (await buy(replicas[1], shop)).number == 1
        assert shop.sold == 1


class TestFailure:
    async def test_for_good_is_stored_and_repeated(self, replicas: list[Idempotency]) -> None:
        shop = Shop()
        shop.broken_by = NotFound("there is no tea", headers={"X-Shelf": "3"}, shelf=3)
        with pytest.raises(NotFound):
            await buy(replicas[0], shop)
        for replica in replicas:
            with pytest.raises(Problem) as repeated:
                await buy(replica, shop)
            assert repeated.value.document() == shop.broken_by.document()
            assert repeated.value.headers == {"X-Shelf": "3"}
        assert shop.sold == 1

    @pytest.mark.parametrize("error", [Unavailable("the till is jammed"), RuntimeError("a bug")])
    async def test_that_may_pass_frees_the_key(self, replicas: list[Idempotency], error: Exception) -> None:
        shop = Shop()

        async def fail() -> Receipt:
            shop.sold += 1
            raise error

        with pytest.raises(type(error)):
            await replicas[0].once(
                identity=WHO, scope="orders", key="k", request=Order(item="tea"), result=Receipt, work=fail, wait=1
            )
        assert (await buy(replicas[1], shop, wait=0)).number == 2

    async def test_a_dead_holder_s_lease_runs_out_and_the_next_call_does_the_work(
        self, replicas: list[Idempotency], databases: list[Database]
    ) -> None:
        shop = Shop()
        # What a killed process leaves behind: a claim, and nobody who extends it.
        async with databases[1].tenant(WHO.organization) as conn:
            await conn.execute(
                "INSERT INTO idempotency (org_id, scope, key, fingerprint, state, holder, lease_until)"
                " VALUES (%s, 'orders', 'k', %s, 'running', 'dead', now() + interval '1 hour')",
                [WHO.organization, fingerprint_of(Order(item="tea"))],
            )
        with pytest.raises(OperationInProgress):
            await buy(replicas[0], shop, wait=0.1)
        waiting = asyncio.create_task(buy(replicas[0], shop, wait=60))
        await databases[1].statement("UPDATE idempotency SET lease_until = now() - interval '1 second'")
        assert (await waiting).number == 1
        assert shop.sold == 1

    async def test_work_that_outlasts_its_lease_keeps_it(
        self, replicas: list[Idempotency], databases: list[Database]
    ) -> None:
        shop = Shop()
        shop.doors.clear()
        first = asyncio.create_task(buy(Idempotency(databases[0], lease_seconds=1.0), shop))
        await until(lambda: shop.sold == 1, seconds=60, what="the work to begin")
        outlasted = "SELECT 1 FROM idempotency WHERE lease_until > at + interval '3 seconds'"
        await until(lambda: databases[1].statement(outlasted), seconds=60, what="a lease that goes on")
        shop.doors.set()
        assert await first == await buy(replicas[1], shop)
        assert shop.sold == 1

    async def test_a_heartbeat_that_missed_the_end_of_the_work_is_told_again(
        self, databases: list[Database], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        idempotency, shop, beating = Idempotency(databases[0], lease_seconds=1.5), Shop(), asyncio.Event()
        shop.doors.clear()

        async def misses(*_: object) -> None:
            beating.set()
            with suppress(asyncio.CancelledError):  # as the pool of connections may, before Python 3.12
                await asyncio.Event().wait()

        monkeypatch.setattr(idempotency, "_extend", misses)
        monkeypatch.setattr("crewmesh_kit.db.idempotency._CANCEL_AGAIN_SECONDS", 0.01)
        buying = asyncio.create_task(buy(idempotency, shop))
        await asyncio.wait_for(beating.wait(), 60)
        shop.doors.set()
        assert (await asyncio.wait_for(buying, 60)).number == 1

    async def test_a_stopping_service_frees_what_it_could_not_finish(self, replicas: list[Idempotency]) -> None:
        shop = Shop()
        shop.doors.clear()
        unfinished = asyncio.create_task(buy(replicas[0], shop))
        await until(lambda: shop.sold == 1, seconds=60, what="the work to begin")
        await replicas[0].drain(0.05)
        with pytest.raises(asyncio.CancelledError):
            await unfinished
        shop.doors.set()
        assert (await buy(replicas[1], shop, wait=0)).number == 2

    async def test_a_result_survives_a_database_that_restarts_meanwhile(self, tmp_path: Path) -> None:
        with running_postgres(tmp_path) as postgres:
            url = postgres.create_service_database("integration")
            await migrate(url, app_id="integration", migrations=None)
            async with Database.open(url, app_id="integration") as database:
                idempotency, shop = Idempotency(database), Shop()
                shop.doors.clear()
                buying = asyncio.create_task(buy(idempotency, shop))
                await until(lambda: shop.sold == 1, seconds=60, what="the work to begin")
                postgres.server.kill()
                shop.doors.set()
                await asyncio.to_thread(postgres.server.start)
                assert (await buying).number == 1
                assert (await buy(Idempotency(database), shop)).number == 1
                assert shop.sold == 1


class TestOnceIn:
    async def create(
        self, database: Database, idempotency: Idempotency, *, item: str = "tea", key: str | None = "k"
    ) -> Receipt:
        async with database.tenant(WHO.organization) as conn:

            async def work() -> Receipt:
                await conn.execute("INSERT INTO inbox VALUES ('orders', %s, gen_random_uuid()::text)", [item])
                cursor = await conn.execute("SELECT count(*)::int AS orders FROM inbox")
                row = await cursor.fetchone()
                assert row is not None
                return Receipt(number=row["orders"], item=item)

            return await idempotency.once_in(
                conn, identity=WHO, scope="orders", key=key, request=Order(item=item), work=work
            )

    async def test_fifty_at_once_make_one_change(self, databases: list[Database], replicas: list[Idempotency]) -> None:
        receipts = await asyncio.gather(*(self.create(databases[n % 2], replicas[n % 2]) for n in range(50)))
        assert {receipt.number for receipt in receipts} == {1}

    async def test_a_change_that_was_rolled_back_was_not_made(
        self, databases: list[Database], replicas: list[Idempotency]
    ) -> None:
        async def fail_after_it() -> None:
            async with databases[0].tenant(WHO.organization) as conn:

                async def work() -> Receipt:
                    return Receipt(number=0, item="tea")

                await replicas[0].once_in(
                    conn, identity=WHO, scope="orders", key="k", request=Order(item="tea"), work=work
                )
                raise RuntimeError("before the commit")

        with pytest.raises(RuntimeError, match="before the commit"):
            await fail_after_it()
        assert (await self.create(databases[1], replicas[1])).number == 1

    async def test_a_key_is_for_one_request_only(self, databases: list[Database], replicas: list[Idempotency]) -> None:
        await self.create(databases[0], replicas[0])
        with pytest.raises(IdempotencyKeyReused):
            await self.create(databases[0], replicas[0], item="coffee")

    async def test_without_a_key_every_call_counts(
        self, databases: list[Database], replicas: list[Idempotency]
    ) -> None:
        numbers = [(await self.create(databases[0], replicas[0], key=None)).number for _ in range(3)]
        assert numbers == [1, 2, 3]

    async def test_needs_to_know_what_the_work_returns(
        self, databases: list[Database], replicas: list[Idempotency]
    ) -> None:
        with pytest.raises(TypeError, match="result="):
            async with databases[0].tenant(WHO.organization) as conn:
                await replicas[0].once_in(
                    conn, identity=WHO, scope="s", key="k", request=Order(item="tea"), work=lambda: Shop().sell()
                )


class TestWithIt:
    """What is written together with the kept result, or not at all."""

    @staticmethod
    async def ask(replica: Idempotency, shop: Shop, notes: list[str], *, note_fails: bool = False) -> Receipt:
        async def note(conn: AsyncConnection[DictRow]) -> None:
            cursor = await conn.execute("SELECT state FROM idempotency WHERE key = 'k'")
            row = await cursor.fetchone()
            notes.append("" if row is None else row["state"])
            if note_fails:
                raise ValueError("the note cannot be written")

        return await replica.once(
            identity=WHO,
            scope="sales",
            key="k",
            request=Order(item="tea"),
            result=Receipt,
            work=shop.sell,
            wait=1,
            with_it=note,
        )

    async def test_it_is_written_in_the_transaction_that_keeps_the_result_once(
        self, replicas: list[Idempotency]
    ) -> None:
        shop, notes = Shop(), list[str]()
        for replica in replicas:
            assert (await self.ask(replica, shop, notes)).number == 1
        assert notes == ["done"]

    async def test_a_refusal_that_is_kept_has_it_too_and_a_failure_that_may_pass_has_not(
        self, replicas: list[Idempotency]
    ) -> None:
        shop, notes = Shop(), list[str]()
        shop.broken_by = Unavailable("later")
        with pytest.raises(Unavailable):
            await self.ask(replicas[0], shop, notes)
        assert notes == []
        shop.broken_by = NotFound("never")
        with pytest.raises(NotFound):
            await self.ask(replicas[0], shop, notes)
        assert notes == ["failed"]

    async def test_when_it_cannot_be_written_the_result_is_not_kept_either(self, replicas: list[Idempotency]) -> None:
        shop, notes = Shop(), list[str]()
        with pytest.raises(ValueError, match="note"):
            await self.ask(replicas[0], shop, notes, note_fails=True)
        with pytest.raises(OperationInProgress):
            await self.ask(replicas[1], shop, notes)
        assert shop.sold == 1, "the effect happened: the key is not freed"
