"""The topic ``events``: CloudEvents of any producer that is allowed to publish there."""

from __future__ import annotations

from crewmesh_contracts.events import CloudEvent
from crewmesh_kit.resources import Resources

from crewmesh_workflow.triggers.service import Triggers


async def on_event(resources: Resources, event: CloudEvent) -> None:
    await resources.get(Triggers).consume(event)
