"""Whatever callers change in crews is told to the audit log; what agents are told is not."""

from __future__ import annotations

from typing import Final, cast

from crewmesh_agent_crew.main import create_app
from crewmesh_agent_crew.settings import Settings
from crewmesh_contracts.base import JsonObject
from crewmesh_kit.dapr.sidecar import Sidecar
from crewmesh_testkit.audit_trail import audit_line, changing_routes
from crewmesh_testkit.fake_sidecar import FakeSidecar
from crewmesh_testkit.identities import auth_headers

from .harness import Running

CANARY = "canary-90aa1e"
ROUTES: Final = {
    "POST /v1/crews",
    "PUT /v1/crews/{resource}/access",
    # Driven in test_crew_runs_api.py.
    "POST /v1/crews/{name}/runs",
    "POST /v1/agents/{name}/runs",
    "POST /v1/crew-runs/{crew_run}/cancel",
    "POST /v1/crew-runs/{crew_run}/questions/{question}/decision",
    # Driven in test_guardrails_policies.py.
    "POST /v1/policies",
    "PUT /v1/policies/{name}",
    "DELETE /v1/policies/{name}",
    # Driven in test_catalogue_endpoints.py.
    "PUT /v1/models/{name:path}",
    "DELETE /v1/models/{name:path}",
    "PUT /v1/models/aliases/{alias:path}",
    "DELETE /v1/models/aliases/{alias:path}",
    # Driven in test_budgets_api.py.
    "POST /v1/budgets",
    "PUT /v1/budgets/{budget}",
    "DELETE /v1/budgets/{budget}",
    "POST /v1/budgets/{budget}/top-ups",
}


def test_no_route_that_changes_something_is_forgotten() -> None:
    assert changing_routes(create_app(Settings())) == ROUTES


async def test_every_change_leaves_its_line(service: Running) -> None:
    sidecar = cast(FakeSidecar, service.resources.get(Sidecar))
    template = (await service.get("/v1/crews/answer-desk", who=service.who("*"))).json()["definition"]
    definition = {**template, "name": "told", "description": f"api_key {CANARY}"}
    created = (await service.post("/v1/crews", definition, who=service.who("*"))).json()
    line = await audit_line(sidecar, "crew.created", created["id"])
    assert (line.organization, line.outcome) == (service.organization, "done")
    assert line.after == {"name": "told", "agents": [agent["name"] for agent in template["agents"]]}
    assert CANARY not in line.model_dump_json()

    access: JsonObject = {"restricted": True, "grants": []}
    headers = {**auth_headers(service.who("*"), audience="agent-crew"), "if-match": "*"}
    shared = await service.client.put("/v1/crews/told/access", json=access, headers=headers)
    assert shared.status_code == 200, shared.text
    assert (await audit_line(sidecar, "crew.access-changed", created["id"])).actor == service.who("*").subject
