"""Finding runs, their steps and what happened in them, with large payloads fetched where one thing is asked for."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace

from crewmesh_kit.db.database import Database
from crewmesh_kit.http.pagination import Page, PageRequest
from crewmesh_kit.identity import Identity
from crewmesh_kit.resources import Resources
from crewmesh_kit.sharing.models import Need
from crewmesh_kit.sharing.service import Sharing
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_workflow.access import SEE_RUNS
from crewmesh_workflow.definitions.lookup import id_in_filter
from crewmesh_workflow.engine.assembly import Assembly
from crewmesh_workflow.engine.payloads import Payloads
from crewmesh_workflow.engine.programs import Programs
from crewmesh_workflow.runs import repository, stats, steps
from crewmesh_workflow.runs.errors import UnknownRun, UnknownStep
from crewmesh_workflow.runs.logs import log_line
from crewmesh_workflow.runs.repository import Filters
from crewmesh_workflow.runs.schemas import (
    Glance,
    LogLine,
    RunDetail,
    RunStats,
    RunSummary,
    StepDetail,
    StepSummary,
    StoredEvent,
    Usage,
)
from crewmesh_workflow.runs.steps import StepFilters
from crewmesh_workflow.runs.usage import places_that_ask_models


class Runs:
    def __init__(self, database: Database, sharing: Sharing, payloads: Payloads, programs: Programs) -> None:
        self._database = database
        self._sharing = sharing
        self._payloads = payloads
        self._programs = programs

    async def page(self, identity: Identity, page: PageRequest, filters: Filters) -> Page[RunSummary]:
        before = page.after_text()
        async with self._database.tenant(identity.organization) as conn:
            reach = await self._sharing.reach(conn, identity, SEE_RUNS)
            workflow = await id_in_filter(conn, identity.organization, filters.workflow)
            filters = replace(filters, workflow=workflow)
            found = await repository.page(
                conn, identity.organization, filters, reach, before=before, limit=page.limit + 1
            )
        return page.page(found, lambda run: (run.id,))

    async def get(self, identity: Identity, run: str, need: Need = SEE_RUNS) -> RunDetail:
        """``need``: another one for who has just done something with the run."""
        async with self._database.tenant(identity.organization) as conn:
            found = await repository.get(conn, identity.organization, run)
            if found is None:
                raise UnknownRun(run)
            await self._sharing.ensure(conn, identity, need, found.workflow, unknown=UnknownRun(run))
            usage = await self._usage(conn, identity.organization, found)
        return found.model_copy(update={"output": await self._payloads.fetch(found.output), "usage": usage})

    async def glance(self, identity: Identity, run: str) -> Glance:
        async with self._database.tenant(identity.organization) as conn:
            return await self._there(conn, identity, run)

    async def stats(self, identity: Identity) -> RunStats:
        async with self._database.tenant(identity.organization) as conn:
            return await stats.stats(conn, identity.organization, await self._sharing.reach(conn, identity, SEE_RUNS))

    async def steps(self, identity: Identity, run: str, page: PageRequest, filters: StepFilters) -> Page[StepSummary]:
        last = page.after(int, str)
        after = (int(last[0]), str(last[1])) if last else None
        async with self._database.tenant(identity.organization) as conn:
            await self._there(conn, identity, run)
            found = await steps.page(conn, identity.organization, run, filters, after=after, limit=page.limit + 1)
        positions = {step.path: position for position, step in found}
        return page.page([step for _, step in found], lambda step: (positions[step.path], step.path))

    async def step(self, identity: Identity, run: str, path: str) -> StepDetail:
        async with self._database.tenant(identity.organization) as conn:
            await self._there(conn, identity, run)
            found = await steps.get(conn, identity.organization, run, path)
        if found is None:
            raise UnknownStep(path)
        input_, output = await self._payloads.fetch_all([found.input, found.output])
        return found.model_copy(update={"input": input_, "output": output})

    async def events(self, identity: Identity, run: str, after: int, limit: int) -> list[StoredEvent]:
        """Asked again and again of a run that was there; what has become hidden meanwhile is unknown."""
        async with self._database.tenant(identity.organization) as conn:
            if not (await self._sharing.reach(conn, identity, SEE_RUNS)).everything:
                await self._there(conn, identity, run)
            return await repository.events(conn, identity.organization, run, after, limit)

    async def news(self, organization: str, run: str, after: int, limit: int) -> list[StoredEvent]:
        """For a feed that followers share, each of whom was let in by ``events``."""
        async with self._database.tenant(organization) as conn:
            return await repository.events(conn, organization, run, after, limit)

    async def logs(self, identity: Identity, run: str, page: PageRequest) -> Page[LogLine]:
        last = page.after(int)
        async with self._database.tenant(identity.organization) as conn:
            await self._there(conn, identity, run)
            found = await repository.events(
                conn, identity.organization, run, int(last[0]) if last else 0, page.limit + 1
            )
        return page.page([log_line(event) for event in found], lambda line: (line.seq,))

    async def _there(self, conn: AsyncConnection[DictRow], identity: Identity, run: str) -> Glance:
        found = await repository.glance(conn, identity.organization, run)
        if found is None:
            raise UnknownRun(run)
        await self._sharing.ensure(conn, identity, SEE_RUNS, found.workflow, unknown=UnknownRun(run))
        return found

    async def _usage(self, conn: AsyncConnection[DictRow], organization: str, run: RunDetail) -> Usage | None:
        program = await self._programs.get(run.workflow, run.workflow_version, conn)
        places = places_that_ask_models(program)
        return await repository.usage(conn, organization, run.id, places) if places else None


@asynccontextmanager
async def open_runs(resources: Resources) -> AsyncGenerator[Runs]:
    parts = resources.get(Assembly)
    yield Runs(resources.get(Database), resources.get(Sharing), parts.payloads, parts.programs)
