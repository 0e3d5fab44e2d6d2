"""The database itself keeps organizations apart: statements without any condition cross nothing."""

from __future__ import annotations

import psycopg
import pytest
from crewmesh_kit.ids import new_id
from psycopg import sql

from .harness import Running

TABLES = ("crews", "crew_runs", "crew_turns", "crew_messages")


@pytest.mark.parametrize("table", TABLES)
async def test_rows_of_others_are_neither_seen_nor_changed_nor_deleted(service: Running, table: str) -> None:
    await service.kickoff("Who am I?")
    name = sql.Identifier(table)
    counting = sql.SQL("SELECT count(*) AS n FROM {}").format(name)
    async with service.database.tenant(service.organization) as owner:
        there = await (await owner.execute(counting)).fetchone()
    assert there is not None
    assert there["n"] > 0
    async with service.database.tenant(new_id("org")) as stranger:
        seen = await (await stranger.execute(counting)).fetchone()
        changed = await stranger.execute(sql.SQL("UPDATE {} SET org_id = org_id").format(name))
        deleted = await stranger.execute(sql.SQL("DELETE FROM {}").format(name))
    assert seen == {"n": 0}
    assert (changed.rowcount, deleted.rowcount) == (0, 0)
    async with service.database.tenant(service.organization) as owner:
        kept = await (await owner.execute(counting)).fetchone()
    assert kept == there


async def test_a_row_cannot_be_given_to_another_organization(service: Running) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with service.database.tenant(service.organization) as connection:
            await connection.execute("UPDATE crews SET org_id = %s", [new_id("org")])


async def test_without_an_organization_there_is_nothing(service: Running, crews_database: str) -> None:
    await service.kickoff("Who am I?")
    async with await psycopg.AsyncConnection.connect(crews_database) as connection:
        for table in TABLES:
            cursor = await connection.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(table)))
            assert await cursor.fetchall() == []
