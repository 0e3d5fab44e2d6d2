"""Tools in whole runs: an agent wants one, a person is asked over the API, it is done once, all of it on the record."""

from __future__ import annotations

from typing import cast

import httpx2
import pytest
from crewmesh_agent_crew.crew_runs.service import CrewRuns
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.invocations import (
    SEARCH,
    SEND_HTTP,
    HttpReply,
    HttpSend,
    SearchHit,
    SearchRequest,
    SearchResult,
)
from crewmesh_kit.dapr.sidecar import Sidecar
from crewmesh_testkit.fake_sidecar import Call, FakeSidecar
from crewmesh_testkit.model_fake import Says, ToolUse

from .harness import Running
from .tool_desk import HANDBOOK, POST

OUT: JsonObject = {"method": "POST", "body": "41 percent"}
POSTS = Says(tools=(ToolUse("post", OUT),))
SEARCHES = Says(tools=(ToolUse("handbook", {"query": "margin"}),))


class World:
    """The other services, and what they were asked."""

    def __init__(self, service: Running) -> None:
        self.service = service
        self.sidecar = cast(FakeSidecar, service.resources.get(Sidecar))
        self.sidecar.answer(SEND_HTTP, self._taken)
        self.sidecar.answer(SEARCH, self._found)

    @property
    def sent(self) -> list[Call]:
        return [call for call in self.sidecar.calls if call.path == SEND_HTTP.path]

    async def agent(self, *tools: JsonObject, name: str = "poster", tags: tuple[str, ...] = ()) -> None:
        definition = {"name": name, "role": "Poster", "goal": "Posts.", "tools": list(tools), "tags": list(tags)}
        created = await self.service.post("/v1/agents", definition, who=self.service.who("*"))
        assert created.status_code == 201, created.text

    async def begin(self, name: str = "poster") -> JsonObject:
        """The run when it has ended, or waits for people."""
        answer = await self.post(f"/v1/agents/{name}/runs", {"task": "Post it."})
        return await self.ended(answer.json())

    async def decide(self, run: JsonObject, **decision: JsonValue) -> JsonObject:
        path = f"/v1/crew-runs/{run['id']}"
        (question,) = [each for each in await self.get(f"{path}/questions") if each["approved"] is None]
        decided = await self.post(f"{path}/questions/{question['id']}/decisions", {"approved": True, **decision})
        assert decided.status_code == 200, decided.text
        return question

    async def post(self, path: str, body: JsonObject) -> httpx2.Response:
        return await self.service.post(path, body, who=self.service.who("*"))

    async def get(self, path: str) -> list[JsonObject]:
        answer = await self.service.get(path, who=self.service.who("*"))
        assert answer.status_code == 200, answer.text
        found = cast("list[JsonObject] | dict[str, list[JsonObject]]", answer.json())
        return found if isinstance(found, list) else found["items"]

    async def ended(self, run: JsonObject) -> JsonObject:
        """A busy machine takes its time with the first turn."""
        await self.service.resources.get(CrewRuns).wait(self.service.organization, str(run["id"]), 300)
        answer = await self.service.get(f"/v1/crew-runs/{run['id']}", who=self.service.who("*"))
        return answer.json()

    async def _taken(self, _: HttpSend) -> HttpReply:
        return HttpReply(status=200, headers={}, body="taken")

    async def _found(self, _: SearchRequest) -> SearchResult:
        return SearchResult(hits=(SearchHit(document="d", title="t", position=0, text="41 percent", score=1.0),))


@pytest.fixture
def world(service: Running) -> World:
    return World(service)


async def test_a_tool_that_needs_approval_waits_for_it_and_is_used_once(world: World) -> None:
    await world.agent({**POST, "approval": "always"})
    world.service.model.answers(POSTS, "It is posted.")
    run = await world.begin()
    assert (run["status"], world.sent) == ("waiting", [])
    question = await world.decide(run)
    assert (question["tool"], question["arguments"]) == ("post", OUT)
    ended = await world.ended(run)
    assert (ended["status"], ended["text"]) == ("completed", "It is posted.")
    (call,) = world.sent
    assert call.identity.subject == run["id"]
    assert any(group.startswith("agent:agt_") for group in call.identity.groups)
    told = [line for line in await world.get(f"/v1/crew-runs/{run['id']}/messages") if line["kind"] == "tool"]
    assert ["taken" in str(line["text"]) for line in told] == [True]


async def test_a_person_who_says_no_is_told_to_the_model(world: World) -> None:
    await world.agent({**POST, "approval": "always"})
    world.service.model.answers(POSTS, "Then not.")
    run = await world.begin()
    await world.decide(run, approved=False)
    assert (await world.ended(run))["text"] == "Then not."
    assert world.sent == []


async def test_with_other_arguments(world: World) -> None:
    await world.agent({**POST, "approval": "single"})
    world.service.model.answers(POSTS, "Done.")
    run = await world.begin()
    await world.decide(run, arguments={"method": "POST", "body": "about forty"})
    await world.ended(run)
    assert [cast(HttpSend, call.request).body for call in world.sent] == ["about forty"]


async def test_the_rule_of_two_holds_in_runs(world: World) -> None:
    await world.agent(HANDBOOK, POST)
    world.service.model.answers(SEARCHES, POSTS, "Done.")
    run = await world.begin()
    assert (run["status"], world.sent) == ("waiting", [])
    await world.decide(run)
    assert (await world.ended(run))["status"] == "completed"
    assert len(world.sent) == 1
    assert len([call for call in world.sidecar.calls if call.path == SEARCH.path]) == 1


async def test_policies_hold_in_runs(world: World) -> None:
    policy: JsonObject = {"name": "quiet", "tag": "quiet", "limits": {"tool_calls": 0}, "pii": "mask"}
    assert (await world.post("/v1/policies", policy)).status_code == 201
    await world.agent(POST, tags=("quiet",))
    world.service.model.answers("Ask ada@example.com.")
    assert (await world.begin())["text"] == "Ask [email-1]."
    assert world.service.model.requests[-1].tool_names == []


@pytest.mark.parametrize("pattern", ["*", "default", "fake"])
async def test_a_model_that_a_policy_forbids(world: World, pattern: str) -> None:
    """By the name in the definition, or by that of what it stands for."""
    assert (await world.post("/v1/policies", {"name": "none", "forbidden_models": [pattern]})).status_code == 201
    await world.agent(POST)
    run = await world.begin()
    assert run["status"] == "failed"
    error = cast(JsonObject, run["error"])
    assert "forbidden-by-policy" in str(error["type"])
    assert world.service.model.requests == []


@pytest.mark.parametrize(("run", "asked"), [("run_1", True), ("run_2", False)], ids=["the same run", "another run"])
async def test_what_one_step_of_a_workflow_has_seen_counts_for_the_others(world: World, run: str, asked: bool) -> None:
    """What the first read may stand in what the second is given."""
    await world.agent(HANDBOOK, name="reader")
    await world.agent(POST)
    world.service.model.answers(SEARCHES, "41 percent.", POSTS, "Posted.")
    read = await world.service.ask_agent(agent="reader", task="Look it up.", payer={"run": "run_1"})
    assert read.json()["status"] == "done"
    posted = await world.service.ask_agent(agent="poster", task="Post it.", payer={"run": run})
    assert (posted.json()["status"], len(world.sent)) == (("waiting", 0) if asked else ("done", 1))
