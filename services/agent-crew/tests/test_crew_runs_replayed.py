"""A turn that waited for a person is played again as it was: the same is asked, and what was agreed to is done."""

from __future__ import annotations

from crewmesh_contracts.base import JsonObject
from crewmesh_testkit.model_fake import Says, ToolUse

from .harness import Running
from .test_tools_runs import SEARCHES, World
from .tool_desk import HANDBOOK, POST

ASKED_FIRST: JsonObject = {**POST, "approval": "always"}
POSTS = Says(tools=(ToolUse("post", {"method": "POST", "body": "41 percent"}),))


async def test_what_a_later_tool_gave_changes_nothing_of_what_was_heard_before(service: Running) -> None:
    """The second agent hears the first, reads words of strangers, and waits. By then all of it may be theirs."""
    world = World(service)
    agents: list[JsonObject] = [
        {"name": "one", "role": "One", "goal": "Speak."},
        {"name": "two", "role": "Two", "goal": "Post.", "tools": [HANDBOOK, ASKED_FIRST]},
    ]
    tasks: list[JsonObject] = [
        {"name": "first", "description": "Speak.", "expected_output": "Words.", "agent": "one"},
        {"name": "second", "description": "Post.", "expected_output": "x", "agent": "two", "context": ["first"]},
    ]
    made = await service.post("/v1/crews", {"name": "pair", "agents": [*agents], "tasks": [*tasks]})
    assert made.status_code == 201, made.text
    service.model.answers("Hello.", SEARCHES, POSTS, "It is posted.", "asked once too often")
    run = await world.ended((await world.post("/v1/crews/pair/runs", {"inputs": {}})).json())
    assert run["status"] == "waiting"
    await world.decide(run)
    run = await world.ended(run)
    assert (run["status"], run["text"]) == ("completed", "It is posted.")
    assert (len(service.model.requests), len(world.sent)) == (4, 1)


async def test_what_an_agent_is_taught_meanwhile_is_for_its_next_turn(service: Running) -> None:
    world = World(service)
    await world.agent(ASKED_FIRST)
    service.model.answers(POSTS, "It is posted.", "asked once too often")
    run = await world.begin()
    taught = await world.post("/v1/insights", {"about": "agent:poster", "text": "Be brief."})
    assert taught.status_code == 201, taught.text
    await world.decide(run)
    run = await world.ended(run)
    assert (run["status"], run["text"]) == ("completed", "It is posted.")
    assert (len(service.model.requests), len(world.sent)) == (2, 1)
    await world.begin()
    assert "Be brief." in service.model.requests[-1].prompt
