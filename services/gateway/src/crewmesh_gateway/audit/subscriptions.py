"""The topic ``audit``: every event becomes a line, once."""

from __future__ import annotations

from crewmesh_contracts.events import AuditRecorded, CloudEvent
from crewmesh_kit.resources import Resources

from crewmesh_gateway.audit.errors import NotAnAuditLine
from crewmesh_gateway.audit.writing import Gathering


async def on_audit_event(resources: Resources, event: CloudEvent) -> None:
    if event.type != AuditRecorded.type():
        raise NotAnAuditLine(f"The topic takes {AuditRecorded.type()} only.")
    recorded = AuditRecorded.model_validate(event.data)
    if recorded.organization != event.crewmeshorg:
        raise NotAnAuditLine("Its envelope names another organization than its data.")
    await resources.get(Gathering).add(recorded)
