"""Deciding: who may, what counts, and what the waiting step is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_kit.identity import Identity
from crewmesh_testkit.identities import OTHER_ORGANIZATION

from services.workflow.tests.approvals import (
    ANN,
    BOB,
    EVE,
    EVES_KEY,
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

    @pytest.mark.parametrize(("first", "second"), [(EVE, EVES_KEY), (EVES_KEY, EVE)])
    async def test_a_key_has_the_word_of_its_owner(self, desk: Desk, first: Identity, second: Identity) -> None:
        question = await desk.ask(quorum=2)
        assert (await desk.decide(question, first, YES)).json()["status"] == "open"
        again = await desk.decide(question, second, YES)
        assert (again.status_code, again.json()["status"]) == (200, "open")
        assert [each["by"] for each in again.json()["decisions"]] == ["usr_eve"]
        refused = await desk.decide(question, second, NO)
        assert refused.json()["type"].endswith("/already-decided")

    async def test_a_key_that_had_a_word_of_its_own_has_no_second_one(self, desk: Desk) -> None:
        question = await desk.ask(quorum=2)
        await desk.decide(question, EVES_KEY, YES)
        await desk.execute("UPDATE decisions SET subject = 'key_eve' WHERE wait_id = %s", question)
        assert (await desk.decide(question, EVES_KEY, YES)).json()["status"] == "open"

    async def test_all_keys_of_a_service_account_are_one_vote(self, desk: Desk) -> None:
        question = await desk.ask(quorum=2)
        first, second = (replace(EVES_KEY, subject=key, acting_for="sva_1") for key in ("key_1", "key_2"))
        assert (await desk.decide(question, first, YES)).json()["status"] == "open"
        again = await desk.decide(question, second, YES)
        assert (again.status_code, again.json()["status"]) == (200, "open")
        assert [each["by"] for each in again.json()["decisions"]] == ["sva_1"]
        other = replace(EVES_KEY, subject="key_3", acting_for="sva_2")
        assert (await desk.decide(question, other, YES)).json()["status"] == "decided"
        [told] = await desk.told("crewmesh.approval.decided.v1")
        assert told["by"] == "sva_2"


class TestWhoMayDecide:
    @pytest.mark.parametrize(
        ("assignees", "who", "may"),
        [
            ([], ANN, True),
            (["user:ann"], ANN, True),
            (["user:ann"], BOB, False),
            (["user:usr_eve"], EVES_KEY, True),
            (["user:key_eve"], EVES_KEY, True),
            (["user:key_eve"], EVE, False),
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
        assert not may or answer.json()["may_decide"] is False, "it is closed now"
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
