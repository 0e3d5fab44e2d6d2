"""Tenant transactions on a real PostgreSQL: what one organization writes, another cannot even see."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
from crewmesh_kit.db.database import Database, DatabaseUnavailable, persistently
from crewmesh_kit.db.migrations import migrate
from crewmesh_testkit import ORGANIZATION, OTHER_ORGANIZATION
from crewmesh_testkit.polling import until
from crewmesh_testkit.servers import running_postgres

NOTES = "CREATE TABLE notes (org_id text NOT NULL, text text NOT NULL); SELECT isolate_tenants('notes');"


@pytest.fixture
async def database(database_url: Callable[[str], str], tmp_path: Path) -> AsyncGenerator[Database]:
    (tmp_path / "0001_notes.sql").write_text(NOTES)
    url = database_url("knowledge")
    await migrate(url, app_id="knowledge", migrations=tmp_path)
    async with Database.open(url, app_id="knowledge", pool_max=4) as database:
        yield database


async def write(database: Database, organization: str, text: str) -> None:
    async with database.tenant(organization) as conn:
        await conn.execute("INSERT INTO notes VALUES (%s, %s)", [organization, text])


async def texts(database: Database, organization: str | None) -> list[str]:
    transaction = database.system() if organization is None else database.tenant(organization)
    async with transaction as conn:
        cursor = await conn.execute("SELECT text FROM notes ORDER BY text")
        return [row["text"] for row in await cursor.fetchall()]


async def until_one_waits(database: Database) -> None:
    """For a row that another transaction holds."""
    waiting = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    await until(lambda: database.statement(waiting), seconds=60, what="a statement that waits")


async def until_one_sleeps(database: Database) -> None:
    sleeping = (
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND state = 'active'"
        " AND wait_event = 'PgSleep'"
    )
    await until(lambda: database.statement(sleeping), seconds=60, what="a statement that sleeps", every=0.01)


class TestTenant:
    async def test_sees_its_own_rows_only(self, database: Database) -> None:
        await write(database, ORGANIZATION, "ours")
        await write(database, OTHER_ORGANIZATION, "theirs")
        assert await texts(database, ORGANIZATION) == ["ours"]
        assert await texts(database, OTHER_ORGANIZATION) == ["theirs"]
        assert await texts(database, None) == ["ours", "theirs"]

    async def test_cannot_write_into_another_organization(self, database: Database) -> None:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            async with database.tenant(ORGANIZATION) as conn:
                await conn.execute("INSERT INTO notes VALUES (%s, 'smuggled')", [OTHER_ORGANIZATION])

    async def test_cannot_change_or_delete_rows_of_another(self, database: Database) -> None:
        await write(database, OTHER_ORGANIZATION, "theirs")
        async with database.tenant(ORGANIZATION) as conn:
            assert (await conn.execute("UPDATE notes SET text = 'mine'")).rowcount == 0
            assert (await conn.execute("DELETE FROM notes")).rowcount == 0
        assert await texts(database, OTHER_ORGANIZATION) == ["theirs"]

    async def test_leaves_nothing_behind_on_the_pooled_connection(self, database: Database) -> None:
        await write(database, ORGANIZATION, "ours")
        pool = database._pool  # pyright: ignore[reportPrivateUsage]  no transaction: nobody is named
        async with pool.connection() as conn:
            cursor = await conn.execute("SELECT text FROM notes")
            assert await cursor.fetchall() == []

    @pytest.mark.parametrize("organization", ["", "*"])
    async def test_wants_one_organization(self, database: Database, organization: str) -> None:
        with pytest.raises(ValueError, match="one organization"):
            database.tenant(organization)

    async def test_an_id_is_data_and_never_sql(self, database: Database) -> None:
        await write(database, ORGANIZATION, "ours")
        assert await texts(database, "x'; RESET ROLE; --") == []


class TestIllness:
    """A server in trouble is to be asked again later; a statement that is wrong is not."""

    @pytest.mark.parametrize("code", ["XX000", "53100", "58030", "57P03"])
    async def test_trouble_of_the_server_is_unavailability(self, database: Database, code: str) -> None:
        trouble = f"DO $$ BEGIN RAISE EXCEPTION 'trouble' USING ERRCODE = '{code}'; END $$"
        with pytest.raises(DatabaseUnavailable):
            async with database.tenant(ORGANIZATION) as conn:
                await conn.execute(trouble.encode())
        with pytest.raises(DatabaseUnavailable):
            await database.statement(trouble.encode())

    async def test_a_wrong_statement_is_an_error_of_its_own(self, database: Database) -> None:
        with pytest.raises(psycopg.errors.UndefinedTable):
            await database.statement("SELECT * FROM nowhere")


class TestStatements:
    async def test_each_sees_what_came_before_it(self, database: Database) -> None:
        add = ("INSERT INTO notes VALUES (%(org)s, 'new')", {"org": ORGANIZATION})
        count = ("SELECT count(*) AS n FROM notes", dict[str, object]())
        assert await database.statements(count, add, count) == [[{"n": 0}], [], [{"n": 1}]]
        assert await texts(database, ORGANIZATION) == ["new"]

    async def test_they_are_kept_together_or_not_at_all(self, database: Database) -> None:
        add = ("INSERT INTO notes VALUES (%(org)s, 'lost')", {"org": ORGANIZATION})
        with pytest.raises(psycopg.errors.UndefinedTable):
            await database.statements(add, ("SELECT * FROM nowhere", {}))
        assert await texts(database, ORGANIZATION) == []

    async def test_each_sees_what_was_committed_while_those_before_waited(self, database: Database) -> None:
        await write(database, ORGANIZATION, "held")
        change = ("UPDATE notes SET text = 'changed' WHERE text = 'held'", dict[str, object]())
        look = ("SELECT text FROM notes ORDER BY text", dict[str, object]())
        async with database.system() as conn:
            await conn.execute("SELECT FROM notes FOR UPDATE")
            both = asyncio.create_task(database.statements(change, look))
            await until_one_waits(database)
            await conn.execute("INSERT INTO notes VALUES (%s, 'meanwhile')", [ORGANIZATION])
        assert (await both)[1] == [{"text": "changed"}, {"text": "meanwhile"}]


class TestTransaction:
    async def test_rolls_back_on_an_exception(self, database: Database) -> None:
        async def fail() -> None:
            async with database.tenant(ORGANIZATION) as conn:
                await conn.execute("INSERT INTO notes VALUES (%s, 'lost')", [ORGANIZATION])
                raise RuntimeError("on purpose")

        with pytest.raises(RuntimeError, match="on purpose"):
            await fail()
        assert await texts(database, ORGANIZATION) == []

    async def test_rolls_back_when_cancelled_and_gives_the_connection_back(self, database: Database) -> None:
        async def hang() -> None:
            async with database.tenant(ORGANIZATION) as conn:
                await conn.execute("INSERT INTO notes VALUES (%s, 'lost')", [ORGANIZATION])
                await conn.execute("SELECT pg_sleep(20)")

        for _ in range(8):  # twice as often as there are connections
            task = asyncio.create_task(hang())
            await until_one_sleeps(database)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert await texts(database, ORGANIZATION) == []

    async def test_a_swallowed_failure_is_no_success(self, database: Database) -> None:
        async def swallow() -> None:
            async with database.tenant(ORGANIZATION) as conn:
                with suppress(psycopg.errors.DivisionByZero):
                    await conn.execute("SELECT 1 / 0")

        with pytest.raises(psycopg.InternalError, match="swallowed"):
            await swallow()

    async def test_a_savepoint_confines_a_failure(self, database: Database) -> None:
        async with database.tenant(ORGANIZATION) as conn:
            await conn.execute("INSERT INTO notes VALUES (%s, 'kept')", [ORGANIZATION])
            with pytest.raises(psycopg.errors.DivisionByZero):
                async with conn.transaction():
                    await conn.execute("SELECT 1 / 0")
        assert await texts(database, ORGANIZATION) == ["kept"]

    async def test_a_full_pool_is_a_problem_that_says_to_come_again(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        held = [database.system() for _ in range(4)]
        for transaction in held:
            await transaction.__aenter__()
        monkeypatch.setattr(database._pool, "timeout", 0.05)  # pyright: ignore[reportPrivateUsage]
        with pytest.raises(DatabaseUnavailable) as refused:
            await texts(database, None)
        assert refused.value.headers["Retry-After"] == "2"
        for transaction in held:
            await transaction.__aexit__(None, None, None)


class TestRestartedServer:
    async def test_is_noticed_by_nobody_who_waits(self, tmp_path: Path) -> None:
        with running_postgres(tmp_path, fsync=False) as postgres:
            url = postgres.create_service_database("workflow")
            await migrate(url, app_id="workflow", migrations=None)
            async with Database.open(url, app_id="workflow", pool_min=3, pool_max=3) as database:
                await asyncio.gather(*(database.why_not_ready() for _ in range(3)))
                postgres.server.kill()
                assert await database.why_not_ready() is not None

                async def write_it() -> int:
                    async with database.system() as conn:
                        return (await conn.execute("INSERT INTO inbox VALUES ('c', 's', 'e')")).rowcount

                waiting = asyncio.create_task(persistently(write_it, seconds=300))
                await asyncio.to_thread(postgres.server.start)
                assert await waiting == 1

    async def test_idle_connections_that_died_are_replaced_silently(self, tmp_path: Path) -> None:
        with running_postgres(tmp_path, fsync=False) as postgres:
            url = postgres.create_service_database("workflow")
            async with Database.open(url, app_id="workflow", pool_min=4, pool_max=4) as database:
                await asyncio.gather(*(database.why_not_ready() for _ in range(4)))
                postgres.server.kill()
                await asyncio.to_thread(postgres.server.start)
                assert [await database.why_not_ready() for _ in range(4)] == [None] * 4

    async def test_persistence_has_an_end(self, tmp_path: Path) -> None:
        async def fail() -> None:
            raise DatabaseUnavailable

        with pytest.raises(DatabaseUnavailable):
            await persistently(fail, seconds=0.3)
