"""HTTP of events, and of a workflow's triggers."""

from __future__ import annotations

from typing import Annotated

from crewmesh_contracts.events import CloudEvent
from crewmesh_kit.app import provided
from crewmesh_kit.db.idempotency import IdempotencyKey
from crewmesh_kit.identity import Identity, requires
from crewmesh_kit.sharing.endpoints import reaching
from fastapi import APIRouter

from crewmesh_workflow.access import CHANGE, SEE
from crewmesh_workflow.triggers.listing import TriggerListing
from crewmesh_workflow.triggers.schemas import EventAccepted, Rotation, TriggerList, WebhookView
from crewmesh_workflow.triggers.service import Triggers

router = APIRouter(prefix="/v1/events", tags=["events"])
of_workflow = APIRouter(prefix="/v1/workflows/{workflow}/triggers", tags=["triggers"])


@router.post("", status_code=202)
async def send_event(
    event: CloudEvent,
    identity: Annotated[Identity, requires("events:write")],
    triggers: Annotated[Triggers, provided(Triggers)],
    key: IdempotencyKey = None,
) -> EventAccepted:
    """Send a CloudEvent. Every workflow with a trigger for it starts a run, every run that waits for it goes on.

    Both happen once per event source and id.
    """
    return await triggers.accept(identity, event, key=key)


@of_workflow.get("")
async def list_triggers(
    workflow: str,
    identity: Annotated[Identity, reaching(SEE)],
    listing: Annotated[TriggerListing, provided(TriggerListing)],
) -> TriggerList:
    """The triggers of the published version. Secrets of webhooks are shown to who may write workflows."""
    return await listing.of_workflow(identity, workflow)


@of_workflow.post("/{trigger}/rotate")
async def rotate_webhook(
    workflow: str,
    trigger: str,
    rotation: Rotation,
    identity: Annotated[Identity, reaching(CHANGE)],
    listing: Annotated[TriggerListing, provided(TriggerListing)],
    key: IdempotencyKey = None,
) -> WebhookView:
    """Give a webhook another secret (the old one holds for a day) or another url (the old one ends at once)."""
    return await listing.rotate(identity, workflow, trigger, rotation, key=key)
