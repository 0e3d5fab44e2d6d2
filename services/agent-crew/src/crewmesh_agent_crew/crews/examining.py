"""What is found in an agent or a crew by asking others: whether schemas are any, and whether models are known."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager

from crewmesh_contracts.base import JsonObject
from crewmesh_kit.app import Resources

from crewmesh_agent_crew.agents.models import AgentDefinition
from crewmesh_agent_crew.catalogue.service import Catalogue
from crewmesh_agent_crew.crews.models import CrewDefinition
from crewmesh_agent_crew.models.errors import UnknownModel
from crewmesh_agent_crew.models.json_schemas import BadSchema, JsonSchemas
from crewmesh_agent_crew.records.findings import Findings
from crewmesh_agent_crew.records.mistakes import Mistake
from crewmesh_agent_crew.tools.grants import ActionGrant

# Each takes a process of its own to look at.
_MOST_SCHEMAS = 50
_MOST_REMEMBERED = 10_000


class Examiner:
    def __init__(self, catalogue: Catalogue, schemas: JsonSchemas) -> None:
        self._catalogue = catalogue
        self._schemas = schemas
        # Hashes of schemas that are any, for definitions are saved again and again.
        self._good: set[bytes] = set()

    async def agent(self, organization: str, agent: AgentDefinition) -> Findings:
        return await self._examined(organization, [("", agent)], [])

    async def crew(self, organization: str, crew: CrewDefinition) -> Findings:
        inline = [
            (f"agents.{index}.", member)
            for index, member in enumerate(crew.agents)
            if isinstance(member, AgentDefinition)
        ]
        tasks = [
            (f"tasks.{index}.output_schema", task.output_schema)
            for index, task in enumerate(crew.tasks)
            if task.output_schema is not None
        ]
        return await self._examined(organization, inline, tasks)

    async def _examined(
        self,
        organization: str,
        agents: Sequence[tuple[str, AgentDefinition]],
        schemas: Sequence[tuple[str, JsonObject]],
    ) -> Findings:
        every = [*schemas, *(found for path, agent in agents for found in _schemas(path, agent))]
        if len(every) > _MOST_SCHEMAS:
            where, _ = every[_MOST_SCHEMAS]
            return Findings([Mistake(where, f"there are more than {_MOST_SCHEMAS} schemas in this; use fewer")])
        faults = await asyncio.gather(*(self._fault(schema) for _, schema in every))
        mistakes = [Mistake(path, fault) for (path, _), fault in zip(every, faults, strict=True) if fault]
        return Findings(mistakes, await self._unknown_models(organization, agents))

    async def _fault(self, schema: JsonObject) -> str | None:
        known = hashlib.sha256(json.dumps(schema, sort_keys=True).encode()).digest()
        if known in self._good:
            return None
        try:
            await self._schemas.check(schema)
        except BadSchema as bad:
            return bad.why
        if len(self._good) >= _MOST_REMEMBERED:
            self._good.clear()
        self._good.add(known)
        return None

    async def _unknown_models(self, organization: str, agents: Sequence[tuple[str, AgentDefinition]]) -> list[Mistake]:
        """A model may be added later, so that this is only a hint."""
        book = await self._catalogue.book(organization)
        hints: list[Mistake] = []
        for path, agent in agents:
            try:
                book.chain(agent.model)
            except UnknownModel as unknown:
                hints.append(Mistake(f"{path}model", unknown.detail))
        return hints


def _schemas(path: str, agent: AgentDefinition) -> Iterator[tuple[str, JsonObject]]:
    if agent.output_schema is not None:
        yield f"{path}output_schema", agent.output_schema
    for index, tool in enumerate(agent.tools):
        if isinstance(tool, ActionGrant):
            yield f"{path}tools.{index}.parameters", tool.parameters


@asynccontextmanager
async def open_examiner(resources: Resources) -> AsyncGenerator[Examiner]:
    """After the catalogue."""
    yield Examiner(resources.get(Catalogue), resources.get(JsonSchemas))
