"""Migrations only add: during a rollout the last release's code goes on running on this release's schema.

Each database is brought to where the last release left it, then to where it is now, and the two catalogues are compared
for what the old code would stumble over: what it names and is gone, what it does not know of and must give, what it may
write and is now refused. The second release after may take things away, and says so in the migration, which is what
docs/operate/upgrade.md tells those who write one:

    -- contract: column runs.colour, unused since 0.3.0
    -- safe: constraint runs.runs_status_check, because it only allows more than before
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest
from crewmesh_kit.db import migrations
from psycopg.rows import DictRow, dict_row

from tests.rules.repository import ROOT, SERVICES

# The last migration of each that the last release has; a release writes down its own. Nothing is released yet, so it
# is where those stand who run what is on the main branch.
LAST_RELEASE = {"kit": 3, "gateway": 11, "workflow": 5, "agent-crew": 15, "integration": 1, "knowledge": 2}

_COLUMNS: LiteralString = """
SELECT c.relname AS of_table, a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type, a.attnotnull AS required,
    a.atthasdef OR a.attidentity <> '' AS given
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
"""
# NOT NULL is told by the columns; since PostgreSQL 18 it is a constraint (n) as well.
_CONSTRAINTS: LiteralString = """
SELECT c.relname AS of_table, k.conname AS name, pg_get_constraintdef(k.oid) AS definition
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = current_schema() AND k.contype <> 'n'
"""
# ON CONFLICT names what is unique by its columns.
_UNIQUE: LiteralString = """
SELECT c.relname AS of_table, regexp_replace(pg_get_indexdef(i.indexrelid), '^.* USING ', '') AS definition
FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = current_schema() AND i.indisunique
"""
_MARK = re.compile(r"^-- (?:contract: (.+), unused since (\d+\.\d+\.\d+)|safe: (.+), because .+)$", re.M)


@dataclass(frozen=True, slots=True)
class Column:
    type: str
    required: bool
    given: bool


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Keys are a table and a name in it."""

    columns: dict[tuple[str, str], Column]
    constraints: dict[tuple[str, str], str]
    unique: frozenset[tuple[str, str]]

    @property
    def tables(self) -> set[str]:
        return {table for table, _ in self.columns}


async def read_catalogue(url: str) -> Catalogue:
    async with await psycopg.AsyncConnection.connect(url) as connection:

        async def rows(query: LiteralString) -> list[DictRow]:
            return await (await connection.cursor(row_factory=dict_row).execute(query)).fetchall()

        return Catalogue(
            {
                (str(row["of_table"]), str(row["name"])): Column(str(row["type"]), row["required"], row["given"])
                for row in await rows(_COLUMNS)
            },
            {(str(row["of_table"]), str(row["name"])): str(row["definition"]) for row in await rows(_CONSTRAINTS)},
            frozenset((str(row["of_table"]), str(row["definition"])) for row in await rows(_UNIQUE)),
        )


def stumbling_blocks(old: Catalogue, new: Catalogue) -> set[str]:
    """What code that knows the old one would stumble over in the new one, each as it is named in a migration."""
    found = {f"table {table}" for table in old.tables - new.tables}
    kept = old.tables & new.tables
    for key, was in old.columns.items():
        if key[0] in kept and (now := new.columns.get(key)) != was:
            found |= _changed(".".join(key), was, now)
    for (table, name), column in new.columns.items():
        if table in kept and (table, name) not in old.columns and column.required and not column.given:
            found.add(f"required {table}.{name}")
    for (table, name), definition in new.constraints.items():
        if table in kept and old.constraints.get((table, name)) != definition:
            found.add(f"constraint {table}.{name}")
    for table, definition in old.unique ^ new.unique:
        if table in kept:
            found.add(f"unique {table} {definition}")
    return found


def _changed(name: str, was: Column, now: Column | None) -> set[str]:
    if now is None:
        return {f"column {name}"}
    found = {f"type {name}"} if now.type != was.type else set[str]()
    # Old code may leave it out, or give it nothing.
    if now.required and not (was.required and (now.given or not was.given)):
        found.add(f"required {name}")
    return found


