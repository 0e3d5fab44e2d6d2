"""The clock inside the running service."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from crewmesh_kit.db.database import Database
from crewmesh_kit.resources import Resources

from crewmesh_workflow.engine.assembly import Assembly
from crewmesh_workflow.schedules.clock import Clock


@asynccontextmanager
async def open_clock(resources: Resources) -> AsyncGenerator[Clock]:
    yield Clock(resources.get(Database), resources.get(Assembly).starter)
