"""The sweeper: takes what is due, once, and never loses what Dapr did not take."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import pytest
from crewmesh_contracts.base import JsonObject
from crewmesh_kit.errors import Unavailable
from crewmesh_kit.resources import Resources
from crewmesh_kit.settings import DaprSettings, ServiceSettings
from crewmesh_kit.signals import cancelled
from crewmesh_workflow.engine.outcome import DriveInput
from crewmesh_workflow.engine.scheduling import open_driving
from crewmesh_workflow.engine.sweeper import Sweeper
from crewmesh_workflow.settings import WorkflowSettings
from grpc import RpcError

from services.workflow.tests.conftest import Bench, replica

NODE: JsonObject = {"id": "s", "kind": "knowledge.search", "knowledge_base": "kb", "query": "q"}


@asynccontextmanager
async def rings(idle: Bench, run: str, *, after: float) -> AsyncGenerator[None]:
    """What is done in the block sets the run's alarm, so many seconds ahead of then."""
    before = await now(idle)
    yield
    set_at = (await idle.row(run))["due_at"] - timedelta(seconds=after)
    assert before <= set_at <= await now(idle)


async def now(idle: Bench) -> datetime:
    """By the clock of the database."""
    (row,) = await idle.database.statement("SELECT clock_timestamp() AS now")
    return row["now"]


async def begin(idle: Bench, count: int) -> list[str]:
    workflow = await idle.save([NODE])
    return [await idle.start(workflow, event_id=f"e{number}") for number in range(count)]


async def test_two_sweepers_share_what_is_due(url: str, idle: Bench) -> None:
    runs = await begin(idle, 60)
    async with replica(url, slots=0) as other:
        counts = await asyncio.gather(idle.parts.sweeper.sweep(), other.parts.sweeper.sweep())
        counts += await asyncio.gather(idle.parts.sweeper.sweep(), other.parts.sweeper.sweep())
        taken = [drive.run for drive in [*idle.scheduled, *other.scheduled]]
    assert sorted(taken) == sorted(runs)
    assert sum(counts) == 60
    assert await idle.parts.sweeper.sweep() == 0


async def test_a_leased_run_is_left_alone(idle: Bench) -> None:
    (run,) = await begin(idle, 1)
    assert await idle.parts.journal.acquire(DriveInput(run=run, driver=1, epoch=1)) is not None
    assert await idle.parts.sweeper.sweep() == 0


async def test_connections_that_died_while_idle_keep_no_run_waiting(idle: Bench) -> None:
    (run,) = await begin(idle, 1)

    async def lose_the_others() -> None:
        await idle.database.statement("SELECT")
        async with idle.database.system() as conn:
            await conn.execute(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()"
            )

    await lose_the_others()
    assert await idle.parts.journal.acquire(DriveInput(run=run, driver=1, epoch=1)) is not None
    await lose_the_others()
    assert await idle.parts.journal.arrived(run) == {}


async def test_a_lost_driver_gets_a_successor(idle: Bench) -> None:
    (run,) = await begin(idle, 1)
    for alarm in (30, 60, 120, 120):
        await idle.make_due(run)
        async with rings(idle, run, after=alarm):
            await idle.parts.sweeper.sweep()
    assert [drive.driver for drive in idle.scheduled] == [1, 2, 3, 4]


@pytest.mark.parametrize("error", [Unavailable("no scheduler"), ValueError("a bug in the SDK")])
async def test_what_dapr_did_not_take_is_tried_sooner(idle: Bench, error: Exception) -> None:
    async def refuse(drive: DriveInput) -> None:
        raise error

    (run,) = await begin(idle, 1)
    sweeper = Sweeper(
        idle.database, refuse, idle.raised_one, idle.parts.admission, poll_seconds=1, alarm_seconds=30, retry_seconds=2
    )
    async with rings(idle, run, after=2):
        assert await sweeper.sweep() == 1
    assert (await idle.row(run))["scheduled"] == 1


async def test_a_driver_from_which_a_sleeping_run_is_taken_is_woken_to_leave(bench: Bench) -> None:
    delay: JsonObject = {"id": "d", "kind": "delay", "seconds": 3_600}
    run = await bench.start(await bench.save([delay]))
    await bench.settle()
    row = await bench.row(run)
    assert (row["status"], row["driver"]) == ("waiting", 1)
    assert 3_000 < row["due_in"] <= 3_600, "so long a wait has no timer in Dapr: the row wakes the run itself"
    assert bench.scheduled[0].sleep is not None
    assert bench.scheduled[0].sleep.seconds is None
    await bench.make_due(run)
    await bench.parts.sweeper.sweep()
    await bench.settle()
    assert bench.raised == [(f"{run}-1", "wake-1", True)]
    assert (await bench.row(run))["driver"] == 4, "it was driven here, found that it has to wait on, and rests again"


async def test_a_nudge_is_heard_at_once(idle: Bench) -> None:
    looked, taken = asyncio.Event(), asyncio.Event()

    async def take(drive: DriveInput) -> None:
        taken.set()

    async def look() -> None:
        looked.set()

    sweeper = Sweeper(
        idle.database, take, idle.raised_one, idle.parts.admission, poll_seconds=900, alarm_seconds=30, retry_seconds=2
    )
    sweeper.also(look)
    task = asyncio.create_task(sweeper.run())
    try:
        async with asyncio.timeout(60):
            await looked.wait()
            await begin(idle, 1)
            sweeper.nudge()
            await taken.wait()
    finally:
        await cancelled([task])


async def test_dapr_out_of_reach_is_an_error_and_not_a_silence() -> None:
    resources = Resources()
    resources.add(WorkflowSettings(dapr=DaprSettings(grpc_port=1)), as_=ServiceSettings)
    async with open_driving(resources) as driving:
        with pytest.raises(RpcError):
            await driving.schedule(DriveInput(run="run_1", driver=1, epoch=1))
