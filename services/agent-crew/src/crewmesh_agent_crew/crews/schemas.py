"""What the public API shows of crews."""

from __future__ import annotations

from crewmesh_contracts.base import Reply

from crewmesh_agent_crew.crews.models import CrewDefinition, Process, name_of
from crewmesh_agent_crew.records.schemas import Summary


class CrewSummary(Summary):
    process: Process
    agents: tuple[str, ...]


class CrewTemplate(Reply):
    """A crew that is shipped, ready to be added as it is."""

    name: str
    description: str
    process: Process
    agents: tuple[str, ...]
    definition: CrewDefinition


def template_of(definition: CrewDefinition) -> CrewTemplate:
    return CrewTemplate(
        name=definition.name,
        description=definition.description,
        process=definition.process,
        agents=tuple(name_of(agent) for agent in definition.agents),
        definition=definition,
    )
