"""Signals between replicas over a real Valkey: quick when it is there, harmless when it is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import redis.asyncio as redis
from crewmesh_kit.signals import Listener, Signals
from crewmesh_testkit.polling import until
from crewmesh_testkit.servers import running_valkey


@pytest.fixture
async def replicas(valkey: str) -> AsyncGenerator[list[Signals]]:
    async with AsyncExitStack() as stack:
        replicas = [await stack.enter_async_context(Signals.open(valkey, app_id="workflow")) for _ in range(2)]
        # A replica that has just connected wakes everybody once, in case something was missed; let that be over.
        for replica in replicas:
            await asyncio.wait_for(replica.begun.wait(), 60)
        yield replicas


async def heard(listener: Listener, sender: Signals, channel: str) -> bool:
    await sender.notify(channel)
    return await listener.changed(0.2)


async def test_a_listener_in_the_same_process_is_woken_at_once(replicas: list[Signals]) -> None:
    async with replicas[0].listen("run_1") as listener:
        await replicas[0].notify("run_1")
        assert await listener.changed(0.0) or await listener.changed(0.1)


async def test_a_listener_at_another_replica_is_woken(replicas: list[Signals]) -> None:
    async with replicas[1].listen("run_1") as listener:
        await until(lambda: heard(listener, replicas[0], "run_1"), seconds=60, what="the other replica's signal")


async def test_other_channels_stay_quiet(replicas: list[Signals]) -> None:
    async with replicas[0].listen("run_1") as listener:
        await replicas[0].notify("run_2")
        assert not await listener.changed(0.2)


async def test_a_signal_that_came_while_nobody_waited_is_not_lost(replicas: list[Signals]) -> None:
    async with replicas[0].listen("run_1") as listener:
        for _ in range(3):
            await replicas[0].notify("run_1")
        assert await listener.changed(0.1)
        assert not await listener.changed(0.05), "several signals are one reason to look"


async def test_listening_again_and_again_leaves_nothing_behind(replicas: list[Signals]) -> None:
    for number in range(100):
        async with replicas[0].listen(f"run_{number}"):
            pass
    assert not replicas[0]._listeners  # pyright: ignore[reportPrivateUsage]  memory is what this is about


async def test_works_alone_while_valkey_is_away_and_finds_back(tmp_path: Path) -> None:
    with running_valkey(tmp_path) as (server, process):
        async with (
            Signals.open(server.url, app_id="workflow") as one,
            Signals.open(server.url, app_id="workflow") as other,
            other.listen("run_1") as listener,
        ):
            await until(lambda: heard(listener, one, "run_1"), seconds=60, what="a first signal")
            process.kill()
            async with one.listen("run_1") as local:
                assert await heard(local, one, "run_1")
            await asyncio.to_thread(process.start)
            await until(lambda: heard(listener, one, "run_1"), seconds=120, what="a signal after the restart")


async def test_a_connection_that_was_lost_for_a_moment_makes_watchers_forget_everything(
    replicas: list[Signals], valkey: str
) -> None:
    told: list[str | None] = []
    replicas[1].watch("principals:", told.append)
    async with redis.Redis.from_url(valkey) as client:  # pyright: ignore[reportUnknownMemberType]
        await client.client_kill_filter(_type="pubsub")  # pyright: ignore[reportUnknownMemberType]
    await until(lambda: told, seconds=60, what="the replica to know that it may have missed something")
    assert set(told) == {None}
