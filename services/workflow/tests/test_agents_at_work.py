"""Steps that let agents work, in real runs: asked again until done, people asked in between, money waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.invocations import (
    KICKOFF,
    STOP_THINKING,
    CrewQuestion,
    KickoffProgress,
    KickoffRequest,
    KickoffResult,
    StopRequest,
    StopResult,
    TokenUsage,
)
from crewmesh_kit.errors import RemoteProblem
from crewmesh_testkit.polling import until

from services.workflow.tests.approvals import ANN, OWNER, person
from services.workflow.tests.conftest import Running
from services.workflow.tests.test_approvals_runs import NO, YES, Office

THINK: JsonObject = {"id": "think", "kind": "crew", "crew": "desk", "inputs": {}}
MAIL: JsonObject = {"to": "everybody"}
SEND = CrewQuestion(id="que_1", kind="tool", title="May writer use mail?", agent="writer", tool="mail", arguments=MAIL)
MONEY = CrewQuestion(id="budget-b1", kind="budget", title="The budget b1 is used up.", agent="writer")
WORKING = KickoffProgress(crew_run="crun_1", status="working")


def done(cost: str = "0.0125") -> KickoffProgress:
    usage = TokenUsage(model="m", requests=3, prompt_tokens=5, completion_tokens=7, cost=cost)
    return KickoffProgress(
        crew_run="crun_1", status="done", result=KickoffResult(text="Done.", messages=(), usage=usage)
    )


def waits_for(*questions: CrewQuestion) -> KickoffProgress:
    return KickoffProgress(crew_run="crun_1", status="waiting", questions=questions)


@dataclass
class Crew:
    """The far side: what it answers next, by what it was asked so far."""

    says: Callable[[list[KickoffRequest]], KickoffProgress]
    asked: list[KickoffRequest] = field(default_factory=list[KickoffRequest])

    async def __call__(self, request: KickoffRequest) -> KickoffProgress:
        self.asked.append(request)
        return self.says(self.asked)


@pytest.fixture
def office(service: Running) -> Office:
    return Office(service)


def at_work(office: Office, says: Callable[[list[KickoffRequest]], KickoffProgress]) -> Crew:
    crew = Crew(says)
    office.service.sidecar.answer(KICKOFF, crew)
    return crew


def until_told(asked: list[KickoffRequest]) -> KickoffProgress:
    return done() if asked[-1].verdicts else waits_for(SEND)


class TestPeople:
    async def test_a_crew_that_wants_a_yes_gets_it_from_the_runs_approval(self, office: Office) -> None:
        crew = at_work(office, until_told)
        run = await office.begin([THINK])
        question = await office.asked(run)
        assert (question["title"], question["data"], question["path"]) == (SEND.title, MAIL, "think")
        assert question["about"] == {
            "agent": "writer", "tool": "mail", "arguments": MAIL, "question": "que_1", "node": "think", "kind": "crew",
        }  # fmt: skip
        await office.decide(question, ANN, YES)
        steps = await office.ended(run, "completed")
        assert steps["think"]["output"] == done().result.model_dump(mode="json")  # pyright: ignore[reportOptionalMemberAccess]
        (told,) = crew.asked[-1].verdicts
        assert (told.question, told.approved, told.arguments, told.by) == ("que_1", True, None, ANN.subject)
        assert {asked.payer.started_by for asked in crew.asked} == {"owner"}

    async def test_with_other_arguments(self, office: Office) -> None:
        crew = at_work(office, until_told)
        run = await office.begin([THINK])
        await office.decide(await office.asked(run), ANN, {"approved": True, "data": {"to": "ann"}})
        await office.ended(run, "completed")
        assert crew.asked[-1].verdicts[0].arguments == {"to": "ann"}

    async def test_a_no_is_told_to_the_crew_which_goes_on(self, office: Office) -> None:
        crew = at_work(office, until_told)
        run = await office.begin([THINK])
        await office.decide(await office.asked(run), ANN, NO)
        await office.ended(run, "completed")
        assert crew.asked[-1].verdicts[0].approved is False

    async def test_several_questions_are_asked_one_after_another(self, office: Office) -> None:
        second = SEND.model_copy(update={"id": "que_2", "title": "And again?"})

        def says(asked: list[KickoffRequest]) -> KickoffProgress:
            known = {verdict.question for verdict in asked[-1].verdicts}
            open_ = [question for question in (SEND, second) if question.id not in known]
            return waits_for(*open_) if open_ else done()

        crew = at_work(office, says)
        run = await office.begin([THINK])
        first = await office.asked(run)
        await office.decide(first, ANN, YES)
        await office.go_on(run)
        found = await self.open_ones(office, run)
        assert [question["title"] for question in found] == ["And again?"]
        await office.decide(found[0], ANN, NO)
        await office.ended(run, "completed")
        assert [(told.question, told.approved) for told in crew.asked[-1].verdicts] == [
            ("que_1", True),
            ("que_2", False),
        ]

    @staticmethod
    async def open_ones(office: Office, run: str) -> list[JsonObject]:
        async def found() -> list[JsonObject]:
            return (await office.service.get(f"/v1/approvals?run={run}&status=open", OWNER)).json()["items"]

        return await until(found, seconds=60, what="a question")

    async def test_the_workflows_rules_say_who_decides(self, office: Office) -> None:
        at_work(office, until_told)
        rules: list[JsonObject] = [
            {"when": "input.tool == 'other'", "assignees": ["user:nobody"]},
            {"when": "input.tool == 'mail'", "assignees": ["role:boss"], "expires_seconds": 3600},
        ]
        run = await office.begin([THINK], settings={"mode": "hybrid", "approval_rules": [*rules]})
        question = await office.asked(run)
        assert question["assignees"] == ["role:boss"]
        assert question["until"] is not None

    async def test_an_answer_that_never_comes_is_a_no(self, office: Office) -> None:
        crew = at_work(office, until_told)
        rules: list[JsonObject] = [{"when": "true", "expires_seconds": 3600}]
        run = await office.begin([THINK], settings={"mode": "hybrid", "approval_rules": [*rules]})
        await office.asked(run)
        await office.execute("UPDATE waits SET until = now() - interval '1s' WHERE run_id = %s", run)
        await office.ended(run, "completed")
        assert crew.asked[-1].verdicts[0].approved is False


class TestTime:
    async def test_it_is_asked_again_until_it_is_done(self, office: Office) -> None:
        crew = at_work(office, lambda asked: done() if len(asked) == 3 else WORKING)
        run = await office.begin([THINK])
        await office.ended(run, "completed")
        assert [asked.begun for asked in crew.asked] == [False, True, True]
        detail = (await office.service.get(f"/v1/runs/{run}", OWNER)).json()
        assert detail["usage"] == {"requests": 3, "prompt_tokens": 5, "completion_tokens": 7, "cost": "0.0125"}

    async def test_money_is_waited_for_and_costs_no_attempt(self, office: Office) -> None:
        crew = at_work(office, lambda asked: done() if len(asked) == 3 else waits_for(MONEY))
        run = await office.begin([{**THINK, "retry": {"attempts": 1}}])
        for _ in range(2):
            await office.service.until(run, "waiting", OWNER)
            await office.execute("UPDATE steps SET retry_at = now() WHERE run_id = %s AND status = 'running'", run)
            await office.go_on(run)
        steps = await office.ended(run, "completed")
        assert (steps["think"]["attempt"], len(crew.asked)) == (1, 3)

    async def test_what_failed_is_begun_again_by_the_next_attempt(self, office: Office) -> None:
        away = RemoteProblem("No model.", status=503, slug="model-unavailable", title="Away", retryable=True)

        def says(asked: list[KickoffRequest]) -> KickoffProgress:
            if len(asked) == 2:
                raise away
            return done() if len(asked) == 3 else WORKING

        crew = at_work(office, says)
        run = await office.begin([{**THINK, "retry": {"attempts": 2, "backoff_seconds": 0.01}}])
        await office.ended(run, "completed")
        assert [asked.begun for asked in crew.asked] == [False, True, False]


async def test_teams_of_whoever_started_it_pay(office: Office) -> None:
    crew = at_work(office, lambda _: done())
    made = await office.service.post(
        "/v1/workflows", OWNER, {"name": "paid", "nodes": [THINK], "edges": [], "triggers": []}
    )
    who = person("usr_1", "team:team_2", "team:team_1", "role:owner", permissions=("*",))
    await office.service.post(f"/v1/workflows/{made.json()['id']}/runs", who, {})
    payer = (await until(lambda: crew.asked, seconds=60, what="the crew to be asked"))[0].payer
    assert (payer.started_by, payer.teams, payer.step) == ("usr_1", ("team_1", "team_2"), "think")
    assert payer.workflow == made.json()["id"]


@pytest.mark.parametrize("question", [SEND, MONEY])
async def test_a_crew_that_waits_is_stopped_with_its_run(office: Office, question: CrewQuestion) -> None:
    """Else it would go on by itself, with nobody who wants what comes of it, once there is money again."""
    stopped: list[str] = []
    asked = asyncio.Event()

    async def stop(request: StopRequest) -> StopResult:
        stopped.append(request.key)
        return StopResult(stopped=True)

    def waits(_: list[KickoffRequest]) -> KickoffProgress:
        asked.set()
        return waits_for(question)

    office.service.sidecar.answer(STOP_THINKING, stop)
    at_work(office, waits)
    run = await office.begin([THINK])
    await asked.wait()
    if question is SEND:
        await office.asked(run)
    cancelled = await office.service.post(f"/v1/runs/{run}/cancel", OWNER, {})
    assert cancelled.status_code == 200, cancelled.text
    await office.ended(run, "cancelled")
    await until(lambda: stopped, seconds=60, what="the crew to be stopped, which is said beside the end of the run")
    assert stopped == [f"{run}/think"]
