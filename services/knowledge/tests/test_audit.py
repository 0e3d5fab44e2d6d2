"""Whatever callers change in knowledge bases is told to the audit log; what documents say is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, cast

import httpx2
import pytest
from crewmesh_contracts.base import JsonObject
from crewmesh_kit.dapr.sidecar import Sidecar
from crewmesh_kit.resources import Resources
from crewmesh_testkit.audit_trail import audit_line, audit_lines, changing_routes
from crewmesh_testkit.fake_sidecar import FakeSidecar
from fastapi import FastAPI

CANARY = "canary-51ce09"
ROUTES: Final = {
    "POST /v1/knowledge-bases",
    "POST /v1/knowledge-bases/{name}/documents",
    "DELETE /v1/knowledge-bases/{name}/documents/{document}",
    "PUT /v1/knowledge-bases/{resource}/access",
}
WITHOUT_A_LINE: Final = {"POST /v1/knowledge-bases/{name}/search": "it only finds"}

Caller = Callable[..., httpx2.AsyncClient]


@pytest.fixture
def sidecar(app: FastAPI) -> FakeSidecar:
    resources: Resources = app.state.resources
    return cast(FakeSidecar, resources.get(Sidecar))


def test_no_route_that_changes_something_is_forgotten(app: FastAPI) -> None:
    assert changing_routes(app) == {*ROUTES, *WITHOUT_A_LINE}


@pytest.mark.asyncio(loop_scope="module")
async def test_every_change_leaves_its_line(caller: Caller, sidecar: FakeSidecar, organization: str) -> None:
    client = caller(organization, "*")
    base = (await client.post("/v1/knowledge-bases", json={"name": "told"})).json()
    new = {"title": "Title", "text": f"password: {CANARY}"}
    document = (await client.post("/v1/knowledge-bases/told/documents", json=new)).json()
    again = await client.post("/v1/knowledge-bases/told/documents", json=new)
    assert again.json()["id"] == document["id"]
    access: JsonObject = {"restricted": True, "grants": []}
    shared = await client.put("/v1/knowledge-bases/told/access", json=access, headers={"if-match": "*"})
    assert shared.status_code == 200, shared.text
    assert (await client.delete(f"/v1/knowledge-bases/told/documents/{document['id']}")).status_code == 204
    refused = await client.delete(f"/v1/knowledge-bases/told/documents/{document['id']}")
    assert refused.status_code == 404
    await audit_line(sidecar, "document.deleted", document["id"])
    lines = [line for line in audit_lines(sidecar) if line.organization == organization]
    assert [(line.action, line.resource) for line in lines] == [
        ("knowledge-base.created", base["id"]),
        ("document.added", document["id"]),
        ("knowledge-base.access-changed", base["id"]),
        ("document.deleted", document["id"]),
    ]
    assert lines[1].after == {"knowledge_base": base["id"], "title": "Title", "characters": len(new["text"])}
    assert CANARY not in "".join(line.model_dump_json() for line in lines)
