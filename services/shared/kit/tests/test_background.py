import asyncio
from collections.abc import AsyncGenerator

import pytest
from crewmesh_kit.background import Background


@pytest.fixture
async def background() -> AsyncGenerator[Background]:
    background = Background(first_pause_seconds=0.001)
    yield background
    await background.close()


async def test_a_loop_that_raises_is_started_again(background: Background) -> None:
    runs = 0
    recovered = asyncio.Event()

    async def fragile() -> None:
        nonlocal runs
        runs += 1
        if runs < 3:
            raise RuntimeError("broken")
        recovered.set()
        await asyncio.Event().wait()

    background.supervise("fragile", fragile)
    await asyncio.wait_for(recovered.wait(), 60)
    assert runs == 3


async def test_a_loop_that_returns_is_done(background: Background) -> None:
    runs = 0
    ended = asyncio.Event()

    async def once() -> None:
        nonlocal runs
        runs += 1
        ended.set()

    background.supervise("once", once)
    await asyncio.wait_for(ended.wait(), 60)
    await background.close()
    assert runs == 1


async def test_loops_are_cancelled_at_the_end(background: Background) -> None:
    running, cancelled = asyncio.Event(), asyncio.Event()

    async def forever() -> None:
        running.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    background.supervise("forever", forever)
    await asyncio.wait_for(running.wait(), 60)
    await background.close()
    assert cancelled.is_set()


async def test_work_in_hand_is_waited_for(background: Background) -> None:
    release = asyncio.Event()
    task = background.start("piece", release.wait())
    assert not await background.drain(0.01)
    release.set()
    assert await background.drain(60)
    assert await task


async def test_what_is_held_is_waited_for(background: Background) -> None:
    with background.hold():
        assert not await background.drain(0.01)
    assert await background.drain(0)


async def test_work_that_fails_holds_nothing_up(background: Background) -> None:
    async def failing() -> None:
        raise RuntimeError("broken")

    background.start("failing", failing())
    assert await background.drain(60)


async def test_a_loop_whose_cancellation_was_swallowed_still_ends() -> None:
    background, swallowed = Background(), 0

    async def stubborn() -> None:
        nonlocal swallowed
        while swallowed < 2:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:  # as asyncio.wait_for of Python 3.11 does in a race
                swallowed += 1
        await asyncio.Event().wait()

    background.supervise("stubborn", stubborn)
    await asyncio.sleep(0)
    await asyncio.wait_for(background.close(), 60)
    assert swallowed == 2
