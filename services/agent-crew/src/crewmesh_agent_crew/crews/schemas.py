"""What the public API shows of crews."""

from __future__ import annotations

from datetime import datetime

from crewmesh_contracts.base import Reply

from crewmesh_agent_crew.crews.models import CrewDefinition


class Crew(Reply):
    """A crew with its definition. ``version`` is also its ETag."""

    id: str
    version: int
    definition: CrewDefinition
    created_at: datetime


class CrewSummary(Reply):
    id: str
    name: str
    description: str
    agents: tuple[str, ...]
    version: int
    created_at: datetime
