"""What the public API shows of crews."""

from __future__ import annotations

from typing import TypeAlias

from crewmesh_agent_crew.crews.models import CrewDefinition, Process
from crewmesh_agent_crew.records.schemas import Record, Summary

Crew: TypeAlias = Record[CrewDefinition]


class CrewSummary(Summary):
    process: Process
    agents: tuple[str, ...]
