"""Finding what is asked, and being told of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace

import pytest
from crewmesh_contracts.base import JsonObject
from crewmesh_testkit.identities import ORGANIZATION, auth_headers

from services.workflow.tests.approvals import (
    ANN,
    BOB,
    CLEO,
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


FORM: JsonObject = {"type": "object"}


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
        async with desk.database.system() as conn:
            await conn.execute(
                "INSERT INTO workflows (id, org_id, name, version, slug) VALUES (%s, %s, 'w', 0, 'asks')",
                [WORKFLOW, ORGANIZATION],
            )
        for query, expected in [
            ("", [form, waiting]),
            ("status=open", [form, waiting]),
            ("status=decided", [decided]),
            ("status=expired", [expired]),
            ("status=cancelled", [cancelled]),
            ("status=all", [cancelled, expired, decided, form, waiting]),
            ("kind=input", [form]),
            (f"run={run}", [form]),
            (f"workflow={WORKFLOW}&kind=approval", [waiting]),
            ("workflow=asks&kind=approval", [waiting]),
            ("workflow=nobody", []),
            ("workflow=wf_" + "9" * 32, []),
        ]:
            found = (await desk.get(f"/v1/approvals?{query}", READER)).json()["items"]
            assert [each["id"] for each in found] == expected, query

    async def test_mine(self, desk: Desk) -> None:
        everybodys = await desk.ask()
        anns = await desk.ask(assignees=["user:ann", "user:bob"])
        ops = await desk.ask(assignees=["team:ops"])
        eves = await desk.ask(assignees=["user:usr_eve"])
        for who, expected in [
            (ANN, [anns, everybodys]),
            (CLEO, [everybodys]),
            (person("dan", "team:ops"), [ops, everybodys]),
            (EVES_KEY, [eves, ops, everybodys]),
            (OWNER, [everybodys]),
        ]:
            found = (await desk.get("/v1/approvals?mine=true", who)).json()["items"]
            assert [each["id"] for each in found] == expected

    async def test_groups_are_asked_by_name_or_id(self, desk: Desk) -> None:
        by_name = await desk.ask(assignees=["team:Vertrieb Süd", "role:Approver"])
        by_id = await desk.ask(assignees=["team:team_1"])
        dan = replace(person("dan", "team:team_1"), group_names=frozenset({"team:Vertrieb Süd"}))
        for who, expected in [
            (dan, [by_id, by_name]),
            (replace(ANN, group_names=frozenset({"role:Approver"})), [by_name]),
        ]:
            found = (await desk.get("/v1/approvals?mine=true", who)).json()["items"]
            assert [each["id"] for each in found] == expected
        assert (await desk.decide(by_name, CLEO, YES)).status_code == 403
        assert (await desk.decide(by_name, dan, YES)).json()["verdict"] == "approved"

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
