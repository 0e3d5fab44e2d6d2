"""PostgreSQL itself keeps organizations apart: every table of every service, as its catalogue knows it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest
from crewmesh_kit.db.migrations import migrate
from psycopg import sql
from psycopg.rows import DictRow, dict_row

from tests.rules.repository import ROOT, SERVICES

# Why there is nothing in it to keep apart.
WITHOUT_TENANTS = {
    "schema_migrations": "names and checksums of migrations",
    "inbox": "which events were dealt with: sources and ids, no content",
}
# Of these the insertion alone is open, in whose organization's transaction it may be; only the system reads them.
WRITTEN_BY_ANYBODY = {"mails": "a mail leaves with the change that it tells of, and nobody reads it but who sends it"}
_TABLES: LiteralString = """
SELECT c.relname AS name, c.relrowsecurity AS enabled, c.relforcerowsecurity AS forced,
    coalesce(array_agg(coalesce(pg_get_expr(p.polqual, c.oid), pg_get_expr(p.polwithcheck, c.oid), ''))
             FILTER (WHERE p.oid IS NOT NULL), '{}') AS rules,
    coalesce(array_agg(p.polcmd::text) FILTER (WHERE p.oid IS NOT NULL), '{}') AS commands
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_policy p ON p.polrelid = c.oid
WHERE c.relkind IN ('r', 'p') AND n.nspname = current_schema() GROUP BY c.oid ORDER BY c.relname
"""
# What shows rows of a table without its policies: views of others' rights, and functions that run as somebody else.
_WAYS_AROUND: LiteralString = """
SELECT c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('v', 'm') AND n.nspname = current_schema()
UNION ALL
SELECT p.proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE p.prosecdef AND n.nspname = current_schema()
"""
_ROLES: LiteralString = """
SELECT rolname AS name, rolsuper OR rolbypassrls OR rolreplication OR rolcreaterole AS mighty,
    (SELECT count(*) FROM pg_auth_members m WHERE m.member = r.oid) AS memberships
FROM pg_roles r WHERE rolcanlogin AND rolname <> %s
"""


async def rows(url: str, query: LiteralString, *parameters: str) -> list[DictRow]:
    async with await psycopg.AsyncConnection.connect(url) as connection:
        return await (await connection.cursor(row_factory=dict_row).execute(query, parameters)).fetchall()


@pytest.fixture(params=SERVICES)
async def migrated(request: pytest.FixtureRequest, database_url: Callable[[str], str]) -> str:
    app = str(request.param)
    url = database_url(app)
    await migrate(url, app_id=app, migrations=ROOT / "services" / app / "migrations")
    return url


async def test_every_table_shows_an_organization_its_own_rows_only(migrated: str) -> None:
    tables = {str(table["name"]): table for table in await rows(migrated, _TABLES)}
    assert tables.keys() > WITHOUT_TENANTS.keys(), "the catalogue was read where the tables are"
    for name in WITHOUT_TENANTS:
        assert tables.pop(name)["rules"] == []
    open_tables = {name for name, table in tables.items() if not (table["enabled"] and table["forced"])}
    assert open_tables == set()
    for name, table in tables.items():
        assert table["rules"], f"{name} has no policy: nobody sees anything of it"
        assert "*" in table["commands"], f"{name} has policies for some commands only"
        for command, rule in zip(table["commands"], table["rules"], strict=True):
            only_written = command == "a" and name in WRITTEN_BY_ANYBODY
            assert only_written or "app.org_id" in rule, f"{name} is shown by something else: {rule}"


async def test_nothing_leads_around_the_policies(migrated: str) -> None:
    assert await rows(migrated, _WAYS_AROUND) == []


async def test_without_an_organization_there_are_no_rows(migrated: str) -> None:
    """Whoever connects as the service and names no organization sees nothing and writes nothing."""
    names = [str(table["name"]) for table in await rows(migrated, _TABLES) if table["name"] not in WITHOUT_TENANTS]
    async with await psycopg.AsyncConnection.connect(migrated) as connection:
        for name in names:
            query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(name))
            assert await (await connection.execute(query)).fetchone() == (0,), name


async def test_no_service_s_role_is_above_the_policies(migrated: str) -> None:
    administrator = "postgres"
    roles = await rows(migrated, _ROLES, administrator)
    assert roles, "services have roles of their own"
    assert [role["name"] for role in roles if role["mighty"] or role["memberships"]] == []


def test_every_service_is_looked_at() -> None:
    there = {path.parent.name for path in Path(ROOT / "services").glob("*/migrations")}
    assert there == set(SERVICES)
