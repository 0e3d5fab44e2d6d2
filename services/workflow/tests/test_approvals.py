"""Deciding: who may, what counts, and what the waiting step is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_testkit.identities import OTHER_ORGANIZATION, auth_headers

from services.workflow.tests.approvals import (
    ANN,
    BOB,
    CLEO,
    OWNER,
    READER,
    WORKFLOW,
    Desk,
    open_desk,
    person,
)

YES: JsonObject = {"approved": True}
NO: JsonObject = {"approved": False}


@pytest.fixture(scope="module")
def desk_url(database_url: Callable[[str], str]) -> str:
    return database_url("workflow")


@pytest.fixture
async def desk(desk_url: str) -> AsyncGenerator[Desk]:
    async with open_desk(desk_url) as opened:
        yield opened


class TestYesAndNo:
    async def test_a_yes_lets_the_run_go_on(self, desk: Desk) -> None:
        question = await desk.ask(details="for the server", data={"amount": 120})
        assert (await desk.read(question))["data"] == {"amount": 120}
        answer = await desk.decide(question, ANN, {"approved": True, "comment": "fine"})
        assert answer.status_code == 200
        decided = answer.json()
        assert (decided["status"], decided["verdict"]) == ("decided", "approved")
        assert decided["decided_at"] is not None
        assert await desk.arrived(question) == [
            {
                "approved": True,
                "data": {"amount": 120},
                "decisions": [{"by": "ann", "approved": True, "comment": "fine"}],
            }
        ]

    async def test_one_no_is_enough(self, desk: Desk) -> None:
        question = await desk.ask(quorum=3)
        await desk.decide(question, ANN, YES)
        answer = await desk.decide(question, BOB, {"approved": False, "comment": "too much"})
        assert answer.json()["verdict"] == "rejected"
        [arrived] = await desk.arrived(question)
        assert arrived["approved"] is False
        assert [each["by"] for each in answer.json()["decisions"]] == ["ann", "bob"]

    async def test_as_many_yes_as_the_quorum_wants(self, desk: Desk) -> None:
        question = await desk.ask(quorum=2)
        first = (await desk.decide(question, ANN, YES)).json()
        assert (first["status"], first["verdict"]) == ("open", None)
        assert await desk.arrived(question) == []
        assert (await desk.decide(question, BOB, YES)).json()["verdict"] == "approved"
        [arrived] = await desk.arrived(question)
        assert arrived["decisions"] == [
            {"by": "ann", "approved": True, "comment": None},
            {"by": "bob", "approved": True, "comment": None},
        ]

    async def test_the_event_tells_what_came_of_it(self, desk: Desk) -> None:
        question = await desk.ask()
        await desk.decide(question, ANN, NO)
        [told] = await desk.told("crewmesh.approval.decided.v1")
        assert told["approval"] == question
        assert (told["verdict"], told["by"], told["workflow"], told["title"]) == (
            "rejected",
            "ann",
            WORKFLOW,
            "Pay 120 €?",
        )


class TestOnePersonOneVote:
    async def test_saying_the_same_again_changes_nothing(self, desk: Desk) -> None:
        question = await desk.ask(quorum=2)
        for _ in range(3):
            answer = await desk.decide(question, ANN, {"approved": True, "comment": "ok"})
            assert answer.status_code == 200
            assert len(answer.json()["decisions"]) == 1
        assert (await desk.read(question))["status"] == "open"

    async def test_the_same_again_after_the_end_is_answered_with_the_end(self, desk: Desk) -> None:
        question = await desk.ask()
        await desk.decide(question, ANN, YES)
        again = await desk.decide(question, ANN, YES)
        assert (again.status_code, again.json()["verdict"]) == (200, "approved")
        assert len(await desk.arrived(question)) == 1
        assert len(await desk.told("crewmesh.approval.decided.v1")) == 1

    @pytest.mark.parametrize("other", [NO, {"approved": True, "comment": "on second thoughts"}])
    async def test_a_word_cannot_be_changed(self, desk: Desk, other: JsonObject) -> None:
        question = await desk.ask(quorum=2)
        await desk.decide(question, ANN, YES)
        refused = await desk.decide(question, ANN, other)
        assert refused.status_code == 409
        assert refused.json()["type"].endswith("/already-decided")
        assert refused.json()["decision"]["approved"] is True
        assert "You have said yes" in refused.json()["detail"]

    async def test_one_idempotency_key_of_two_people_is_two_votes(self, desk: Desk) -> None:
        question = await desk.ask(quorum=2)
        for who in (ANN, BOB):
            assert (await desk.decide(question, who, YES, **{"idempotency-key": "k"})).status_code == 200
        assert (await desk.read(question))["verdict"] == "approved"


class TestWhoMayDecide:
    @pytest.mark.parametrize(
        ("assignees", "who", "may"),
        [
            ([], ANN, True),
            (["user:ann"], ANN, True),
            (["user:ann"], BOB, False),
            (["user:annabel"], ANN, False),
            (["role:owner"], person("x", "role:owner"), True),
            (["team:ops", "user:bob"], person("x", "team:dev", "team:ops"), True),
            (["team:ops"], person("x", "team:dev"), False),
            (["role:user:ann"], ANN, False),
            (["user:ann"], OWNER, True),
            (["user:ann"], person("x", permissions=("approvals:decide-any",)), True),
            # Who calls itself like a group is not of the group.
            (["team:ops"], person("team:ops"), False),
        ],
    )
    async def test_assignees(self, desk: Desk, assignees: list[JsonValue], who: object, may: bool) -> None:
        question = await desk.ask(assignees=assignees)
        assert isinstance(who, type(ANN))
        assert (await desk.read(question, who))["may_decide"] is may
        answer = await desk.decide(question, who, YES)
        assert answer.status_code == (200 if may else 403)
        if not may:
            assert answer.json()["type"].endswith("/not-asked")
            assert answer.json()["assignees"] == assignees
            assert str(assignees[0]) in answer.json()["detail"]
            assert await desk.arrived(question) == []

    async def test_permissions(self, desk: Desk) -> None:
        question = await desk.ask()
        assert (await desk.decide(question, READER, YES)).status_code == 403
        nobody = type(ANN)(ANN.organization, "n", frozenset())
        assert (await desk.get("/v1/approvals", nobody)).status_code == 403
        assert (await desk.get(f"/v1/approvals/{question}", nobody)).status_code == 403
        assert (await desk.client.get("/v1/approvals")).status_code == 401

    async def test_another_organization_has_no_such_approval(self, desk: Desk) -> None:
        question = await desk.ask()
        stranger = person("ann", permissions=("*",), organization=OTHER_ORGANIZATION)
        assert (await desk.get(f"/v1/approvals/{question}", stranger)).status_code == 404
        assert (await desk.decide(question, stranger, YES)).status_code == 404
        link = await desk.post(f"/v1/approvals/{question}/links", stranger, {"for": "user:ann"})
        assert link.status_code == 404
        assert (await desk.get("/v1/approvals?status=all", stranger)).json()["items"] == []
        assert (await desk.read(question))["status"] == "open"

    @pytest.mark.parametrize("path", ["apr_1", "apr_" + "g" * 32, "apr_" + "0" * 32, "%00"])
    async def test_what_does_not_exist(self, desk: Desk, path: str) -> None:
        assert (await desk.get(f"/v1/approvals/{path}", OWNER)).status_code in (400, 404)


class TestEditAndApprove:
    async def test_the_change_is_what_is_approved(self, desk: Desk) -> None:
        question = await desk.ask(data={"amount": 120})
        answer = await desk.decide(question, ANN, {"approved": True, "data": {"amount": 100}})
        assert (answer.json()["data"], answer.json()["proposal"]) == ({"amount": 100}, 2)
        [arrived] = await desk.arrived(question)
        assert arrived["data"] == {"amount": 100}

    async def test_a_change_makes_earlier_agreement_void(self, desk: Desk) -> None:
        question = await desk.ask(data={"amount": 120}, quorum=2)
        await desk.decide(question, ANN, YES)
        changed = (await desk.decide(question, BOB, {"approved": True, "data": {"amount": 100}})).json()
        assert (changed["status"], changed["proposal"], changed["data"]) == ("open", 2, {"amount": 100})
        assert [(each["by"], each["void"]) for each in changed["decisions"]] == [("ann", True), ("bob", False)]
        # Whoever agreed to what was there before may agree to what is there now.
        agreed = await desk.decide(question, ANN, {"approved": True, "proposal": 2})
        assert agreed.json()["verdict"] == "approved"
        [arrived] = await desk.arrived(question)
        assert arrived["data"] == {"amount": 100}
        assert arrived["decisions"] == [
            {"by": "bob", "approved": True, "comment": None},
            {"by": "ann", "approved": True, "comment": None},
        ]

    async def test_nobody_agrees_to_what_they_have_not_seen(self, desk: Desk) -> None:
        question = await desk.ask(data={"amount": 120}, quorum=2)
        await desk.decide(question, BOB, {"approved": True, "data": {"amount": 1}})
        refused = await desk.decide(question, CLEO, YES)
        assert refused.status_code == 409
        assert refused.json()["type"].endswith("/proposal-changed")
        assert refused.json()["proposal"] == 2
        ahead = await desk.decide(question, CLEO, {"approved": True, "proposal": 3})
        assert ahead.json()["type"].endswith("/proposal-changed")
        # A no needs no proposal: it refuses whatever it is.
        assert (await desk.decide(question, CLEO, NO)).json()["verdict"] == "rejected"

    async def test_a_repeated_change_is_one_change(self, desk: Desk) -> None:
        question = await desk.ask(data={"amount": 120}, quorum=2)
        for _ in range(2):
            answer = await desk.decide(question, ANN, {"approved": True, "data": {"amount": 100}})
            assert (answer.status_code, answer.json()["proposal"]) == (200, 2)

    async def test_data_that_change_nothing_are_no_change(self, desk: Desk) -> None:
        question = await desk.ask(data={"a": 1, "b": [True]}, quorum=2)
        same = (await desk.decide(question, ANN, {"approved": True, "data": {"b": [True], "a": 1}})).json()
        assert same["proposal"] == 1
        other = (await desk.decide(question, BOB, {"approved": True, "data": {"a": 1, "b": [1]}})).json()
        assert other["proposal"] == 2, "true is not 1"

    async def test_the_input_of_a_step_stays_an_object(self, desk: Desk) -> None:
        question = await desk.ask(node="pay", kind="action", input={"amount": 120})
        shown = await desk.read(question)
        assert (shown["data"], shown["about"]) == ({"amount": 120}, {"node": "pay", "kind": "action"})
        refused = await desk.decide(question, ANN, {"approved": True, "data": "everything"})
        assert refused.status_code == 422
        assert refused.json()["errors"][0]["path"] == "data"
        await desk.decide(question, ANN, {"approved": True, "data": {"amount": 1}})
        [arrived] = await desk.arrived(question)
        assert (arrived["approved"], arrived["data"]) == (True, {"amount": 1})

    async def test_a_step_that_is_approved_as_it_is_keeps_its_input(self, desk: Desk) -> None:
        question = await desk.ask(node="pay", kind="action", input={"amount": 120})
        await desk.decide(question, ANN, YES)
        [arrived] = await desk.arrived(question)
        assert arrived["data"] == {"amount": 120}


FORM: JsonObject = {
    "type": "object",
    "properties": {"name": {"type": "string", "minLength": 1}, "age": {"type": "integer", "minimum": 18}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


class TestForms:
    async def test_an_answer_as_the_form_wants_it(self, desk: Desk) -> None:
        question = await desk.ask("input", form=FORM)
        assert (await desk.read(question))["form"] == FORM
        answer = await desk.decide(question, ANN, {"data": {"name": "Ann", "age": 40}})
        assert answer.json()["verdict"] == "answered"
        assert await desk.arrived(question) == [{"data": {"name": "Ann", "age": 40}, "by": "ann"}]

    async def test_every_mistake_is_named(self, desk: Desk) -> None:
        question = await desk.ask("input", form=FORM)
        refused = await desk.decide(question, ANN, {"data": {"name": "", "age": 4, "shoe": 9}})
        assert refused.status_code == 422
        assert sorted(error["path"] for error in refused.json()["errors"]) == ["data", "data.age", "data.name"]
        assert await desk.arrived(question) == []
        assert (await desk.decide(question, ANN, {"data": {"name": "A", "age": 18}})).status_code == 200

    async def test_the_first_answer_counts(self, desk: Desk) -> None:
        question = await desk.ask("input", form=FORM)
        await desk.decide(question, ANN, {"data": {"name": "Ann", "age": 40}})
        late = await desk.decide(question, BOB, {"data": {"name": "Bob", "age": 41}})
        assert (late.status_code, late.json()["verdict"]) == (409, "answered")

    async def test_a_pattern_that_takes_forever_elsewhere(self, desk: Desk) -> None:
        form: JsonObject = {"type": "object", "properties": {"x": {"type": "string", "pattern": "^(a+)+$"}}}
        question = await desk.ask("input", form=form)
        async with asyncio.timeout(2):
            refused = await desk.decide(question, ANN, {"data": {"x": "a" * 5_000 + "!"}})
        assert refused.status_code == 422
        assert len(refused.json()["errors"][0]["message"]) <= 300

    @pytest.mark.parametrize("form", [{"$ref": "https://example.com/schema.json"}, {"type": "thing"}])
    async def test_a_form_that_is_wrong_says_so(self, desk: Desk, form: JsonObject) -> None:
        question = await desk.ask("input", form=form)
        refused = await desk.decide(question, ANN, {"data": {}})
        assert refused.status_code == 422
        assert "the form itself is wrong" in refused.json()["detail"]


class TestUnknownOutcomes:
    @pytest.mark.parametrize(
        ("body", "verdict", "arrives"),
        [
            ({"happened": True, "output": {"id": 7}}, "happened", {"happened": True, "output": {"id": 7}}),
            ({"happened": True}, "happened", {"happened": True, "output": {}}),
            ({"happened": False}, "not_happened", {"happened": False, "output": None}),
            ({"fail": True, "comment": "lost"}, "failed", {"fail": True}),
        ],
    )
    async def test_what_came_of_a_step(self, desk: Desk, body: JsonObject, verdict: str, arrives: JsonObject) -> None:
        question = await desk.ask("outcome", node="pay", action="bank.transfer")
        answer = await desk.decide(question, ANN, body)
        assert answer.json()["verdict"] == verdict
        assert answer.json()["about"] == {"node": "pay", "action": "bank.transfer"}
        assert await desk.arrived(question) == [{**arrives, "by": "ann"}]
        assert (await desk.decide(question, ANN, body)).status_code == 200


@pytest.mark.parametrize(
    ("kind", "body", "path"),
    [
        ("approval", {}, "approved"),
        ("approval", {"happened": True}, "happened"),
        ("approval", {"approved": False, "data": 1}, "data"),
        ("approval", {"approved": "perhaps"}, "body.approved"),
        ("approval", {"approved": True, "aproved": False}, "body.aproved"),
        ("input", {}, "data"),
        ("input", {"approved": True}, "approved"),
        ("outcome", {}, "happened"),
        ("outcome", {"happened": True, "fail": True}, "happened"),
        ("outcome", {"happened": False, "output": {}}, "output"),
        ("outcome", {"happened": True, "output": [1]}, "body.output"),
        ("outcome", {"approved": True}, "approved"),
    ],
)
async def test_a_decision_of_another_kind(desk: Desk, kind: str, body: JsonObject, path: str) -> None:
    question = await desk.ask(kind, form={"type": "object"})
    refused = await desk.decide(question, ANN, body)
    assert refused.status_code == 422
    assert path in [error["path"] for error in refused.json()["errors"]]
    assert await desk.decisions(question) == []


@pytest.mark.parametrize("value", [rb'"\u0000"', rb'"\ud800"', b"NaN", b"Infinity", b"1e999"])
async def test_what_cannot_be_stored_is_refused(desk: Desk, value: bytes) -> None:
    question = await desk.ask()
    headers = {**auth_headers(ANN, audience="workflow"), "content-type": "application/json"}
    for body in (b'{"approved": true, "comment": %b}', b'{"approved": true, "data": {"a": %b}}'):
        for path in (f"/v1/approvals/{question}/decisions", await desk.link(question, ANN, **{"for": "user:ann"})):
            refused = await desk.client.post(path, content=body % value, headers=headers)
            assert refused.status_code in (400, 422), refused.text
    assert (await desk.read(question))["status"] == "open"


class TestTheEnd:
    async def test_after_the_time_is_over(self, desk: Desk) -> None:
        question = await desk.ask(seconds=-1)
        refused = await desk.decide(question, ANN, YES)
        assert (refused.status_code, refused.json()["approval_status"]) == (409, "expired")
        assert "expired at" in refused.json()["detail"]
        assert (await desk.read(question))["status"] == "expired"
        assert await desk.arrived(question) == []

    @pytest.mark.parametrize(
        "ended",
        [
            "UPDATE steps SET status = 'cancelled' WHERE run_id = (SELECT run_id FROM waits WHERE id = %s)",
            "UPDATE runs SET status = 'failed', finished_at = now()"
            " WHERE id = (SELECT run_id FROM waits WHERE id = %s)",
            "UPDATE waits SET status = 'closed' WHERE id = %s",
        ],
    )
    async def test_when_the_run_does_not_wait_any_more(self, desk: Desk, ended: str) -> None:
        question = await desk.ask()
        await desk.execute(ended, question)
        refused = await desk.decide(question, ANN, YES)
        assert (refused.status_code, refused.json()["approval_status"]) == (409, "cancelled")
        assert "does not wait" in refused.json()["detail"]

    async def test_when_something_else_arrived_first(self, desk: Desk) -> None:
        question = await desk.ask()
        await desk.execute(
            "INSERT INTO arrivals (wait_id, run_id, path, org_id, data)"
            " SELECT id, run_id, path, org_id, '{}' FROM waits WHERE id = %s",
            question,
        )
        assert (await desk.decide(question, ANN, YES)).status_code == 409
        assert await desk.decisions(question) == [], "a word that came too late is not noted"

    async def test_after_others_have_decided(self, desk: Desk) -> None:
        question = await desk.ask()
        await desk.decide(question, ANN, YES)
        refused = await desk.decide(question, BOB, NO)
        assert (refused.status_code, refused.json()["verdict"]) == (409, "approved")


class TestManyAtOnce:
    async def test_fifty_people_one_verdict(self, desk: Desk) -> None:
        question = await desk.ask()
        people = [person(f"p{number}") for number in range(50)]
        answers = await asyncio.gather(
            *(desk.decide(question, who, YES if n % 2 else NO) for n, who in enumerate(people))
        )
        assert sorted(answer.status_code for answer in answers) == [200] + [409] * 49
        assert len(await desk.arrived(question)) == 1
        assert len(await desk.decisions(question)) == 1
        assert len(await desk.told("crewmesh.approval.decided.v1")) == 1

    async def test_a_quorum_is_counted_exactly(self, desk: Desk) -> None:
        question = await desk.ask(quorum=20)
        people = [person(f"p{number}") for number in range(50)]
        answers = await asyncio.gather(*(desk.decide(question, who, YES) for who in people))
        assert sorted(answer.status_code for answer in answers) == [200] * 20 + [409] * 30
        [arrived] = await desk.arrived(question)
        decisions = arrived["decisions"]
        assert isinstance(decisions, list)
        assert len(decisions) == 20

    async def test_one_person_often(self, desk: Desk) -> None:
        question = await desk.ask(quorum=2)
        answers = await asyncio.gather(*(desk.decide(question, ANN, YES) for _ in range(20)))
        assert {answer.status_code for answer in answers} == {200}
        assert len(await desk.decisions(question)) == 1

    async def test_changes_at_once_leave_one_proposal_each(self, desk: Desk) -> None:
        question = await desk.ask(data=0, quorum=3)
        people = [person(f"p{number}") for number in range(10)]
        answers = await asyncio.gather(
            *(desk.decide(question, who, {"approved": True, "data": n + 1}) for n, who in enumerate(people))
        )
        # Each changed what it had seen, and only the first had seen what was there.
        assert sorted(answer.status_code for answer in answers) == [200] + [409] * 9
        assert (await desk.read(question))["proposal"] == 2


class TestLists:
    async def test_filters(self, desk: Desk) -> None:
        waiting = await desk.ask(assignees=["team:ops"])
        form = await desk.ask("input", form=FORM, assignees=["user:ann"])
        decided = await desk.ask()
        await desk.decide(decided, ANN, YES)
        expired = await desk.ask("outcome", seconds=-1)
        cancelled = await desk.ask()
        await desk.execute("UPDATE waits SET status = 'closed' WHERE id = %s", cancelled)
        await desk.execute("UPDATE waits SET kind = 'timer' WHERE id = %s", await desk.ask())
        run = (await desk.read(form))["run"]
        for query, expected in [
            ("", [form, waiting]),
            ("status=open", [form, waiting]),
            ("status=decided", [decided]),
            ("status=expired", [expired]),
            ("status=all", [cancelled, expired, decided, form, waiting]),
            ("kind=input", [form]),
            (f"run={run}", [form]),
            (f"workflow={WORKFLOW}&kind=approval", [waiting]),
            ("workflow=wf_" + "9" * 32, []),
        ]:
            found = (await desk.get(f"/v1/approvals?{query}", READER)).json()["items"]
            assert [each["id"] for each in found] == expected, query

    async def test_mine(self, desk: Desk) -> None:
        everybodys = await desk.ask()
        anns = await desk.ask(assignees=["user:ann", "user:bob"])
        ops = await desk.ask(assignees=["team:ops"])
        for who, expected in [
            (ANN, [anns, everybodys]),
            (CLEO, [everybodys]),
            (person("dan", "team:ops"), [ops, everybodys]),
            (OWNER, [everybodys]),
        ]:
            found = (await desk.get("/v1/approvals?mine=true", who)).json()["items"]
            assert [each["id"] for each in found] == expected

    async def test_what_has_not_changed_is_not_sent_again(self, desk: Desk) -> None:
        question = await desk.ask(quorum=2)
        path = f"/v1/approvals/{question}"
        etag = (await desk.get(path, ANN)).headers["etag"]
        headers = {**auth_headers(ANN, audience="workflow"), "if-none-match": etag}
        assert (await desk.client.get(path, headers=headers)).status_code == 304
        await desk.decide(question, BOB, YES)
        assert (await desk.client.get(path, headers=headers)).status_code == 200

    async def test_pages(self, desk: Desk) -> None:
        asked = [await desk.ask() for _ in range(5)]
        first = (await desk.get("/v1/approvals?limit=2", READER)).json()
        rest = (await desk.get(f"/v1/approvals?limit=3&cursor={first['next_cursor']}", READER)).json()
        assert [each["id"] for each in [*first["items"], *rest["items"]]] == asked[::-1]
        assert rest["next_cursor"] is None

    @pytest.mark.parametrize("query", ["status=weird", "kind=timer", "run=x", "cursor=x", "mine=perhaps", "limit=0"])
    async def test_bad_questions(self, desk: Desk, query: str) -> None:
        assert (await desk.get(f"/v1/approvals?{query}", READER)).status_code == 400


class TestReminders:
    async def test_each_question_is_announced_once(self, desk: Desk) -> None:
        question = await desk.ask(assignees=["team:ops"])
        await asyncio.gather(*(desk.reminders.remind() for _ in range(5)))
        assert await desk.reminders.remind() == 0
        [told] = await desk.told("crewmesh.approval.requested.v1")
        assert (told["approval"], told["assignees"], told["kind"]) == (question, ["team:ops"], "approval")

    async def test_what_is_decided_is_not_announced(self, desk: Desk) -> None:
        await desk.decide(await desk.ask(), ANN, YES)
        await desk.reminders.remind()
        assert await desk.told("crewmesh.approval.requested.v1") == []

    async def test_more_people_are_asked_when_nobody_decides(self, desk: Desk) -> None:
        escalation: JsonObject = {"after_seconds": 60, "to": ["user:bob", "role:owner"]}
        question = await desk.ask(assignees=["user:ann", "user:bob"], escalation=escalation, escalate_seconds=-1)
        assert (await desk.read(question))["escalated"] is False
        await asyncio.gather(*(desk.reminders.remind() for _ in range(5)))
        after = await desk.read(question)
        assert (after["assignees"], after["escalated"]) == (["user:ann", "user:bob", "role:owner"], True)
        [told] = await desk.told("crewmesh.approval.escalated.v1")
        assert (told["approval"], told["to"]) == (question, ["user:bob", "role:owner"])
        assert (await desk.decide(question, person("x", "role:owner"), YES)).status_code == 200

    async def test_everybody_stays_everybody(self, desk: Desk) -> None:
        question = await desk.ask(escalation={"after_seconds": 60, "to": ["user:bob"]}, escalate_seconds=-1)
        await desk.reminders.remind()
        assert (await desk.read(question, ANN))["may_decide"] is True
        assert len(await desk.told("crewmesh.approval.escalated.v1")) == 1

    async def test_not_before_its_time_nor_after_the_decision(self, desk: Desk) -> None:
        escalation: JsonObject = {"after_seconds": 60, "to": ["user:bob"]}
        await desk.ask(assignees=["user:ann"], escalation=escalation, escalate_seconds=60)
        decided = await desk.ask(assignees=["user:ann"], escalation=escalation, escalate_seconds=-1)
        await desk.decide(decided, ANN, YES)
        await desk.reminders.remind()
        assert await desk.told("crewmesh.approval.escalated.v1") == []

    async def test_decisions_and_reminders_do_not_hold_each_other_up(self, desk: Desk) -> None:
        escalation: JsonObject = {"after_seconds": 60, "to": ["user:bob"]}
        questions = [await desk.ask(escalation=escalation, escalate_seconds=-1) for _ in range(20)]
        answers = await asyncio.gather(
            *(desk.decide(question, ANN, YES) for question in questions),
            *(desk.reminders.remind() for _ in range(10)),
        )
        assert {answer.status_code for answer in answers if not isinstance(answer, int)} == {200}
