"""The engine inside the running service: with its Dapr client, its signals and its place among the background work."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from crewmesh_kit.background import Background
from crewmesh_kit.dapr.sidecar import Sidecar
from crewmesh_kit.db.database import Database
from crewmesh_kit.resources import Resources
from crewmesh_kit.signals import Signals

from crewmesh_workflow.engine.assembly import Assembly, assemble
from crewmesh_workflow.engine.scheduling import Driving, open_driving
from crewmesh_workflow.nodes import EFFECT_KINDS
from crewmesh_workflow.settings import EngineSettings


@dataclass(frozen=True, slots=True)
class Drivers:
    """What drives runs that wait: Dapr, or a test's own hand."""

    open_driving: Callable[[Resources], AbstractAsyncContextManager[Driving]]
    open_worker: Callable[[Resources], AbstractAsyncContextManager[object]]


@asynccontextmanager
async def open_worker(resources: Resources) -> AsyncGenerator[None]:
    yield None


DAPR_DRIVERS = Drivers(open_driving, open_worker)


@asynccontextmanager
async def open_signals(resources: Resources) -> AsyncGenerator[Signals]:
    url = await resources.get(Sidecar).secret("redis-url")
    async with Signals.open(url, app_id="workflow") as signals:
        yield signals


@asynccontextmanager
async def open_engine(resources: Resources, *, settings: EngineSettings) -> AsyncGenerator[Assembly]:
    sidecar = resources.get(Sidecar)
    parts = assemble(
        settings,
        database=resources.get(Database),
        caller=sidecar,
        blobs=sidecar.blobs,
        kinds=EFFECT_KINDS,
        schedule=resources.get(Driving).schedule,
        spawn=resources.get(Background).start,
        moved=resources.get(Signals).notify,
    )
    try:
        yield parts
    finally:
        await parts.leases.give_back()
