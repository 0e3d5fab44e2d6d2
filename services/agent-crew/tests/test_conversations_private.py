"""What is said in a conversation stays there, what was seen in it counts on, and no more is heard than may be said."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import cast

import pytest
from crewmesh_contracts.base import JsonObject
from crewmesh_kit.dapr.sidecar import Sidecar
from crewmesh_testkit.fake_sidecar import FakeSidecar
from crewmesh_testkit.polling import until
from crewmesh_testkit.scripted_model import ScriptedModel

from .chatting import Screen, person, with_agent
from .harness import MODEL_KEY, Running
from .test_memory import Shelf
from .test_tools_runs import POSTS, SEARCHES, World
from .tool_desk import HANDBOOK, POST


@pytest.fixture
async def model() -> AsyncGenerator[ScriptedModel]:
    async with ScriptedModel(api_key=MODEL_KEY) as model:
        yield model


async def test_what_an_earlier_answer_has_seen_counts_for_the_next(service: Running, model: ScriptedModel) -> None:
    """The answer that read private data is shown to the model again; so reaching out takes a person."""
    world = World(service)
    await with_agent(service, tools=[HANDBOOK, POST])
    model.when(last="the margin", then=SEARCHES, times=1)
    model.when(last="Post it", then=POSTS, times=2)
    ann = await person(service, "a").begin()
    await ann.say("Look the margin up.")
    assert (await ann.say("Post it."))["answer"]["status"] == "waiting"
    assert world.sent == []
    other = await person(service, "a").begin()
    assert (await other.say("Post it."))["answer"]["status"] == "done"
    assert len(world.sent) == 1


async def test_what_is_said_to_an_agent_is_remembered_for_who_said_it(service: Running, model: ScriptedModel) -> None:
    shelf = Shelf(cast(FakeSidecar, service.resources.get(Sidecar)))
    await with_agent(service, memory={"short": True, "long": True})
    await (await person(service, "a").begin()).say("I am ill.")
    await (await person(service, "b").begin()).say("What do you know of me?")
    await (await person(service, "a").begin()).say("And of me?")
    by_question = {asked.last.content: asked.prompt for asked in model.requests}
    others = next(prompt for question, prompt in by_question.items() if "know of me" in question)
    own = next(prompt for question, prompt in by_question.items() if "And of me" in question)
    assert ("I am ill." in others, "I am ill." in own) == (False, True)
    assert len(shelf.kept) == 2


async def test_what_may_not_be_said_is_not_heard_either(service: Running, model: ScriptedModel) -> None:
    world = World(service)
    policy = await world.post("/v1/policies", {"name": "quiet", "forbidden_phrases": ["project falcon"]})
    assert policy.status_code == 201, policy.text
    await with_agent(service)
    model.otherwise = "It is project falcon."
    ann = await person(service, "a").begin()
    answer = (await ann.say("What is it?"))["answer"]
    assert (answer["status"], answer["text"]) == ("failed", "")
    screen = Screen()
    await ann.watch(screen, kind="failed")
    assert "words" not in screen.kinds()


async def test_masks_stand_in_what_is_heard(service: Running, model: ScriptedModel) -> None:
    await with_agent(service, guardrails={"pii": "mask"})
    model.otherwise = "Write to bob@example.com."
    ann = await person(service, "a").begin()
    assert (await ann.say("To whom?"))["answer"]["text"] == "Write to [email-1]."
    screen = Screen()
    await ann.watch(screen)
    assert "bob@example.com" not in str(screen.events)


async def test_what_an_answer_was_reminded_of_goes_with_the_conversation(service: Running) -> None:
    Shelf(cast(FakeSidecar, service.resources.get(Sidecar)))
    await with_agent(service, memory={"short": True})
    ann = await person(service, "a").begin()
    await ann.say("I am ill.")
    await ann.say("What do you know?")

    async def reminders() -> int:
        async with service.database.tenant(service.organization) as conn:
            return len(await (await conn.execute("SELECT FROM reminders")).fetchall())

    assert await reminders() == 2
    assert (await ann.ask("DELETE", ann.path)).status_code == 204
    assert await reminders() == 0


@pytest.mark.parametrize(
    ("guardrails", "policy", "asked"),
    [({"pii": "mask"}, None, True), ({}, {"pii": "mask"}, True), ({}, {"forbidden_models": ["fake-mini"]}, False)],
    ids=["the agent's own", "a policy", "a model that is forbidden"],
)
async def test_a_title_is_asked_for_as_the_guardrails_want_it(
    service: Running, model: ScriptedModel, guardrails: JsonObject, policy: JsonObject | None, asked: bool
) -> None:
    """It is no turn of the agent's, and goes to another model."""
    world = World(service)
    if policy is not None:
        made = await world.post("/v1/policies", {"name": "careful", **policy})
        assert made.status_code == 201, made.text
    await with_agent(service, guardrails=guardrails)
    ann = await person(service, "a").begin()
    await ann.say("Write to ann@example.org, please.")

    async def titled() -> bool:
        return bool((await ann.ask("GET", ann.path)).json()["title"])

    await until(titled, seconds=60, what="a title")
    titles = [request.prompt for request in model.requests if "Give this conversation a title" in request.prompt]
    assert bool(titles) is asked
    assert "ann@example.org" not in "".join(titles)
