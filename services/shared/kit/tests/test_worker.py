"""The workflow worker: activities run on the service's loop, and a worker that nobody counts any more leaves."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import cast

import pytest
from crewmesh_contracts.base import JsonValue
from crewmesh_kit.dapr import worker as module
from crewmesh_kit.dapr.sidecar import SidecarMetadata
from crewmesh_kit.dapr.worker import WorkflowWorker
from crewmesh_kit.errors import Unavailable
from crewmesh_kit.settings import DaprSettings
from crewmesh_testkit import FakeSidecar
from crewmesh_testkit.polling import until


class FakeRuntime:
    """The SDK's runtime without a sidecar: it runs activities on a loop and thread of its own, as the real one does."""

    def __init__(self, **_: object) -> None:
        self.activities: dict[str, Callable[[object, object], Awaitable[object]]] = {}
        self.workflows: dict[str, Callable[[object, object], object]] = {}
        self.running = False

    def register_activity(self, fn: Callable[[object, object], Awaitable[object]], *, name: str) -> None:
        self.activities[name] = fn

    def register_workflow(self, fn: Callable[[object, object], object], *, name: str) -> None:
        self.workflows[name] = fn

    def start(self) -> None:
        self.running = True

    def shutdown(self) -> None:
        self.running = False

    def run_activity(self, name: str, given: object) -> object:
        async def call() -> object:
            return await self.activities[name](object(), given)

        return asyncio.run(call())


LOST_AFTER_SECONDS = 0.2
LOOK_EVERY_SECONDS = 0.02
# By then a worker that is held to be lost has left.
LONG_ENOUGH = 2 * round(LOST_AFTER_SECONDS / LOOK_EVERY_SECONDS)


class Sidecar(FakeSidecar):
    away = False
    asked = 0

    async def metadata(self) -> SidecarMetadata:
        self.asked += 1
        if self.away:
            raise Unavailable("the sidecar is away")
        return await super().metadata()


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> FakeRuntime:
    runtime = FakeRuntime()

    def _made(**_: object) -> FakeRuntime:
        return runtime

    monkeypatch.setattr(module, "WorkflowRuntime", _made)
    return runtime


@pytest.fixture
def sidecar() -> Sidecar:
    return Sidecar("workflow")


@pytest.fixture
def left() -> list[bool]:
    return []


@pytest.fixture
def worker(runtime: FakeRuntime, sidecar: Sidecar, left: list[bool]) -> WorkflowWorker:
    return WorkflowWorker(
        DaprSettings(),
        sidecar,
        lost_after_seconds=LOST_AFTER_SECONDS,
        look_every_seconds=LOOK_EVERY_SECONDS,
        leave=lambda: left.append(True),
    )


async def test_activities_run_on_the_service_s_own_loop(worker: WorkflowWorker, runtime: FakeRuntime) -> None:
    home, here = asyncio.get_running_loop(), threading.get_ident()

    async def double(given: JsonValue) -> JsonValue:
        assert asyncio.get_running_loop() is home
        assert threading.get_ident() == here
        return cast(int, given) * 2

    async def fail(given: JsonValue) -> JsonValue:
        raise ValueError(f"no {given}")

    worker.activity("double", double)
    worker.activity("fail", fail)
    async with worker.running():
        assert await asyncio.to_thread(runtime.run_activity, "double", 21) == 42
        with pytest.raises(ValueError, match="no thanks"):
            await asyncio.to_thread(runtime.run_activity, "fail", "thanks")
    assert not runtime.running


async def test_one_orchestrator_serves_several_workers(worker: WorkflowWorker, runtime: FakeRuntime) -> None:
    def orchestrator(_: object, start: object) -> object:
        return ("turned", start)

    worker.workflow("drive", orchestrator)
    worker.workflow("drive again", orchestrator)
    assert runtime.workflows["drive"](object(), 1) == ("turned", 1)
    assert vars(orchestrator) == {}, "the SDK leaves no mark on it"


async def test_a_connected_worker_is_ready_and_stays(
    worker: WorkflowWorker, sidecar: Sidecar, left: list[bool]
) -> None:
    async with worker.running():
        await until(lambda: sidecar.asked > LONG_ENOUGH, seconds=60, what="the worker to be looked at")
        assert await worker.why_not_ready() is None
    assert left == []


async def test_a_lost_worker_is_not_ready_and_then_leaves(
    worker: WorkflowWorker, sidecar: Sidecar, left: list[bool]
) -> None:
    async with worker.running():
        sidecar.connected_workers = 0
        await until(worker.why_not_ready, seconds=60, what="the worker to be unready")
        await until(lambda: left, seconds=60, what="the worker to leave")


async def test_a_worker_that_comes_back_stays(worker: WorkflowWorker, sidecar: Sidecar, left: list[bool]) -> None:
    async with worker.running():
        sidecar.connected_workers = 0
        await until(worker.why_not_ready, seconds=60, what="the worker to be unready")
        sidecar.connected_workers = 1

        async def ready() -> bool:
            return await worker.why_not_ready() is None

        await until(ready, seconds=60, what="the worker to be ready again")


async def test_a_sidecar_that_is_away_is_waited_for(worker: WorkflowWorker, sidecar: Sidecar, left: list[bool]) -> None:
    async with worker.running():
        sidecar.away = True
        await until(lambda: sidecar.asked > LONG_ENOUGH, seconds=60, what="the sidecar to be asked for workers")
    assert left == []
