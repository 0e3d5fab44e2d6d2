"""What the public API shows of agents."""

from __future__ import annotations

from crewmesh_agent_crew.records.schemas import Summary


class AgentSummary(Summary):
    """``role``, ``skills`` and ``tools`` are those that its definition says itself."""

    preset: str | None = None
    specialization: str | None = None
    role: str = ""
    model: str
    skills: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
