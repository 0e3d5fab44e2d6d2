"""What steps of workflows ask: ``KICKOFF`` and ``ASK_AGENT``, again and again under the step's key until it is done.

The first call begins the run, later ones join it. Each waits for a while and then says how far it is. A run that failed
of something that may pass is begun again by the next call, from its journal on; what was paid for stays paid for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, cast

from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.invocations import (
    AgentProgress,
    AgentRequest,
    AgentResult,
    CrewMessage,
    KickoffProgress,
    KickoffRequest,
    KickoffResult,
    Payer,
)
from crewmesh_kit.db.claims import fingerprint_of
from crewmesh_kit.db.database import Database
from crewmesh_kit.errors import Problem, RemoteProblem, ValidationFailed
from crewmesh_kit.identity import Identity
from crewmesh_kit.sharing.service import Sharing
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_agent_crew.access import RUN, RUN_AGENT
from crewmesh_agent_crew.agents.errors import UnknownAgent
from crewmesh_agent_crew.crew_runs.models import AgentWork, CrewWork, Result, Spoken, Standing, Work
from crewmesh_agent_crew.crew_runs.service import CrewRuns, check_same
from crewmesh_agent_crew.crews.errors import UnknownCrew
from crewmesh_agent_crew.crews.models import CrewDefinition
from crewmesh_agent_crew.crews.resolving import Resolver
from crewmesh_agent_crew.models.json_schemas import JsonSchemas
from crewmesh_agent_crew.spending.charged_to import ChargedTo
from crewmesh_agent_crew.stopping.errors import ThinkingStopped

# Whoever begins a run by such a name is known to us; what a trigger brings is words of strangers.
_KNOWN = ("usr_", "key_", "sva_")

# What makes no other request of one: for whom, what was decided since, how long to wait.
_UNTOLD = {"payer": Payer(), "verdicts": (), "wait_seconds": 20.0, "begun": False}

Prepare = Callable[[AsyncConnection[DictRow]], Awaitable[Work]]


class Asking:
    def __init__(
        self,
        database: Database,
        sharing: Sharing,
        resolver: Resolver,
        schemas: JsonSchemas,
        runs: CrewRuns,
    ) -> None:
        self._database = database
        self._sharing = sharing
        self._resolver = resolver
        self._schemas = schemas
        self._runs = runs

    async def kickoff(self, identity: Identity, key: str, request: KickoffRequest) -> KickoffProgress:
        same = fingerprint_of(request.model_copy(update=_UNTOLD))

        async def prepare(connection: AsyncConnection[DictRow]) -> Work:
            crew = await self._resolver.pinned(connection, identity, request.crew)
            strange = _of_strangers(request.payer)
            doing = CrewWork(
                crew=crew.definition,
                inputs=checked_inputs(crew.definition, request.inputs),
                quoted=tuple(sorted(request.inputs)) if strange else request.from_steps,
            )
            return Work(
                kind="crew",
                name=request.crew,
                version=crew.version,
                doing=doing,
                crew_id=crew.id,
                charge=ChargedTo.of_payer(request.payer),
                key=key,
                same=same,
                requested_by=identity.subject,
                started_by=request.payer.started_by or identity.subject,
                untrusted=strange or bool(doing.quoted),
            )

        standing = await self._progress(identity, key, same, prepare, request)
        result = standing.result
        return KickoffProgress(
            crew_run=standing.id,
            status=_told(standing),
            result=None if result is None else kickoff_result(standing, result),
            questions=standing.questions,
        )

    async def ask_agent(self, identity: Identity, key: str, request: AgentRequest) -> AgentProgress:
        same = fingerprint_of(request.model_copy(update=_UNTOLD))

        async def prepare(connection: AsyncConnection[DictRow]) -> Work:
            agent = await self._resolver.agent(connection, identity, request.agent)
            strange = _of_strangers(request.payer)
            doing = AgentWork(
                agent=agent.definition,
                task=request.task,
                quotes=quotes_in(request, strange=strange),
                expected=request.expected,
                output_schema=request.output_schema,
            )
            return Work(
                kind="agent",
                name=agent.definition.name,
                version=agent.version,
                doing=doing,
                crew_id=agent.crew,
                agent_id=agent.id,
                charge=ChargedTo.of_payer(request.payer),
                key=key,
                same=same,
                requested_by=identity.subject,
                started_by=request.payer.started_by or identity.subject,
                untrusted=strange or bool(doing.quotes),
            )

        standing = await self._progress(identity, key, same, prepare, request)
        result = standing.result
        return AgentProgress(
            crew_run=standing.id,
            status=_told(standing),
            result=None if result is None else agent_result(standing, result),
            questions=standing.questions,
        )

    async def _progress(
        self, identity: Identity, key: str, same: str, prepare: Prepare, request: KickoffRequest | AgentRequest
    ) -> Standing:
        organization = identity.organization
        known = await self._runs.known(organization, key)
        if known is None:
            if isinstance(request, AgentRequest) and request.output_schema is not None:
                await self._schemas.check(request.output_schema)  # for long, maybe: no connection waits
            async with self._database.tenant(organization) as connection:
                crew_run = await self._runs.start_in(connection, identity, await prepare(connection))
        else:
            await self._allowed(identity, known)
            check_same(known, same)
            crew_run = known.id
            if request.verdicts:
                await self._runs.tell(organization, crew_run, request.verdicts)
            if known.status == "failed" and _may_pass(known) and not request.begun:
                await self._runs.begin_again(organization, crew_run)
        standing = await self._runs.wait(organization, crew_run, request.wait_seconds)
        raise_what_it_failed_of(standing)
        return standing

    async def _allowed(self, identity: Identity, known: Standing) -> None:
        """Who may not set it to work any more is told nothing more of it."""
        unknown: Problem = UnknownAgent(known.name)
        if known.kind == "crew":
            unknown = UnknownCrew(f"There is no crew {known.name!r}; GET /v1/crews lists those there are.")
        async with self._database.tenant(identity.organization) as connection:
            for need, resource in ((RUN, known.crew_id), (RUN_AGENT, known.agent_id)):
                if resource is not None:
                    await self._sharing.ensure(connection, identity, need, resource, unknown=unknown)


def raise_what_it_failed_of(standing: Standing) -> None:
    if standing.status == "cancelled":
        raise ThinkingStopped("This work was stopped, and its result is not wanted.")
    if standing.status == "failed" and standing.problem is not None:
        document = cast(JsonObject, standing.problem["problem"])
        members = ("type", "title", "status", "detail", "retryable", "crew_run")
        raise RemoteProblem(
            str(document["detail"]),
            status=int(cast(int, document["status"])),
            slug=str(document["type"]).rsplit("/", 1)[-1],
            title=str(document["title"]),
            retryable=_may_pass(standing),
            headers=cast("dict[str, str]", standing.problem["headers"]),
            crew_run=standing.id,
            **{name: value for name, value in document.items() if name not in members},
        )


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


def quotes_in(request: AgentRequest, *, strange: bool) -> tuple[tuple[int, int], ...]:
    """What of the task others wrote, also where it was moved since by what a person changed, which is that person's."""
    found: list[tuple[int, int]] = []
    end = 0
    for each in request.filled_in:
        at = each.at
        if not request.task.startswith(each.text, at):
            at = request.task.find(each.text, end)
        if each.text and at >= end and (strange or each.by == "steps"):
            end = at + len(each.text)
            found.append((at, end))
    return tuple(found)


def kickoff_result(standing: Standing, result: Result) -> KickoffResult:
    return KickoffResult(text=result.text, messages=_messages(result.said), usage=standing.used.told())


def agent_result(standing: Standing, result: Result) -> AgentResult:
    return AgentResult(text=result.text, data=result.data, messages=_messages(result.said), usage=standing.used.told())


def _messages(said: Sequence[Spoken]) -> tuple[CrewMessage, ...]:
    return tuple(CrewMessage(agent=each.agent, task=each.task, text=each.text) for each in said)


def _told(standing: Standing) -> Literal["working", "waiting", "done"]:
    if standing.status == "waiting":
        return "waiting"
    return "done" if standing.result is not None else "working"


def _may_pass(standing: Standing) -> bool:
    document = cast(JsonObject, (standing.problem or {}).get("problem") or {})
    return document.get("retryable") is True


def _of_strangers(payer: Payer) -> bool:
    return payer.started_by is not None and not payer.started_by.startswith(_KNOWN)
