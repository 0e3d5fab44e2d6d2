"""Sharing workflows: lists and pages, access itself, questions, files, and what one workflow may do with another."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_kit.identity import Identity
from crewmesh_kit.sharing.models import Level
from crewmesh_testkit.audit_trail import audit_line
from crewmesh_testkit.identities import OTHER_ORGANIZATION
from crewmesh_testkit.polling import until

from services.workflow.tests.conftest import Running
from services.workflow.tests.test_sharing_routes import EDITOR, GUEST, OWNER, Secret, secret_of

DONE: list[JsonValue] = [{"id": "t", "kind": "transform", "output": {"x": 1}}]
SCOPED_KEY = replace(
    EDITOR, subject="key_" + "1" * 32, acting_for=EDITOR.subject, permissions=frozenset({"runs:write"})
)


async def save(service: Running, name: str, **more: JsonValue) -> str:
    made = await service.post("/v1/workflows", OWNER, {"name": name, "nodes": DONE, "edges": [], **more})
    assert made.status_code == 201, made.text
    return made.json()["id"]


async def share(service: Running, workflow: str, *grants: tuple[str, Level], restricted: bool = True) -> None:
    await Secret(service, workflow, "", "").share(*grants, restricted=restricted)


async def names(service: Running, who: Identity, path: str, field: str) -> list[str]:
    """Of every item, page by page of two."""
    found: list[str] = []
    cursor = ""
    while True:
        page = (await service.get(f"{path}?limit=2{cursor}", who)).json()
        found += [item[field] for item in page["items"]]
        assert page["next_cursor"] is None or len(page["items"]) == 2, "a page that goes on is full"
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor']}"


def newest_first(ids: list[str]) -> list[str]:
    """In the order of ids, which is that of the milliseconds in which they were made."""
    return sorted(ids, reverse=True)


class TestLists:
    async def test_pages_hold_what_may_be_seen_and_are_full(self, service: Running) -> None:
        ids = [await save(service, f"w{number}") for number in range(7)]
        for hidden in ids[::2]:
            await share(service, hidden)
        assert await names(service, EDITOR, "/v1/workflows", "id") == newest_first(ids[1::2])
        assert await names(service, OWNER, "/v1/workflows", "id") == newest_first(ids)
        await share(service, ids[0], (f"user:{EDITOR.subject}", "view"))
        assert ids[0] in await names(service, EDITOR, "/v1/workflows", "id")

    async def test_a_guest_sees_what_was_granted_and_nothing_else(self, service: Running) -> None:
        ids = [await save(service, f"w{number}") for number in range(3)]
        assert (await service.get("/v1/workflows", GUEST)).status_code == 403
        await share(service, ids[1], (f"user:{GUEST.subject}", "view"), restricted=False)
        assert await names(service, GUEST, "/v1/workflows", "id") == [ids[1]]
        assert (await service.get(f"/v1/workflows/{ids[0]}", GUEST)).status_code == 404
        assert (await service.post("/v1/workflows", GUEST, {"name": "mine", "nodes": DONE})).status_code == 403

    async def test_runs_their_numbers_and_questions_follow_their_workflow(self, service: Running) -> None:
        secret = await secret_of(service)
        open_one = await save(service, "open")
        other = (await service.post(f"/v1/workflows/{open_one}/runs", OWNER, {})).json()["id"]
        await service.until(other, "completed", OWNER)
        await secret.share()
        assert await names(service, EDITOR, "/v1/runs", "id") == [other]
        for narrowed in (f"workflow={secret.workflow}", "status=waiting", f"started_by={OWNER.subject}&status=waiting"):
            assert (await service.get(f"/v1/runs?{narrowed}", EDITOR)).json()["items"] == []
        stats = (await service.get("/v1/runs/stats", EDITOR)).json()
        assert (stats["live"], stats["workflows"], stats["ended"]) == ({}, [], {"completed": 1})
        assert (await service.get("/v1/runs/stats", OWNER)).json()["live"] == {"waiting": 1}
        assert await names(service, EDITOR, "/v1/approvals", "id") == []
        assert await names(service, OWNER, "/v1/approvals", "id") == [secret.approval]


class TestAccess:
    async def test_it_is_replaced_as_a_whole_and_only_as_it_was_read(self, service: Running) -> None:
        path = f"/v1/workflows/{await save(service, 'w')}/access"
        put = Secret(service, "", "", "").request
        first = await service.get(path, OWNER)
        assert (first.headers["etag"], first.json()["restricted"], first.json()["grants"]) == ('"0"', False, [])
        body: JsonObject = {"restricted": True, "grants": [{"grantee": "role:viewer", "level": "view"}]}
        assert (await put(OWNER, "PUT", path, body)).status_code == 428
        changed = await put(OWNER, "PUT", path, body, **{"if-match": '"0"'})
        assert (changed.status_code, changed.headers["etag"]) == (200, '"1"')
        assert (await put(OWNER, "PUT", path, body, **{"if-match": '"0"'})).status_code == 412
        emptied = await put(OWNER, "PUT", path, {}, **{"if-match": '"1"'})
        assert (emptied.json()["restricted"], emptied.json()["grants"]) == (False, [])
        await audit_line(service.sidecar, "workflow.access-changed")

    async def test_of_many_who_change_it_at_once_one_does(self, service: Running) -> None:
        path = f"/v1/workflows/{await save(service, 'w')}/access"
        put = Secret(service, "", "", "").request
        answers = await asyncio.gather(
            *(put(OWNER, "PUT", path, {"restricted": True}, **{"if-match": '"0"'}) for _ in range(8))
        )
        assert sorted(answer.status_code for answer in answers) == [200] + [412] * 7

    async def test_who_does_not_manage_access_neither_sees_nor_changes_it(self, service: Running) -> None:
        path = f"/v1/workflows/{await save(service, 'w')}/access"
        put = Secret(service, "", "", "").request
        for who in (EDITOR, GUEST, SCOPED_KEY):
            assert (await service.get(path, who)).status_code == 403
            assert (await put(who, "PUT", path, {}, **{"if-match": "*"})).status_code == 403
        stranger = replace(OWNER, organization=OTHER_ORGANIZATION)
        assert (await service.get(path, stranger)).status_code == 404
        assert (await put(stranger, "PUT", path, {}, **{"if-match": "*"})).status_code == 404

    async def test_a_change_holds_for_the_next_request(self, service: Running) -> None:
        workflow = await save(service, "w")
        for _ in range(5):
            await share(service, workflow)
            assert (await service.get(f"/v1/workflows/{workflow}", EDITOR)).status_code == 404
            await share(service, workflow, restricted=False)
            assert (await service.get(f"/v1/workflows/{workflow}", EDITOR)).status_code == 200

    async def test_an_answer_is_not_given_again_to_who_may_not_change_it_any_more(self, service: Running) -> None:
        workflow = await save(service, "w")
        path, key = f"/v1/workflows/{workflow}/status", {"idempotency-key": "once"}
        put = Secret(service, "", "", "").request
        assert (await put(EDITOR, "PUT", path, {"status": "paused"}, **key)).status_code == 200
        await share(service, workflow)
        assert (await put(EDITOR, "PUT", path, {"status": "paused"}, **key)).status_code == 404

    async def test_a_key_that_only_starts_runs_starts_what_its_owner_reaches(self, service: Running) -> None:
        workflow = await save(service, "w")
        start = f"/v1/workflows/{workflow}/runs"
        assert (await service.post(start, SCOPED_KEY, {})).status_code == 201
        await share(service, workflow)
        assert (await service.post(start, SCOPED_KEY, {})).status_code == 404
        await share(service, workflow, (f"user:{EDITOR.subject}", "run"))
        assert (await service.post(start, SCOPED_KEY, {})).status_code == 201


class TestQuestions:
    async def test_whom_it_asks_by_name_sees_a_question_of_a_hidden_workflow_and_answers_it(
        self, service: Running
    ) -> None:
        asks: list[JsonValue] = [
            {"id": "ask", "kind": "approval", "title": "May it?", "assignees": [f"user:{EDITOR.subject}"]}, *DONE
        ]  # fmt: skip
        edges: list[JsonValue] = [{"from": "ask", "port": "approved", "to": "t"}]
        workflow = await save(service, "asks", nodes=asks, edges=edges)
        run = (await service.post(f"/v1/workflows/{workflow}/runs", OWNER, {})).json()["id"]
        await service.until(run, "waiting", OWNER)
        await share(service, workflow)
        (question,) = await names(service, EDITOR, "/v1/approvals", "id")
        other = replace(EDITOR, subject="usr_" + "9" * 32)
        assert (await service.get(f"/v1/approvals/{question}", other)).status_code == 404
        assert (await service.get(f"/v1/approvals/{question}", EDITOR)).status_code == 200
        said = await service.post(f"/v1/approvals/{question}/decisions", EDITOR, {"approved": True, "proposal": 1})
        assert said.status_code == 200, said.text
        assert (await service.get(f"/v1/runs/{run}", EDITOR)).status_code == 404
        await service.until(run, "completed", OWNER)


class TestFiles:
    async def test_a_slug_of_a_hidden_workflow_is_taken_and_says_nothing_else(self, service: Running) -> None:
        workflow = await save(service, "the launch", slug="launch")
        await share(service, workflow)
        definition: JsonObject = {"name": "mine", "slug": "launch", "nodes": DONE, "edges": []}
        answer = await service.post("/v1/workflows/import", EDITOR, definition)
        assert answer.status_code == 409, answer.text
        assert "the launch" not in answer.text
        await share(service, workflow, ("role:editor", "view"))
        assert (await service.post("/v1/workflows/import", EDITOR, definition)).status_code == 403
        await share(service, workflow, ("role:editor", "edit"))
        assert (await service.post("/v1/workflows/import", EDITOR, definition)).status_code == 200

    async def test_files_take_away_only_what_one_may_change(self, service: Running) -> None:
        content = '{"name": "%s", "slug": "%s", "nodes": [{"id": "t", "kind": "transform", "output": {}}], "edges": []}'
        files: list[JsonValue] = [
            {"path": f"{name}.json", "content": content % (name, name)} for name in ("one", "two", "three")
        ]
        applied = await service.post("/v1/workflows/apply", EDITOR, {"files": files})
        assert applied.status_code == 200, applied.text
        hidden = applied.json()["plan"][0]["workflow"]
        await share(service, hidden)
        again = await service.post("/v1/workflows/apply", EDITOR, {"files": files[2:], "prune": True})
        assert [(step["slug"], step["action"]) for step in again.json()["plan"]] == [
            ("three", "unchanged"),
            ("two", "archive"),
        ]
        assert (await service.get(f"/v1/workflows/{hidden}", OWNER)).json()["status"] == "active"


class TestBetweenWorkflows:
    async def test_a_run_starts_runs_of_a_restricted_workflow_only_when_its_own_was_granted(
        self, service: Running
    ) -> None:
        child = await save(service, "child")
        calls: list[JsonValue] = [{"id": "call", "kind": "workflow", "workflow": child, "inputs": {}}]
        parent = await save(service, "parent", nodes=calls)
        await share(service, child)
        run = (await service.post(f"/v1/workflows/{parent}/runs", OWNER, {})).json()["id"]
        failed = await service.until(run, "failed", OWNER)
        assert "no-such-workflow" in str(failed["error"]), "whoever starts it: a run acts as its workflow"
        await share(service, child, (f"workflow:{parent}", "run"))
        run = (await service.post(f"/v1/workflows/{parent}/runs", OWNER, {})).json()["id"]
        await service.until(run, "completed", OWNER)

    async def test_ends_of_runs_are_told_only_to_workflows_that_may_see_them(self, service: Running) -> None:
        watched = await save(service, "watched")
        watching = await save(service, "watching", triggers=[{"kind": "run_ended", "workflow": watched}])
        granted = await save(service, "granted", triggers=[{"kind": "run_ended", "workflow": watched}])
        await share(service, watched, (f"workflow:{granted}", "view"))
        run = (await service.post(f"/v1/workflows/{watched}/runs", OWNER, {})).json()["id"]
        await service.until(run, "completed", OWNER)

        async def is_told() -> bool:
            begun = (await service.get(f"/v1/runs?workflow={granted}", OWNER)).json()["items"]
            return bool(begun) and await waiting_ends(service) == 0

        await until(is_told, seconds=60, what="the end to be told")
        assert (await service.get(f"/v1/runs?workflow={watching}", OWNER)).json()["items"] == []


async def waiting_ends(service: Running) -> int:
    async with service.database.system() as conn:
        row = await (await conn.execute("SELECT count(*) AS n FROM ended_runs")).fetchone()
    return int(row["n"]) if row else 0
