"""Approvals in real runs: the engine asks, people decide, the run goes on."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.invocations import RUN_ACTION
from crewmesh_contracts.invocations.actions import ActionRequest, ActionResult
from crewmesh_kit.errors import RemoteProblem
from crewmesh_kit.identity import Identity
from crewmesh_kit.resources import Resources
from crewmesh_testkit.identities import OTHER_ORGANIZATION, identity
from crewmesh_testkit.polling import until
from crewmesh_workflow.approvals.reminders import Reminders
from crewmesh_workflow.engine.assembly import Assembly
from crewmesh_workflow.engine.outcome import DriveInput

from services.workflow.tests.approvals import ANN, BOB, OWNER, person
from services.workflow.tests.conftest import Running

YES: JsonObject = {"approved": True}
NO: JsonObject = {"approved": False}
ASK: JsonObject = {
    "id": "ask",
    "kind": "approval",
    "title": "Pay {{ trigger.data.amount }} €?",
    "data": "{{ trigger.data }}",
}


def ways(*ports: str) -> tuple[list[JsonValue], list[JsonValue]]:
    """A node behind each port of ``ask`` that tells that it was taken."""
    nodes: list[JsonValue] = [{"id": port, "kind": "transform", "output": {"way": port}} for port in ports]
    edges: list[JsonValue] = [{"from": "ask", "port": port, "to": port} for port in ports]
    return nodes, edges


class Office:
    """Runs of one workflow, and the people who are asked."""

    def __init__(self, service: Running) -> None:
        self.service = service
        resources: Resources = service.app.state.resources
        self.engine = resources.get(Assembly).engine
        self.reminders = resources.get(Reminders)

    async def begin(self, nodes: list[JsonValue], edges: list[JsonValue] | None = None, **more: JsonValue) -> str:
        """A run of such a workflow, brought to where it waits. A question alone gets a way that leads on."""
        if nodes and edges is None and cast(JsonObject, nodes[0])["kind"] == "approval":
            more_nodes, edges = ways("approved")
            nodes = [*nodes, *more_nodes]
        body: JsonObject = {"name": "w", "nodes": nodes, "edges": edges or [], "triggers": [], **more}
        made = await self.service.post("/v1/workflows", OWNER, body)
        assert made.status_code == 201, made.text
        path = f"/v1/workflows/{made.json()['id']}/runs"
        started = await self.service.post(path, OWNER, {"input": {"amount": 120}})
        assert started.status_code in (201, 202), started.text
        return started.json()["id"]

    async def asked(self, run: str, who: Identity = OWNER) -> JsonObject:
        """The one question that the run waits for."""

        async def asked() -> list[JsonObject]:
            return (await self.service.get(f"/v1/approvals?run={run}", who)).json()["items"]

        questions: list[JsonObject] = await until(asked, seconds=60, what=f"a question of {run}")
        (found,) = questions
        return (await self.service.get(f"/v1/approvals/{found['id']}", who)).json()

    async def escalated(self, question: JsonObject) -> bool:
        return (await self.service.get(f"/v1/approvals/{question['id']}", OWNER)).json()["escalated"]

    async def decide(self, question: JsonObject, who: Identity, body: JsonObject) -> JsonObject:
        answer = await self.service.post(f"/v1/approvals/{question['id']}/decisions", who, body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def go_on(self, run: str) -> None:
        """Have the engine look at the run, as its driver does when it is woken. One that is at work is left alone."""
        async with self.service.database.system() as conn:
            found = await conn.execute("SELECT driver, epoch FROM runs WHERE id = %s AND status = 'waiting'", [run])
            row = await found.fetchone()
        if row is not None:
            await self.engine.advance(DriveInput(run=run, driver=row["driver"], epoch=row["epoch"]))

    async def execute(self, statement: str, run: str) -> None:
        async with self.service.database.system() as conn:
            await conn.execute(statement.encode(), [run])

    async def ended(self, run: str, status: str) -> dict[str, JsonObject]:
        """The steps of the run, which goes on to its end."""
        await self.go_on(run)
        await self.service.until(run, status, OWNER)
        found = (await self.service.get(f"/v1/runs/{run}/steps", OWNER)).json()["items"]
        return {cast(str, step.get("path") or step.get("node")): step for step in found}


@pytest.fixture
def office(service: Running) -> Office:
    return Office(service)


class TestApprovalNode:
    @pytest.mark.parametrize(("body", "port"), [(YES, "approved"), (NO, "rejected")])
    async def test_the_way_goes_on_as_it_was_decided(self, office: Office, body: JsonObject, port: str) -> None:
        nodes, edges = ways("approved", "rejected", "expired")
        run = await office.begin([{**ASK, "expires_seconds": 3600}, *nodes], edges)
        question = await office.asked(run)
        assert (question["title"], question["data"]) == ("Pay 120 €?", {"amount": 120})
        await office.decide(question, ANN, body)
        steps = await office.ended(run, "completed")
        assert {path: step["status"] for path, step in steps.items() if path != "ask"} == {
            each: "completed" if each == port else "skipped" for each in ("approved", "rejected", "expired")
        }
        output = cast(JsonObject, steps["ask"]["output"])
        assert output["approved"] is (port == "approved")
        assert output["decisions"] == [{"by": "ann", "approved": port == "approved", "comment": None}]
        after = (await office.service.get(f"/v1/approvals/{question['id']}", OWNER)).json()
        assert (after["status"], after["verdict"]) == ("decided", port)

    async def test_what_was_changed_goes_on_changed(self, office: Office) -> None:
        run = await office.begin([{**ASK, "quorum": 2}])
        question = await office.asked(run)
        await office.decide(question, ANN, YES)
        await office.decide(question, BOB, {"approved": True, "data": {"amount": 1}})
        await office.decide(question, ANN, {"approved": True, "proposal": 2, "comment": "ok"})
        output = cast(JsonObject, (await office.ended(run, "completed"))["ask"]["output"])
        assert output["data"] == {"amount": 1}
        assert output["decisions"] == [
            {"by": "bob", "approved": True, "comment": None},
            {"by": "ann", "approved": True, "comment": "ok"},
        ]

    async def test_nobody_decides_in_time(self, office: Office) -> None:
        nodes, edges = ways("approved", "expired")
        run = await office.begin([{**ASK, "expires_seconds": 3600}, *nodes], edges)
        question = await office.asked(run)
        await office.execute("UPDATE waits SET until = now() WHERE run_id = %s", run)
        steps = await office.ended(run, "completed")
        assert (steps["expired"]["status"], steps["approved"]["status"]) == ("completed", "skipped")
        late = await office.service.post(f"/v1/approvals/{question['id']}/decisions", ANN, YES)
        assert (late.status_code, late.json()["approval_status"]) == (409, "expired")
        expired = (await office.service.get("/v1/approvals?status=expired", OWNER)).json()["items"]
        assert [each["id"] for each in expired] == [question["id"]]

    async def test_a_run_that_was_cancelled_asks_nobody(self, office: Office) -> None:
        run = await office.begin([ASK])
        question = await office.asked(run)
        cancelled = await office.service.post(f"/v1/runs/{run}/cancel", OWNER, {})
        assert cancelled.status_code < 300, cancelled.text
        await office.ended(run, "cancelled")
        refused = await office.service.post(f"/v1/approvals/{question['id']}/decisions", ANN, YES)
        assert (refused.status_code, refused.json()["approval_status"]) == (409, "cancelled")
        assert (await office.service.get("/v1/approvals", OWNER)).json()["items"] == []

    async def test_a_run_that_is_paused_hears_it_later(self, office: Office) -> None:
        run = await office.begin([ASK])
        question = await office.asked(run)
        assert (await office.service.post(f"/v1/runs/{run}/pause", OWNER, {})).status_code < 300
        await office.service.until(run, "paused", OWNER)
        await office.decide(question, ANN, YES)
        assert (await office.service.post(f"/v1/runs/{run}/resume", OWNER, {})).status_code < 300
        await office.ended(run, "completed")

    async def test_more_people_are_asked_after_a_while(self, office: Office) -> None:
        escalation: JsonObject = {"after_seconds": 3600, "to": ["role:owner"]}
        run = await office.begin([{**ASK, "assignees": ["user:ann"], "escalation": escalation}])
        question = await office.asked(run)
        owner = person("x", "role:owner")
        refused = await office.service.post(f"/v1/approvals/{question['id']}/decisions", owner, YES)
        assert (refused.status_code, refused.json()["assignees"]) == (403, ["user:ann"])
        await office.execute("UPDATE waits SET escalate_at = now() WHERE run_id = %s", run)
        await office.reminders.remind()
        # The service reminds as well, and may have it in hand just now.
        await until(lambda: office.escalated(question), seconds=60, what="more people to be asked")
        await office.decide(question, owner, YES)
        await office.ended(run, "completed")

    async def test_fifty_people_at_once(self, office: Office) -> None:
        run = await office.begin([ASK])
        path = f"/v1/approvals/{(await office.asked(run))['id']}/decisions"
        answers = await asyncio.gather(
            *(office.service.post(path, person(f"p{n}"), YES if n % 2 else NO) for n in range(50))
        )
        assert sorted(answer.status_code for answer in answers) == [200] + [409] * 49
        output = cast(JsonObject, (await office.ended(run, "completed"))["ask"]["output"])
        assert len(cast("list[JsonValue]", output["decisions"])) == 1

    async def test_by_link(self, office: Office) -> None:
        run = await office.begin([ASK])
        question = await office.asked(run)
        made = await office.service.post(f"/v1/approvals/{question['id']}/links", OWNER, {"for": "user:ann"})
        url = made.json()["url"]
        assert url.startswith("/v1/approval-links/")
        headers = {"dapr-api-token": "test-app-token"}
        assert (await office.service.client.get(url, headers=headers)).status_code == 200
        assert (await office.service.client.post(url, json=YES, headers=headers)).status_code == 200
        await office.ended(run, "completed")

    async def test_of_another_organization(self, office: Office) -> None:
        run = await office.begin([ASK])
        question = await office.asked(run)
        stranger = identity("*", organization=OTHER_ORGANIZATION)
        for method, path in ((office.service.get, ""), (office.service.get, "?")):
            assert (await method(f"/v1/approvals/{question['id']}{path}", stranger)).status_code == 404
        assert (await office.service.get(f"/v1/approvals?run={run}", stranger)).json()["items"] == []

    async def test_in_every_round_of_a_loop(self, office: Office) -> None:
        nodes, edges = ways("approved")
        body: JsonObject = {"nodes": [{**ASK, "title": "{{ item }}?"}, *nodes], "edges": edges}
        loop: JsonObject = {"id": "loop", "kind": "for_each", "items": ["a", "b"], "body": body, "concurrency": 1}
        run = await office.begin([loop])
        for round_, name in enumerate(("a", "b")):
            question = await office.asked(run)
            assert (question["title"], question["path"]) == (f"{name}?", f"loop[{round_}].ask")
            await office.decide(question, ANN, YES)
            await office.go_on(run)
        await office.service.until(run, "completed", OWNER)


class TestInputNode:
    async def test_a_form_is_filled_in(self, office: Office) -> None:
        form: JsonObject = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
        run = await office.begin([{"id": "ask", "kind": "input", "title": "Who?", "form": form}])
        question = await office.asked(run)
        assert (question["kind"], question["form"]) == ("input", form)
        path = f"/v1/approvals/{question['id']}/decisions"
        assert (await office.service.post(path, ANN, {"data": {"age": "old"}})).status_code == 422
        await office.decide(question, ANN, {"data": {"age": 40}})
        assert (await office.ended(run, "completed"))["ask"]["output"] == {"data": {"age": 40}, "by": "ann"}


PAY: JsonObject = {
    "id": "pay",
    "kind": "action",
    "connection": "bank",
    "action": "bank.transfer",
    "inputs": {"amount": 120},
    "retry": {"attempts": 2, "backoff_seconds": 0.01},
}


UNKNOWN = RemoteProblem(
    "It is unknown whether the transfer was made.",
    status=502,
    slug="outcome-unknown",
    title="Outcome unknown",
    retryable=False,
)


class Bank:
    """What the integration service was asked to do; it fails with these problems first."""

    def __init__(self, service: Running, *failures: RemoteProblem) -> None:
        self.requests: list[ActionRequest] = []
        self.keys: list[str | None] = []
        self._calls = service.sidecar.calls
        self._failures = [*failures]
        service.sidecar.answer(RUN_ACTION, self.answer)

    async def answer(self, request: ActionRequest) -> ActionResult:
        self.requests.append(request)
        self.keys.append(self._calls[-1].idempotency_key)
        if self._failures:
            raise self._failures.pop(0)
        return ActionResult(result={"paid": request.inputs})


class TestPolicies:
    HUMAN: JsonObject = {"mode": "human_in_the_loop"}

    async def test_nothing_is_done_before_a_person_agrees(self, office: Office) -> None:
        bank = Bank(office.service)
        run = await office.begin([PAY], settings=self.HUMAN)
        question = await office.asked(run)
        assert bank.requests == []
        about = cast(JsonObject, question["about"])
        assert (question["kind"], about["node"], about["kind"]) == ("approval", "pay", "action")
        assert cast(JsonObject, question["data"])["inputs"] == {"amount": 120}
        await office.decide(question, ANN, YES)
        await office.ended(run, "completed")
        assert [request.inputs for request in bank.requests] == [{"amount": 120}]

    async def test_a_no_fails_the_step_and_nothing_is_done(self, office: Office) -> None:
        bank = Bank(office.service)
        run = await office.begin([PAY], settings=self.HUMAN)
        await office.decide(await office.asked(run), ANN, NO)
        steps = await office.ended(run, "failed")
        assert cast(JsonObject, steps["pay"]["error"])["type"] == "approval-rejected"
        assert bank.requests == []

    async def test_a_changed_input_is_what_is_done(self, office: Office) -> None:
        bank = Bank(office.service)
        run = await office.begin([PAY], settings=self.HUMAN)
        question = await office.asked(run)
        changed: JsonObject = {**cast(JsonObject, question["data"]), "inputs": {"amount": 1}}
        await office.decide(question, ANN, {"approved": True, "data": changed})
        await office.ended(run, "completed")
        assert [request.inputs for request in bank.requests] == [{"amount": 1}]

    @pytest.mark.parametrize(("amount", "asks"), [(50, False), (500, True)])
    async def test_a_rule_says_what_needs_a_yes(self, office: Office, amount: int, asks: bool) -> None:
        bank = Bank(office.service)
        rule: JsonObject = {"when": "input.inputs.amount > 100", "assignees": ["role:owner"], "quorum": 1}
        run = await office.begin(
            [{**PAY, "inputs": {"amount": amount}}], settings={"mode": "hybrid", "approval_rules": [rule]}
        )
        if asks:
            question = await office.asked(run)
            assert question["assignees"] == ["role:owner"]
            await office.decide(question, person("x", "role:owner"), YES)
        steps = await office.ended(run, "completed")
        assert (steps["pay"]["status"], len(bank.requests)) == ("completed", 1)


class TestUnknownOutcomes:
    """An action of which nobody knows whether it happened."""

    async def asked(self, office: Office, mode: str = "autonomous") -> tuple[str, JsonObject]:
        run = await office.begin([PAY], settings={"mode": mode})
        if mode != "autonomous":
            await office.decide(await office.asked(run), ANN, YES)
            await office.go_on(run)
        return run, await office.asked(run)

    async def test_it_happened(self, office: Office) -> None:
        bank = Bank(office.service, UNKNOWN)
        run, question = await self.asked(office)
        assert (question["kind"], question["title"]) == ("outcome", "Did pay take effect?")
        about = cast(JsonObject, question["about"])
        assert (about["node"], cast(JsonObject, about["input"])["inputs"]) == ("pay", {"amount": 120})
        await office.decide(question, ANN, {"happened": True, "output": {"result": "seen in the books"}})
        steps = await office.ended(run, "completed")
        assert steps["pay"]["output"] == {"result": "seen in the books"}
        assert len(bank.requests) == 1

    async def test_it_did_not_happen(self, office: Office) -> None:
        bank = Bank(office.service, UNKNOWN)
        run, question = await self.asked(office)
        await office.decide(question, ANN, {"happened": False})
        steps = await office.ended(run, "completed")
        assert steps["pay"]["output"] == {"result": {"paid": {"amount": 120}}}
        assert len(bank.requests) == 2
        assert bank.keys[0] != bank.keys[1], "the first key is used up, as far as anybody knows"

    async def test_it_is_given_up(self, office: Office) -> None:
        bank = Bank(office.service, UNKNOWN)
        run, question = await self.asked(office)
        await office.decide(question, ANN, {"fail": True, "comment": "the bank is closed"})
        steps = await office.ended(run, "failed")
        assert cast(JsonObject, steps["pay"]["error"])["type"] == "outcome-unknown"
        assert len(bank.requests) == 1

    async def test_a_step_may_ask_twice(self, office: Office) -> None:
        """First whether it may be done, then what came of it: two questions, and two answers."""
        bank = Bank(office.service, UNKNOWN)
        run, question = await self.asked(office, "human_in_the_loop")
        assert (question["kind"], question["decisions"]) == ("outcome", [])
        (agreed,) = (await office.service.get(f"/v1/approvals?run={run}&status=decided", OWNER)).json()["items"]
        assert (agreed["kind"], agreed["verdict"]) == ("approval", "approved")
        await office.decide(question, ANN, {"happened": True, "output": {"result": 1}})
        steps = await office.ended(run, "completed")
        assert steps["pay"]["output"] == {"result": 1}
        assert len(bank.requests) == 1

    async def test_unknown_again(self, office: Office) -> None:
        bank = Bank(office.service, UNKNOWN, UNKNOWN)
        run, first = await self.asked(office)
        await office.decide(first, ANN, {"happened": False, "comment": "not in the list of the day"})
        await office.go_on(run)
        second = await office.asked(run)
        assert second["id"] != first["id"]
        await office.decide(second, BOB, {"happened": False})
        await office.ended(run, "completed")
        assert len(bank.requests) == 3
        every = (await office.service.get(f"/v1/approvals?run={run}&status=decided", OWNER)).json()["items"]
        assert [each["id"] for each in every] == [second["id"], first["id"]]
        asked_first = (await office.service.get(f"/v1/approvals/{first['id']}", OWNER)).json()
        assert (asked_first["status"], asked_first["verdict"]) == ("decided", "not_happened")
        (said,) = asked_first["decisions"]
        assert (said["by"], said["comment"]) == ("ann", "not in the list of the day")
        late = await office.service.post(f"/v1/approvals/{first['id']}/decisions", BOB, {"fail": True})
        assert (late.status_code, late.json()["verdict"]) == (409, "not_happened")
        log = (await office.service.get(f"/v1/runs/{run}/logs", OWNER)).json()["items"]
        told = [line["text"].partition("; ")[2] for line in log if "tried again" in line["text"]]
        did_not = "said that it did not take effect"
        assert told == [f"ann {did_not}: not in the list of the day", f"bob {did_not}"]
