"""Finding runs, and their steps with large payloads fetched."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from crewmesh_kit.db.database import Database
from crewmesh_kit.http.pagination import Page, PageRequest
from crewmesh_kit.identity import Identity
from crewmesh_kit.resources import Resources

from crewmesh_workflow.engine.assembly import Assembly
from crewmesh_workflow.engine.payloads import Payloads
from crewmesh_workflow.runs import repository
from crewmesh_workflow.runs.errors import UnknownRun
from crewmesh_workflow.runs.schemas import RunDetail, RunStatus, RunSummary, StepDetail, Steps, StoredEvent


class Runs:
    def __init__(self, database: Database, payloads: Payloads) -> None:
        self._database = database
        self._payloads = payloads

    async def page(
        self, identity: Identity, page: PageRequest, *, status: RunStatus | None, workflow: str | None
    ) -> Page[RunSummary]:
        after = page.after(str)
        before = str(after[0]) if after else None
        async with self._database.tenant(identity.organization) as conn:
            found = await repository.page(
                conn, identity.organization, before=before, status=status, workflow=workflow, limit=page.limit + 1
            )
        return page.page(found, lambda run: (run.id,))

    async def get(self, identity: Identity, run: str) -> RunDetail:
        found = await self.glance(identity, run)
        return found.model_copy(update={"output": await self._payloads.fetch(found.output)})

    async def glance(self, identity: Identity, run: str) -> RunDetail:
        """The run with its payloads left where they are."""
        async with self._database.tenant(identity.organization) as conn:
            found = await repository.get(conn, identity.organization, run)
        if found is None:
            raise UnknownRun(run)
        return found

    async def steps(self, identity: Identity, run: str) -> Steps:
        async with self._database.tenant(identity.organization) as conn:
            if await repository.get(conn, identity.organization, run) is None:
                raise UnknownRun(run)
            found = await repository.steps(conn, identity.organization, run)
        return Steps(items=tuple([await self._whole(step) for step in found]))

    async def _whole(self, step: StepDetail) -> StepDetail:
        input_, output = await self._payloads.fetch_all([step.input, step.output])
        return step.model_copy(update={"input": input_, "output": output})

    async def events(self, identity: Identity, run: str, after: int, limit: int) -> list[StoredEvent]:
        async with self._database.tenant(identity.organization) as conn:
            return await repository.events(conn, identity.organization, run, after, limit)


@asynccontextmanager
async def open_runs(resources: Resources) -> AsyncGenerator[Runs]:
    yield Runs(resources.get(Database), resources.get(Assembly).payloads)
