"""Starting runs by API: afresh, as a test, and again from what another run has done.

One transaction claims the idempotency key and starts the run; a repeated request finds the same run. Waiting for the
end comes after it, so that a caller who gives up, or comes back, changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from crewmesh_contracts.base import Contract, JsonObject, JsonValue, Reply
from crewmesh_contracts.ids import RunId
from crewmesh_kit import audit
from crewmesh_kit.db.database import Database
from crewmesh_kit.db.idempotency import Idempotency
from crewmesh_kit.identity import Identity
from crewmesh_kit.ids import new_id
from crewmesh_kit.resources import Resources
from crewmesh_kit.sharing.service import Sharing
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_workflow.access import RUN
from crewmesh_workflow.definitions.errors import NothingPublished, UnknownVersion
from crewmesh_workflow.definitions.lookup import Lookup, id_in_scope
from crewmesh_workflow.definitions.repository import Stored
from crewmesh_workflow.engine.assembly import Assembly
from crewmesh_workflow.engine.ends import Ended, Ends
from crewmesh_workflow.engine.payers import PaidBy
from crewmesh_workflow.engine.programs import Programs
from crewmesh_workflow.engine.starter import NewRun, Origin, Started, Starter
from crewmesh_workflow.inputs import check_input, check_storable, schema_in
from crewmesh_workflow.program.errors import InvalidDefinitionError
from crewmesh_workflow.program.model import Program
from crewmesh_workflow.runs.drafts import pin_draft
from crewmesh_workflow.runs.requests import StartRun, TryRun
from crewmesh_workflow.runs.samples import check_samples

# For the audit log: how a run was begun.
_ACTIONS: dict[Origin, str] = {"test": "run.tested", "rerun": "run.rerun", "fork": "run.forked"}

Plan = Callable[[AsyncConnection[DictRow]], Awaitable[NewRun]]


class _Started(Reply):
    """What is remembered under an idempotency key."""

    run: RunId


@dataclass(frozen=True, slots=True)
class Begun:
    """``over``: it has ended, or has answered, in the time that the caller waited."""

    run: str
    over: bool


class Starts:
    def __init__(
        self,
        database: Database,
        idempotency: Idempotency,
        lookup: Lookup,
        *,
        starter: Starter,
        ends: Ends,
        programs: Programs,
    ) -> None:
        self._database = database
        self._idempotency = idempotency
        self._lookup = lookup
        self._starter = starter
        self._ends = ends
        self._programs = programs

    async def start(
        self, identity: Identity, workflow: str, request: StartRun, *, key: str | None, wait: float
    ) -> Begun:
        async def plan(conn: AsyncConnection[DictRow]) -> NewRun:
            found = await self._lookup.startable(conn, identity, workflow)
            check_input(schema_in(found.definition), request.input)
            return NewRun(
                workflow=found.workflow,
                version=found.version,
                trigger=by_api(request.input),
                origin="api",
                started_by=identity.subject,
                payer=PaidBy.of(identity),
                priority=request.priority,
            )

        return await self.begin(identity, "start", request, plan, key=key, wait=wait, of=workflow)

    async def test(self, identity: Identity, workflow: str, request: TryRun, *, key: str | None, wait: float) -> Begun:
        async def plan(conn: AsyncConnection[DictRow]) -> NewRun:
            there = await self._lookup.found(conn, identity, workflow, RUN)
            id_, version = await _to_test(conn, identity.organization, there, request.version)
            program = await version_of(self._programs, conn, id_, version)
            if request.trigger is None:
                check_input(program.definition.settings.input_schema, request.input)
            check_storable(trigger=request.trigger, samples=request.samples)
            check_samples(program, request.samples)
            return NewRun(
                workflow=id_,
                version=version,
                trigger=request.trigger or by_api(request.input),
                origin="test",
                started_by=identity.subject,
                payer=PaidBy.of(identity),
                test=True,
                samples={**request.samples},
            )

        return await self.begin(identity, "test", request, plan, key=key, wait=wait, of=workflow)

    async def begin(
        self,
        identity: Identity,
        scope: str,
        request: Contract,
        plan: Plan,
        *,
        key: str | None,
        wait: float,
        of: str | None = None,
    ) -> Begun:
        """Start what is planned, once per key, and wait for it.

        ``of``: the workflow, by id or slug.
        """
        new: list[Started] = []
        with self._starter.starting() as starting:
            async with self._database.tenant(identity.organization) as conn:
                if of is not None and key is not None:
                    scope = f"{scope} {await id_in_scope(conn, identity.organization, of)}"

                async def start() -> _Started:
                    planned = await plan(conn)
                    new.append(await starting.start(conn, identity.organization, planned))
                    await _record(conn, identity, new[0].run, planned)
                    return _Started(run=new[0].run)

                begun = await self._idempotency.once_in(
                    conn, identity=identity, scope=scope, key=key, request=request, work=start, result=_Started
                )
            ended = new[0].ended if new else await self._ends.stored(begun.run)
            if ended is None and wait > 0:
                ended = await self._end_of(begun.run, starting.launch, wait)
            else:
                starting.launch()
        return Begun(begun.run, wait > 0 and ended is not None)

    async def _end_of(self, run: str, launch: Callable[[], None], wait: float) -> Ended | None:
        """Whoever waits must listen before the run can end."""
        waiting = asyncio.create_task(self._ends.wait(run, wait))
        await asyncio.sleep(0)
        launch()
        return await waiting


async def _record(conn: AsyncConnection[DictRow], identity: Identity, run: str, planned: NewRun) -> None:
    """For the audit log: who started the run of what. What it was given is in the run."""
    told: JsonObject = {"workflow": planned.workflow, "version": planned.version}
    if planned.source_run is not None:
        told["source_run"] = planned.source_run
    await audit.record(conn, identity, _ACTIONS.get(planned.origin, "run.started"), run, after=told)


def by_api(data: JsonValue) -> JsonObject:
    """A start by API as expressions see it."""
    return {"kind": "api", "id": new_id("evt"), "data": data}


async def version_of(programs: Programs, conn: AsyncConnection[DictRow], workflow: str, version: int) -> Program:
    """UnknownVersion when there is none."""
    try:
        return await programs.get(workflow, version, conn)
    except InvalidDefinitionError as error:
        raise UnknownVersion(workflow, version) from error


async def _to_test(
    conn: AsyncConnection[DictRow], organization: str, workflow: Stored, version: int | str
) -> tuple[str, int]:
    """The workflow's id, and the version to be tried; a paused workflow can be, too."""
    if version == "draft":
        return await pin_draft(conn, organization, workflow.id)
    if isinstance(version, int):
        return workflow.id, version
    if workflow.version == 0:
        raise NothingPublished(workflow.id)
    return workflow.id, workflow.version


@asynccontextmanager
async def open_starts(resources: Resources) -> AsyncGenerator[Starts]:
    parts = resources.get(Assembly)
    yield Starts(
        resources.get(Database),
        resources.get(Idempotency),
        Lookup(resources.get(Sharing)),
        starter=parts.starter,
        ends=parts.ends,
        programs=parts.programs,
    )
