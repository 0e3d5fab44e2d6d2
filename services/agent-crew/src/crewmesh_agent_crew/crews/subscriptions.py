"""A new organization gets its starter crews."""

from __future__ import annotations

from crewmesh_contracts.events import CloudEvent, OrganizationCreated
from crewmesh_kit.app import Resources

from crewmesh_agent_crew.crews.service import CrewService


async def give_starter_crews(resources: Resources, event: CloudEvent) -> None:
    if event.type != OrganizationCreated.type():
        return
    created = OrganizationCreated.model_validate(event.data)
    await resources.get(CrewService).give_starters(created.organization, event)
