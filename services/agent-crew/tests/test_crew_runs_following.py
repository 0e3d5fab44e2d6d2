"""Following crew runs: messages, words and statuses as they come, until it ends, and none of them twice."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator

import pytest
from crewmesh_agent_crew.crew_runs.following import Following
from crewmesh_agent_crew.crew_runs.record import channel_of
from crewmesh_agent_crew.crew_runs.views import CrewRunViews
from crewmesh_agent_crew.live.words import Words
from crewmesh_contracts.base import JsonObject
from crewmesh_kit.identity import Identity
from crewmesh_kit.signals import Signals
from crewmesh_testkit.identities import auth_headers
from psycopg.rows import DictRow

from .harness import MODEL_KEY, Running
from .held_model import HeldModel
from .test_crew_runs_api import begun, rested


@pytest.fixture
async def model() -> AsyncGenerator[HeldModel]:
    async with HeldModel(api_key=MODEL_KEY) as model:
        yield model


async def followed(service: Running, run: JsonObject, last: str | None = None) -> list[tuple[str, str, JsonObject]]:
    """(id, event, data) of everything until the stream ends."""
    headers = auth_headers(service.who("crews:read"), audience="agent-crew")
    if last is not None:
        headers["last-event-id"] = last
    async with (
        asyncio.timeout(180),
        service.client.stream("GET", f"/v1/crew-runs/{run['id']}/events", headers=headers) as answer,
    ):
        assert answer.status_code == 200
        text = ""
        async for piece in answer.aiter_text():
            text += piece
    return events_of(text)


def events_of(text: str) -> list[tuple[str, str, JsonObject]]:
    events: list[tuple[str, str, JsonObject]] = []
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line and not line.startswith(":"))
        if "id" in lines:
            events.append((lines["id"], lines["event"], json.loads(lines["data"])))
    return events


async def following(service: Running, run: JsonObject) -> AsyncIterator[tuple[str, JsonObject]]:
    """(event, data), each when it comes."""
    async for piece in service.resources.get(Following).follow(service.who("crews:read"), str(run["id"]), None):
        for _, kind, data in events_of(piece.decode()):
            yield kind, data


async def test_messages_words_and_statuses_come_until_it_ends(service: Running, model: HeldModel) -> None:
    model.answers("some notes", "the answer")
    model.ending.clear()
    run = await begun(service, "/v1/crews/answer-desk/runs")
    words, told = "", list[str]()
    async with asyncio.timeout(180):
        async for kind, data in following(service, run):
            if kind == "words":
                words += str(data["text"])
            else:
                told.append(str(data.get("text") or data["status"]))
            if words.startswith("some "):
                model.ending.set()
    assert model.ending.is_set()
    assert told[-1] == "completed"
    assert [text for text in told if text in ("some notes", "the answer")] == ["some notes", "the answer"]


async def test_whoever_was_taken_over_is_heard_no_more(service: Running, model: HeldModel) -> None:
    """As after a process froze for longer than its lease, and thaws while another gives the answer."""
    model.gate.clear()
    run = await begun(service, "/v1/crews/answer-desk/runs")
    words = service.resources.get(Words)
    frozen, other = (words.sink(service.organization, str(run["id"]), "other/one/1/m1") for _ in range(2))
    frozen.add("It is")
    for text in ("It ", "was ", "seven."):
        other.add(text)
        frozen.add(" not so.")
    heard = ""
    async with asyncio.timeout(180):
        async for kind, data in following(service, run):
            heard += str(data.get("text", "")) if kind == "words" else ""
            if "It was seven." in heard:
                model.gate.set()
    assert model.gate.is_set()
    assert "not so" not in heard


async def test_whoever_comes_back_misses_nothing_and_hears_nothing_twice(service: Running) -> None:
    service.model.answers("notes", "answer")
    run = await begun(service)
    everything = [event for event in await followed(service, run) if event[1] != "words"]
    for seen in range(len(everything) - 1):
        rest = await followed(service, run, everything[seen][0])
        assert [event for event in rest if event[1] != "words"] == everything[seen + 1 :]
    assert await followed(service, run, everything[-1][0]) == []


async def test_what_comes_just_before_the_end_is_told_however_the_end_is_noticed(
    service: Running, model: HeldModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run ends behind what a follower has just read, and before it looks whether it has ended."""
    model.gate.clear()
    run = await begun(service, "/v1/crews/answer-desk/runs")
    views = service.resources.get(CrewRunViews)
    read = views.events

    async def events(identity: Identity, crew_run: str, after: int, limit: int) -> list[DictRow]:
        rows = await read(identity, crew_run, after, limit)
        if not rows and not model.gate.is_set():
            model.gate.set()
            await rested(service, run)
        return rows

    monkeypatch.setattr(views, "events", events)
    told = list[str]()
    async with asyncio.timeout(180):
        async for kind, data in following(service, run):
            told += [str(data["status"])] if kind == "status" else []
            service.resources.get(Signals).tell(channel_of(str(run["id"])))
    assert model.gate.is_set()
    assert told[-1] == "completed"
