"""Streams across replicas: followed elsewhere, taken over when whoever answers dies, not held up by silent readers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack

import pytest
from crewmesh_agent_crew.conversations.repository import ConversationRepository
from crewmesh_agent_crew.conversations.settling import channel_of
from crewmesh_agent_crew.crew_runs.driver import Driver
from crewmesh_agent_crew.crew_runs.leases import Leases
from crewmesh_agent_crew.settings import CrewRunSettings
from crewmesh_kit.ids import new_id
from crewmesh_kit.signals import Signals
from crewmesh_testkit.polling import until
from crewmesh_testkit.scripted_model import calls
from psycopg.rows import DictRow

from .chatting import Person, Screen, person, with_agent
from .conftest import replica
from .harness import MODEL_KEY, Running
from .held_model import HeldModel

TEXT = " ".join(f"word{number}" for number in range(100))


@pytest.fixture
async def model() -> AsyncGenerator[HeldModel]:
    async with HeldModel(api_key=MODEL_KEY) as model:
        model.when(shown="Tell me", then=TEXT)
        model.words_per_second = 60
        yield model


@pytest.fixture
async def replicas(crews_database: str, valkey: str, model: HeldModel) -> AsyncGenerator[list[Running]]:
    organization = new_id("org")
    settings = CrewRunSettings(beat_seconds=0.5, poll_seconds=0.5)
    async with AsyncExitStack() as stack:
        running = [
            await stack.enter_async_context(replica(crews_database, valkey, model, settings, organization))
            for _ in range(2)
        ]
        # Whoever has just connected wakes everybody once; let that be over.
        await asyncio.gather(*(each.resources.get(Signals).begun.wait() for each in running))
        yield running


@pytest.fixture
async def ann(replicas: list[Running]) -> Person:
    await with_agent(replicas[0])
    return await person(replicas[0]).begin(agent="assistant", title="Streams")


async def until_all_hear(model: HeldModel, *screens: Screen) -> None:
    """The answer ends no sooner."""
    await until(lambda: all(screen.hears(TEXT) for screen in screens), seconds=120, what="everything to be heard")
    model.ending.set()


async def test_an_answer_given_here_is_followed_there_and_back(
    ann: Person, replicas: list[Running], model: HeldModel
) -> None:
    model.ending.clear()
    await ann.say("Tell me", wait=0)
    screen, elsewhere = Screen(), Screen()
    watching = asyncio.create_task(ann.watch(elsewhere, at=replicas[1]))
    hearing = asyncio.create_task(until_all_hear(model, screen, elsewhere))
    turns = 0
    async with asyncio.timeout(180):
        while not screen.events or screen.events[-1].kind != "done":
            turns += 1
            async with ann.following(screen, at=replicas[turns % 2]) as events:
                async for _ in events:
                    break
    await asyncio.gather(watching, hearing)
    for seen in (screen, elsewhere):
        assert seen.gaps == 0
        assert seen.heard(TEXT)
        assert seen.last("done")["text"] == TEXT
        assert seen.kinds() == ["message", "message", "words", "done"]
    assert turns > 2


async def test_when_whoever_answers_dies_another_goes_on_and_the_stream_with_it(
    ann: Person, replicas: list[Running], model: HeldModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ann.say("Tell me")
    screen = Screen()
    await ann.watch(screen)
    model.ending.clear()
    exchange = await ann.say("Tell me again", wait=0)
    async with asyncio.timeout(180), ann.following(screen, at=replicas[1]) as events:
        async for event in events:
            if event.kind == "words" and "word5" in screen.words:
                break

    # Frozen, as a process that was stopped, for longer than its lease: it extends no lease and takes nothing.
    async def nothing(*_: object) -> None:
        return None

    drivers = [each.resources.get(Leases) for each in replicas]
    at_work = next(number for number, leases in enumerate(drivers) if leases._held)  # pyright: ignore[reportPrivateUsage]  nothing else tells
    monkeypatch.setattr(drivers[at_work], "extend", nothing)
    monkeypatch.setattr(replicas[at_work].resources.get(Driver), "_sweep", nothing)
    await until_taken_over(ann.service, exchange["answer"]["crew_run"])
    model.ending.set()
    await ann.watch(screen, at=replicas[1 - at_work])
    answer = await ann.message(exchange["answer"]["id"])
    assert (answer["status"], answer["text"]) == ("done", TEXT)
    assert screen.last("done")["text"] == TEXT
    assert screen.kinds().count("done") == 2
    assert len([each for each in model.requests if each.model == "fake"]) <= 3


async def until_taken_over(service: Running, crew_run: str) -> None:
    """The lease runs out. Again and again, for it may just have been extended."""
    expire = "UPDATE crew_runs SET due_at = now() WHERE id = %s AND epoch = 1 RETURNING id"

    async def taken_over() -> bool:
        async with service.database.tenant(service.organization) as connection:
            return await (await connection.execute(expire, [crew_run])).fetchone() is None

    await until(taken_over, seconds=120, what="another to take over", every=0.5)


async def test_who_does_not_read_holds_nobody_up(ann: Person, model: HeldModel) -> None:
    model.ending.clear()
    await ann.say("Tell me", wait=0)
    lazy = Screen()
    async with ann.following(lazy) as never_read_on:
        await anext(never_read_on)
        screen = Screen()
        await asyncio.gather(ann.watch(screen), until_all_hear(model, screen))
        assert screen.heard(TEXT)
        async with asyncio.timeout(180):
            async for event in never_read_on:
                if event.kind == "done":
                    break
    assert lazy.last("done")["text"] == TEXT
    assert lazy.gaps == 0


async def test_the_stream_of_one_answer_tells_how_it_ends_whenever_that_is(
    ann: Person, model: HeldModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends behind what a follower has just read, and before that one has seen that it is still given."""
    model.gate.clear()
    exchange = await ann.say("Tell me", wait=0)
    id_ = exchange["answer"]["id"]
    read = ConversationRepository.events

    async def over() -> bool:
        return (await ann.message(id_))["status"] != "working"

    async def events(self: ConversationRepository, conversation: str, after: int, limit: int) -> list[DictRow]:
        rows = await read(self, conversation, after, limit)
        if not rows and not model.gate.is_set():
            model.gate.set()
            await until(over, seconds=120, what="the end of the answer")
        return rows

    monkeypatch.setattr(ConversationRepository, "events", events)
    screen = Screen()
    async with asyncio.timeout(180), ann.following(screen, until=id_) as following:
        async for _ in following:
            ann.service.resources.get(Signals).tell(channel_of(ann.id))
    assert model.gate.is_set()
    assert screen.last("done")["text"] == TEXT


