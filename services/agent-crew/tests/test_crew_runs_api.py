"""Crew runs over the public API: begun, watched, decided, cancelled, and seen by whoever may."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest
from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.invocations import SEND_HTTP, HttpReply, HttpSend
from crewmesh_kit.dapr.sidecar import Sidecar
from crewmesh_kit.ids import new_id
from crewmesh_testkit.audit_trail import audit_line
from crewmesh_testkit.fake_sidecar import FakeSidecar
from crewmesh_testkit.identities import auth_headers

from .harness import Running, until

QUESTION: JsonObject = {"inputs": {"question": "What is a mesh?"}}
SENDER: JsonObject = {
    "name": "sender",
    "role": "A sender",
    "goal": "send what is asked for",
    "tools": [
        {
            "kind": "http",
            "name": "post",
            "url": "https://example.com/in",
            "methods": ["POST"],
            "approval": "always",
        }
    ],
}
POST: JsonObject = {"method": "POST", "path": "a", "body": {"n": 1}}


async def begun(service: Running, path: str = "/v1/crews/answer-desk/runs?wait=50", **body: object) -> JsonObject:
    answer = await service.post(path, body or QUESTION)
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"/v1/crew-runs/{answer.json()['id']}"
    return await rested(service, answer.json()) if "wait=" in path else answer.json()


async def read(service: Running, path: str) -> JsonObject:
    answer = await service.get(f"/v1/crew-runs/{path}")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def rested(service: Running, run: JsonObject) -> JsonObject:
    """When it has ended, or waits for people."""
    async with asyncio.timeout(180):
        while run["status"] in ("queued", "working"):
            await asyncio.sleep(0.02)
            run = await read(service, str(run["id"]))
    return run


class TestWork:
    async def test_a_crew_is_set_to_work_and_waited_for(self, service: Running) -> None:
        service.model.answers("notes", "answer")
        run = await begun(service)
        assert (run["status"], run["kind"], run["name"], run["text"]) == ("completed", "crew", "answer-desk", "answer")
        assert run["asked"] == {"question": "What is a mesh?", "context": ""}
        assert cast(JsonObject, run["usage"])["requests"] == 2
        sidecar = cast(FakeSidecar, service.resources.get(Sidecar))
        line = await audit_line(sidecar, "crew-run.started", str(run["id"]))
        assert line.after == {"name": "answer-desk", "kind": "crew", "version": 1}

    async def test_every_word_is_kept_in_order(self, service: Running) -> None:
        service.model.answers("notes", "answer")
        run = await begun(service)
        first = await read(service, f"{run['id']}/messages?limit=3")
        rest = await read(service, f"{run['id']}/messages?cursor={first['next_cursor']}")
        messages = [*cast("list[JsonObject]", first["items"]), *cast("list[JsonObject]", rest["items"])]
        assert [(each["kind"], each["from"], each["to"], each["task"]) for each in messages] == [
            ("instruction", "", "researcher", "research"),
            ("answer", "researcher", "", "research"),
            ("instruction", "", "writer", "answer"),
            ("answer", "writer", "", "answer"),
        ]
        assert [each["text"] for each in messages if each["kind"] == "answer"] == ["notes", "answer"]

    async def test_an_agent_is_given_a_task(self, service: Running) -> None:
        service.model.answers("A net.")
        run = await begun(service, "/v1/agents/writer/runs?wait=50", task="What is a mesh?")
        assert (run["kind"], run["name"], run["text"]) == ("agent", "writer", "A net.")
        listed = (await service.get("/v1/crew-runs?agent=writer&kind=agent&status=completed")).json()["items"]
        assert [each["id"] for each in listed] == [run["id"]]
        for filters in ("agent=other", "crew=writer", "kind=chat", "status=failed", "to=2020-01-01T00:00:00Z"):
            assert (await service.get(f"/v1/crew-runs?{filters}")).json()["items"] == [], filters

    async def test_fifty_with_one_key_begin_one(self, service: Running) -> None:
        key = new_id("test")
        path = "/v1/crews/answer-desk/runs?wait=50"
        answers = await asyncio.gather(*(service.post(path, QUESTION, key=key) for _ in range(50)))
        assert {answer.status_code for answer in answers} == {201}
        assert len({answer.json()["id"] for answer in answers}) == 1
        assert len(service.model.requests) == 2
        other = await service.post(path, {"inputs": {"question": "Another"}}, key=key)
        assert other.status_code == 422

    async def test_a_failure_is_told_with_what_it_cost(self, service: Running) -> None:
        service.model.answers("paid for")
        service.model.answers(lambda _: service.model.fails(503, times=3) or "")
        run = await begun(service)
        assert run["status"] == "failed"
        error = cast(JsonObject, run["error"])
        assert (error["type"], error["retryable"]) == ("model-unavailable", True)
        assert cast(JsonObject, run["usage"])["requests"] == 1


class TestDecisions:
    @pytest.fixture
    async def waiting(self, service: Running) -> JsonObject:
        """A run that wants to use a tool for which a person has to agree."""
        sent: list[HttpSend] = []

        async def send(request: HttpSend) -> HttpReply:
            sent.append(request)
            return HttpReply(status=200, headers={}, body={"taken": True})

        sidecar = cast(FakeSidecar, service.resources.get(Sidecar))
        sidecar.answer(SEND_HTTP, send)
        crew = {
            "name": "senders",
            "agents": [SENDER],
            "tasks": [
                {"name": "send", "agent": "sender", "description": "Send it.", "expected_output": "What came of it."}
            ],
        }
        made = await service.post("/v1/crews", crew)
        assert made.status_code == 201, made.text
        service.model.uses_tool("post", POST)
        service.model.answers("Sent, or not.")
        run = await begun(service, "/v1/crews/senders/runs?wait=50", inputs={})
        asked = [(request.tool_names, request.last.role) for request in service.model.requests]
        assert (run["status"], asked, sent) == ("waiting", [(["post"], "user")], []), run
        self.sent = sent
        return run

    async def decide(self, service: Running, run: JsonObject, body: JsonObject) -> tuple[int, JsonObject]:
        (question,) = cast("list[str]", run["waits_for"])
        answer = await service.post(f"/v1/crew-runs/{run['id']}/questions/{question}/decisions", body)
        return answer.status_code, answer.json()

    async def ended(self, service: Running, run: JsonObject) -> JsonObject:
        return await rested(service, await read(service, str(run["id"])))

    async def test_a_yes_and_the_work_goes_on_where_it_was(self, service: Running, waiting: JsonObject) -> None:
        asked = len(service.model.requests)
        assert await self.decide(service, waiting, {"approved": True}) == (
            200,
            await self.only_question(service, waiting),
        )
        done = await self.ended(service, waiting)
        assert (done["status"], done["text"]) == ("completed", "Sent, or not.")
        assert [request.body for request in self.sent] == [{"n": 1}]
        assert len(service.model.requests) == asked + 1, "what the model had said before was not asked again"
        kinds = [
            each["kind"] for each in cast("list[JsonObject]", (await read(service, f"{done['id']}/messages"))["items"])
        ]
        assert kinds == ["instruction", "question", "decision", "tool", "answer"]
        sidecar = cast(FakeSidecar, service.resources.get(Sidecar))
        assert (await audit_line(sidecar, "crew-run.decided", str(done["id"]))).actor == service.who().subject

    async def only_question(self, service: Running, run: JsonObject) -> JsonObject:
        answer = await service.get(f"/v1/crew-runs/{run['id']}/questions")
        (question,) = answer.json()["items"]
        return question

    async def test_with_other_arguments(self, service: Running, waiting: JsonObject) -> None:
        await self.decide(service, waiting, {"approved": True, "arguments": {**POST, "body": {"n": 2}}})
        await self.ended(service, waiting)
        assert [request.body for request in self.sent] == [{"n": 2}]

    async def test_a_no(self, service: Running, waiting: JsonObject) -> None:
        await self.decide(service, waiting, {"approved": False})
        assert (await self.ended(service, waiting))["status"] == "completed"
        assert self.sent == []

    async def test_the_first_decision_counts(self, service: Running, waiting: JsonObject) -> None:
        first = await self.decide(service, waiting, {"approved": False})
        assert await self.decide(service, waiting, {"approved": False}) == first
        status, problem = await self.decide(service, waiting, {"approved": True})
        assert (status, str(problem["type"]).rsplit("/")[-1]) == (409, "question-decided")
        answer = await service.post(f"/v1/crew-runs/{waiting['id']}/questions/que_x/decisions", {"approved": True})
        assert answer.status_code == 404
        await self.ended(service, waiting)  # it asks the model that the next test scripts

    async def test_what_waits_can_be_cancelled(self, service: Running, waiting: JsonObject) -> None:
        answer = await service.post(f"/v1/crew-runs/{waiting['id']}/cancel", {})
        assert answer.status_code == 202
        assert (await self.ended(service, waiting))["status"] == "cancelled"
        assert self.sent == []


class TestMoney:
    async def test_a_crew_waits_for_a_top_up_and_goes_on_by_itself(self, service: Running) -> None:
        admin = service.who("*")
        headers = auth_headers(admin, audience="agent-crew")
        prices: JsonObject = {"prices": {"input": "0", "output": "1000"}}
        assert (await service.client.put("/v1/models/fake", json=prices, headers=headers)).status_code == 201
        budget: JsonObject = {
            "name": "Little", "scope": {"kind": "organization"}, "period": "total", "limit": "0.121", "at_100": "wait",
        }  # fmt: skip
        made = await service.post("/v1/budgets", budget, who=admin)
        assert made.status_code == 201, made.text
        service.model.answers("some notes", "the answer")
        key = new_id("test")
        waiting = (await service.kickoff("q", key=key)).json()
        (question,) = waiting["questions"]
        assert (waiting["status"], question["kind"], len(service.model.requests)) == ("waiting", "budget", 1)
        refused = await service.post(
            f"/v1/crew-runs/{waiting['crew_run']}/questions/{question['id']}/decisions", {"approved": True}
        )
        assert (refused.status_code, refused.json()["type"].rsplit("/")[-1]) == (409, "question-decided"), question
        more: JsonObject = {"amount": "1", "reason": "It is worth it."}
        assert (await service.post(f"{made.headers['location']}/top-ups", more, who=admin)).status_code == 201
        run: JsonObject = {"id": waiting["crew_run"]}
        await until_status(service, run, "completed")
        assert [request.prompt.count("some notes") for request in service.model.requests] == [0, 1]
        done = await read(service, str(run["id"]))
        assert cast(JsonObject, done["usage"])["cost"] == "0.004"
        assert (await service.get(f"/v1/crew-runs/{run['id']}/questions")).json()["items"] == []


class TestCancel:
    async def test_the_answer_under_way_is_broken_off(self, service: Running) -> None:
        service.model.delay = 60
        run = await begun(service, "/v1/crews/answer-desk/runs")
        await until(lambda: len(service.model.requests) == 1, seconds=60)
        assert (await service.post(f"/v1/crew-runs/{run['id']}/cancel", {})).status_code == 202
        await until(lambda: service.model.abandoned == 1)
        await until_status(service, run, "cancelled")
        again = await service.post(f"/v1/crew-runs/{run['id']}/cancel", {})
        assert (again.status_code, len(service.model.requests)) == (202, 1)

    async def test_what_is_done_cannot_be_cancelled(self, service: Running) -> None:
        run = await begun(service)
        answer = await service.post(f"/v1/crew-runs/{run['id']}/cancel", {})
        assert (answer.status_code, answer.json()["type"].rsplit("/")[-1]) == (409, "crew-run-ended")


async def until_status(service: Running, run: JsonObject, status: str) -> None:
    async with asyncio.timeout(180):
        while (await read(service, str(run["id"])))["status"] != status:  # noqa: ASYNC110  it is another's doing
            await asyncio.sleep(0.02)


class TestWhoMay:
    async def test_others_find_nothing(self, service: Running) -> None:
        run = await begun(service)
        stranger = service.who("*", organization=new_id("org"))
        path = f"/v1/crew-runs/{run['id']}"
        for suffix in ("", "/messages", "/events", "/questions"):
            assert (await service.get(path + suffix, who=stranger)).status_code == 404
        assert (await service.post(f"{path}/cancel", {}, who=stranger)).status_code == 404
        assert (await service.get("/v1/crew-runs", who=stranger)).json()["items"] == []
        unknown = await service.get(f"/v1/crew-runs/{new_id('crun')}")
        hidden = await service.get(path, who=stranger)
        assert unknown.json()["type"] == hidden.json()["type"]

    async def test_permissions(self, service: Running) -> None:
        run = await begun(service)
        reader = service.who("crews:read")
        assert (await service.post("/v1/crews/answer-desk/runs", QUESTION, who=reader)).status_code == 403
        assert (await service.post("/v1/agents/writer/runs", {"task": "x"}, who=reader)).status_code == 403
        assert (await service.post(f"/v1/crew-runs/{run['id']}/cancel", {}, who=reader)).status_code == 403
        assert (await service.get("/v1/crew-runs", who=service.who("models:run"))).status_code == 403

    async def test_a_restricted_crew_hides_its_runs(self, service: Running) -> None:
        run = await begun(service)
        headers = {**auth_headers(service.who("*"), audience="agent-crew"), "if-match": "*"}
        access: JsonObject = {"restricted": True, "grants": []}
        shared = await service.client.put("/v1/crews/answer-desk/access", json=access, headers=headers)
        assert shared.status_code == 200, shared.text
        assert (await service.get(f"/v1/crew-runs/{run['id']}")).status_code == 404
        assert (await service.get("/v1/crew-runs")).json()["items"] == []
        assert (await service.get(f"/v1/crew-runs/{run['id']}", who=service.who("*"))).status_code == 200

    @pytest.mark.parametrize(
        ("path", "body"),
        [
            ("/v1/crews/answer-desk/runs", {"inputs": {"question": "a\0b"}}),
            ("/v1/crews/answer-desk/runs", {"inputs": {"nobody": "x"}}),
            ("/v1/crews/answer-desk/runs", {"input": {}}),
            ("/v1/agents/writer/runs", {"task": ""}),
            ("/v1/agents/writer/runs", {"task": "x", "output_schema": {"type": "nothing"}}),
        ],
    )
    async def test_what_does_not_fit_is_refused(self, service: Running, path: str, body: JsonObject) -> None:
        assert (await service.post(path, body)).status_code == 422
        assert (await service.get("/v1/crew-runs")).json()["items"] == []
