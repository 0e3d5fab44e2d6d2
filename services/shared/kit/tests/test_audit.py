"""A line of the audit log: what it tells, what it must never tell, and that it stands and falls with the change."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, Callable

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.events import AuditRecorded, CloudEvent
from crewmesh_kit import audit
from crewmesh_kit.db.database import Database
from crewmesh_kit.db.migrations import migrate
from crewmesh_kit.identity import Identity
from crewmesh_kit.origin import ADDRESS_HEADER, Origin, note_origin
from crewmesh_kit.speakable import MASK
from crewmesh_testkit import ORGANIZATION, identity
from hypothesis import given
from hypothesis import strategies as st

CANARY = "canary-5d1f0c7e"
KEY = Identity(ORGANIZATION, "key_1", frozenset(), acting_for="usr_1")
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@pytest.fixture
async def database(database_url: Callable[[str], str]) -> AsyncGenerator[Database]:
    url = database_url("gateway")
    await migrate(url, app_id="gateway", migrations=None)
    async with Database.open(url, app_id="gateway", pool_max=2) as opened:
        yield opened


async def lines(database: Database) -> list[AuditRecorded]:
    async with database.system() as conn:
        rows = await (await conn.execute("SELECT topic, event FROM outbox ORDER BY position")).fetchall()
    assert {row["topic"] for row in rows} <= {"audit"}
    return [AuditRecorded.model_validate(CloudEvent.model_validate_json(row["event"]).data) for row in rows]


async def test_a_line_tells_who_for_whom_what_and_from_where(database: Database) -> None:
    note_origin({"user-agent": "curl/8", ADDRESS_HEADER: "203.0.113.7"})
    async with database.tenant(ORGANIZATION) as conn:
        await audit.record(conn, KEY, "workflow.paused", "wf_1", before={"status": "active"}, after={"status": "on"})
    (line,) = await lines(database)
    assert (line.organization, line.actor, line.acting_for) == (ORGANIZATION, "key_1", "usr_1")
    assert (line.action, line.resource, line.outcome) == ("workflow.paused", "wf_1", "done")
    assert (line.before, line.after) == ({"status": "active"}, {"status": "on"})
    assert (line.address, line.agent) == ("203.0.113.7", "curl/8")
    assert line.id.startswith("aud_")


async def test_what_is_written_later_tells_where_it_came_from_then(database: Database) -> None:
    async with database.tenant(ORGANIZATION) as conn:
        origin = Origin("198.51.100.9", "later/1")
        await audit.record(conn, KEY, "request.denied", "/v1/x", outcome="denied", origin=origin, trace="ab" * 16)
    (line,) = await lines(database)
    assert (line.outcome, line.address, line.agent, line.trace) == ("denied", "198.51.100.9", "later/1", "ab" * 16)


async def test_a_change_that_is_rolled_back_leaves_no_line(database: Database) -> None:
    async def fails() -> None:
        async with database.tenant(ORGANIZATION) as conn:
            await audit.record(conn, identity(), "workflow.archived", "wf_1")
            raise RuntimeError("before the commit")

    with pytest.raises(RuntimeError):
        await fails()
    assert await lines(database) == []


@pytest.mark.parametrize(
    "value",
    [
        {"password": CANARY},
        {"newPassword": CANARY, "deep": [{"api_key": CANARY}, {"apiKey": CANARY}, {"x-api-key": CANARY}]},
        {"webhook": {"auth": {"secret": CANARY, "tokens": [CANARY], "signature": {"v1": CANARY}}}},
        {"headers": [{"name": "Authorization", "value": f"Token {CANARY}"}]},
        {"headers": [{"key": "X-Api-Key", "value": [CANARY]}]},
        {"note": f"use cm_live_abc123_{CANARY}{CANARY}"},
        {"note": f"use cm_abcdef_{CANARY}-{CANARY}-{CANARY}"},
        [f"Authorization: Bearer {CANARY}"],
        f"https://robot:{CANARY}@example.com/x",
        {"jwt": f"eyJhbGciOiJFUzI1NiJ9.{CANARY}.{CANARY}"},
        {"pem": f"-----BEGIN PRIVATE KEY-----\n{CANARY.replace('-', '')}\n-----END PRIVATE KEY-----"},
        {"cookie": f"a={CANARY}", "privateKey": {"d": CANARY}, "credentials": [CANARY]},
    ],
)
def test_secrets_do_not_travel(value: JsonValue) -> None:
    text = json.dumps(audit.told(value), ensure_ascii=False)
    assert CANARY not in text
    assert CANARY.replace("-", "") not in text
    assert MASK in text


def test_what_is_no_secret_is_told() -> None:
    value: JsonObject = {
        "name": "Ops",
        "permissions": ["runs:read"],
        "url": "https://example.com/a:b@c",
        "password": "",
    }
    assert audit.told(value) == value


def test_long_wide_and_deep_values_are_told_by_their_beginning() -> None:
    deep: JsonValue = "end"
    for _ in range(50):
        deep = [deep]
    assert "end" not in json.dumps(audit.told(deep))
    assert len(str(audit.told("x" * 10_000))) == 2001
    many: JsonValue = ["y" * 1900 for _ in range(150)]
    assert len(json.dumps(audit.told(many))) < 1000


@pytest.mark.parametrize(
    "piece",
    ["-eyJ", "eyJaaaaaaaa.", "bearer ", "basic\t", "-----BEGIN ", "PRIVATE KEY-----", "://", "://a:", ":a", "-cm_"],
)
def test_no_text_makes_looking_for_secrets_slow(piece: str) -> None:
    """A hundred times the text takes a hundred times as long; were it quadratic, it would be ten thousand times."""

    def takes(characters: int) -> float:
        begun = time.thread_time()
        audit.told(f"https://-----BEGIN {piece * (characters // len(piece))}")
        return time.thread_time() - begun

    short = max(min(takes(10_000) for _ in range(3)), 0.001)
    assert takes(1_000_000) < 20 * 100 * short


@given(ANYTHING)
def test_whatever_is_told_is_small_and_stays_the_same_when_told_again(value: JsonValue) -> None:
    once = audit.told(value)
    assert len(json.dumps(once)) <= 33_000
    assert audit.told(once) == once
