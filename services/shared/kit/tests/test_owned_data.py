"""What an organization owns: exported whole and without secrets, forgotten when it is old or when the owner is gone."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import pytest
from crewmesh_contracts.events import CloudEvent, Event, OrganizationDeleted, RetentionChanged
from crewmesh_contracts.invocations.owned_data import ExportedRow
from crewmesh_kit.db.database import Database
from crewmesh_kit.db.migrations import migrate
from crewmesh_kit.errors import InvalidRequest, NotFound
from crewmesh_kit.owned_data.export import export_page
from crewmesh_kit.owned_data.forgetting import Forgetting, by_age
from crewmesh_testkit.identities import ORGANIZATION, OTHER_ORGANIZATION

_SCHEMA = """
CREATE TABLE shelves (org_id text NOT NULL, id text PRIMARY KEY, door_secret text, pin_sha256 bytea);
SELECT isolate_tenants('shelves');
CREATE TABLE books (
    org_id text NOT NULL, shelf text NOT NULL REFERENCES shelves (id), number integer NOT NULL, text text NOT NULL,
    at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (shelf, number)
);
SELECT isolate_tenants('books');
CREATE TABLE weather (place text PRIMARY KEY);
"""


@pytest.fixture
async def database(database_url: Callable[[str], str], tmp_path: Path) -> AsyncGenerator[Database]:
    url = database_url("knowledge")
    (tmp_path / "0001_things.sql").write_text(_SCHEMA)
    await migrate(url, app_id="knowledge", migrations=tmp_path)
    async with Database.open(url, app_id="knowledge") as database:
        yield database


async def fill(database: Database, organization: str, *, books: int, size: int = 10) -> None:
    async with database.tenant(organization) as conn:
        shelf = f"shelf-{organization}"
        await conn.execute(
            "INSERT INTO shelves VALUES (%s, %s, 'open sesame', '\\x01')",
            [organization, shelf],
        )
        await conn.execute(
            "INSERT INTO books SELECT %s, %s, n, repeat('x', %s), now() - n * interval '1 day'"
            " FROM generate_series(1, %s) AS n",
            [organization, shelf, size, books],
        )


async def exported(database: Database, organization: str) -> list[ExportedRow]:
    rows, cursor = list[ExportedRow](), None
    while True:
        page = await export_page(database, organization, cursor)
        rows += page.rows
        if (cursor := page.cursor) is None:
            return rows


def told(event: Event) -> CloudEvent:
    return CloudEvent(id="1", source="crewmesh/gateway", type=event.type(), data=event.model_dump(mode="json"))


@pytest.mark.parametrize(("books", "size"), [(0, 10), (3, 10), (500, 10), (1201, 10), (9, 400_000)])
async def test_everything_is_exported_once_and_nothing_of_others(database: Database, books: int, size: int) -> None:
    await fill(database, ORGANIZATION, books=books, size=size)
    await fill(database, OTHER_ORGANIZATION, books=2)
    rows = await exported(database, ORGANIZATION)
    assert [row.row["number"] for row in rows if row.table == "books"] == list(range(1, books + 1))
    assert all(row.row["org_id"] == ORGANIZATION for row in rows)
    assert {row.table for row in rows} <= {"books", "shelves", "retention_policies"}


async def test_secrets_are_masked(database: Database) -> None:
    await fill(database, ORGANIZATION, books=1)
    (shelf,) = [row.row for row in await exported(database, ORGANIZATION) if row.table == "shelves"]
    assert (shelf["door_secret"], shelf["pin_sha256"]) == ("•••", "•••")


@pytest.mark.parametrize("cursor", ["nonsense", "e30=", "WyJib29rcyIsMV0=", "WyJib29rcyJd"])
async def test_a_cursor_from_elsewhere_is_refused(database: Database, cursor: str) -> None:
    await fill(database, ORGANIZATION, books=1)
    with pytest.raises(InvalidRequest):
        await export_page(database, ORGANIZATION, cursor)


async def test_a_deleted_organization_is_forgotten_and_no_other(database: Database) -> None:
    await fill(database, ORGANIZATION, books=5_001)
    await fill(database, OTHER_ORGANIZATION, books=2)
    forgetting = Forgetting(database, ())
    for _ in range(2):  # events come again
        await forgetting.on_organization_event(told(OrganizationDeleted(organization=ORGANIZATION)))
    assert await exported(database, ORGANIZATION) == []
    assert len(await exported(database, OTHER_ORGANIZATION)) == 3


async def test_what_is_too_old_for_its_organization_is_forgotten(database: Database) -> None:
    await fill(database, ORGANIZATION, books=20)
    await fill(database, OTHER_ORGANIZATION, books=20)
    forgetting = Forgetting(database, (by_age("books", table="books", column="at", and_="number <> 15"),))
    assert await forgetting.would_forget(ORGANIZATION, "books", 10) == 10, "10 to 20 but the 15th"
    changed = RetentionChanged(organization=ORGANIZATION, kind="books", days=10)
    await forgetting.on_organization_event(told(changed))
    assert await forgetting.what_is_too_old() == 10
    assert await forgetting.what_is_too_old() == 0
    books = {org: len(await exported(database, org)) for org in (ORGANIZATION, OTHER_ORGANIZATION)}
    assert books == {ORGANIZATION: 12, OTHER_ORGANIZATION: 21}, "ten books, a shelf and the policy"
    await forgetting.on_organization_event(told(changed.model_copy(update={"days": None})))
    assert await forgetting.what_is_too_old() == 0
    with pytest.raises(NotFound):
        await forgetting.would_forget(ORGANIZATION, "films", 10)
