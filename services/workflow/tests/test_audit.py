"""Whatever callers change in workflows, runs and approvals is told to the audit log, without what is secret in it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_testkit.audit_trail import audit_line, audit_lines, changing_routes
from crewmesh_testkit.identities import APP_API_TOKEN, ORGANIZATION, auth_headers, identity
from crewmesh_testkit.polling import until

from services.workflow.tests.conftest import Running

OWNER = identity("*", subject="usr_" + "1" * 32)
CANARY = "canary-7f3d2b9a"
WAITS: JsonObject = {"id": "wait", "kind": "delay", "seconds": 3600}
SETS: JsonObject = {"id": "say", "kind": "transform", "output": {"said": "yes"}}
ASKS: JsonObject = {"id": "ask", "kind": "approval", "title": "Pay?"}

# A request through the route; the action and the resource of the line that it must leave.
Scenario = Callable[["Caller"], Awaitable[tuple[str, str]]]
# Routes that take a body and change nothing, or whose record is elsewhere: the run that an event or a hook starts.
WITHOUT_A_LINE: Final = {
    "POST /v1/workflows/validate": "it only checks",
    "POST /v1/schedules/preview": "it only computes",
    "POST /v1/events": "the runs it starts are the record",
    **{
        f"{method} /v1/hooks/{kind}{{token}}": "nobody is signed in; the run it starts is the record"
        for method in ("POST", "PUT", "PATCH", "DELETE")
        for kind in ("", "test/")
    },
}


class Caller:
    """The owner of an organization, asking the service."""

    def __init__(self, service: Running) -> None:
        self.service = service

    async def call(self, method: str, path: str, body: JsonValue = None, **headers: str) -> Any:
        sent = {**auth_headers(OWNER, audience="workflow"), **headers}
        answer = await self.service.client.request(method, path, json=body, headers=sent)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    async def workflow(self, *nodes: JsonObject, **more: JsonValue) -> str:
        definition: JsonObject = {"name": "told", "nodes": [*(nodes or (SETS,))], **more}
        return (await self.call("POST", "/v1/workflows", definition))["id"]

    async def run(self, *nodes: JsonObject, **more: JsonValue) -> str:
        return (await self.call("POST", f"/v1/workflows/{await self.workflow(*nodes, **more)}/runs", {}))["id"]

    async def waiting_run(self) -> str:
        run = await self.run(WAITS)
        await self.service.until(run, "waiting", OWNER)
        return run

    async def ended_run(self) -> str:
        run = await self.run()
        await self.service.until(run, "completed", OWNER)
        return run

    async def approval(self) -> str:
        run = await self.run(ASKS, SETS, edges=[{"from": "ask", "port": "approved", "to": "say"}])

        async def asked() -> list[Any]:
            return (await self.call("GET", f"/v1/approvals?run={run}"))["items"]

        return (await until(asked, seconds=60, what="the question"))[0]["id"]

    async def draft(self, workflow: str, *nodes: JsonObject) -> None:
        definition: JsonObject = {"name": "told", "nodes": [*nodes]}
        await self.call("PUT", f"/v1/workflows/{workflow}/draft", definition, **{"if-match": "*"})

    async def published(self, workflow: str, *nodes: JsonObject) -> None:
        await self.draft(workflow, *nodes)
        await self.call("POST", f"/v1/workflows/{workflow}/publish", {}, **{"if-match": "*"})


async def create(caller: Caller) -> tuple[str, str]:
    return "workflow.created", await caller.workflow()


async def save(caller: Caller) -> tuple[str, str]:
    workflow = await caller.workflow()
    await caller.draft(workflow, SETS, WAITS)
    return "workflow.draft-saved", workflow


async def publish(caller: Caller) -> tuple[str, str]:
    workflow = await caller.workflow()
    await caller.published(workflow, SETS, WAITS)
    return "workflow.published", workflow


async def roll_back(caller: Caller) -> tuple[str, str]:
    workflow = await caller.workflow()
    await caller.published(workflow, SETS, WAITS)
    await caller.call("POST", f"/v1/workflows/{workflow}/rollback", {"version": 1})
    return "workflow.rolled-back", workflow


async def set_status(caller: Caller) -> tuple[str, str]:
    workflow = await caller.workflow()
    await caller.call("PUT", f"/v1/workflows/{workflow}/status", {"status": "paused"})
    return "workflow.paused", workflow


async def archive(caller: Caller) -> tuple[str, str]:
    workflow = await caller.workflow()
    await caller.call("DELETE", f"/v1/workflows/{workflow}")
    return "workflow.archived", workflow


async def apply(caller: Caller) -> tuple[str, str]:
    content = json.dumps({"name": "filed", "slug": "filed", "nodes": [SETS]})
    done = await caller.call("POST", "/v1/workflows/apply", {"files": [{"path": "a.json", "content": content}]})
    return "workflow.applied", done["plan"][0]["workflow"]


async def import_(caller: Caller) -> tuple[str, str]:
    done = await caller.call("POST", "/v1/workflows/import", {"name": "in", "slug": "in", "nodes": [SETS]})
    return "workflow.imported", done["workflow"]


async def move(caller: Caller) -> tuple[str, str]:
    workflow = await caller.workflow(WAITS)
    run = (await caller.call("POST", f"/v1/workflows/{workflow}/runs", {}))["id"]
    await caller.service.until(run, "waiting", OWNER)
    await caller.published(workflow, WAITS, SETS)
    moved = await caller.call("POST", f"/v1/workflows/{workflow}/versions/1/migrate", {"dry_run": False})
    assert moved["moved"] == [run]
    return "workflow.runs-moved", workflow


async def share(caller: Caller) -> tuple[str, str]:
    workflow = await caller.workflow()
    access: JsonObject = {"restricted": True, "grants": [{"grantee": "role:viewer", "level": "view"}]}
    await caller.call("PUT", f"/v1/workflows/{workflow}/access", access, **{"if-match": "*"})
    return "workflow.access-changed", workflow


async def rotate(caller: Caller) -> tuple[str, str]:
    workflow = await caller.workflow(triggers=[{"kind": "webhook", "id": "hook", "auth": "header"}])
    await caller.call("POST", f"/v1/workflows/{workflow}/triggers/hook/rotate", {})
    return "webhook.rotated", workflow


async def start(caller: Caller) -> tuple[str, str]:
    return "run.started", await caller.run()


async def try_(caller: Caller) -> tuple[str, str]:
    workflow = await caller.workflow()
    return "run.tested", (await caller.call("POST", f"/v1/workflows/{workflow}/test", {}))["id"]


async def rerun(caller: Caller) -> tuple[str, str]:
    return "run.rerun", (await caller.call("POST", f"/v1/runs/{await caller.ended_run()}/rerun", {}))["id"]


async def rerun_from(caller: Caller) -> tuple[str, str]:
    run = await caller.ended_run()
    return "run.rerun", (await caller.call("POST", f"/v1/runs/{run}/rerun-from/say", {}))["id"]


async def fork(caller: Caller) -> tuple[str, str]:
    run = await caller.ended_run()
    return "run.forked", (await caller.call("POST", f"/v1/runs/{run}/fork", {"at": 1}))["id"]


async def cancel(caller: Caller) -> tuple[str, str]:
    run = await caller.waiting_run()
    await caller.call("POST", f"/v1/runs/{run}/cancel")
    return "run.cancelled", run


async def pause(caller: Caller) -> tuple[str, str]:
    run = await caller.waiting_run()
    await caller.call("POST", f"/v1/runs/{run}/pause")
    return "run.paused", run


async def resume(caller: Caller) -> tuple[str, str]:
    _, run = await pause(caller)
    await caller.service.until(run, "paused", OWNER)
    await caller.call("POST", f"/v1/runs/{run}/resume")
    return "run.resumed", run


async def delete(caller: Caller) -> tuple[str, str]:
    run = await caller.ended_run()

    async def deleted() -> bool:
        """Not while its end is just being told."""
        headers = auth_headers(OWNER, audience="workflow")
        return (await caller.service.client.delete(f"/v1/runs/{run}", headers=headers)).status_code == 204

    await until(deleted, seconds=60, what="the run to be forgotten")
    return "run.deleted", run


async def decide(caller: Caller) -> tuple[str, str]:
    approval = await caller.approval()
    await caller.call("POST", f"/v1/approvals/{approval}/decisions", {"approved": True})
    return "approval.decided", approval


async def make_link(caller: Caller) -> tuple[str, str]:
    approval = await caller.approval()
    await caller.call("POST", f"/v1/approvals/{approval}/links", {"for": f"user:{OWNER.subject}"})
    return "approval.link-created", approval


async def decide_by_link(caller: Caller) -> tuple[str, str]:
    approval = await caller.approval()
    link = await caller.call("POST", f"/v1/approvals/{approval}/links", {"for": f"user:{OWNER.subject}"})
    path = "/v1/" + link["url"].split("/v1/", 1)[1]
    answer = await caller.service.client.post(path, json={"approved": True}, headers={"dapr-api-token": APP_API_TOKEN})
    assert answer.status_code == 200, answer.text
    return "approval.decided", approval


async def redrive(caller: Caller) -> tuple[str, str]:
    poison = {"specversion": "1.0", "id": "e1", "source": "s", "type": "t", "crewmeshorg": ORGANIZATION, "data": 1}
    await caller.service.event("events.dead", {**poison})
    (letter,) = (await caller.call("GET", "/v1/dead-letters"))["items"]
    await caller.call("POST", f"/v1/dead-letters/{letter['id']}/redrive")
    return "dead-letter.redriven", letter["id"]


SCENARIOS: Final[dict[str, Scenario]] = {
    "POST /v1/workflows": create,
    "PUT /v1/workflows/{workflow}/draft": save,
    "POST /v1/workflows/{workflow}/publish": publish,
    "POST /v1/workflows/{workflow}/rollback": roll_back,
    "PUT /v1/workflows/{workflow}/status": set_status,
    "DELETE /v1/workflows/{workflow}": archive,
    "POST /v1/workflows/apply": apply,
    "POST /v1/workflows/import": import_,
    "POST /v1/workflows/{workflow}/versions/{version}/migrate": move,
    "PUT /v1/workflows/{resource}/access": share,
    "POST /v1/workflows/{workflow}/triggers/{trigger}/rotate": rotate,
    "POST /v1/workflows/{workflow}/runs": start,
    "POST /v1/workflows/{workflow}/test": try_,
    "POST /v1/runs/{run}/rerun": rerun,
    "POST /v1/runs/{run}/rerun-from/{path}": rerun_from,
    "POST /v1/runs/{run}/fork": fork,
    "POST /v1/runs/{run}/cancel": cancel,
    "POST /v1/runs/{run}/pause": pause,
    "POST /v1/runs/{run}/resume": resume,
    "DELETE /v1/runs/{run}": delete,
    "POST /v1/approvals/{approval}/decisions": decide,
    "POST /v1/approvals/{approval}/links": make_link,
    "POST /v1/approval-links/{token}": decide_by_link,
    "POST /v1/dead-letters/{letter_id}/redrive": redrive,
}


async def test_no_route_that_changes_something_is_forgotten(service: Running) -> None:
    assert changing_routes(service.app) == {*SCENARIOS, *WITHOUT_A_LINE}


@pytest.mark.parametrize("route", SCENARIOS)
async def test_a_change_leaves_its_line(service: Running, route: str) -> None:
    action, resource = await SCENARIOS[route](Caller(service))
    line = await audit_line(service.sidecar, action, resource)
    assert (line.actor, line.organization, line.outcome) == (OWNER.subject, ORGANIZATION, "done")


async def test_a_published_version_is_told_by_its_parts(service: Running) -> None:
    caller = Caller(service)
    workflow = await caller.workflow(SETS, WAITS)
    await caller.published(workflow, {**SETS, "output": {"said": "no"}}, {**WAITS, "id": "later"})
    line = await audit_line(service.sidecar, "workflow.published", workflow)
    assert isinstance(line.before, dict)
    assert isinstance(line.after, dict)
    assert (line.before["version"], line.after["version"]) == (1, 2)
    assert line.before["hash"] != line.after["hash"]
    nodes: JsonObject = {"added": ["nodes.later"], "removed": ["nodes.wait"], "changed": ["nodes.say"]}
    assert line.after["changes"] == {"nodes": nodes}
    created = await audit_line(service.sidecar, "workflow.created", workflow)
    assert isinstance(created.after, dict)
    assert created.after["hash"] == line.before["hash"]


async def test_asking_twice_is_one_line(service: Running) -> None:
    caller = Caller(service)
    workflow = await caller.workflow()
    key = {"idempotency-key": "once"}
    runs = [await caller.call("POST", f"/v1/workflows/{workflow}/runs", {}, **key) for _ in range(3)]
    await caller.call("PUT", f"/v1/workflows/{workflow}/status", {"status": "paused"})
    await caller.call("PUT", f"/v1/workflows/{workflow}/status", {"status": "paused"})
    await caller.call("DELETE", f"/v1/workflows/{workflow}")
    await audit_line(service.sidecar, "workflow.archived", workflow)
    told = [line.action for line in audit_lines(service.sidecar) if line.resource in (workflow, runs[0]["id"])]
    assert told == ["workflow.created", "run.started", "workflow.paused", "workflow.archived"]


async def test_what_events_and_hooks_start_is_no_line(service: Running) -> None:
    caller = Caller(service)
    trigger: JsonObject = {"kind": "event", "type": "t"}
    workflow = await caller.workflow(triggers=[trigger])
    event: JsonObject = {"specversion": "1.0", "id": "e9", "source": "s", "type": "t", "data": {}}
    assert len((await caller.call("POST", "/v1/events", event))["runs"]) == 1
    await caller.call("DELETE", f"/v1/workflows/{workflow}")
    await audit_line(service.sidecar, "workflow.archived", workflow)
    assert not [line for line in audit_lines(service.sidecar) if line.action.startswith("run.")]


async def test_secrets_in_what_is_sent_are_in_no_line(service: Running) -> None:
    caller = Caller(service)
    secrets: JsonObject = {"password": CANARY, "token": CANARY, "api_key": CANARY, "note": CANARY}
    node: JsonObject = {"id": "say", "kind": "transform", "output": secrets}
    workflow = await caller.workflow(node, triggers=[{"kind": "webhook", "id": "hook", "auth": "header"}])
    rotated = await caller.call("POST", f"/v1/workflows/{workflow}/triggers/hook/rotate", {"part": "secret"})
    await caller.published(workflow, {**node, "output": {**secrets, "more": CANARY}})
    run = await caller.call("POST", f"/v1/workflows/{workflow}/runs", {"input": secrets})
    await caller.call("POST", f"/v1/workflows/{workflow}/test", {"input": secrets, "trigger": secrets})
    approval = await caller.approval()
    await caller.call("POST", f"/v1/approvals/{approval}/decisions", {"approved": False, "comment": CANARY})
    await audit_line(service.sidecar, "approval.decided", approval)
    told = "\n".join(line.model_dump_json() for line in audit_lines(service.sidecar))
    assert run["id"] in told
    assert CANARY not in told
    assert rotated["secret"] not in told
    assert rotated["url"].rsplit("/", 1)[-1] not in told
