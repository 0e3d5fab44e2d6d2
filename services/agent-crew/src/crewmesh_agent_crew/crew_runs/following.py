"""Following a run: every message and what becomes of it, in order, with the words of answers while they are said.

Messages are durable: a client that comes back with the last id it saw, to any replica, misses none and gets none twice.
Words are for watching: those of an answer that was given since are left out, for its message says it all; so are those
of whoever gave an answer before another took it over.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field

from crewmesh_contracts.base import JsonObject
from crewmesh_kit.errors import Problem
from crewmesh_kit.http.sse import encoded
from crewmesh_kit.identity import Identity
from crewmesh_kit.logs import get_logger
from crewmesh_kit.signals import Listener, Signals
from psycopg.rows import DictRow

from crewmesh_agent_crew.crew_runs.errors import CrewRunNotFound
from crewmesh_agent_crew.crew_runs.models import ENDED
from crewmesh_agent_crew.crew_runs.record import channel_of
from crewmesh_agent_crew.crew_runs.schemas import CrewRunMessage
from crewmesh_agent_crew.crew_runs.service import CrewRuns
from crewmesh_agent_crew.crew_runs.views import CrewRunViews
from crewmesh_agent_crew.live.word import Voices
from crewmesh_agent_crew.live.words import Word, Words

_BATCH = 200
_LOOK_SECONDS = 5.0
_PAUSE_SECONDS = 0.5
_ID = re.compile(r"^(\d{1,18})(?:\.(\d{1,20}-\d{1,20}))?$")

log = get_logger(__name__)


@dataclass(slots=True)
class _Seen:
    """How far a follower is: the last message, the last word, which answers were given, and who gives the others."""

    seq: int = 0
    word: str | None = None
    given: set[str] = field(default_factory=set[str])
    voices: Voices = field(default_factory=Voices)

    @classmethod
    def told(cls, last_event_id: str | None) -> _Seen:
        found = _ID.match(last_event_id or "")
        return cls(int(found[1]), found[2]) if found else cls()

    @property
    def id(self) -> str:
        return f"{self.seq}.{self.word}" if self.word else str(self.seq)


class Following:
    def __init__(self, views: CrewRunViews, runs: CrewRuns, words: Words, signals: Signals) -> None:
        self._views = views
        self._runs = runs
        self._words = words
        self._signals = signals

    async def follow(self, identity: Identity, crew_run: str, last_event_id: str | None) -> AsyncIterator[bytes]:
        """What to send, as it comes, until the run has ended."""
        seen = _Seen.told(last_event_id)
        async with (
            self._signals.listen(channel_of(crew_run)) as listener,
            aclosing(self._words.follow(identity.organization, crew_run, seen.word)) as words,
        ):
            try:
                async for piece in self._pieces(identity, crew_run, seen, listener, words):
                    yield piece
            except CrewRunNotFound:
                return  # it is hidden or forgotten by now; whoever comes back is told so

    async def _pieces(
        self,
        identity: Identity,
        crew_run: str,
        seen: _Seen,
        listener: Listener,
        words: AsyncGenerator[list[Word]],
    ) -> AsyncIterator[bytes]:
        spoken = asyncio.ensure_future(anext(words))
        changed = asyncio.ensure_future(listener.changed(0))
        try:
            while True:
                await asyncio.wait({spoken, changed}, return_when=asyncio.FIRST_COMPLETED)
                if changed.done():
                    changed = asyncio.ensure_future(listener.changed(_LOOK_SECONDS))
                    rows = await self._rows(identity, crew_run, seen.seq)
                    if over := not rows and await self._ended(identity, crew_run):
                        rows = await self._rows(identity, crew_run, seen.seq)  # it ended just behind what was read
                    if rows:
                        yield b"".join(_told(row, seen) for row in rows)
                    if over or _is_the_end(rows):
                        return
                if spoken.done():
                    pieces = [_word(word, seen) for word in filter(seen.voices.admit, spoken.result())]
                    spoken = asyncio.ensure_future(anext(words))
                    if said := b"".join(pieces):
                        yield said
        finally:
            for waiting in (spoken, changed):
                waiting.cancel()
            await asyncio.wait({spoken, changed})

    async def _rows(self, identity: Identity, crew_run: str, after: int) -> list[DictRow]:
        rows: list[DictRow] = []
        while True:
            try:
                found = await self._views.events(identity, crew_run, after, _BATCH)
            except Problem as problem:
                if not problem.retryable:
                    raise
                log.info("a follower asks again later", crew_run=crew_run, reason=problem.detail)
                await asyncio.sleep(_PAUSE_SECONDS)
                return rows
            rows += found
            if len(found) < _BATCH:
                return rows
            after = rows[-1]["seq"]

    async def _ended(self, identity: Identity, crew_run: str) -> bool:
        return (await self._runs.standing(identity.organization, crew_run)).status in ENDED


def _is_the_end(rows: list[DictRow]) -> bool:
    return bool(rows) and rows[-1]["kind"] == "status" and rows[-1]["text"] in ENDED


def _told(row: DictRow, seen: _Seen) -> bytes:
    seen.seq = row["seq"]
    if row["kind"] == "status":
        data: JsonObject = {"status": row["text"], "at": row["at"].isoformat()}
        return encoded(seen.id, "status", data)
    if row["kind"] == "answer":
        seen.given.add(str(row["ref"]).removesuffix("/answer"))
    return encoded(seen.id, "message", CrewRunMessage.model_validate(row).model_dump(mode="json", by_alias=True))


def _word(word: Word, seen: _Seen) -> bytes:
    seen.word = word.id
    if word.answer.rpartition("/")[0] in seen.given:
        return b""
    data: JsonObject = {"answer": word.answer, "kind": word.kind, "at": word.at, "text": word.text}
    return encoded(seen.id, "words", data)
