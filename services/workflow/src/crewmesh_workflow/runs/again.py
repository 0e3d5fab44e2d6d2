"""New runs from old ones: a rerun does all of it again, a rerun from a step what follows it, a fork what is to come.

What is taken over is decided by ``copies``. The new run is a run of its own: its effects have keys of their own, so
what is done again really is.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Literal

from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_kit.errors import InvalidRequest
from crewmesh_kit.identity import Identity
from crewmesh_kit.resources import Resources
from crewmesh_kit.sharing.service import Sharing
from psycopg import AsyncConnection
from psycopg.rows import DictRow, class_row

from crewmesh_workflow.access import RUN
from crewmesh_workflow.definitions.errors import NothingPublished, WorkflowNotActive
from crewmesh_workflow.definitions.lookup import existing
from crewmesh_workflow.engine.assembly import Assembly
from crewmesh_workflow.engine.payers import PaidBy
from crewmesh_workflow.engine.payloads import Beforehand, Payloads
from crewmesh_workflow.engine.programs import Programs
from crewmesh_workflow.engine.starter import CopiedStep, NewRun
from crewmesh_workflow.engine.steps import StepError
from crewmesh_workflow.inputs import check_input, check_storable
from crewmesh_workflow.program.model import Program
from crewmesh_workflow.runs.copies import (
    PastStep,
    copied_steps,
    steps_before,
    steps_until,
    with_all_to_be_undone,
    with_variables,
)
from crewmesh_workflow.runs.errors import CannotGoOnFrom, UnknownRun
from crewmesh_workflow.runs.requests import Fork, Rerun, RerunFrom
from crewmesh_workflow.runs.starts import Begun, Starts, version_of

_SOURCE = """
SELECT id, workflow_id AS workflow, workflow_version AS version, trigger, test, samples, priority, seq,
    finished_at IS NULL AND (failure IS NOT NULL OR asked IS NOT DISTINCT FROM 'cancel') AS going_back
FROM runs WHERE org_id = %s AND id = %s
"""
_STEPS = """
SELECT path, position, status, attempt, input, output, port, error, rounds, finished
FROM steps WHERE org_id = %s AND run_id = %s ORDER BY position, path
"""
_ENDED = """
SELECT DISTINCT data->>'node' AS path FROM run_events
WHERE org_id = %s AND run_id = %s AND seq <= %s AND type IN ('step.completed', 'step.skipped', 'step.cancelled')
"""


@dataclass(frozen=True, slots=True)
class _Source:
    """The run that is to be done again. ``going_back``: it is live, and on its way to fail or be cancelled."""

    id: str
    workflow: str
    version: int
    trigger: JsonObject
    test: bool
    samples: JsonObject | None
    priority: int
    seq: int
    going_back: bool


class Again:
    def __init__(self, starts: Starts, sharing: Sharing, programs: Programs, payloads: Payloads) -> None:
        self._starts = starts
        self._sharing = sharing
        self._programs = programs
        self._payloads = payloads

    async def rerun(self, identity: Identity, run: str, request: Rerun, *, key: str | None, wait: float) -> Begun:
        async def plan(conn: AsyncConnection[DictRow]) -> NewRun:
            source = await self._source(conn, identity, run)
            version, _ = await self._version(conn, identity, source, request.version)
            return _new(identity, source, "rerun", version=version, priority=request.priority)

        return await self._starts.begin(identity, f"rerun {run}", request, plan, key=key, wait=wait)

    async def rerun_from(
        self, identity: Identity, run: str, path: str, request: RerunFrom, *, key: str | None, wait: float
    ) -> Begun:
        beforehand = Beforehand()

        async def plan(conn: AsyncConnection[DictRow]) -> NewRun:
            source = await self._source(conn, identity, run)
            if source.test and request.input is not None:
                raise CannotGoOnFrom(path, "a test run does no action that could have another input; test with samples")
            _, program = await self._version(conn, identity, source, "same")
            steps = await _steps(conn, identity.organization, source, program)
            copies = copied_steps(program, steps, path, edited=request.input)
            check_storable(input=request.input)
            trigger = _trigger(program, source, request)
            new = _new(identity, source, "rerun", trigger=trigger, priority=request.priority)
            return replace(new, copied=_copied(await _whole(copies, beforehand)), beforehand=beforehand)

        scope = f"rerun {run} from {path}"
        return await self._payloads.at_hand(
            beforehand, lambda: self._starts.begin(identity, scope, request, plan, key=key, wait=wait)
        )

    async def fork(self, identity: Identity, run: str, request: Fork, *, key: str | None, wait: float) -> Begun:
        beforehand = Beforehand()

        async def plan(conn: AsyncConnection[DictRow]) -> NewRun:
            source = await self._source(conn, identity, run)
            old = await version_of(self._programs, conn, source.workflow, source.version)
            version, new = await self._version(conn, identity, source, request.version)
            copies = await _taken_over(conn, identity.organization, source, request.at, new=new, old=old)
            check_storable(vars=request.vars)
            copies = with_variables(new, await _whole(copies, beforehand), request.vars)
            trigger = _trigger(new, source, request)
            fork = _new(identity, source, "fork", version=version, trigger=trigger, priority=request.priority)
            return replace(fork, copied=_copied(copies), beforehand=beforehand)

        return await self._payloads.at_hand(
            beforehand, lambda: self._starts.begin(identity, f"fork {run}", request, plan, key=key, wait=wait)
        )

    async def _source(self, conn: AsyncConnection[DictRow], identity: Identity, run: str) -> _Source:
        async with conn.cursor(row_factory=class_row(_Source)) as cursor:
            await cursor.execute(_SOURCE, [identity.organization, run])
            found = await cursor.fetchone()
        if found is None:
            raise UnknownRun(run)
        await self._sharing.ensure(conn, identity, RUN, found.workflow, unknown=UnknownRun(run))
        return found

    async def _version(
        self, conn: AsyncConnection[DictRow], identity: Identity, source: _Source, wanted: int | str
    ) -> tuple[int, Program]:
        """The version that the new run gets. Like every start it needs an active workflow, unless it is a test."""
        workflow = await existing(conn, identity.organization, source.workflow)
        if workflow.status != "active" and not source.test:
            raise WorkflowNotActive(workflow.id, workflow.status)
        if wanted == "latest" and workflow.version == 0:
            raise NothingPublished(workflow.id)
        version = {"same": source.version, "latest": workflow.version}.get(str(wanted), wanted)
        return int(version), await version_of(self._programs, conn, source.workflow, int(version))


async def _steps(
    conn: AsyncConnection[DictRow], organization: str, source: _Source, program: Program
) -> list[PastStep]:
    """``program``: the source's own."""
    async with conn.cursor(row_factory=class_row(PastStep)) as cursor:
        await cursor.execute(_STEPS, [organization, source.id])
        steps = await cursor.fetchall()
    return with_all_to_be_undone(program, steps) if source.going_back else steps


