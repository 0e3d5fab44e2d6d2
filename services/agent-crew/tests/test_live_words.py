"""Words over a real Valkey: everybody who watches gets all of them, in order, at whichever replica."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import pytest
from crewmesh_agent_crew.live.word import Voices
from crewmesh_agent_crew.live.words import Sink, Word, Words
from crewmesh_kit.ids import new_id
from crewmesh_testkit.polling import until
from crewmesh_testkit.servers import running_valkey


@pytest.fixture
async def replicas(valkey: str) -> AsyncGenerator[list[Words]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(Words.open(valkey)) for _ in range(2)]


@pytest.fixture
def organization() -> str:
    return new_id("org")


async def watched(words: Words, organization: str, *, after: str | None = None, work: str = "crun_1") -> list[Word]:
    """Until it is done."""
    seen: list[Word] = []
    async with asyncio.timeout(60), aclosing(words.follow(organization, work, after)) as following:
        async for found in following:
            seen += found
            if seen[-1].kind == "done":
                break
    return seen


def followed(words: Words) -> list[str]:
    """What is followed at this replica."""
    reader = words._reader  # pyright: ignore[reportPrivateUsage]  nothing else tells
    return [*reader._feeds]  # pyright: ignore[reportPrivateUsage]


def text_of(words: list[Word]) -> str:
    """As a page would show it."""
    text = ""
    for word in words:
        text = "" if word.kind == "restart" else text[: word.at] + word.text
    return text


async def test_what_is_said_is_seen_at_every_replica_in_order(replicas: list[Words], organization: str) -> None:
    watching = [asyncio.create_task(watched(words, organization)) for words in replicas for _ in range(3)]
    sink = replicas[0].sink(organization, "crun_1", "msg_1")
    said = [f"word{number} " for number in range(300)]
    for number, word in enumerate(said):
        sink.add(word)
        if number % 3 == 2:
            await asyncio.sleep(0.0015)
    sink.done()
    for seen in await asyncio.gather(*watching):
        assert text_of(seen) == "".join(said)
        assert len(seen) < len(said), "words that come quickly travel together"


async def test_who_comes_late_gets_everything_and_who_comes_back_the_rest(
    replicas: list[Words], organization: str
) -> None:
    sink = replicas[0].sink(organization, "crun_1", "msg_1")
    for word in "one", "two", "three":
        sink.add(word)
        await asyncio.sleep(0.05)
    sink.done()
    everything = await watched(replicas[1], organization)
    assert text_of(everything) == "onetwothree"
    for number, word in enumerate(everything[:-1]):
        rest = await watched(replicas[1], organization, after=word.id)
        assert rest == everything[number + 1 :]


async def test_an_answer_that_begins_again(replicas: list[Words], organization: str) -> None:
    sink = replicas[0].sink(organization, "crun_1", "msg_1")
    sink.add("wrong")
    sink.restart()
    sink.add("right")
    sink.done()
    seen = await watched(replicas[1], organization)
    assert [(word.kind, word.text, word.at) for word in seen] == [
        ("words", "wrong", 0),
        ("restart", "", 0),
        ("words", "right", 0),
        ("done", "", 5),
    ]


async def test_other_organizations_and_other_work_are_not_seen(replicas: list[Words], organization: str) -> None:
    replicas[0].sink(new_id("org"), "crun_1", "msg_1").add("secret")
    replicas[0].sink(organization, "crun_2", "msg_1").add("other")
    mine = replicas[0].sink(organization, "crun_1", "msg_1")
    mine.add("mine")
    mine.done()
    assert text_of(await watched(replicas[1], organization)) == "mine"


@pytest.mark.parametrize("after", ["", "x", "1", "-1--1", "1-1\n", "0" * 50 + "-1", "٣-١"])
async def test_what_a_client_makes_up_is_no_place(replicas: list[Words], organization: str, after: str) -> None:
    sink = replicas[0].sink(organization, "crun_1", "msg_1")
    sink.add("all")
    sink.done()
    assert text_of(await watched(replicas[0], organization, after=after)) == "all"


async def test_a_place_in_the_future_spoils_nothing_for_others(replicas: list[Words], organization: str) -> None:
    future = replicas[0].follow(organization, "crun_1", "99999999999999-0")
    waiting = asyncio.ensure_future(anext(future))
    await until(lambda: followed(replicas[0]), seconds=60, what="the stream to be followed")
    sink = replicas[0].sink(organization, "crun_1", "msg_1")
    sink.add("all")
    sink.done()
    assert text_of(await watched(replicas[0], organization)) == "all"
    assert not waiting.done()
    waiting.cancel()
    await asyncio.wait([waiting])


async def test_who_is_slow_holds_nobody_up_and_misses_nothing(replicas: list[Words], organization: str) -> None:
    sink = replicas[0].sink(organization, "crun_1", "msg_1")
    slow = replicas[0].follow(organization, "crun_1")
    sink.add("first ")
    seen = await anext(slow)
    # Marks are not gathered, so that more stand there than a replica keeps.
    for number in range(3_000):
        sink.restart()
        sink.add(f"attempt {number}")
    sink.done()
    assert text_of(await watched(replicas[0], organization)) == "attempt 2999"
    async with asyncio.timeout(60), aclosing(slow):
        async for found in slow:
            seen += found
            if seen[-1].kind == "done":
                break
    assert len(seen) == 6_002
    assert [word.place for word in seen] == sorted(word.place for word in seen)


async def test_who_leaves_is_forgotten(replicas: list[Words], organization: str) -> None:
    for number in range(20):
        work = f"crun_{number}"
        replicas[0].sink(organization, work, "msg").done()
        await watched(replicas[0], organization, work=work)
    assert followed(replicas[0]) == []


async def test_without_valkey_nothing_waits_and_it_is_seen_again_afterwards(tmp_path: Path, organization: str) -> None:
    with running_valkey(tmp_path) as (server, process):
        async with Words.open(server.url) as words:
            sink = words.sink(organization, "crun_1", "msg_1")
            sink.add("before")
            watching = words.follow(organization, "crun_1")
            assert text_of(await anext(watching)) == "before"
            process.kill()
            for _ in range(1_000):
                sink.add("x" * 5_000)
            process.start()
            async with asyncio.timeout(90), aclosing(watching):
                saying = asyncio.create_task(say_again_and_again(words.sink(organization, "crun_1", "msg_2")))
                while "after" not in text_of(await anext(watching)):
                    pass
                saying.cancel()


async def say_again_and_again(sink: Sink) -> None:
    while True:
        sink.add("after")
        await asyncio.sleep(0.05)


async def test_who_was_frozen_and_goes_on_is_not_heard_any_more(replicas: list[Words], organization: str) -> None:
    frozen = replicas[0].sink(organization, "crun_1", "msg_1")
    frozen.add("once upon ")
    async with asyncio.timeout(60), aclosing(replicas[1].follow(organization, "crun_1")) as following:
        await anext(following)
    other = replicas[1].sink(organization, "crun_1", "msg_1")
    for word in "There ", "was ", "a ", "sea.":
        other.add(word)
        frozen.add("a time ")
        await asyncio.sleep(0.1)
    other.done()
    seen = await watched(replicas[0], organization)
    voices = Voices()
    assert text_of([word for word in seen if voices.admit(word)]) == "There was a sea."
    assert await replicas[0].said(organization, "crun_1") == "There was a sea."
