"""The chain: lines are added once and in order, never changed, and whoever tampers is named."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest
from crewmesh_gateway.audit import repository
from crewmesh_gateway.audit.chain import GENESIS, seal
from crewmesh_gateway.audit.models import Filters
from crewmesh_gateway.audit.retention import remove_old_lines
from crewmesh_gateway.audit.service import AuditLog
from crewmesh_kit.db.database import Database
from crewmesh_kit.http.pagination import PageRequest
from crewmesh_testkit import ORGANIZATION, OTHER_ORGANIZATION, PostgresServer

from .audit_log import HAPPENED, Kept, event, kept_log

SCHEMA = "gateway"
EVERYTHING = PageRequest(limit=200, cursor=None)


@pytest.fixture
async def kept(database_url: Callable[[str], str], postgres: PostgresServer) -> AsyncGenerator[Kept]:
    async with kept_log(database_url, postgres) as kept:
        yield kept


async def test_lines_follow_each_other_and_are_checked(kept: Kept) -> None:
    await kept.fill(3)
    await kept.fill(2)
    verified = await kept.log.verify(ORGANIZATION)
    assert (verified.ok, verified.checked, verified.seq, verified.begins_after) == (True, 5, 5, 0)
    rows = await kept.rows(f"SELECT seq, previous, hash FROM {SCHEMA}.audit_events ORDER BY seq")
    assert [row[0] for row in rows] == [1, 2, 3, 4, 5]
    assert [bytes(row[1]) for row in rows] == [GENESIS, *(bytes(row[2]) for row in rows[:-1])]


async def test_a_log_without_lines_is_in_order(kept: Kept) -> None:
    assert (await kept.log.verify(ORGANIZATION)).ok


async def test_an_event_that_comes_twice_is_one_line(kept: Kept) -> None:
    first, second = event(), event()
    assert await kept.log.append(ORGANIZATION, [first, first, second]) == 2
    assert await kept.log.append(ORGANIZATION, [second, first]) == 0
    assert (await kept.log.verify(ORGANIZATION)).checked == 2


async def test_many_writers_at_once_make_one_chain_with_every_line_once(kept: Kept) -> None:
    events = [event(resource=f"wf_{number}") for number in range(120)]
    shuffled = [*events, *events]
    random.Random(7).shuffle(shuffled)
    async with Database.open(kept.url, app_id="gateway", pool_max=6) as another_replica:
        logs = [kept.log, AuditLog(another_replica)]
        batches = [shuffled[at : at + 10] for at in range(0, len(shuffled), 10)]
        await asyncio.gather(*(logs[number % 2].append(ORGANIZATION, batch) for number, batch in enumerate(batches)))
    verified = await kept.log.verify(ORGANIZATION)
    assert (verified.ok, verified.checked) == (True, 120)


async def test_each_organization_has_a_chain_of_its_own(kept: Kept) -> None:
    await kept.fill(2)
    await kept.fill(3, OTHER_ORGANIZATION)
    assert (await kept.log.verify(ORGANIZATION)).seq == 2
    assert (await kept.log.verify(OTHER_ORGANIZATION)).seq == 3
    page = await kept.log.page(ORGANIZATION, EVERYTHING, Filters())
    assert len(page.items) == 2


async def test_lines_of_an_organization_that_is_gone_are_dropped(kept: Kept) -> None:
    unknown = "org_" + "f" * 32
    assert await kept.log.append(unknown, [event(organization=unknown)]) == 0


async def test_with_the_organization_its_log_goes(kept: Kept) -> None:
    await kept.fill(3)
    async with kept.database.system() as conn:
        await conn.execute("DELETE FROM organizations WHERE id = %s", [ORGANIZATION])
    assert await kept.rows(f"SELECT count(*) FROM {SCHEMA}.audit_events") == [(0,)]


async def test_whoever_has_the_file_can_check_it_alone(kept: Kept) -> None:
    """The seal as docs/guides/audit.md tells it, computed from what is shown."""
    await kept.log.append(
        ORGANIZATION, [event(after={"ü": [1, 2.5, None], "a": 'q"\\\n\0'}), event(before={"z": 1, "y": True})]
    )
    previous = "00" * 32
    async for page in kept.log.exported(ORGANIZATION, Filters()):
        for shown in page:
            line = shown.model_dump(mode="python")
            assert line["previous"] == previous
            sealed = {name: value for name, value in line.items() if name != "hash"} | {"organization": ORGANIZATION}
            sealed["at"] = shown.at.isoformat(timespec="microseconds")
            sealed["received_at"] = shown.received_at.isoformat(timespec="microseconds")
            text = json.dumps(sealed, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
            previous = hashlib.sha256(text.encode()).hexdigest()
            assert line["hash"] == previous
    assert previous == (await kept.log.verify(ORGANIZATION)).hash


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_events SET actor = 'nobody' WHERE seq = 2",
        "DELETE FROM audit_events WHERE seq = 2",
        "TRUNCATE audit_events",
        "DELETE FROM audit_heads",
        "UPDATE audit_heads SET seq = 1",
    ],
)
async def test_the_service_itself_cannot_take_a_line_back(kept: Kept, statement: str) -> None:
    await kept.fill(3)

    async def tamper() -> None:
        async with kept.database.system() as conn:
            await conn.execute(statement.encode())

    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await tamper()
    assert (await kept.log.verify(ORGANIZATION)).checked == 3


@pytest.mark.parametrize(
    ("statement", "seq", "what"),
    [
        ("UPDATE {events} SET actor = 'usr_x' WHERE seq = 3", 3, "changed"),
        ("UPDATE {events} SET outcome = 'denied' WHERE seq = 1", 1, "changed"),
        ("UPDATE {events} SET at = at + interval '1 microsecond' WHERE seq = 5", 5, "changed"),
        ("UPDATE {events} SET after = '{{\"a\":2}}' WHERE seq = 2", 2, "changed"),
        ("UPDATE {events} SET after = 'no JSON' WHERE seq = 2", 2, "changed"),
        ("UPDATE {events} SET acting_for = 'usr_y' WHERE seq = 4", 4, "changed"),
        ("UPDATE {events} SET hash = decode(repeat('ab', 32), 'hex') WHERE seq = 4", 4, "changed"),
        ("DELETE FROM {events} WHERE seq = 3", 3, "removed"),
        ("DELETE FROM {events} WHERE seq = 1", 1, "removed"),
        ("DELETE FROM {events} WHERE seq IN (2, 3)", 2, "removed"),
        ("DELETE FROM {events} WHERE seq = 5", 5, "cut_off"),
        ("DELETE FROM {events} WHERE seq > 2", 3, "cut_off"),
        ("DELETE FROM {events}", 1, "cut_off"),
        ("DELETE FROM {heads}", 1, "added"),
        ("UPDATE {heads} SET seq = 4", 5, "added"),
        ("UPDATE {heads} SET hash = decode(repeat('ab', 32), 'hex')", 5, "replaced"),
        ("UPDATE {events} SET seq = 9 WHERE seq = 5", 5, "removed"),
        ("UPDATE {events} SET seq = -1 WHERE seq = 1", -1, "added"),
    ],
)
async def test_whatever_somebody_with_every_right_does_is_named(
    kept: Kept, statement: str, seq: int, what: str
) -> None:
    await kept.log.append(ORGANIZATION, [event(resource=f"wf_{n}", after={"a": 1}) for n in range(5)])
    met = await kept.as_superuser(statement.format(events=f"{SCHEMA}.audit_events", heads=f"{SCHEMA}.audit_heads"))
    assert met > 0
    verified = await kept.log.verify(ORGANIZATION)
    assert verified.first_broken is not None
    assert (verified.ok, verified.first_broken.seq, verified.first_broken.what) == (False, seq, what)


async def test_a_line_that_is_written_and_sealed_anew_is_not_the_one_that_the_next_follows(kept: Kept) -> None:
    await kept.fill(5)
    await kept.fill(5, OTHER_ORGANIZATION)
    # The cleverest change there is without redoing the whole chain: seal of its own, place in the middle.
    async with kept.database.tenant(ORGANIZATION) as conn:
        (line,) = await repository.after(conn, ORGANIZATION, 2, 1)
    forged = seal(ORGANIZATION, replace(line, actor="usr_x"))
    await kept.as_superuser(
        f"UPDATE {SCHEMA}.audit_events SET actor = 'usr_x', hash = '\\x{forged.hex()}'"
        f" WHERE seq = 3 AND org_id = '{ORGANIZATION}'"
    )
    verified = await kept.log.verify(ORGANIZATION)
    assert verified.first_broken is not None
    assert (verified.first_broken.seq, verified.first_broken.what) == (3, "replaced")
    assert (await kept.log.verify(OTHER_ORGANIZATION)).ok


async def test_what_is_older_than_it_is_kept_leaves_and_the_rest_stays_verifiable(kept: Kept) -> None:
    await kept.fill(6)
    old = f"UPDATE {SCHEMA}.audit_events SET received_at = received_at - interval '100 days' WHERE seq <= 4"
    # What is done here behind the log's back breaks the seals of lines that are about to leave; the rest is untouched.
    assert await kept.as_superuser(old) == 4
    assert await remove_old_lines(kept.log, days=90) == 4
    verified = await kept.log.verify(ORGANIZATION)
    assert (verified.ok, verified.checked, verified.begins_after, verified.seq) == (True, 2, 4, 6)
    assert await remove_old_lines(kept.log, days=90) == 0
    await kept.fill(1)
    assert (await kept.log.verify(ORGANIZATION)).checked == 3


async def test_a_line_that_retention_should_have_taken_and_a_moved_anchor_are_found(kept: Kept) -> None:
    await kept.fill(6)
    await kept.as_superuser(f"UPDATE {SCHEMA}.audit_events SET received_at = now() - interval '9 days' WHERE seq < 4")
    await kept.log.remove_older(ORGANIZATION, days=1)
    await kept.as_superuser(f"DELETE FROM {SCHEMA}.audit_events WHERE seq = 4")
    verified = await kept.log.verify(ORGANIZATION)
    assert verified.first_broken is not None
    assert (verified.first_broken.seq, verified.first_broken.what) == (4, "removed")
    await kept.as_superuser(f"UPDATE {SCHEMA}.audit_heads SET anchor_seq = 4")
    verified = await kept.log.verify(ORGANIZATION)
    assert verified.first_broken is not None
    assert (verified.first_broken.seq, verified.first_broken.what) == (5, "replaced")


async def test_a_long_time_ago_is_no_reason_to_leave_when_the_log_heard_of_it_today(kept: Kept) -> None:
    await kept.log.append(ORGANIZATION, [event(at=HAPPENED - timedelta(days=4000))])
    assert await kept.log.remove_older(ORGANIZATION, days=1) == 0