def marked(texts: list[str], released: set[str]) -> set[str]:
    """What the migrations say of themselves; a version that is not released cannot have stopped using anything."""
    found: set[str] = set()
    for text in texts:
        for contracted, since, safe in _MARK.findall(text):
            assert not since or since in released, f"{contracted} is unused since {since}, which is not released"
            found.add(contracted or safe)
    return found


def released_versions() -> set[str]:
    return set(re.findall(r"^## \[?v?(\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(), flags=re.M))


def since_last_release(part: str, folder: Path) -> list[Path]:
    return [path for path in sorted(folder.glob("*.sql")) if int(path.name[:4]) > LAST_RELEASE[part]]


def as_released(part: str, folder: Path, into: Path) -> Path:
    into.mkdir()
    for path in {*folder.glob("*.sql")} - {*since_last_release(part, folder)}:
        shutil.copy(path, into)
    return into


@pytest.mark.parametrize("app", SERVICES)
async def test_the_last_release_runs_on_this_schema(
    app: str, database_url: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, kit, service = database_url(app), migrations.KIT_MIGRATIONS, ROOT / "services" / app / "migrations"
    with monkeypatch.context() as patched:
        patched.setattr(migrations, "KIT_MIGRATIONS", as_released("kit", kit, tmp_path / "kit"))
        await migrations.migrate(url, app_id=app, migrations=as_released(app, service, tmp_path / "service"))
    old = await read_catalogue(url)
    await migrations.migrate(url, app_id=app, migrations=service)
    fresh = [*since_last_release("kit", kit), *since_last_release(app, service)]
    blocks = stumbling_blocks(old, await read_catalogue(url))
    assert blocks - marked([path.read_text() for path in fresh], released_versions()) == set()


_BEFORE = """
CREATE TABLE things (id text PRIMARY KEY, name text, colour text NOT NULL DEFAULT 'red', size integer UNIQUE);
CREATE TABLE others (id text PRIMARY KEY);
"""


@pytest.mark.parametrize(
    ("change", "blocks"),
    [
        ("DROP TABLE others", {"table others"}),
        ("ALTER TABLE things DROP COLUMN name", {"column things.name"}),
        ("ALTER TABLE things RENAME COLUMN name TO title", {"column things.name"}),
        ("ALTER TABLE things ALTER COLUMN size TYPE bigint", {"type things.size"}),
        ("ALTER TABLE things ALTER COLUMN name SET NOT NULL", {"required things.name"}),
        ("ALTER TABLE things ALTER COLUMN colour DROP DEFAULT", {"required things.colour"}),
        ("ALTER TABLE things ADD COLUMN weight integer NOT NULL", {"required things.weight"}),
        ("ALTER TABLE things ADD CONSTRAINT small CHECK (size < 9)", {"constraint things.small"}),
        ("ALTER TABLE things DROP CONSTRAINT things_size_key", {"unique things btree (size)"}),
        ("CREATE UNIQUE INDEX ON things (name)", {"unique things btree (name)"}),
        ("ALTER TABLE things ADD COLUMN weight integer", set[str]()),
        ("ALTER TABLE things ADD COLUMN weight integer NOT NULL DEFAULT 0", set[str]()),
        ("ALTER TABLE things ALTER COLUMN colour DROP NOT NULL", set[str]()),
        ("CREATE TABLE news (id text PRIMARY KEY, about text NOT NULL UNIQUE)", set[str]()),
        ("CREATE INDEX ON things (name)", set[str]()),
    ],
)
async def test_what_old_code_stumbles_over_is_seen(
    change: LiteralString, blocks: set[str], database_url: Callable[[str], str]
) -> None:
    url = database_url("gateway")
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(_BEFORE)
        old = await read_catalogue(url)
        await connection.execute(change)
    assert stumbling_blocks(old, await read_catalogue(url)) == blocks


def test_a_migration_says_what_it_takes_away_and_since_when_nobody_uses_it() -> None:
    text = "-- contract: column runs.colour, unused since 0.3.0\n-- safe: type runs.size, because it is wider\n"
    assert marked([text], {"0.3.0"}) == {"column runs.colour", "type runs.size"}
    with pytest.raises(AssertionError, match="not released"):
        marked([text], {"0.2.0"})
