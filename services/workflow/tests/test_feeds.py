"""What happens in a run is read once for all who follow it, and nobody misses anything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest
from crewmesh_kit.errors import Unavailable
from crewmesh_kit.signals import Signals
from crewmesh_testkit.polling import until
from crewmesh_workflow.runs.feeds import Feeds
from crewmesh_workflow.runs.lines import Line

BATCH = 10


class World:
    """The journal of one run."""

    def __init__(self, signals: Signals, *, poll_seconds: float = 0.05) -> None:
        self.signals = signals
        self.written = 0
        self.reads = 0
        self.away = False
        self.feeds = Feeds(self.read, signals, batch=BATCH, poll_seconds=poll_seconds)

    async def read(self, organization: str, run: str, after: int, limit: int) -> list[Line]:
        self.reads += 1
        if self.away:
            raise Unavailable("The database is away.")
        upto = min(self.written, after + limit)
        return [Line(n, b"", ends=False) for n in range(after + 1, upto + 1)]

    def write(self, count: int, *, tell: bool = True) -> None:
        self.written += count
        if tell:
            self.signals.tell("run_1")

    async def is_read_again(self) -> None:
        """From now on: the first read may have begun before."""
        reads = self.reads
        await until(lambda: self.reads >= reads + 2, seconds=60, what="the journal to be read", every=0.01)

    async def follow(self, after: int, last: int) -> list[int]:
        seen: list[int] = []
        async with self.feeds.joined("org_1", "run_1", after=after) as feed:
            while not seen or seen[-1] < last:
                events = await feed.after(seen[-1] if seen else after, timeout=60)
                if events is None:  # as who follows does: reads for itself
                    events = await self.read("org_1", "run_1", seen[-1] if seen else after, BATCH)
                seen += [event.seq for event in events]
        return seen


@pytest.fixture
async def world(valkey: str) -> AsyncGenerator[World]:
    async with Signals.open(valkey, app_id="feeds") as signals:
        yield World(signals)


@pytest.fixture
async def told(valkey: str) -> AsyncGenerator[World]:
    """A world that is read when there is a signal, and not otherwise."""
    async with Signals.open(valkey, app_id="feeds") as signals:
        yield World(signals, poll_seconds=900)


async def test_a_hundred_followers_cost_one_reader(told: World) -> None:
    async with asyncio.timeout(60):
        followers = [asyncio.create_task(told.follow(0, 30)) for _ in range(100)]
        for _ in range(30):
            told.write(1)
            await asyncio.sleep(0.01)
        seen = await asyncio.gather(*followers)
    assert seen == [list(range(1, 31))] * 100
    assert told.reads < 80, "about two for each event, and not two hundred"


@pytest.mark.parametrize("late", [0, 5, 1_500])
async def test_who_comes_late_or_from_far_back_misses_nothing(world: World, late: int) -> None:
    world.write(late)
    async with asyncio.timeout(60):
        first = asyncio.create_task(world.follow(late, late + 20))
        world.write(10)
        await asyncio.sleep(0.05)
        second = asyncio.create_task(world.follow(0, late + 20))
        third = asyncio.create_task(world.follow(late + 3, late + 20))
        world.write(10)
        assert await first == list(range(late + 1, late + 21))
        assert await second == list(range(1, late + 21))
        assert await third == list(range(late + 4, late + 21))


async def test_who_is_ahead_of_the_feed_waits_and_does_not_spin(told: World) -> None:
    told.write(100)
    async with asyncio.timeout(60):
        behind = asyncio.create_task(told.follow(0, 101))
        ahead = asyncio.create_task(told.follow(100, 101))
        await asyncio.sleep(0.3)
        told.write(1)
        assert await ahead == [101]
        assert await behind == list(range(1, 102))
    assert told.reads < 60


async def test_lost_signals_and_a_lost_database_only_delay(world: World) -> None:
    async with asyncio.timeout(60):
        follower = asyncio.create_task(world.follow(0, 3))
        await world.is_read_again()
        world.write(1, tell=False)
        await world.is_read_again()
        world.away = True
        world.write(2)
        await world.is_read_again()
        world.away = False
        assert await follower == [1, 2, 3]


async def test_nobody_reads_for_nobody(world: World) -> None:
    async with world.feeds.joined("org_1", "run_1", after=0):
        await world.is_read_again()
    await asyncio.sleep(0)
    reads = world.reads
    world.write(1)
    await asyncio.sleep(0.15)
    assert world.reads == reads


async def test_nobody_reads_for_nobody_when_the_cancellation_is_swallowed(world: World) -> None:
    """As the pool may do, with a connection that it hands out in the same moment."""
    reading, swallowed = asyncio.Event(), asyncio.Event()

    async def read(organization: str, run: str, after: int, limit: int) -> list[Line]:
        if not reading.is_set():
            reading.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed.set()
        return []

    feeds = Feeds(read, world.signals, batch=BATCH, poll_seconds=0.01)
    async with asyncio.timeout(60):
        async with feeds.joined("org_1", "run_1", after=0):
            await reading.wait()
        await swallowed.wait()
        await until(
            lambda: not any(task.get_name() == "feed of run_1" for task in asyncio.all_tasks()),
            seconds=30,
            what="the reader to end",
            every=0.01,
        )
