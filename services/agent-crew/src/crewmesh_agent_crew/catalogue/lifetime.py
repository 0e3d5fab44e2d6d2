"""The catalogue as a part of the service."""

from __future__ import annotations

from crewmesh_kit.app import Service

from crewmesh_agent_crew.catalogue import endpoints
from crewmesh_agent_crew.catalogue.changes import open_catalogue_changes
from crewmesh_agent_crew.catalogue.service import open_catalogue


def install(service: Service) -> None:
    """After the accounts and the signals."""
    service.lifetime(open_catalogue)
    service.lifetime(open_catalogue_changes)
    service.routes(endpoints.router)
