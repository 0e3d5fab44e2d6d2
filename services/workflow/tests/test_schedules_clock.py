"""The loop of schedules: one run an instant, whatever the clock, the replicas and the pauses do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta

import pytest
from crewmesh_contracts.base import JsonValue
from crewmesh_contracts.workflow.triggers.cron import CronTrigger
from crewmesh_testkit.identities import ORGANIZATION
from crewmesh_workflow.schedules.clock import MOST_CAUGHT_UP, Clock, due_times
from crewmesh_workflow.settings import EngineSettings
from crewmesh_workflow.triggers.registration import enable
from psycopg.rows import DictRow

from services.workflow.tests.conftest import Bench, empty, replica
from services.workflow.tests.test_control import Held, search

NODES: list[JsonValue] = [{"id": "n", "kind": "transform", "output": {"at": "{{ trigger.data.scheduled_at }}"}}]


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def trigger(expression: str = "*/10 * * * *", **more: JsonValue) -> CronTrigger:
    return CronTrigger.model_validate({"kind": "cron", "expression": expression, **more})


class TestWhatIsDue:
    NEXT, NOW = utc("2026-06-01T08:00"), utc("2026-06-01T09:05")

    @pytest.mark.parametrize(
        ("policy", "expected"),
        [("none", []), ("one", ["09:00"]), ("all", ["08:00", "08:10", "08:20", "08:30", "08:40", "08:50", "09:00"])],
    )
    def test_after_an_hour_without_anybody(self, policy: str, expected: list[str]) -> None:
        times, following = due_times(trigger(catch_up=policy), self.NEXT, self.NOW)
        assert [f"{time:%H:%M}" for time in times] == expected
        assert following == utc("2026-06-01T09:10")

    @pytest.mark.parametrize("policy", ["none", "one", "all"])
    def test_in_time(self, policy: str) -> None:
        times, following = due_times(trigger(catch_up=policy), self.NEXT, self.NEXT + timedelta(seconds=2))
        assert (times, following) == ([self.NEXT], utc("2026-06-01T08:10"))

    def test_none_runs_the_one_that_is_due_and_not_those_before(self) -> None:
        times, _ = due_times(trigger(catch_up="none"), self.NEXT, utc("2026-06-01T09:00:30"))
        assert times == [utc("2026-06-01T09:00")]

    def test_all_has_a_most_and_keeps_the_last(self) -> None:
        times, following = due_times(trigger("* * * * *", catch_up="all"), utc("2025-06-01T08:00"), self.NOW)
        assert (len(times), times[-1]) == (MOST_CAUGHT_UP, self.NOW)
        assert times[0] == self.NOW - timedelta(minutes=MOST_CAUGHT_UP - 1)
        assert following == self.NOW + timedelta(minutes=1)

    def test_years_without_anybody_cost_little(self) -> None:
        times, _ = due_times(trigger("30 2 * * *", timezone="Europe/Berlin"), utc("1996-06-01T08:00"), self.NOW)
        assert times == [utc("2026-06-01T00:30")]

    def test_over_the_change_of_the_clock_in_spring_and_autumn(self) -> None:
        nightly = trigger("30 2 * * *", timezone="Europe/Berlin", catch_up="all")
        spring, _ = due_times(nightly, utc("2026-03-28T01:30"), utc("2026-03-30T12:00"))
        assert [f"{time:%d %H:%M}" for time in spring] == ["28 01:30", "29 01:00", "30 00:30"]
        autumn, following = due_times(nightly, utc("2026-10-24T00:30"), utc("2026-10-25T01:45"))
        assert [f"{time:%d %H:%M}" for time in autumn] == ["24 00:30", "25 00:30"]
        assert following == utc("2026-10-26T01:30"), "the second 02:30 of the night is not another one"


@pytest.fixture
async def other(url: str, bench: Bench) -> AsyncGenerator[Bench]:
    """A second replica on the same tables."""
    del bench
    async with replica(url) as made:
        yield made


async def save(bench: Bench, *, due: str, **more: JsonValue) -> str:
    """A workflow every ten minutes whose next time is so long ago, on the boundary before.

    Its boundaries are five minutes away from now, so that none passes while the test is at work.
    """
    (row,) = await bench.database.statement("SELECT extract(minute FROM now() + interval '5 minutes')::int AS minute")
    first = row["minute"] % 10
    workflow = await bench.save(NODES, triggers=[{"kind": "cron", "expression": f"{first}-59/10 * * * *", **more}])
    async with bench.database.system() as conn:
        await conn.execute(
            "UPDATE triggers SET next_at = date_bin('10 minutes', now() - %s::interval,"
            " 'epoch'::timestamptz + make_interval(mins => %s))",
            [due, first],
        )
    return workflow


def clock(bench: Bench) -> Clock:
    return Clock(bench.database, bench.parts.starter)


async def runs(bench: Bench) -> list[DictRow]:
    await bench.settle()
    async with bench.database.system() as conn:
        return await (await conn.execute("SELECT * FROM runs ORDER BY id")).fetchall()


async def next_at(bench: Bench) -> datetime:
    async with bench.database.system() as conn:
        row = await (await conn.execute("SELECT next_at FROM triggers")).fetchone()
    assert row is not None
    return row["next_at"]


async def test_a_run_knows_its_instant_and_its_input(bench: Bench) -> None:
    await save(bench, due="0 seconds", input={"region": "north"})
    before = await next_at(bench)
    await clock(bench).tick()
    (run,) = await runs(bench)
    assert (run["origin"], run["status"]) == ("cron", "completed")
    assert run["trigger"]["data"] == {"scheduled_at": before.astimezone(UTC).isoformat(), "input": {"region": "north"}}
    assert await next_at(bench) == before + timedelta(minutes=10)


async def test_two_replicas_start_every_instant_once(bench: Bench, other: Bench) -> None:
    await save(bench, due="3 hours", catch_up="all")
    await asyncio.gather(*(clock(one).tick() for one in (bench, other) for _ in range(4)))
    await other.settle()
    instants = [run["trigger"]["data"]["scheduled_at"] for run in await runs(bench)]
    assert len(instants) == len(set(instants)) == 19


async def test_missed_times_by_the_hundreds_are_started_in_portions(bench: Bench) -> None:
    await save(bench, due="2 days", catch_up="all")
    await clock(bench).tick()
    assert len(await runs(bench)) == 289
    assert await next_at(bench) > datetime.now(UTC)


async def test_of_missed_times_as_many_are_started_as_there_is_room_for(url: str) -> None:
    settings = EngineSettings(inline_slots=8, organization_runs=1, organization_queue=3)
    async with replica(url, settings=settings) as bench:
        await empty(bench.database)
        Held(bench)
        await bench.start(await bench.save([search()]))
        await bench.parts.admission.let_in()  # it finds the organization crowded
        await save(bench, due="1 hour", catch_up="all")
        first = await next_at(bench)
        for started in (3, 6, 7):
            await clock(bench).tick()
            queued = await bench.database.statement("SELECT trigger FROM runs WHERE origin = 'cron' ORDER BY id")
            instants = [first + timedelta(minutes=10 * number) for number in range(started)]
            told = [instant.astimezone(UTC).isoformat() for instant in instants]
            assert [row["trigger"]["data"]["scheduled_at"] for row in queued] == told
            await bench.database.statement(
                "UPDATE runs SET status = 'completed', finished_at = now() WHERE status = 'queued'"
            )
        assert await next_at(bench) > datetime.now(UTC)


@pytest.mark.parametrize(("policy", "expected"), [("none", 0), ("one", 1), ("all", 7)])
async def test_a_pause_is_made_up_for_as_the_policy_says(bench: Bench, policy: str, expected: int) -> None:
    workflow = await save(bench, due="1 hour", catch_up=policy)
    async with bench.database.tenant(ORGANIZATION) as conn:
        await enable(conn, workflow, enabled=False)
    await clock(bench).tick()
    assert await runs(bench) == []
    async with bench.database.tenant(ORGANIZATION) as conn:
        await enable(conn, workflow, enabled=True)
    await clock(bench).tick()
    assert len(await runs(bench)) == expected


async def test_a_clock_that_was_set_back_repeats_nothing(bench: Bench) -> None:
    """What a wrong clock has run stays run; what it has skipped ahead of is brought back."""
    await save(bench, due="0 seconds")
    instant = await next_at(bench)
    await clock(bench).tick()
    async with bench.database.system() as conn:
        await conn.execute("UPDATE triggers SET next_at = %s", [instant])
    await clock(bench).tick()
    assert len(await runs(bench)) == 1, "it has run"
    async with bench.database.system() as conn:
        await conn.execute("UPDATE triggers SET next_at = next_at + interval '1 year'")
    await clock(bench).look_ahead()
    assert await next_at(bench) == instant + timedelta(minutes=10)


async def test_one_that_cannot_be_started_does_not_hold_up_the_others(bench: Bench) -> None:
    await save(bench, due="10 minutes")
    async with bench.database.system() as conn:
        await conn.execute('UPDATE triggers SET config = config || \'{"expression": "at no time ever"}\'')
    await bench.save(NODES, triggers=[{"kind": "cron", "id": "good", "expression": "*/10 * * * *"}])
    async with bench.database.system() as conn:
        await conn.execute("UPDATE triggers SET next_at = now() - interval '1 second' WHERE key = 'good'")
    before = datetime.now(UTC)
    await clock(bench).tick()
    assert len(await runs(bench)) <= 1
    async with bench.database.system() as conn:
        rows = await (await conn.execute("SELECT key, next_at FROM triggers ORDER BY key")).fetchall()
    assert rows[0]["next_at"] is None, "it will never be due"
    assert rows[1]["next_at"] > before
