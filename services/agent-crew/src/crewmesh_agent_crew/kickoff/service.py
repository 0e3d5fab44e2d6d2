"""What a kickoff does: check, claim its key, wait for a place, let the crew work, write everything down."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from crewmesh_contracts.invocations import CrewMessage, KickoffRequest, KickoffResult, TokenUsage
from crewmesh_kit.app import Resources
from crewmesh_kit.db.database import Database, persistently
from crewmesh_kit.db.idempotency import Idempotency
from crewmesh_kit.errors import Problem, ValidationFailed
from crewmesh_kit.http.pagination import Page, PageRequest
from crewmesh_kit.identity import Identity
from crewmesh_kit.ids import new_id
from crewmesh_kit.logs import bound, get_logger

from crewmesh_agent_crew.crews.models import CrewDefinition
from crewmesh_agent_crew.crews.resolving import Resolver
from crewmesh_agent_crew.crews.service import CrewService
from crewmesh_agent_crew.kickoff.metrics import KICKOFFS
from crewmesh_agent_crew.kickoff.repository import KickoffRepository
from crewmesh_agent_crew.kickoff.runner import CrewRunner
from crewmesh_agent_crew.kickoff.schemas import Kickoff
from crewmesh_agent_crew.models.schemas import Usage
from crewmesh_agent_crew.settings import Settings
from crewmesh_agent_crew.stopping.service import Stopping

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Work:
    """One kickoff under way."""

    identity: Identity
    key: str
    crew: CrewDefinition
    inputs: dict[str, str]
    usage: Usage = field(default_factory=Usage)
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))


class KickoffService:
    def __init__(
        self,
        database: Database,
        idempotency: Idempotency,
        crews: CrewService,
        resolver: Resolver,
        runner: CrewRunner,
        stopping: Stopping,
        *,
        wait_seconds: float,
    ) -> None:
        self._database = database
        self._idempotency = idempotency
        self._crews = crews
        self._resolver = resolver
        self._runner = runner
        self._stopping = stopping
        self._wait_seconds = wait_seconds

    async def kickoff(self, identity: Identity, key: str, request: KickoffRequest) -> KickoffResult:
        """The crew's result. The same key gets the same result, and joins a crew that is still at work for it."""
        crew = await self._crew(identity, request.crew)
        inputs = checked_inputs(crew, request.inputs)

        async def work() -> KickoffResult:
            return await self._work(_Work(identity, key, crew, inputs))

        return await self._idempotency.once(
            identity=identity,
            scope="kickoff",
            key=key,
            request=request,
            result=KickoffResult,
            work=work,
            wait=self._wait_seconds,
        )

    async def page(self, identity: Identity, crew: str, wanted: PageRequest) -> Page[Kickoff]:
        await self._crews.get(identity, crew)
        before = wanted.after_text()
        async with self._database.tenant(identity.organization) as connection:
            found = await KickoffRepository(connection).list_before(crew, before, wanted.limit + 1)
        return wanted.page(found, lambda kickoff: (kickoff.id,))

    async def _crew(self, identity: Identity, name: str) -> CrewDefinition:
        async with self._database.tenant(identity.organization) as connection:
            return (await self._resolver.pinned(connection, identity, name)).definition

    async def _work(self, work: _Work) -> KickoffResult:
        # The crew may have finished in a process that died before it could settle the key.
        async with self._database.tenant(work.identity.organization) as connection:
            before = await KickoffRepository(connection).completed(work.key)
        if before is not None:
            return before
        with bound(crew=work.crew.name, requested_by=work.identity.subject):
            return await self._run(work)

    async def _run(self, work: _Work) -> KickoffResult:
        try:
            async with self._stopping.stoppable(work.identity, work.key), self._runner.capacity.place():
                messages = await self._runner.run(work.crew, work.inputs, work.usage)
        except Problem as problem:
            KICKOFFS.labels(problem.slug).inc()
            log.warning("kickoff failed", reason=problem.detail, problem=problem.slug)
            if work.usage.requests:  # a refusal that cost nothing leaves no trace but the log
                await self._write_down(work, (), problem)
            raise
        await self._write_down(work, messages, None)
        KICKOFFS.labels("completed").inc()
        log.info("kickoff completed", **self._used(work).model_dump())
        return KickoffResult(text=messages[-1].text, messages=messages, usage=self._used(work))

    def _used(self, work: _Work) -> TokenUsage:
        return work.usage.of(self._runner.model)

    async def _write_down(self, work: _Work, messages: tuple[CrewMessage, ...], problem: Problem | None) -> None:
        kickoff = Kickoff(
            id=new_id("kick"),
            crew=work.crew.name,
            requested_by=work.identity.subject,
            status="completed" if problem is None else "failed",
            inputs=work.inputs,
            text=messages[-1].text if messages else None,
            messages=messages,
            error=None if problem is None else problem.detail,
            usage=self._used(work),
            started_at=work.started_at,
            ended_at=datetime.now(UTC),
        )

        async def add() -> None:
            async with self._database.tenant(work.identity.organization) as connection:
                await KickoffRepository(connection).add(work.identity.organization, work.key, kickoff)

        await persistently(add)


def checked_inputs(crew: CrewDefinition, given: dict[str, str]) -> dict[str, str]:
    """A value for every declared input, cut to what the crew reads. Missing and unknown ones are named."""
    known = {input_.name: input_ for input_ in crew.inputs}
    wrong = [f"{name!r} is no input of this crew" for name in sorted(given.keys() - known.keys())]
    wrong += [f"{name!r} is missing" for name, input_ in known.items() if input_.required and name not in given]
    wrong += [f"{name!r} contains a NUL character" for name, value in given.items() if "\0" in value]
    if wrong:
        raise ValidationFailed(
            f"The inputs do not fit the crew {crew.name!r}: {'; '.join(wrong)}. It takes: {', '.join(known) or 'none'}."
        )
    return {name: given.get(name, "")[: input_.most_characters] for name, input_ in known.items()}


@asynccontextmanager
async def open_kickoffs(resources: Resources) -> AsyncGenerator[KickoffService]:
    yield KickoffService(
        resources.get(Database),
        resources.get(Idempotency),
        resources.get(CrewService),
        resources.get(Resolver),
        resources.get(CrewRunner),
        resources.get(Stopping),
        wait_seconds=resources.get(Settings).kickoff.timeout_seconds,
    )
