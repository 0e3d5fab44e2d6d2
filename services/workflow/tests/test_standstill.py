"""An organization that is about to be deleted starts nothing by itself, and does again when it is kept after all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal

from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.events import OrganizationStatusChanged
from crewmesh_kit.db.outbox import cloud_event
from crewmesh_kit.identity import Identity
from crewmesh_testkit.identities import ORGANIZATION, OTHER_ORGANIZATION, auth_headers, identity

from services.workflow.tests.conftest import Running

WRITER = identity("workflows:read", "workflows:write")
STRANGER = identity("workflows:read", "workflows:write", organization=OTHER_ORGANIZATION)
NOW = datetime(2026, 6, 1, tzinfo=UTC)
DEFINITION: JsonObject = {
    "name": "by itself",
    "triggers": [
        {"kind": "webhook", "id": "hook"},
        {"kind": "cron", "id": "clock", "expression": "0 9 * * *"},
        {"kind": "event", "id": "event", "type": "something.happened"},
    ],
    "nodes": [{"id": "n", "kind": "transform", "output": {}}],
}


async def tell(service: Running, status: Literal["active", "deleting"], minute: int) -> None:
    event = OrganizationStatusChanged(organization=ORGANIZATION, status=status, at=NOW + timedelta(minutes=minute))
    envelope = cloud_event(event, app_id="gateway").model_dump(mode="json", exclude_none=True)
    assert await service.event("organizations", envelope) == "SUCCESS"


async def enabled(service: Running, workflow: str, who: Identity = WRITER) -> set[bool]:
    items = (await service.get(f"/v1/workflows/{workflow}/triggers", who)).json()["items"]
    assert len(items) == 3
    return {item["enabled"] for item in items}


async def test_triggers_follow_their_organization(service: Running) -> None:
    ours, paused, theirs = [
        (await service.post("/v1/workflows", who, DEFINITION | {"name": name})).json()["id"]
        for who, name in ((WRITER, "ours"), (WRITER, "paused"), (STRANGER, "theirs"))
    ]
    changed = await service.client.put(
        f"/v1/workflows/{paused}/status", json={"status": "paused"}, headers=auth_headers(WRITER, audience="workflow")
    )
    assert changed.status_code == 200, changed.text
    await tell(service, "deleting", 1)
    assert await enabled(service, ours) == {False}
    assert await enabled(service, theirs, STRANGER) == {True}
    await tell(service, "active", 0)
    assert await enabled(service, ours) == {False}, "it came late"
    await tell(service, "active", 2)
    assert await enabled(service, ours) == {True}
    assert await enabled(service, paused) == {False}, "what was paused stays paused"
