"""Asking one agent, over HTTP, on a fake model."""

from __future__ import annotations

from crewmesh_agent_crew.crews.shipped import starter_crews
from crewmesh_contracts.base import JsonObject
from crewmesh_kit.ids import new_id

from .harness import ABUSE, READABLE, Running, answer_of

AGE: JsonObject = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}


async def test_an_agent_does_its_task_as_who_it_is(service: Running) -> None:
    service.model.answers("A mesh is a net.")
    response = await service.ask_agent(agent="writer", task="What is a mesh?", expected="One sentence.")
    result = answer_of(response)
    assert (result.text, result.data) == ("A mesh is a net.", None)
    assert [(message.agent, message.task) for message in result.messages] == [("writer", "task")]
    assert (result.usage.model, result.usage.requests, result.usage.completion_tokens) == ("fake", 1, 5)
    (asked,) = service.model.requests
    assert "You write short, plain sentences." in asked.prompt
    assert "What is a mesh?\n\nOne sentence." in asked.prompt


async def test_text_comes_through_verbatim_both_ways(service: Running) -> None:
    service.model.answers(ABUSE)
    response = await service.ask_agent(agent="writer", task=ABUSE)
    assert answer_of(response).text == READABLE
    assert service.model.requests[0].prompt.count(READABLE) == 1


async def test_a_long_task(service: Running) -> None:
    task = "word " * 39_000
    assert (await service.ask_agent(agent="writer", task=task)).status_code == 200
    assert task.strip() in service.model.requests[0].prompt


async def test_data_that_follows_a_schema(service: Running) -> None:
    service.model.answers('{"age": 7}')
    response = await service.ask_agent(agent="writer", task="How old is Ida?", output_schema=AGE)
    assert answer_of(response).data == {"age": 7}
    extra = service.model.requests[0].model_extra or {}
    assert extra["response_format"]["json_schema"]["schema"] == AGE


async def test_an_answer_that_does_not_follow_it_is_asked_for_again_once(service: Running) -> None:
    service.model.answers("Seven.", '{"age": 7}', "Seven.", "Really seven.")
    good = await service.ask_agent(agent="writer", task="How old is Ida?", output_schema=AGE)
    assert (answer_of(good).data, answer_of(good).usage.requests) == ({"age": 7}, 2)
    assert "How old is Ida?" in service.model.requests[1].prompt
    bad = await service.ask_agent(agent="writer", task="How old is Ida?", output_schema=AGE)
    assert (bad.status_code, bad.json()["type"].rsplit("/")[-1]) == (502, "turn-answer-unusable")


async def test_a_repeated_call_pays_nothing(service: Running) -> None:
    key = new_id("test")
    answers = [await service.ask_agent(key=key, agent="writer", task="x") for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    assert len(service.model.requests) == 1


async def test_an_agent_is_also_found_by_its_role(service: Running) -> None:
    response = await service.ask_agent(agent="a-researcher", task="x")
    assert answer_of(response).messages[0].agent == "researcher"


async def test_an_agent_that_is_not_there_may_still_come(service: Running) -> None:
    response = await service.ask_agent(agent="nobody", task="x")
    problem = response.json()
    assert (response.status_code, problem["type"].rsplit("/")[-1], problem["retryable"]) == (404, "unknown-agent", True)


async def test_the_same_agent_in_two_crews_is_one_and_different_ones_are_not(service: Running) -> None:
    copy = starter_crews()[0].model_copy(update={"name": "copy"})
    await service.post("/v1/crews", copy.model_dump(mode="json"))
    assert (await service.ask_agent(agent="writer", task="x")).status_code == 200
    others = tuple(agent.model_copy(update={"goal": "something else"}) for agent in copy.agents)
    other = copy.model_copy(update={"name": "other", "agents": others})
    await service.post("/v1/crews", other.model_dump(mode="json"))
    response = await service.ask_agent(agent="writer", task="x")
    assert (response.status_code, response.json()["type"].rsplit("/")[-1]) == (409, "ambiguous-agent")
    assert "answer-desk, copy, other" in response.json()["detail"]


async def test_a_key_a_permission_and_the_own_organization_are_needed(service: Running) -> None:
    body = {"agent": "writer", "task": "x"}
    assert (await service.post("/internal/agent", body)).status_code == 400
    assert (await service.post("/internal/agent", body, key="k", who=service.who("models:run"))).status_code == 403
    stranger = service.who("*", organization=new_id("org"))
    assert (await service.post("/internal/agent", body, key="k", who=stranger)).status_code == 404