async def test_a_question_is_decided_in_the_chat(replicas: list[Running], model: HeldModel) -> None:
    tool = {"kind": "code", "name": "python", "approval": "always"}
    await with_agent(replicas[0], name="coder", tools=[tool])
    coder = await person(replicas[0]).begin(agent="coder", title="Decide")
    model.words_per_second = None
    model.when(shown="Compute", offered="python", times=1, then=calls("python", source="print(6 * 7)"))
    model.when(shown="Compute", then="Nobody let me.")
    exchange = await coder.say("Compute 6 * 7", wait=0)
    id_ = exchange["answer"]["id"]

    async def asks() -> bool:
        return (await coder.message(id_))["status"] == "waiting"

    await until(asks, seconds=120, what="a question")
    [question] = (await coder.message(id_))["questions"]
    assert (question["kind"], question["tool"]) == ("tool", "python")
    screen = Screen()
    await coder.watch(screen, kind="question", at=replicas[1])
    path = f"{coder.path}/messages/{id_}/decisions"
    decision = {"question": question["id"], "approved": False}
    decided = await coder.ask("POST", path, decision, at=replicas[1])
    assert decided.status_code == 200, decided.text

    async def answered() -> bool:
        return (await coder.message(id_))["status"] == "done"

    await until(answered, seconds=120, what="an answer")
    # Who comes back when all is over misses nothing of what came before the end.
    await coder.watch(screen)
    assert screen.last("done")["text"] == "Nobody let me."
    assert [screen.kinds().count(kind) for kind in ("question", "decision", "done")] == [1, 1, 1]
    assert (await coder.ask("POST", path, {"question": "que_x", "approved": True})).status_code == 404
    other = await coder.ask("POST", path, {**decision, "approved": True})
    assert other.json()["type"].endswith("/question-decided")


async def test_a_waiting_answer_can_be_cancelled(replicas: list[Running], model: HeldModel) -> None:
    tool = {"kind": "code", "name": "python", "approval": "always"}
    await with_agent(replicas[0], name="coder", tools=[tool])
    coder = await person(replicas[0]).begin(agent="coder", title="Wait")
    model.words_per_second = None
    model.when(shown="Compute", offered="python", then=calls("python", source="print(6 * 7)"))
    exchange = await coder.say("Compute 6 * 7")
    assert exchange["answer"]["status"] == "waiting"
    cancelled = await coder.ask("POST", f"{coder.path}/cancel?wait=30", at=replicas[1])
    assert cancelled.status_code == 202, cancelled.text
    screen = Screen()
    await coder.watch(screen, kind="cancelled")
    assert (await coder.message(exchange["answer"]["id"]))["status"] == "cancelled"
