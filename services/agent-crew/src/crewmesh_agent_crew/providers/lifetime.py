"""Providers of models in the running service."""

from __future__ import annotations

from crewmesh_kit.app import Service

from crewmesh_agent_crew.providers import endpoints
from crewmesh_agent_crew.providers.accounts import open_accounts
from crewmesh_agent_crew.providers.adapters import open_adapters
from crewmesh_agent_crew.providers.service import open_providers
from crewmesh_agent_crew.providers.trials import open_trials


def install(service: Service) -> None:
    """After the signals."""
    service.lifetime(open_adapters)
    service.lifetime(open_accounts)
    service.lifetime(open_providers)
    service.lifetime(open_trials)
    service.routes(endpoints.router)
