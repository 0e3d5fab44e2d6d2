"""Migrations: once, in order, by one of many; history is not rewritten."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from crewmesh_kit.db.migrations import KIT_MIGRATIONS, MigrationError, migrate, read_migrations


@pytest.fixture
def url(database_url: Callable[[str], str]) -> str:
    return database_url("knowledge")


def write(folder: Path, **texts: str) -> Path:
    for name, text in texts.items():
        (folder / f"{name.removeprefix('m')}.sql").write_text(text)
    return folder


async def applied(url: str) -> list[tuple[str, int]]:
    async with await psycopg.AsyncConnection.connect(url) as conn:
        cursor = await conn.execute("SELECT part, version FROM schema_migrations ORDER BY part, version")
        return [(str(part), int(version)) for part, version in await cursor.fetchall()]


async def test_many_starters_apply_each_file_once(url: str, tmp_path: Path) -> None:
    folder = write(tmp_path, m0001_one="CREATE TABLE one (n int)", m0002_two="INSERT INTO one VALUES (1)")
    await asyncio.gather(*(migrate(url, app_id="knowledge", migrations=folder) for _ in range(6)))
    of_the_kit = [("kit", each.version) for each in read_migrations(KIT_MIGRATIONS, part="kit")]
    assert await applied(url) == [*of_the_kit, ("service", 1), ("service", 2)]
    async with await psycopg.AsyncConnection.connect(url) as conn:
        assert await (await conn.execute("SELECT n FROM one")).fetchall() == [(1,)]


async def test_tables_land_in_the_service_s_own_schema(url: str) -> None:
    await migrate(url, app_id="knowledge", migrations=None)
    async with await psycopg.AsyncConnection.connect(url) as conn:
        cursor = await conn.execute("SELECT DISTINCT schemaname FROM pg_tables WHERE tablename IN ('outbox', 'inbox')")
        assert await cursor.fetchall() == [("knowledge",)]


async def test_a_file_that_was_applied_and_then_changed_is_refused(url: str, tmp_path: Path) -> None:
    await migrate(url, app_id="knowledge", migrations=write(tmp_path, m0001_one="CREATE TABLE one (n int)"))
    write(tmp_path, m0001_one="CREATE TABLE one (n bigint)")
    with pytest.raises(MigrationError, match=r"0001_one\.sql was applied with another text"):
        await migrate(url, app_id="knowledge", migrations=tmp_path)


async def test_a_file_that_fails_leaves_nothing_behind_and_can_be_mended(url: str, tmp_path: Path) -> None:
    write(tmp_path, m0001_one="CREATE TABLE one (n int); SELECT 1 / 0;")
    with pytest.raises(psycopg.errors.DivisionByZero):
        await migrate(url, app_id="knowledge", migrations=tmp_path)
    write(tmp_path, m0001_one="CREATE TABLE one (n int);")
    await migrate(url, app_id="knowledge", migrations=tmp_path)
    assert ("service", 1) in await applied(url)


async def test_an_older_version_may_start_on_a_newer_database(url: str, tmp_path: Path) -> None:
    newer, older = tmp_path / "newer", tmp_path / "older"
    newer.mkdir()
    older.mkdir()
    await migrate(url, app_id="k", migrations=write(newer, m0001_one="SELECT 1", m0002_two="SELECT 2"))
    await migrate(url, app_id="k", migrations=write(older, m0001_one="SELECT 1"))
    assert {("service", 1), ("service", 2)} <= set(await applied(url))


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["0001_one", "0003_three"], "expected number 0002"),
        (["0001_one", "0001_uno"], "expected number 0002"),
        (["first"], "NNNN_what_it_does"),
    ],
)
def test_names_without_order_are_refused(tmp_path: Path, names: list[str], says: str) -> None:
    for name in names:
        (tmp_path / f"{name}.sql").write_text("SELECT 1")
    with pytest.raises(MigrationError, match=says):
        read_migrations(tmp_path, part="service")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(MigrationError, match="nowhere"):
        read_migrations(tmp_path / "nowhere", part="service")


def test_the_kit_s_own_are_in_the_package() -> None:
    names = [migration.name for migration in read_migrations(KIT_MIGRATIONS, part="kit")]
    assert names == ["kit", "sharing", "retention"]
