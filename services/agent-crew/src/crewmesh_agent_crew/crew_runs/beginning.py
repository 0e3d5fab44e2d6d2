"""Setting a crew or an agent to work directly, without a workflow around it."""

from __future__ import annotations

from crewmesh_contracts.base import Reply
from crewmesh_kit.db.database import Database
from crewmesh_kit.db.idempotency import Idempotency
from crewmesh_kit.identity import Identity
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_agent_crew.crew_runs.asking import checked_inputs
from crewmesh_agent_crew.crew_runs.models import AgentWork, CrewWork, Work
from crewmesh_agent_crew.crew_runs.schemas import AgentRunRequest, CrewRunRequest
from crewmesh_agent_crew.crew_runs.service import CrewRuns
from crewmesh_agent_crew.crews.resolving import Resolver
from crewmesh_agent_crew.models.json_schemas import JsonSchemas
from crewmesh_agent_crew.spending.charged_to import ChargedTo


class Begun(Reply):
    crew_run: str


class Beginning:
    def __init__(
        self, database: Database, idempotency: Idempotency, resolver: Resolver, schemas: JsonSchemas, runs: CrewRuns
    ) -> None:
        self._database = database
        self._idempotency = idempotency
        self._resolver = resolver
        self._schemas = schemas
        self._runs = runs

    async def crew(self, identity: Identity, key: str | None, name: str, request: CrewRunRequest) -> str:
        """The id of the run."""

        async def begin() -> Begun:
            crew = await self._resolver.pinned(connection, identity, name)
            doing = CrewWork(crew=crew.definition, inputs=checked_inputs(crew.definition, request.inputs))
            work = _work(identity, name, crew.version, doing, crew_id=crew.id)
            return Begun(crew_run=await self._runs.start_in(connection, identity, work))

        async with self._database.tenant(identity.organization) as connection:
            begun = await self._idempotency.once_in(
                connection, identity=identity, scope=f"run-crew/{name}", key=key, request=request, work=begin
            )
        return begun.crew_run

    async def agent(self, identity: Identity, key: str | None, name: str, request: AgentRunRequest) -> str:
        if request.output_schema is not None:
            await self._schemas.check(request.output_schema)

        async def begin() -> Begun:
            return Begun(crew_run=await self._begin_agent(connection, identity, name, request))

        async with self._database.tenant(identity.organization) as connection:
            begun = await self._idempotency.once_in(
                connection, identity=identity, scope=f"run-agent/{name}", key=key, request=request, work=begin
            )
        return begun.crew_run

    async def _begin_agent(
        self, connection: AsyncConnection[DictRow], identity: Identity, name: str, request: AgentRunRequest
    ) -> str:
        agent = await self._resolver.agent(connection, identity, name)
        doing = AgentWork(
            agent=agent.definition, task=request.task, expected=request.expected, output_schema=request.output_schema
        )
        work = _work(identity, agent.definition.name, agent.version, doing, crew_id=agent.crew, agent_id=agent.id)
        return await self._runs.start_in(connection, identity, work)


def _work(
    identity: Identity,
    name: str,
    version: int,
    doing: CrewWork | AgentWork,
    *,
    crew_id: str | None,
    agent_id: str | None = None,
) -> Work:
    return Work(
        kind=doing.of,
        name=name,
        version=version,
        doing=doing,
        charge=ChargedTo.of(identity),
        key="",
        same="",
        requested_by=identity.subject,
        started_by=identity.subject,
        crew_id=crew_id,
        agent_id=agent_id,
    )
