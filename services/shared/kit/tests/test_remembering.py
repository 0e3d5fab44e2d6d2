"""What is remembered of organizations: read once, read anew when it changed or its time is over, never out of date."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import pytest
from crewmesh_kit.remembering import Remembered
from crewmesh_kit.signals import Signals


class Clock:
    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


class Told:
    """Signals, as far as they are watched."""

    def __init__(self) -> None:
        self.forget: Callable[[str | None], None] = lambda _: None

    def watch(self, prefix: str, told: Callable[[str | None], None]) -> None:
        assert prefix == "things:"
        self.forget = told


class Things:
    def __init__(self, *, most: int = 10) -> None:
        self.signals, self.clock = Told(), Clock()
        self.known = Remembered[int](cast(Signals, self.signals), "things:", seconds=10, most=most, now=self.clock)
        self.reads = 0

    async def read(self) -> int:
        self.reads += 1
        return self.reads

    async def of(self, organization: str) -> int:
        return await self.known.of(organization, self.read)


async def test_it_is_read_once_until_its_time_is_over() -> None:
    things = Things()
    assert [await things.of("one"), await things.of("one"), await things.of("two")] == [1, 1, 2]
    things.clock.time += 9.9
    assert await things.of("one") == 1
    things.clock.time += 0.2
    assert await things.of("one") == 3


async def test_what_changed_is_read_anew_and_everything_when_nobody_knows_what_did() -> None:
    things = Things()
    assert [await things.of("one"), await things.of("two")] == [1, 2]
    things.signals.forget("one")
    assert [await things.of("one"), await things.of("two")] == [3, 2]
    things.signals.forget(None)
    assert [await things.of("one"), await things.of("two")] == [4, 5]


async def test_what_changed_while_it_was_read_is_not_remembered() -> None:
    things, reading, changed = Things(), asyncio.Event(), asyncio.Event()

    async def slow() -> int:
        reading.set()
        await changed.wait()
        return -1

    asked = asyncio.create_task(things.known.of("one", slow))
    await reading.wait()
    things.signals.forget("one")
    changed.set()
    assert await asked == -1
    assert await things.of("one") == 1


async def test_who_was_read_longest_ago_is_forgotten_where_there_are_too_many() -> None:
    things = Things(most=2)
    assert [await things.of(each) for each in ("one", "two", "three")] == [1, 2, 3]
    assert [await things.of(each) for each in ("three", "two", "one")] == [3, 2, 4]


async def test_only_a_connection_of_ours_tells_of_its_commit() -> None:
    with pytest.raises(TypeError, match="gave out"):
        Things().known.forget_with(cast("object", None), "one")  # pyright: ignore[reportArgumentType]  that is the test
