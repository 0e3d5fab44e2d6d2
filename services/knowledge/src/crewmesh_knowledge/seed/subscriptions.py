"""The topic ``organizations``: a new organization is given the handbook, once.

The event is remembered in the same transaction, so a second delivery brings nothing back that was deleted meanwhile.
"""

from __future__ import annotations

from crewmesh_contracts.events import CloudEvent, OrganizationCreated
from crewmesh_kit.db import inbox
from crewmesh_kit.db.database import Database
from crewmesh_kit.logs import get_logger
from crewmesh_kit.resources import Resources

from crewmesh_knowledge.bases.service import Bases
from crewmesh_knowledge.documents.repository import Place
from crewmesh_knowledge.documents.service import Documents
from crewmesh_knowledge.seed.documents import HANDBOOK, handbook_documents

CONSUMER = "knowledge.seed"

log = get_logger(__name__)


async def on_organization_event(resources: Resources, event: CloudEvent) -> None:
    if event.type != OrganizationCreated.type():
        return
    created = OrganizationCreated.model_validate(event.data)
    bases, documents = resources.get(Bases), resources.get(Documents)
    async with resources.get(Database).tenant(created.organization) as connection:
        if not await inbox.first_time(connection, CONSUMER, event):
            return
        base = await bases.ensure(connection, created.organization, HANDBOOK)
        place = Place(organization=created.organization, base_id=base.id)
        for document in handbook_documents():
            await documents.take_in(connection, place, document)
    documents.indexer.wake()
    log.info("gave a new organization its handbook", documents=len(handbook_documents()))
