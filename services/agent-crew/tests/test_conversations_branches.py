"""Branches: answers given again, messages sent anew from an earlier place, and which branch is shown."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from itertools import count

import pytest
from crewmesh_kit.ids import new_id
from crewmesh_testkit.scripted_model import ScriptedModel

from .chatting import Person, Shown, person, with_agent
from .harness import MODEL_KEY, Running


@pytest.fixture
async def model() -> AsyncGenerator[ScriptedModel]:
    numbers = count(1)
    async with ScriptedModel(api_key=MODEL_KEY) as model:
        model.when(model="fake", then=lambda _: f"answer {next(numbers)}")
        yield model


@pytest.fixture
async def ann(service: Running) -> Person:
    await with_agent(service)
    return await person(service).begin(agent="assistant", title="Branches")


def texts(messages: list[Shown]) -> list[str]:
    return [each["text"] for each in messages]


async def test_an_answer_given_again_stands_beside_the_first(ann: Person, model: ScriptedModel) -> None:
    await ann.say("one")
    second = await ann.say("two")
    path = f"{ann.path}/messages/{second['answer']['id']}/regenerate"
    key = new_id("test")
    again = await ann.ask("POST", f"{path}?wait=50", {"settings": {"model": "fast"}}, key=key)
    assert again.status_code == 201, again.text
    assert again.json()["message"]["id"] == second["message"]["id"]
    repeated = await ann.ask("POST", f"{path}?wait=50", {"settings": {"model": "fast"}}, key=key)
    assert repeated.json()["answer"]["id"] == again.json()["answer"]["id"]
    assert [each.model for each in model.requests if "two" in each.last.content] == ["fake", "fake-mini"]
    listed = await ann.messages()
    assert texts(listed) == ["one", "answer 1", "two", "ok"]
    assert [(each["version"], each["versions"]) for each in listed] == [(1, 1), (1, 1), (1, 1), (2, 2)]


async def test_an_earlier_message_is_sent_anew_on_a_branch_of_its_own(ann: Person) -> None:
    first = await ann.say("one")
    second = await ann.say("two")
    await ann.say("three")
    edited = await ann.say("two, differently", parent=first["answer"]["id"])
    listed = await ann.messages()
    assert texts(listed) == ["one", "answer 1", "two, differently", "answer 4"]
    assert (listed[2]["version"], listed[2]["versions"]) == (2, 2)
    etag = f'"{(await ann.ask("GET", ann.path)).json()["version"]}"'
    back = await ann.ask("PATCH", ann.path, {"branch": second["message"]["id"]}, if_match=etag)
    assert back.status_code == 200, back.text
    assert texts(await ann.messages()) == ["one", "answer 1", "two", "answer 2", "three", "answer 3"]
    stale = await ann.ask("PATCH", ann.path, {"branch": edited["message"]["id"]}, if_match=etag)
    assert stale.status_code == 412
    assert (await ann.ask("PATCH", ann.path, {"branch": edited["message"]["id"]})).status_code == 428
    anew = await ann.say("zero", parent=None)
    assert anew["message"]["parent"] is None
    assert [(each["version"], each["versions"]) for each in await ann.messages()] == [(2, 2), (1, 1)]


async def test_what_is_said_on_another_branch_is_not_known(ann: Person, model: ScriptedModel) -> None:
    first = await ann.say("one")
    await ann.say("the secret of the other branch")
    await ann.say("what else?", parent=first["answer"]["id"])
    asked = next(each for each in model.requests if "what else?" in each.last.content)
    assert "answer 1" in asked.prompt
    assert "secret" not in asked.prompt


async def test_what_cannot_be_continued(ann: Person) -> None:
    exchange = await ann.say("one")
    on_a_message = {"text": "?", "parent": exchange["message"]["id"]}
    refused = await ann.ask("POST", f"{ann.path}/messages", on_a_message)
    assert (refused.status_code, refused.json()["type"].rsplit("/", 1)[-1]) == (409, "no-such-continuation")
    other = await person(ann.service).begin(agent="assistant")
    foreign = await other.say("mine")
    for parent in (new_id("msg"), foreign["answer"]["id"]):
        missing = await ann.ask("POST", f"{ann.path}/messages", {"text": "?", "parent": parent})
        assert (missing.status_code, missing.json()["type"].rsplit("/", 1)[-1]) == (404, "chat-message-not-found")
    assert (await ann.ask("POST", f"{ann.path}/messages/{new_id('msg')}/regenerate", {})).status_code == 404


async def test_messages_are_listed_in_pages_from_both_ends(ann: Person) -> None:
    for number in range(3):
        await ann.say(f"message {number}")
    whole = texts(await ann.messages())
    for query, expected in (("?limit=4", whole), ("?limit=4&order=newest", whole[::-1])):
        first = (await ann.ask("GET", f"{ann.path}/messages{query}")).json()
        rest = (await ann.ask("GET", f"{ann.path}/messages{query}&cursor={first['next_cursor']}")).json()
        assert texts(first["items"]) + texts(rest["items"]) == expected
        assert rest["next_cursor"] is None
