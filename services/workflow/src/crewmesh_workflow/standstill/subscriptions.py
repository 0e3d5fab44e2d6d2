"""The topic ``organizations``: what starts runs is paused with its organization, and resumed with it.

Workflows keep their own status: what was paused before stays paused after.
"""

from __future__ import annotations

from crewmesh_contracts.events import CloudEvent, OrganizationStatusChanged
from crewmesh_kit.db.database import Database
from crewmesh_kit.logs import get_logger
from crewmesh_kit.resources import Resources

from crewmesh_workflow.standstill import repository
from crewmesh_workflow.triggers import registration

log = get_logger(__name__)


async def on_status_changed(resources: Resources, event: CloudEvent) -> None:
    if event.type != OrganizationStatusChanged.type():
        return
    changed = OrganizationStatusChanged.model_validate(event.data)
    async with resources.get(Database).tenant(changed.organization) as conn:
        if not await repository.change(conn, changed.organization, changed.status, changed.at):
            return  # a newer one came before
        for workflow in await repository.active_workflows(conn, changed.organization):
            await registration.enable(conn, workflow, enabled=changed.status == "active")
    log.info("triggers follow their organization", organization=changed.organization, status=changed.status)
