"""The agent-crew service as a list of what it is made of."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from crewmesh_kit.app import Service
from crewmesh_kit.dapr.sidecar import Sidecar
from crewmesh_kit.owned_data.forgetting import by_age
from crewmesh_kit.sharing.service import open_sharing
from crewmesh_kit.signals import open_signals
from fastapi import FastAPI

from crewmesh_agent_crew.catalogue import lifetime as catalogue
from crewmesh_agent_crew.conversations import lifetime as conversations
from crewmesh_agent_crew.crew_runs.lifetime import run_crews
from crewmesh_agent_crew.crews import lifetime as definitions
from crewmesh_agent_crew.feedback import lifetime as feedback
from crewmesh_agent_crew.guardrails.policies import endpoints as policies
from crewmesh_agent_crew.guardrails.policies.service import open_policies
from crewmesh_agent_crew.live.words import open_words
from crewmesh_agent_crew.memory import lifetime as memory
from crewmesh_agent_crew.models import endpoints as models
from crewmesh_agent_crew.models.json_schemas import open_json_schemas
from crewmesh_agent_crew.models.service import open_model_service
from crewmesh_agent_crew.providers import lifetime as providers
from crewmesh_agent_crew.routing import lifetime as routing
from crewmesh_agent_crew.settings import Settings
from crewmesh_agent_crew.spending import lifetime as money
from crewmesh_agent_crew.spending.retention import FORGOTTEN_BY_AGE
from crewmesh_agent_crew.statuses import lifetime as statuses
from crewmesh_agent_crew.stopping import endpoints as stopping
from crewmesh_agent_crew.stopping.service import open_stopping, watch_stops
from crewmesh_agent_crew.tools.service import open_tools
from crewmesh_agent_crew.turns import runner as turns

MIGRATIONS = Path(__file__).parents[2] / "migrations"


def create_app(settings: Settings | None = None, sidecar: Sidecar | None = None) -> FastAPI:
    service = Service(
        "agent-crew",
        settings or Settings(),
        title="Crewmesh agent-crew",
        version=version("crewmesh-agent-crew"),
        sidecar=sidecar,
    )
    service.database(migrations=MIGRATIONS)
    service.lifetime(open_signals)
    service.lifetime(open_stopping)
    service.lifetime(open_sharing)
    providers.install(service)
    catalogue.install(service)
    routing.install(service)
    money.install(service)
    service.lifetime(open_json_schemas)
    service.lifetime(open_model_service)
    service.lifetime(open_policies)
    service.lifetime(open_tools)
    service.lifetime(open_words)
    statuses.install(service)
    service.lifetime(turns.open_turns)
    definitions.install(service)
    memory.install(service)
    run_crews(service)
    feedback.install(service)
    conversations.install(service)
    service.background("stops", watch_stops)
    service.ready_check("turns", turns.why_not_ready)
    service.owned_data(
        by_age("crew-runs", table="crew_runs", column="ended_at"),
        by_age("conversations", table="conversations", column="active_at"),
        *FORGOTTEN_BY_AGE,
    )
    service.routes(models.router, stopping.router)
    service.routes(policies.router)
    return service.app
