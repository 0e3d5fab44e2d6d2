"""Every route about one workflow, as somebody from whom it is hidden, somebody of each level, and a stranger.

The table names what each route needs; a route that is missing in it fails the first test.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import httpx2
import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.permissions import of_role
from crewmesh_kit.identity import Identity
from crewmesh_kit.sharing.models import LEVELS, Level
from crewmesh_testkit.identities import ORGANIZATION, OTHER_ORGANIZATION, auth_headers

from services.workflow.tests.conftest import Running

OWNER = Identity(ORGANIZATION, "usr_" + "0" * 32, frozenset({"*"}), frozenset({"role:owner"}))
EDITOR = Identity(ORGANIZATION, "usr_" + "1" * 32, of_role("editor"), frozenset({"role:editor"}))
# May nothing at all, but for what is granted.
GUEST = replace(EDITOR, subject="usr_" + "2" * 32, permissions=frozenset[str](), groups=frozenset({"role:role_x"}))
STRANGER = replace(OWNER, organization=OTHER_ORGANIZATION)
SECRET = "the launch is on Friday"

DEFINITION: JsonObject = {
    "name": SECRET,
    "triggers": [{"kind": "webhook", "id": "hook", "auth": "header"}],
    "nodes": [
        {"id": "ask", "kind": "approval", "title": SECRET},
        {"id": "t", "kind": "transform", "output": {"x": SECRET}},
    ],
    "edges": [{"from": "ask", "port": "approved", "to": "t"}],
}
W, R, A = "/v1/workflows/{workflow}", "/v1/runs/{run}", "/v1/approvals/{approval}"
# What each route needs, and what is sent there.
ROUTES: dict[tuple[str, str], tuple[Level, JsonValue]] = {
    ("GET", W): ("view", None),
    ("DELETE", W): ("edit", None),
    ("PUT", f"{W}/status"): ("edit", {"status": "paused"}),
    ("GET", f"{W}/export"): ("view", None),
    ("GET", f"{W}/draft"): ("view", None),
    ("PUT", f"{W}/draft"): ("edit", DEFINITION),
    ("POST", f"{W}/publish"): ("edit", {}),
    ("GET", f"{W}/versions"): ("view", None),
    ("GET", f"{W}/versions/{{version}}"): ("view", None),
    ("GET", f"{W}/versions/{{before}}/diff/{{after}}"): ("view", None),
    ("POST", f"{W}/rollback"): ("edit", {"version": 1}),
    ("POST", f"{W}/versions/{{version}}/migrate"): ("edit", {}),
    ("GET", f"{W}/triggers"): ("view", None),
    ("POST", f"{W}/triggers/{{trigger}}/rotate"): ("edit", {}),
    ("POST", f"{W}/runs"): ("run", {}),
    ("POST", f"{W}/test"): ("run", {}),
    ("GET", R): ("view", None),
    ("DELETE", R): ("run", None),
    ("GET", f"{R}/steps"): ("view", None),
    ("GET", f"{R}/steps/{{path}}"): ("view", None),
    ("GET", f"{R}/logs"): ("view", None),
    ("GET", f"{R}/events"): ("view", None),
    ("POST", f"{R}/cancel"): ("run", None),
    ("POST", f"{R}/pause"): ("run", None),
    ("POST", f"{R}/resume"): ("run", None),
    ("POST", f"{R}/rerun"): ("run", {}),
    ("POST", f"{R}/rerun-from/{{path}}"): ("run", {}),
    ("POST", f"{R}/fork"): ("run", {"at": "t"}),
    ("GET", A): ("view", None),
    ("POST", f"{A}/decisions"): ("view", {"approved": True}),
    ("POST", f"{A}/links"): ("view", {"for": f"user:{EDITOR.subject}"}),
}
# Who is asked is a matter of approvals:*, not of levels: see the tests of questions below.
QUESTIONS = {route for route in ROUTES if route[1].startswith(A)}
# About no single workflow, or open to whoever knows the address, or about access itself.
OTHERS = {
    ("GET", "/v1/workflows"),
    ("POST", "/v1/workflows"),
    ("POST", "/v1/workflows/apply"),
    ("POST", "/v1/workflows/import"),
    ("POST", "/v1/workflows/validate"),
    ("GET", "/v1/workflows/{resource}/access"),
    ("PUT", "/v1/workflows/{resource}/access"),
    ("GET", "/v1/runs"),
    ("GET", "/v1/runs/stats"),
    ("GET", "/v1/approvals"),
    ("POST", "/v1/events"),
    ("POST", "/v1/schedules/preview"),
    ("GET", "/v1/dead-letters"),
    ("POST", "/v1/dead-letters/{letter_id}/redrive"),
}


@dataclass
class Secret:
    """A workflow with a run that waits for a person, and somebody who asks for them."""

    service: Running
    workflow: str
    run: str
    approval: str

    async def ask(self, who: Identity, route: tuple[str, str], body: JsonValue) -> httpx2.Response:
        places = {"version": 1, "before": 1, "after": "draft", "trigger": "hook", "path": "ask"}
        path = route[1].format(workflow=self.workflow, run=self.run, approval=self.approval, **places)
        return await self.request(who, route[0], path, body)

    async def request(
        self, who: Identity, method: str, path: str, body: JsonValue = None, **headers: str
    ) -> httpx2.Response:
        content = None if body is None else json.dumps(body)
        sent = {**auth_headers(who, audience="workflow"), "content-type": "application/json", **headers}
        return await self.service.client.request(method, path, content=content, headers=sent)

    async def share(self, *grants: tuple[str, Level], restricted: bool = True) -> None:
        body: JsonObject = {
            "restricted": restricted,
            "grants": [{"grantee": grantee, "level": level} for grantee, level in grants],
        }
        path = f"/v1/workflows/{self.workflow}/access"
        answer = await self.request(OWNER, "PUT", path, body, **{"if-match": "*"})
        assert answer.status_code == 200, answer.text


async def secret_of(service: Running) -> Secret:
    made = await service.post("/v1/workflows", OWNER, DEFINITION)
    assert made.status_code == 201, made.text
    run = (await service.post(f"/v1/workflows/{made.json()['id']}/runs", OWNER, {})).json()["id"]
    waiting = await service.until(run, "waiting", OWNER)
    asked = waiting["waiting_for"]
    assert isinstance(asked, list)
    assert isinstance(asked[0], dict)
    return Secret(service, made.json()["id"], run, str(asked[0]["id"]))


async def test_every_route_is_in_the_table(service: Running) -> None:
    openapi = (await service.get("/internal/openapi.json", OWNER)).json()
    there = {(method.upper(), path) for path, methods in openapi["paths"].items() for method in methods}
    public = {route for route in there if route[1].startswith(("/v1/hooks", "/v1/approval-links"))}
    assert there - public == set(ROUTES) | OTHERS


async def test_a_stranger_finds_nothing_by_any_route(service: Running) -> None:
    secret = await secret_of(service)
    for route, (_, body) in ROUTES.items():
        answer = await secret.ask(STRANGER, route, body)
        assert answer.status_code == 404, (route, answer.text)
        assert SECRET not in answer.text, route
    assert (await service.get(f"/v1/runs/{secret.run}", OWNER)).json()["status"] == "waiting"


async def test_what_is_hidden_is_unknown_by_every_route_to_whoever_may_everything_else(service: Running) -> None:
    secret = await secret_of(service)
    await secret.share()
    nowhere = replace(secret, workflow="wf_" + "f" * 32, run="run_" + "f" * 32, approval="apr_" + "f" * 32)
    for route, (_, body) in ROUTES.items():
        answer = await secret.ask(EDITOR, route, body)
        assert answer.status_code == 404, (route, answer.text)
        assert SECRET not in answer.text, route
        unknown = await nowhere.ask(EDITOR, route, body)
        assert (unknown.status_code, unknown.json()["type"]) == (404, answer.json()["type"]), route


@pytest.mark.parametrize("granted", LEVELS)
class TestLevels:
    @pytest.mark.parametrize("restricted", [True, False])
    async def test_a_grant_gives_what_the_role_does_not(
        self, service: Running, granted: Level, *, restricted: bool
    ) -> None:
        for route in set(ROUTES) - QUESTIONS:
            secret = await secret_of(service)
            await secret.share((f"user:{GUEST.subject}", granted), restricted=restricted)
            await expect(secret, GUEST, route, granted)

    async def test_what_is_restricted_is_open_as_far_as_it_is_granted(self, service: Running, granted: Level) -> None:
        for route in set(ROUTES) - QUESTIONS:
            secret = await secret_of(service)
            await secret.share(("role:editor", granted))
            await expect(secret, EDITOR, route, granted)


async def expect(secret: Secret, who: Identity, route: tuple[str, str], granted: Level) -> None:
    needed, body = ROUTES[route]
    if route == ("GET", f"{R}/events"):  # it would follow for ever
        await secret.request(OWNER, "POST", f"/v1/runs/{secret.run}/cancel")
        await secret.service.until(secret.run, "cancelled", OWNER)
    answer = await secret.ask(who, route, body)
    if LEVELS.index(granted) >= LEVELS.index(needed):
        # 409 and 428 come from what the workflow or run is, after it was opened.
        assert answer.status_code in (200, 201, 204, 409, 428), (route, answer.text)
    else:
        assert answer.status_code == 403, (route, answer.text)
        problem = answer.json()
        # Without the permission on any workflow the permission is what is missing.
        assert problem.get("level", needed) == needed, (route, problem)
        assert SECRET not in answer.text, route
