"""Everything that is defined by people: agents, crews, and the prompts they are written with."""

from __future__ import annotations

from crewmesh_contracts.events import OrganizationCreated
from crewmesh_kit.app import Service

from crewmesh_agent_crew.agents import endpoints as agents
from crewmesh_agent_crew.agents.service import open_agents
from crewmesh_agent_crew.crews import endpoints as crews
from crewmesh_agent_crew.crews.examining import open_examiner
from crewmesh_agent_crew.crews.resolving import open_resolver
from crewmesh_agent_crew.crews.service import open_crews
from crewmesh_agent_crew.crews.subscriptions import give_starter_crews
from crewmesh_agent_crew.prompt_templates import endpoints as prompt_templates
from crewmesh_agent_crew.prompt_templates.service import open_prompt_templates
from crewmesh_agent_crew.role_prompts import endpoints as roles


def install(service: Service) -> None:
    """After sharing, the catalogue of models, and the checking of schemas."""
    service.lifetime(open_examiner)
    service.lifetime(open_resolver)
    service.lifetime(open_crews)
    service.lifetime(open_agents)
    service.lifetime(open_prompt_templates)
    service.subscribe(topic=OrganizationCreated.topic, handler=give_starter_crews)
    for kind in (crews, agents, prompt_templates):
        service.routes(kind.router, *kind.records)
    service.routes(roles.router)
