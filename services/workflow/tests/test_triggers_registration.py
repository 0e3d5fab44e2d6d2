"""Trigger rows through publishing: what a trigger has it keeps, whatever version comes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.workflow import Definition
from crewmesh_kit.db.database import Database
from crewmesh_kit.db.migrations import migrate
from crewmesh_testkit.identities import ORGANIZATION
from crewmesh_workflow.triggers.registration import enable, register
from psycopg.rows import DictRow

MIGRATIONS = Path(__file__).resolve().parents[1] / "migrations"
NODES: list[JsonValue] = [{"id": "a", "kind": "transform", "output": {"x": 1}}]


@pytest.fixture(scope="module")
def url(database_url: Callable[[str], str]) -> str:
    fresh = database_url("workflow")
    asyncio.run(migrate(fresh, app_id="workflow", migrations=MIGRATIONS))
    return fresh


@pytest.fixture
async def database(url: str) -> AsyncGenerator[Database]:
    async with Database.open(url, app_id="workflow", pool_max=2) as opened:
        async with opened.system() as conn:
            await conn.execute("TRUNCATE workflows, runs CASCADE")
        yield opened


async def publish(
    database: Database,
    *triggers: JsonValue,
    version: int = 1,
    workflow: str = "wf_1",
    nodes: list[JsonValue] | None = None,
    **more: JsonValue,
) -> dict[str, DictRow]:
    """The rows afterwards, by key."""
    body: JsonObject = {"name": "w", "nodes": nodes or NODES, "triggers": [*triggers], **more}
    definition = Definition.model_validate(body)
    async with database.tenant(ORGANIZATION) as conn:
        await conn.execute(
            "INSERT INTO workflows (id, org_id, name, version, slug) VALUES (%s, %s, 'w', %s, %s)"
            " ON CONFLICT (id) DO UPDATE SET version = excluded.version",
            [workflow, ORGANIZATION, version, definition.slug],
        )
        await conn.execute(
            "INSERT INTO workflow_versions (workflow_id, version, org_id, definition) VALUES (%s, %s, %s, '{}')",
            [workflow, version, ORGANIZATION],
        )
        await register(conn, ORGANIZATION, workflow, version, definition)
    return await rows(database, workflow)


async def rows(database: Database, workflow: str = "wf_1") -> dict[str, DictRow]:
    async with database.system() as conn:
        cursor = await conn.execute("SELECT * FROM triggers WHERE workflow_id = %s", [workflow])
        return {row["key"]: row for row in await cursor.fetchall()}


async def set_next(database: Database, at: datetime) -> None:
    async with database.system() as conn:
        await conn.execute("UPDATE triggers SET next_at = %s WHERE kind = 'cron'", [at])


def hourly(**more: JsonValue) -> JsonObject:
    return {"kind": "cron", "id": "clock", "expression": "0 * * * *", **more}


async def test_every_kind_gets_its_row(database: Database) -> None:
    before = datetime.now(UTC)
    found = await publish(
        database,
        {"kind": "event", "type": "com.example.asked", "source": "shop"},
        {"kind": "webhook", "id": "hook", "auth": "hmac"},
        hourly(),
        {"kind": "run_ended", "workflow": "wf_" + "0" * 32},
    )
    assert {key: row["kind"] for key, row in found.items()} == {
        "0": "event",
        "hook": "webhook",
        "clock": "cron",
        "3": "run_ended",
    }
    assert (found["0"]["event_type"], found["0"]["event_source"]) == ("com.example.asked", "shop")
    assert found["hook"]["config"]["auth"] == "hmac"
    assert before < found["clock"]["next_at"] <= datetime.now(UTC) + timedelta(hours=1)
    assert found["3"]["target"] is None, "there is no such workflow yet"


async def test_a_trigger_stays_itself_from_version_to_version(database: Database) -> None:
    hook: JsonObject = {"kind": "webhook", "id": "hook"}
    before = await publish(database, hook, hourly())
    due = datetime(2026, 1, 1, tzinfo=UTC)
    await set_next(database, due)
    after = await publish(database, hourly(catch_up="all"), {**hook, "auth": "basic"}, version=2)
    assert {key: row["id"] for key, row in after.items()} == {key: row["id"] for key, row in before.items()}
    assert after["clock"]["next_at"] == due, "publishing skips no time"
    assert after["clock"]["config"]["catch_up"] == "all"
    assert {row["workflow_version"] for row in after.values()} == {2}
    moving = datetime.now(UTC)
    moved = await publish(database, hourly(timezone="Asia/Kolkata"), version=3)
    assert moved["clock"]["next_at"] > moving
    assert set(moved) == {"clock"}


async def test_another_kind_under_the_same_key_is_another_trigger(database: Database) -> None:
    before = await publish(database, {"kind": "webhook", "id": "start"})
    after = await publish(database, {"kind": "event", "type": "t", "id": "start"}, version=2)
    assert before["start"]["id"] != after["start"]["id"]
    assert after["start"]["kind"] == "event"


async def test_a_pause_is_a_pause_for_triggers_and_not_for_waits(database: Database) -> None:
    wait: JsonValue = {"id": "paid", "kind": "wait_event", "type": "com.example.paid"}
    await publish(database, hourly(catch_up="none"), {"kind": "event", "type": "t"}, nodes=[wait])
    await set_next(database, datetime(2026, 1, 1, tzinfo=UTC))
    async with database.tenant(ORGANIZATION) as conn:
        await enable(conn, "wf_1", enabled=False)
    assert {row["kind"]: row["enabled"] for row in (await rows(database)).values()} == {
        "cron": False,
        "event": False,
        "wait": True,
    }
    enabling = datetime.now(UTC)
    async with database.tenant(ORGANIZATION) as conn:
        await enable(conn, "wf_1", enabled=True)
    found = await rows(database)
    assert all(row["enabled"] for row in found.values())
    assert found["clock"]["next_at"] > enabling, "what was missed in a pause is forgotten, as it says"


@pytest.mark.parametrize("policy", ["one", "all"])
async def test_a_schedule_that_catches_up_remembers_where_it_was(database: Database, policy: str) -> None:
    await publish(database, hourly(catch_up=policy))
    due = datetime(2026, 1, 1, tzinfo=UTC)
    await set_next(database, due)
    async with database.tenant(ORGANIZATION) as conn:
        await enable(conn, "wf_1", enabled=False)
        await enable(conn, "wf_1", enabled=True)
    assert (await rows(database))["clock"]["next_at"] == due


async def test_the_types_that_runs_wait_for_are_known_however_deep(database: Database) -> None:
    inner: JsonValue = {"id": "b", "kind": "wait_event", "type": "inner"}
    each: JsonValue = {"id": "l", "kind": "for_each", "items": "{{ trigger.data }}", "body": {"nodes": [inner]}}
    failing: JsonObject = {"nodes": [{"id": "f", "kind": "wait_event", "type": "failure"}]}
    found = await publish(database, nodes=[each], on_failure=failing)
    assert {row["event_type"] for row in found.values() if row["kind"] == "wait"} == {"inner", "failure"}


async def test_the_types_that_runs_of_earlier_versions_wait_for_stay_known(database: Database) -> None:
    """Though no run is there: one of version 1 may be done again."""
    waits: list[JsonValue] = [{"id": "paid", "kind": "wait_event", "type": "paid"}]
    before = await publish(database, {"kind": "event", "type": "t"}, nodes=waits)
    after = await publish(database, version=2)
    assert [row["event_type"] for row in after.values()] == ["paid"]
    again = await publish(database, nodes=waits, version=3)
    assert {row["id"] for row in again.values()} == {row["id"] for row in before.values() if row["kind"] == "wait"}
    assert [row["workflow_version"] for row in again.values()] == [3]


async def test_what_publishing_forgot_before_is_known_again_by_the_migration(database: Database) -> None:
    inner: JsonValue = {"id": "b", "kind": "wait_event", "type": "innér"}
    each: JsonValue = {"id": "l", "kind": "for_each", "items": "{{ trigger.data }}", "body": {"nodes": [inner]}}
    nodes: list[JsonValue] = [each, {"id": "paid", "kind": "wait_event", "type": "paid"}]
    before = await publish(database, nodes=nodes)
    data: JsonValue = {"id": "x", "kind": "transform", "output": {"y": {"kind": "wait_event"}}}
    async with database.system() as conn:
        definition = json.dumps({"nodes": [*nodes, data]})
        await conn.execute("UPDATE workflow_versions SET definition = %s::jsonb", [definition])
        await conn.execute("DELETE FROM triggers WHERE event_type = 'innér'")
        await conn.execute((MIGRATIONS / "0006_waits_of_every_version.sql").read_text().encode())
    after = await rows(database)
    assert len(after) == 2
    assert {key: {**row, "id": ""} for key, row in after.items()} == {
        key: {**row, "id": ""} for key, row in before.items()
    }


async def test_a_workflow_that_is_waited_for_by_its_slug_may_come_later(database: Database) -> None:
    await publish(database, {"kind": "run_ended", "workflow": "billing"})
    assert (await rows(database))["0"]["target"] is None
    await publish(database, workflow="wf_2", slug="billing")
    assert (await rows(database))["0"]["target"] == "wf_2"
    found = await publish(database, {"kind": "run_ended", "workflow": "billing"}, version=2)
    assert found["0"]["target"] == "wf_2"
