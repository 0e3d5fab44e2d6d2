"""Policies that change while a turn is under way: what is done obeys at once, what was paid for is not paid again."""

from __future__ import annotations

import pytest
from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.invocations import SEND_HTTP
from crewmesh_testkit.identities import identity

from .harness import Running
from .test_tools_runs import POSTS, World
from .tool_desk import CODE, HANDBOOK, POST, ToolDesk, agent, question_of

ASKED_FIRST: JsonObject = {**POST, "approval": "always"}
OUT: JsonObject = {"method": "POST", "body": "x"}
MAIL = "Write to ann@example.org: it is posted."


class TestWhatIsShown:
    @pytest.mark.parametrize(
        "policy",
        [
            {"pii": "mask"},
            {"pii": "mask", "injection": "withhold"},
            {"limits": {"tool_calls": 1, "model_calls": 3}},
            {"forbidden_tools": [{"kinds": ["code"]}]},
        ],
        ids=str,
    )
    async def test_a_turn_that_is_played_again_asks_the_same_and_pays_nothing_twice(
        self, service: Running, policy: JsonObject
    ) -> None:
        world = World(service)
        await world.agent(CODE, ASKED_FIRST)
        service.model.answers(POSTS, "It is posted.", "asked once too often")
        begun = (await world.post("/v1/agents/poster/runs", {"task": MAIL})).json()
        run = await world.ended(begun)
        assert run["status"] == "waiting"
        assert (await world.post("/v1/policies", {"name": "strict", **policy})).status_code == 201
        await world.decide(run)
        run = await world.ended(run)
        assert (run["status"], run["text"]) == ("completed", "It is posted.")
        assert (len(service.model.requests), len(world.sent)) == (2, 1)
        assert "ann@example.org" in service.model.requests[-1].prompt

    async def test_the_next_turn_is_shown_what_the_policy_wants(self, service: Running) -> None:
        world = World(service)
        await world.agent(ASKED_FIRST)
        assert (await world.post("/v1/policies", {"name": "strict", "pii": "mask"})).status_code == 201
        service.model.answers("It is posted.")
        await world.ended((await world.post("/v1/agents/poster/runs", {"task": MAIL})).json())
        assert "ann@example.org" not in service.model.requests[-1].prompt


class TestWhatIsDone:
    async def test_a_tool_that_is_forbidden_meanwhile_is_not_used(self, service: Running) -> None:
        """Also when a person has just allowed it: they may have known less than the policy."""
        world = World(service)
        await world.agent(ASKED_FIRST)
        service.model.answers(POSTS, "I may not.", "asked once too often")
        run = await world.begin()
        policy: JsonObject = {"name": "strict", "forbidden_tools": [{"kinds": ["http"]}]}
        assert (await world.post("/v1/policies", policy)).status_code == 201
        await world.decide(run)
        run = await world.ended(run)
        assert (run["status"], run["text"]) == ("completed", "I may not.")
        assert (len(service.model.requests), world.sent) == (2, [])
        assert "forbids it" in service.model.requests[-1].prompt

    async def test_in_the_middle_of_a_turn(self, desk: ToolDesk) -> None:
        box = await desk.open(agent(POST))
        await box.use("post", OUT, key="t1")
        await desk.policy(forbidden_tools=[{"kinds": ["http"]}])
        assert "forbids it" in await box.use("post", OUT, key="t2")
        assert len(desk.asked(SEND_HTTP)) == 1

    async def test_approval_that_is_wanted_meanwhile(self, desk: ToolDesk) -> None:
        box = await desk.open(agent(POST))
        await box.use("post", OUT, key="t1")
        await desk.policy(approvals=[{"tools": {"outward": True}, "approval": "always"}])
        await question_of(box, "post", OUT, key="t2")

    async def test_the_rule_of_two_that_is_switched_on_meanwhile(self, desk: ToolDesk) -> None:
        box = await desk.open(agent(HANDBOOK, POST, rule_of_two=False))
        await box.use("handbook", {"query": "margin"}, key="t1")
        await box.use("post", OUT, key="t2")
        await desk.policy(rule_of_two=True)
        await question_of(box, "post", OUT, key="t3")

    async def test_what_held_when_the_turn_began_holds_to_its_end(self, desk: ToolDesk) -> None:
        await desk.policy(name="strict", forbidden_tools=[{"kinds": ["http"]}])
        before = await desk.open(agent(POST, CODE))
        await desk.policies.delete(identity("policies:write", organization=desk.organization), "strict", None)
        again = await desk.open(agent(POST, CODE))
        assert before.specs == again.specs
        assert [spec.name for spec in again.specs] == ["python"]
        assert "forbids it" in await again.use("post", OUT, key="t1")
        fresh = await desk.open(agent(POST, CODE), turn="task/worker/2")
        assert [spec.name for spec in fresh.specs] == ["post", "python"]
