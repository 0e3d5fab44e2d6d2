"""Memory as a part of the service; before what drives crew runs."""

from __future__ import annotations

from crewmesh_kit.app import Service

from crewmesh_agent_crew.feedback.insights import open_insights
from crewmesh_agent_crew.memory.forgetting import Forgetting, open_forgetting
from crewmesh_agent_crew.memory.service import open_memories


def install(service: Service) -> None:
    service.lifetime(open_insights)
    service.lifetime(open_memories)
    service.lifetime(open_forgetting)
    service.background("memories that go", lambda resources: resources.get(Forgetting).run())
