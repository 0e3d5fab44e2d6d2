"""Whatever callers change in crews is told to the audit log; what agents are told is not."""

from __future__ import annotations

import json
from typing import Final, cast

import pytest
from crewmesh_agent_crew.main import create_app
from crewmesh_agent_crew.settings import Settings
from crewmesh_contracts.base import JsonObject
from crewmesh_kit.dapr.sidecar import Sidecar
from crewmesh_testkit.audit_trail import audit_line, changing_routes
from crewmesh_testkit.fake_sidecar import FakeSidecar

from .harness import Running
from .records_api import Api, agent, crew

CANARY = "canary-90aa1e"
RECORDS: Final = ("agents", "crews", "prompt-templates")
ROUTES: Final = {
    *(f"POST /v1/{path}" for path in RECORDS),
    *(f"POST /v1/{path}/import" for path in RECORDS),
    *(f"PUT /v1/{path}/{{ref}}" for path in RECORDS),
    *(f"DELETE /v1/{path}/{{ref}}" for path in RECORDS),
    *(f"POST /v1/{path}/{{ref}}/rollback" for path in RECORDS),
    *(f"POST /v1/{path}/{{ref}}/restore" for path in RECORDS),
    "PUT /v1/agents/{resource}/access",
    "PUT /v1/crews/{resource}/access",
    # Changes nothing.
    "POST /v1/prompt-templates/{ref}/render",
    # Driven in test_crew_runs_api.py.
    "POST /v1/crews/{name}/runs",
    "POST /v1/agents/{name}/runs",
    "POST /v1/crew-runs/{crew_run}/cancel",
    "POST /v1/crew-runs/{crew_run}/questions/{question}/decisions",
    # Driven in test_conversations_audit.py; a decision is one on the answer's crew run.
    "POST /v1/conversations",
    "PATCH /v1/conversations/{conversation}",
    "DELETE /v1/conversations/{conversation}",
    "POST /v1/conversations/{conversation}/messages",
    "POST /v1/conversations/{conversation}/messages/{message}/regenerate",
    "POST /v1/conversations/{conversation}/messages/{message}/decisions",
    "POST /v1/conversations/{conversation}/attachments",
    "POST /v1/conversations/{conversation}/cancel",
    # Driven in test_memory.py.
    "POST /v1/crew-runs/{crew_run}/feedback",
    "POST /v1/insights",
    "DELETE /v1/insights/{insight}",
    # Driven in test_guardrails_policies.py.
    "POST /v1/policies",
    "PUT /v1/policies/{name}",
    "DELETE /v1/policies/{name}",
    # Driven in test_catalogue_endpoints.py.
    "PUT /v1/models/{name:path}",
    "DELETE /v1/models/{name:path}",
    "PUT /v1/models/aliases/{alias:path}",
    "DELETE /v1/models/aliases/{alias:path}",
    # Driven in test_providers_accounts.py.
    "POST /v1/providers",
    "PUT /v1/providers/{name}",
    "DELETE /v1/providers/{name}",
    "POST /v1/providers/{name}/test",
    # Driven in test_budgets_api.py.
    "POST /v1/budgets",
    "PUT /v1/budgets/{budget}",
    "DELETE /v1/budgets/{budget}",
    "POST /v1/budgets/{budget}/top-ups",
}


def test_no_route_that_changes_something_is_forgotten() -> None:
    assert changing_routes(create_app(Settings())) == ROUTES


@pytest.mark.parametrize(
    ("path", "noun", "definition", "changed"),
    [
        ("agents", "agent", agent("told"), {"goal": "New."}),
        ("crews", "crew", crew("told"), {"process": "parallel"}),
        ("prompt-templates", "prompt-template", {"name": "told", "text": "Old."}, {"text": "New."}),
    ],
)
async def test_every_change_of_a_record_leaves_its_line(
    service: Running, path: str, noun: str, definition: JsonObject, changed: JsonObject
) -> None:
    """What changed is told by its place: what it says stays where it is."""
    sidecar, api = cast(FakeSidecar, service.resources.get(Sidecar)), Api(service, path)
    described = {**definition, "description": f"api_key {CANARY}"}
    id_ = str((await api.made(described))["id"])
    lines = [await audit_line(sidecar, f"{noun}.created", id_)]
    assert (lines[0].organization, lines[0].outcome) == (service.organization, "done")
    assert lines[0].after == {"name": "told", "version": 1}

    await api.put("told", {**described, **changed})
    lines.append(await audit_line(sidecar, f"{noun}.updated", id_))
    assert lines[1].after == {"version": 2, "changes": [*changed]}
    await api.do("told/rollback", {"version": 1})
    lines.append(await audit_line(sidecar, f"{noun}.rolled-back", id_))
    assert (lines[2].before, lines[2].after) == ({"version": 2}, {"version": 3, "changes": [*changed]})
    await api.delete("told")
    lines.append(await audit_line(sidecar, f"{noun}.archived", id_))
    await api.do(f"{id_}/restore")
    lines.append(await audit_line(sidecar, f"{noun}.restored", id_))

    imported = await api.import_(json.dumps({**definition, "name": "another"}), media_type="application/json")
    lines.append(await audit_line(sidecar, f"{noun}.created", imported.json()["items"][0]["id"]))
    assert CANARY not in "".join(line.model_dump_json() for line in lines)
    if noun != "prompt-template":
        await api.share("told")
        assert (await audit_line(sidecar, f"{noun}.access-changed", id_)).actor == service.who("*").subject
