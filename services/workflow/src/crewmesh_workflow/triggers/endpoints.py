"""HTTP of events."""

from __future__ import annotations

from typing import Annotated

from crewmesh_contracts.events import CloudEvent
from crewmesh_kit.app import provided
from crewmesh_kit.db.idempotency import IdempotencyKey
from crewmesh_kit.identity import Identity, requires
from fastapi import APIRouter

from crewmesh_workflow.triggers.schemas import EventAccepted
from crewmesh_workflow.triggers.service import Triggers

router = APIRouter(prefix="/v1/events", tags=["events"])


@router.post("", status_code=202)
async def send_event(
    event: CloudEvent,
    identity: Annotated[Identity, requires("events:write")],
    triggers: Annotated[Triggers, provided(Triggers)],
    key: IdempotencyKey = None,
) -> EventAccepted:
    """Send a CloudEvent. Every workflow with a trigger for its type starts a run, once per event source and id."""
    return await triggers.accept(identity, event, key=key)