async def _taken_over(
    conn: AsyncConnection[DictRow], organization: str, source: _Source, at: int | str, *, new: Program, old: Program
) -> tuple[PastStep, ...]:
    steps = await _steps(conn, organization, source, old)
    if isinstance(at, str):
        return steps_before(new, steps, at, old=old)
    if at > source.seq:
        raise InvalidRequest(f"The run has only {source.seq} events; fork it at one of them.")
    rows = await (await conn.execute(_ENDED, [organization, source.id, at])).fetchall()
    return steps_until(new, steps, {row["path"] for row in rows}, old=old)


async def _whole(copies: Sequence[PastStep], beforehand: Beforehand) -> tuple[PastStep, ...]:
    """The steps with what is large about them."""
    payloads = Payloads(beforehand)
    beforehand.need(value for step in copies for value in (step.input, step.output))
    inputs = await payloads.fetch_all([step.input for step in copies])
    outputs = await payloads.fetch_all([step.output for step in copies])
    whole = zip(copies, inputs, outputs, strict=True)
    return tuple(replace(step, input=input_, output=output) for step, input_, output in whole)


def _trigger(program: Program, source: _Source, request: RerunFrom | Fork) -> JsonObject:
    """The source's, with other data where the request brings some."""
    if "trigger_data" not in request.model_fields_set:
        return source.trigger
    data: JsonValue = request.trigger_data
    given = source.trigger.get("kind") in ("api", "workflow")
    check_input(program.definition.settings.input_schema if given else None, data, place="trigger_data")
    return {**source.trigger, "data": data}


def _new(
    identity: Identity,
    source: _Source,
    origin: Literal["rerun", "fork"],
    *,
    version: int | None = None,
    trigger: JsonObject | None = None,
    priority: int | None = None,
) -> NewRun:
    return NewRun(
        workflow=source.workflow,
        version=source.version if version is None else version,
        trigger=source.trigger if trigger is None else trigger,
        origin=origin,
        started_by=identity.subject,
        payer=PaidBy.of(identity),
        test=source.test,
        samples=source.samples,
        priority=source.priority if priority is None else priority,
        source_run=source.id,
    )


def _copied(steps: Sequence[PastStep]) -> tuple[CopiedStep, ...]:
    """Numbered in their order."""
    return tuple(_as_copied(number, step) for number, step in enumerate(steps, start=1))


def _as_copied(number: int, step: PastStep) -> CopiedStep:
    return CopiedStep(
        path=step.path,
        status=step.status,
        attempt=step.attempt,
        number=number,
        input=step.input,
        output=step.output,
        ports=tuple(step.port.split(",")) if step.port else (),
        error=None if step.error is None else StepError(str(step.error.get("type")), str(step.error.get("detail"))),
        rounds=step.rounds,
        finished=step.finished,
    )


@asynccontextmanager
async def open_again(resources: Resources) -> AsyncGenerator[Again]:
    parts = resources.get(Assembly)
    yield Again(resources.get(Starts), resources.get(Sharing), parts.programs, parts.payloads)
