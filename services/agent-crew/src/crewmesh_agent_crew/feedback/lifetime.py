"""Feedback as a part of the service; insights, which it is made into, are opened with the memory that tells them."""

from __future__ import annotations

from crewmesh_kit.app import Service

from crewmesh_agent_crew.feedback import endpoints
from crewmesh_agent_crew.feedback.service import open_feedback


def install(service: Service) -> None:
    service.lifetime(open_feedback)
    service.routes(endpoints.router)
