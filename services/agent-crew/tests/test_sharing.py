"""Crews that are shared one by one: who sees them, and which workflows may set them and their agents to work."""

from __future__ import annotations

from dataclasses import replace

import httpx2
from crewmesh_kit.identity import Identity
from crewmesh_kit.ids import new_id
from crewmesh_testkit.identities import auth_headers

from .harness import Running
from .test_crews import renamed

ACCESS = "/v1/crews/answer-desk/access"
KICKOFF = {"crew": "answer-desk", "inputs": {"question": "Who?", "context": ""}}
WORKFLOW = "workflow:wf_" + "1" * 32


def person(service: Running, number: str, *permissions: str, role: str = "editor") -> Identity:
    return replace(service.who(*permissions), subject="usr_" + number * 32, groups=frozenset({f"role:{role}"}))


def run_of(service: Running, workflow: str) -> Identity:
    """As the engine signs for runs."""
    return replace(service.who("crews:run"), subject=new_id("run"), groups=frozenset({workflow}))


async def share(
    service: Running,
    *grants: tuple[str, str],
    restricted: bool = True,
    who: Identity | None = None,
    path: str = ACCESS,
) -> httpx2.Response:
    headers = auth_headers(who or service.who("access:manage"), audience="agent-crew")
    body = {"restricted": restricted, "grants": [{"grantee": grantee, "level": level} for grantee, level in grants]}
    return await service.client.put(path, json=body, headers={**headers, "if-match": "*"})


async def test_a_hidden_crew_is_in_no_list_and_on_no_route(service: Running) -> None:
    for name in ("alpha", "beta", "gamma"):
        await service.post("/v1/crews", renamed(name))
    editor = person(service, "1", "crews:read", "crews:write")
    assert (await share(service)).status_code == 200
    first = (await service.get("/v1/crews?limit=2", who=editor)).json()
    rest = (await service.get(f"/v1/crews?limit=2&cursor={first['next_cursor']}", who=editor)).json()
    assert [[crew["name"] for crew in page["items"]] for page in (first, rest)] == [["alpha", "beta"], ["gamma"]]
    unknown = await service.get("/v1/crews/nobody", who=editor)
    hidden = await service.get("/v1/crews/answer-desk", who=editor)
    assert (hidden.status_code, hidden.json()["type"]) == (404, unknown.json()["type"])
    admin = person(service, "2", "crews:read", role="admin")
    assert (await service.get("/v1/crews/answer-desk", who=admin)).status_code == 200


async def test_a_grant_shows_a_crew_to_who_sees_no_others(service: Running) -> None:
    guest = person(service, "3", role="role_x")
    assert (await service.get("/v1/crews", who=guest)).status_code == 403
    await service.post("/v1/crews", renamed("second"))
    await share(service, (f"user:{guest.subject}", "view"), restricted=False)
    assert [crew["name"] for crew in (await service.get("/v1/crews", who=guest)).json()["items"]] == ["answer-desk"]
    assert (await service.get("/v1/crews/second", who=guest)).status_code == 404


async def test_a_workflow_sets_a_restricted_crew_to_work_when_it_was_granted(service: Running) -> None:
    run = run_of(service, WORKFLOW)
    assert (await service.post("/internal/kickoff", KICKOFF, who=run, key=new_id("k"))).status_code == 200
    await share(service)
    refused = await service.post("/internal/kickoff", KICKOFF, who=run, key=new_id("k"))
    assert (refused.status_code, refused.json()["type"].rsplit("/")[-1]) == (404, "unknown-crew")
    await share(service, (WORKFLOW, "view"))
    refused = await service.post("/internal/kickoff", KICKOFF, who=run, key=new_id("k"))
    assert (refused.status_code, refused.json()["level"]) == (403, "run")
    await share(service, (WORKFLOW, "run"))
    assert (await service.post("/internal/kickoff", KICKOFF, who=run, key=new_id("k"))).status_code == 200
    other = run_of(service, "workflow:wf_" + "2" * 32)
    assert (await service.post("/internal/kickoff", KICKOFF, who=other, key=new_id("k"))).status_code == 404


async def test_an_agent_is_reached_through_crews_that_are_open(service: Running) -> None:
    run = run_of(service, WORKFLOW)
    body = {"agent": "writer", "task": "Write."}
    await share(service)
    assert (await service.post("/internal/agent", body, who=run, key=new_id("k"))).status_code == 404
    await service.post("/v1/crews", renamed("open"))
    assert (await service.post("/internal/agent", body, who=run, key=new_id("k"))).status_code == 200


async def test_a_key_of_an_answer_does_not_open_what_was_closed_since(service: Running) -> None:
    run, key = run_of(service, WORKFLOW), new_id("k")
    assert (await service.post("/internal/kickoff", KICKOFF, who=run, key=key)).status_code == 200
    await share(service)
    assert (await service.post("/internal/kickoff", KICKOFF, who=run, key=key)).status_code == 404


async def test_access_is_another_s_business(service: Running) -> None:
    stranger = service.who("*", organization=new_id("org"))
    assert (await service.get(ACCESS, who=stranger)).status_code == 404
    assert (await share(service, who=stranger)).status_code == 404
    editor = person(service, "4", "crews:read", "crews:write")
    assert (await service.get(ACCESS, who=editor)).status_code == 403
    assert (await share(service, who=editor)).status_code == 403
