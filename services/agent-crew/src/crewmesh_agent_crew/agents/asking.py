"""One agent at work: found in the organization's crews, asked once per key, stopped when nobody wants its answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial

from crewmesh_contracts.invocations import AgentRequest, AgentResult
from crewmesh_kit.app import Resources
from crewmesh_kit.db.database import Database
from crewmesh_kit.db.idempotency import Idempotency
from crewmesh_kit.identity import Identity
from crewmesh_kit.logs import bound, get_logger

from crewmesh_agent_crew.agents.models import AgentDefinition
from crewmesh_agent_crew.crews.models import CrewDefinition, Task
from crewmesh_agent_crew.crews.resolving import Resolver
from crewmesh_agent_crew.kickoff.runner import CrewRunner
from crewmesh_agent_crew.models.answers import Following, settled
from crewmesh_agent_crew.models.client import ModelClient
from crewmesh_agent_crew.models.json_schemas import JsonSchemas
from crewmesh_agent_crew.models.schemas import ChatMessage, Usage, Wishes
from crewmesh_agent_crew.settings import Settings
from crewmesh_agent_crew.stopping.service import Stopping

log = get_logger(__name__)


class AgentService:
    def __init__(
        self,
        database: Database,
        resolver: Resolver,
        runner: CrewRunner,
        client: ModelClient,
        schemas: JsonSchemas,
        idempotency: Idempotency,
        stopping: Stopping,
        *,
        wait_seconds: float,
    ) -> None:
        self._database = database
        self._resolver = resolver
        self._runner = runner
        self._client = client
        self._schemas = schemas
        self._idempotency = idempotency
        self._stopping = stopping
        self._wait_seconds = wait_seconds

    async def ask(self, identity: Identity, key: str, request: AgentRequest) -> AgentResult:
        """The agent's answer. The same key gets the same answer, or joins an agent that is still at work for it."""
        agent = await self._agent(identity, request.agent)
        wanted = None
        if request.output_schema is not None:
            await self._schemas.check(request.output_schema)
            wanted = Following(request.output_schema, self._schemas)
        return await self._idempotency.once(
            identity=identity,
            scope="agent",
            key=key,
            request=request,
            result=AgentResult,
            work=partial(self._work, identity, key, request, agent, wanted),
            wait=self._wait_seconds,
        )

    async def _agent(self, identity: Identity, name: str) -> AgentDefinition:
        async with self._database.tenant(identity.organization) as connection:
            return (await self._resolver.agent(connection, identity, name)).definition

    async def _work(
        self, identity: Identity, key: str, request: AgentRequest, agent: AgentDefinition, wanted: Following | None
    ) -> AgentResult:
        with bound(agent=agent.name, requested_by=identity.subject):
            async with self._stopping.stoppable(identity, key), self._runner.capacity.place():
                result = await self._result(request, agent, wanted)
            log.info("agent answered", **result.usage.model_dump())
            return result

    async def _result(self, request: AgentRequest, agent: AgentDefinition, wanted: Following | None) -> AgentResult:
        usage = Usage()
        wishes = Wishes(schema=None if wanted is None else wanted.schema)
        asked = _asked(request, wanted)
        messages = await self._runner.run(_alone(agent), {"task": asked}, usage, wishes)
        text = messages[-1].text
        data = None
        if wanted is not None:

            async def again(conversation: Sequence[ChatMessage]) -> str:
                return await self._client.ask(conversation, usage, wishes)

            said = await settled(
                text,
                wanted,
                asked=[ChatMessage("user", asked)],
                ask=again,
                usage=usage,
                model=self._client.model,
            )
            text, data = said.text, said.value
        return AgentResult(text=text, data=data, messages=messages, usage=usage.of(self._client.model))


def _asked(request: AgentRequest, wanted: Following | None) -> str:
    parts = [request.task, request.expected, "" if wanted is None else wanted.instruction]
    return "\n\n".join(part for part in parts if part)


def _alone(agent: AgentDefinition) -> CrewDefinition:
    """A crew of this one agent, with one task that its input is put into."""
    task = Task.model_construct(name="task", agent=agent.name, description="{task}", expected_output="", context=())
    return CrewDefinition.model_construct(name=agent.name, agents=(agent,), tasks=(task,))


@asynccontextmanager
async def open_agents(resources: Resources) -> AsyncGenerator[AgentService]:
    yield AgentService(
        resources.get(Database),
        resources.get(Resolver),
        resources.get(CrewRunner),
        resources.get(ModelClient),
        resources.get(JsonSchemas),
        resources.get(Idempotency),
        resources.get(Stopping),
        wait_seconds=resources.get(Settings).kickoff.timeout_seconds,
    )
