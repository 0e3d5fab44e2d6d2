"""Talking with an agent and with a crew: sent, answered once, streamed, cancelled, decided, titled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable

import pytest
from crewmesh_kit.ids import new_id
from crewmesh_testkit.identities import auth_headers
from crewmesh_testkit.polling import until
from crewmesh_testkit.scripted_model import ScriptedModel

from .chatting import Person, Screen, events_of, person, with_agent
from .harness import MODEL_KEY, Running
from .held_model import HeldModel


@pytest.fixture
async def model() -> AsyncGenerator[HeldModel]:
    async with HeldModel(api_key=MODEL_KEY) as model:
        model.when(model="fake-mini", shown="Give this conversation a title", then='"Mesh networks"')
        yield model


@pytest.fixture
async def ann(service: Running) -> Person:
    await with_agent(service)
    return await person(service).begin(agent="assistant")


class TestAnswers:
    async def test_a_message_is_answered(self, ann: Person, model: ScriptedModel) -> None:
        model.when(shown="What is a mesh", then="A net of many.")
        exchange = await ann.say("What is a mesh?")
        answer = exchange["answer"]
        assert (answer["status"], answer["text"], answer["role"]) == ("done", "A net of many.", "assistant")
        assert answer["parent"] == exchange["message"]["id"]
        assert answer["usage"]["requests"] == 1
        listed = await ann.messages()
        assert [(each["role"], each["text"]) for each in listed] == [
            ("user", "What is a mesh?"),
            ("assistant", "A net of many."),
        ]

    async def test_what_was_said_before_is_known_as_messages(self, ann: Person, model: ScriptedModel) -> None:
        model.when(shown="my name is Ada", then="Hello Ada.", times=1)
        model.when(shown="my name is Ada", last="What is my name", then="You are Ada.")
        await ann.say("my name is Ada")
        exchange = await ann.say("What is my name?")
        assert exchange["answer"]["text"] == "You are Ada."
        asked = [each for each in model.requests if "What is my name" in each.last.content]
        assert [message.role for message in asked[0].messages] == ["system", "user", "assistant", "user"]
        assert asked[0].messages[1].content == "my name is Ada"

    async def test_fifty_equal_keys_are_one_message(self, ann: Person, model: ScriptedModel) -> None:
        key = new_id("test")
        model.delay = 0.2

        async def send() -> tuple[int, str]:
            sent = await ann.ask("POST", f"{ann.path}/messages", {"text": "Hi"}, key=key)
            return sent.status_code, sent.json()["answer"]["id"]

        answers = set(await asyncio.gather(*(send() for _ in range(50))))
        assert len(answers) == 1
        assert next(iter(answers))[0] == 201
        await ann.watch(Screen())
        assert len(await ann.messages()) == 2
        assert len([each for each in model.requests if each.model == "fake"]) == 1

    async def test_one_answer_at_a_time(self, ann: Person, model: HeldModel) -> None:
        model.gate.clear()
        await ann.say("Hi", wait=0)
        second = await ann.ask("POST", f"{ann.path}/messages", {"text": "Are you there?"})
        assert second.status_code == 409
        assert second.json()["type"].endswith("/answer-under-way")
        assert len(await ann.messages()) == 2
        model.gate.set()

    async def test_a_failure_is_told_and_the_talk_goes_on(self, ann: Person, model: ScriptedModel) -> None:
        model.fails(400)
        exchange = await ann.say("Hi")
        assert exchange["answer"]["status"] == "failed"
        assert exchange["answer"]["error"]["type"] == "model-refused"
        assert (await ann.say("Again"))["answer"]["status"] == "done"

    async def test_a_crew_answers(self, service: Running, model: ScriptedModel) -> None:
        model.when(shown="answer the question from the notes", then="It is a net.")
        talker = await person(service).begin(crew="answer-desk")
        exchange = await talker.say("What is a mesh?")
        assert exchange["answer"]["text"] == "It is a net."
        screen = Screen()
        await talker.watch(screen)
        assert screen.last("done")["text"] == "It is a net."

    async def test_a_title_is_made_of_the_first_exchange(self, ann: Person) -> None:
        await ann.say("What is a mesh?")

        async def titled() -> bool:
            return (await ann.ask("GET", ann.path)).json()["title"] == "Mesh networks"

        await until(titled, seconds=120, what="a title")

    async def test_without_a_model_the_title_is_the_message(self, ann: Person, model: ScriptedModel) -> None:
        model.when(shown="long", then=lambda _: _failing_from_now_on(model))
        await ann.say("A very long question about meshes\nand more")

        async def titled() -> bool:
            return (await ann.ask("GET", ann.path)).json()["title"] == "A very long question about meshes"

        await until(titled, seconds=120, what="a title")


def _failing_from_now_on(model: ScriptedModel) -> str:
    model.fails(400, times=100)
    return "ok"


class TestWords:
    async def test_words_are_streamed_and_resumed_without_gap_or_repetition(
        self, ann: Person, model: HeldModel
    ) -> None:
        text = " ".join(f"word{number}" for number in range(110))
        model.ending.clear()
        model.words_per_second = 100
        model.when(shown="Tell me", then=text)
        await ann.say("Tell me", wait=0)
        screen = Screen()
        connections = 0
        async with asyncio.timeout(180):
            while not screen.events or screen.events[-1].kind != "done":
                connections += 1
                async with ann.following(screen) as events:
                    async for _ in events:
                        if screen.hears(text):
                            model.ending.set()
                        break
        assert connections > 3
        assert screen.gaps == 0
        assert screen.heard(text)
        assert screen.last("done")["text"] == text
        assert screen.kinds()[:2] == ["message", "message"]
        assert screen.kinds().count("done") == 1
        assert len({event.id for event in screen.events}) == len(screen.events)

    async def test_who_comes_when_all_is_over_is_told_everything_once(self, ann: Person) -> None:
        await ann.say("Hi")
        screen = Screen()
        await ann.watch(screen)
        assert screen.kinds() == ["message", "message", "done"]
        again = Screen(last_id=screen.events[1].id)
        await ann.watch(again)
        assert again.kinds() == ["done"]

    async def test_the_stream_of_one_answer_ends_with_it(self, ann: Person) -> None:
        # With a title: that one is given after the first answer would be told, too.
        titled = await ann.begin(agent="assistant", title="Greetings")
        exchange = await titled.say("Hi", wait=0)
        screen = Screen(last_id=exchange["follow_from"])
        async with asyncio.timeout(180), titled.following(screen, until=exchange["answer"]["id"]) as events:
            async for _ in events:
                pass
        assert [kind for kind in screen.kinds() if kind != "words"] == ["message", "message", "done"]

    async def test_the_answer_may_be_streamed_in_place_of_json(self, ann: Person, model: ScriptedModel) -> None:
        model.when(shown="Hi", then="Hello there.")
        client = ann.service.client
        sent = await client.post(
            f"{ann.path}/messages",
            json={"text": "Hi"},
            headers={**_headers(ann), "accept": "text/event-stream"},
        )
        assert sent.status_code == 200
        assert sent.headers["content-type"].startswith("text/event-stream")
        screen = Screen()
        for event in events_of(sent.content):
            screen.take(event)
        assert screen.last("done")["text"] == "Hello there."


class TestCancelling:
    async def test_what_was_said_is_kept(self, ann: Person, model: ScriptedModel) -> None:
        model.words_per_second = 20
        model.when(shown="Tell me", then=" ".join(f"word{number}" for number in range(2_000)))
        exchange = await ann.say("Tell me", wait=0)
        screen = Screen()
        async with asyncio.timeout(180), ann.following(screen) as events:
            async for event in events:
                if event.kind == "words" and "word9" in screen.words:
                    break
        cancelled = await ann.ask("POST", f"{ann.path}/cancel?wait=50")
        assert cancelled.status_code == 202, cancelled.text
        answer = cancelled.json()
        assert (answer["id"], answer["status"]) == (exchange["answer"]["id"], "cancelled")
        assert answer["text"].startswith("word0 word1 word2")
        assert "word1999" not in answer["text"]
        await until(_abandoned(model), seconds=120, what="the model's abandoned answer")
        await ann.watch(screen, kind="cancelled")
        assert (await ann.ask("POST", f"{ann.path}/cancel")).json()["type"].endswith("/nothing-to-cancel")
        model.words_per_second = None
        assert (await ann.say("Shorter, please"))["answer"]["status"] == "done"


def _headers(somebody: Person) -> dict[str, str]:
    return auth_headers(somebody.who, audience="agent-crew")


def _abandoned(model: ScriptedModel) -> Callable[[], Awaitable[bool]]:
    async def abandoned() -> bool:
        return model.abandoned == 1

    return abandoned
