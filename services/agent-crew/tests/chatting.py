"""A person who talks with an agent: short ways to begin, to say something, to follow, and to read what was streamed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
from crewmesh_agent_crew.conversations.stream import Streams
from crewmesh_contracts.base import JsonObject
from crewmesh_kit.identity import Identity
from crewmesh_kit.ids import new_id
from crewmesh_testkit.identities import auth_headers, identity
from crewmesh_testkit.polling import until

from .harness import Running

# Any: what a test reads of an answer.
Shown = dict[str, Any]


@dataclass(frozen=True)
class Heard:
    """One event of a stream."""

    id: str
    kind: str
    data: Shown


@dataclass
class Screen:
    """What a page shows that was sent these events."""

    events: list[Heard] = field(default_factory=list[Heard])
    words: str = ""
    gaps: int = 0
    last_id: str | None = None
    _part: str = ""

    def take(self, event: Heard) -> None:
        self.events.append(event)
        self.last_id = event.id
        if event.kind == "restart":
            self.words = ""
        if event.kind == "words":
            if event.data["part"] != self._part:
                self._part, self.words = event.data["part"], ""
            self.gaps += event.data["at"] != len(self.words)
            self.words = self.words[: event.data["at"]] + event.data["text"]

    def hears(self, text: str) -> bool:
        """Whether it shows all that is said before the answer is over: the last word is whole when nothing follows."""
        return self.words == text[: text.rindex(" ") + 1]

    def heard(self, text: str) -> bool:
        """In the end: the last word may come with the whole answer alone."""
        return self.hears(text) or self.words == text

    def kinds(self) -> list[str]:
        """Words that follow each other count as one."""
        kinds = [event.kind for event in self.events]
        return [kind for number, kind in enumerate(kinds) if kind != "words" or kinds[number - 1 : number] != ["words"]]

    def last(self, kind: str) -> Shown:
        return [event.data for event in self.events if event.kind == kind][-1]


@dataclass(frozen=True)
class Person:
    """Somebody with a conversation."""

    service: Running
    who: Identity
    id: str = ""

    @property
    def path(self) -> str:
        return f"/v1/conversations/{self.id}"

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        content: bytes | None = None,
        key: str | None = None,
        if_match: str | None = None,
        media_type: str | None = None,
        at: Running | None = None,
    ) -> httpx2.Response:
        headers = auth_headers(self.who, audience="agent-crew")
        headers |= {
            name: value
            for name, value in (("idempotency-key", key), ("if-match", if_match), ("content-type", media_type))
            if value is not None
        }
        client = (at or self.service).client
        if content is not None:
            return await client.request(method, path, content=content, headers=headers)
        if body is None:
            return await client.request(method, path, headers=headers)
        return await client.request(method, path, json=body, headers=headers)

    async def begin(self, **request: object) -> Person:
        made = await self.ask("POST", "/v1/conversations", request or {"agent": "assistant"})
        assert made.status_code == 201, made.text
        return Person(self.service, self.who, made.json()["id"])

    async def say(self, text: str, *, wait: float = 20, **more: object) -> Shown:
        """The exchange, when it has ended or asks something."""
        said = await self.ask("POST", f"{self.path}/messages?wait={wait}", {"text": text, **more})
        assert said.status_code == 201, said.text
        exchange: Shown = said.json()

        async def rests() -> bool:
            exchange["answer"] = await self.message(exchange["answer"]["id"])
            return exchange["answer"]["status"] != "working"

        if wait:
            await until(rests, seconds=180, what="an answer")
        return exchange

    async def messages(self, query: str = "") -> list[Shown]:
        listed = await self.ask("GET", f"{self.path}/messages{query}")
        assert listed.status_code == 200, listed.text
        return listed.json()["items"]

    async def message(self, id_: str) -> Shown:
        return (await self.ask("GET", f"{self.path}/messages/{id_}")).json()

    async def attach(self, name: str, content: bytes, media_type: str = "text/plain") -> httpx2.Response:
        query = str(httpx2.QueryParams({"name": name}))
        return await self.ask("POST", f"{self.path}/attachments?{query}", content=content, media_type=media_type)

    @asynccontextmanager
    async def following(
        self, screen: Screen, *, at: Running | None = None, until: str | None = None
    ) -> AsyncGenerator[AsyncGenerator[Heard]]:
        """Events from where the screen is, one by one, as the screen takes them."""
        streams = (at or self.service).resources.get(Streams)
        async with aclosing(streams.follow(self.who, self.id, screen.last_id, until=until)) as pieces:

            async def events() -> AsyncGenerator[Heard]:
                async for piece in pieces:
                    for event in events_of(piece):
                        screen.take(event)
                        yield event

            async with aclosing(events()) as each:
                yield each

    async def watch(self, screen: Screen, *, kind: str = "done", at: Running | None = None) -> None:
        """Until such an event comes."""
        async with asyncio.timeout(180), self.following(screen, at=at) as events:
            async for event in events:
                if event.kind == kind:
                    return


def events_of(piece: bytes) -> list[Heard]:
    events: list[Heard] = []
    for text in piece.decode().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in text.splitlines())
        if "event" in lines:
            events.append(Heard(lines["id"], lines["event"], json.loads(lines["data"])))
    return events


def person(service: Running, name: str = "", *permissions: str) -> Person:
    """Somebody of the organization who may talk."""
    subject = f"usr_{(name or new_id('usr').partition('_')[2]).ljust(32, '0')[:32]}"
    granted = permissions or ("crews:read", "crews:run")
    return Person(service, identity(*granted, organization=service.organization, subject=subject))


def agent(name: str = "assistant", **more: object) -> JsonObject:
    definition: Any = {"name": name, "role": "a helper", "goal": "help people", **more}
    return definition


async def with_agent(service: Running, name: str = "assistant", **more: object) -> None:
    """The organization has an agent."""
    made = await service.post("/v1/agents", agent(name, **more))
    assert made.status_code == 201, made.text
