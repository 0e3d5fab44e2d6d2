"""Following a conversation: what happens in it, what its agent does, and its words while they are said.

What happened is durable and numbered; so are the uses of tools and the questions of the run behind an answer. Whoever
comes back with the last id, to any replica, misses none of it and is told none twice. Words are read where their stream
is; what was lost of them stands in the answer, which is told in full when it has ended.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from crewmesh_contracts.base import JsonObject
from crewmesh_kit.db.database import Database
from crewmesh_kit.errors import NotFound, Problem
from crewmesh_kit.http.sse import encoded
from crewmesh_kit.identity import Identity
from crewmesh_kit.logs import get_logger
from crewmesh_kit.signals import Listener, Signals
from psycopg.rows import DictRow

from crewmesh_agent_crew.conversations.models import Spoken
from crewmesh_agent_crew.conversations.repository import ConversationRepository
from crewmesh_agent_crew.conversations.service import Conversations, found
from crewmesh_agent_crew.conversations.settling import Settling, channel_of
from crewmesh_agent_crew.conversations.tree import MessageRepository
from crewmesh_agent_crew.crew_runs.models import ENDED
from crewmesh_agent_crew.crew_runs.record import channel_of as channel_of_run
from crewmesh_agent_crew.crew_runs.views import CrewRunViews
from crewmesh_agent_crew.live.word import Voices
from crewmesh_agent_crew.live.words import Word, Words

_BATCH = 200
_LOOK_SECONDS = 10.0
_PAUSE_SECONDS = 0.5
_ID = re.compile(r"^(\d{1,18})(?:\.(\d{1,18})\.(\d{1,20}-\d{1,20}))?$", re.ASCII)
_FIRST_WORD = "0-0"
# What of a run is told in a chat, and as what.
_OF_AN_AGENT = {"tool": "tool", "question": "question", "decision": "decision"}
_OF_A_CREW = {**_OF_AN_AGENT, "answer": "said"}
_ENDINGS = frozenset({"done", "failed", "cancelled"})

log = get_logger(__name__)


@dataclass(slots=True)
class Seen:
    """How far a follower is: ``run`` and ``word`` within the answer that was under way at ``seq``.

    ``told``: which messages of runs it is told, and as what.
    """

    seq: int = 0
    run: int = 0
    word: str = _FIRST_WORD
    told: Mapping[str, str] = field(default_factory=dict[str, str])
    voices: Voices = field(default_factory=Voices)

    @classmethod
    def of(cls, last_event_id: str | None) -> Seen:
        id_ = _ID.match(last_event_id or "")
        return cls(int(id_[1]), int(id_[2] or 0), id_[3] or _FIRST_WORD) if id_ else cls()

    @property
    def id(self) -> str:
        return f"{self.seq}.{self.run}.{self.word}"


class Streams:
    def __init__(
        self,
        database: Database,
        conversations: Conversations,
        settling: Settling,
        runs: CrewRunViews,
        words: Words,
        signals: Signals,
    ) -> None:
        self._database = database
        self._conversations = conversations
        self._settling = settling
        self._runs = runs
        self._words = words
        self._signals = signals

    async def follow(
        self, identity: Identity, conversation: str, last_event_id: str | None, *, until: str | None = None
    ) -> AsyncGenerator[bytes]:
        """What to send, as it comes: for ever, or until the answer ``until`` has ended."""
        seen = Seen.of(last_event_id)
        async with self._signals.listen(channel_of(conversation)) as listener:
            while True:
                try:
                    pieces, working, over = await self._news(identity, conversation, seen, until)
                except NotFound:
                    return  # it was deleted
                except Problem as problem:
                    if not problem.retryable:
                        raise
                    log.info("a follower of a conversation asks again later", reason=problem.detail)
                    await asyncio.sleep(_PAUSE_SECONDS)
                    continue
                if pieces:
                    yield b"".join(pieces)
                if over:
                    return
                if working is None:
                    await listener.changed(_LOOK_SECONDS)
                    continue
                async with aclosing(self._answer(identity.organization, working, seen, listener)) as telling:
                    async for piece in telling:
                        yield piece

    async def _news(
        self, identity: Identity, conversation: str, seen: Seen, until: str | None
    ) -> tuple[list[bytes], Spoken | None, bool]:
        """What happened since, the answer that is under way, and whether ``until`` has ended."""
        async with self._database.tenant(identity.organization) as connection:
            talk = await found(connection, identity, conversation)
            seen.told = _OF_A_CREW if talk.crew else _OF_AN_AGENT
            messages = MessageRepository(connection)
            # Before what happened: if it has ended by now, its end is among that.
            last = None if until is None else await messages.get(conversation, until)
            rows = await ConversationRepository(connection).events(conversation, seen.seq, _BATCH)
            said = await messages.several(conversation, [row["message"] for row in rows if row["message"]])
            working = await messages.working(conversation) if len(rows) < _BATCH else None
        shown = await self._conversations.shown(identity, conversation, list(said.values()))
        by_id = {message.id: message.model_dump(mode="json") for message in shown}
        pieces: list[bytes] = []
        ended = _ended(rows, said, seen.seq)
        left = [] if ended is None else await self._left(identity.organization, ended, seen.run)
        for row in rows:
            answer = said.get(row["message"] or "")
            if answer is not None and answer is ended:
                pieces += [_did(answer, each, seen) for each in left]
            before, seen.seq = seen.seq, row["seq"]
            if answer is not None and answer.role == "assistant" and answer.added > before:
                seen.run, seen.word, seen.voices = 0, _FIRST_WORD, Voices()
            data = by_id.get(row["message"] or "")
            if row["kind"] == "changed":
                data = (await self._conversations.get(identity, conversation)).model_dump(mode="json")
            if data is not None:
                pieces.append(encoded(seen.id, row["kind"], data))
        over = last is not None and last.status != "working" and len(rows) < _BATCH
        return pieces, working, over

    async def _answer(self, organization: str, answer: Spoken, seen: Seen, listener: Listener) -> AsyncGenerator[bytes]:
        """The answer while it is given, until something happens in the conversation, or it is time to look."""
        run = answer.crew_run or ""
        async with (
            self._signals.listen(channel_of_run(run)) as doing,
            aclosing(self._words.follow(organization, run, seen.word)) as words,
        ):
            changed = asyncio.ensure_future(listener.changed(_LOOK_SECONDS))
            done = asyncio.ensure_future(doing.changed(0))
            spoken = asyncio.ensure_future(anext(words))
            try:
                while not changed.done():
                    await asyncio.wait({changed, done, spoken}, return_when=asyncio.FIRST_COMPLETED)
                    if spoken.done():
                        if piece := _words(answer, spoken.result(), seen):
                            yield piece
                        spoken = asyncio.ensure_future(anext(words))
                    if done.done():
                        if piece := await self._done(organization, answer, seen):
                            yield piece
                        done = asyncio.ensure_future(doing.changed(_LOOK_SECONDS))
            finally:
                for waiting in (changed, done, spoken):
                    waiting.cancel()
                await asyncio.wait({changed, done, spoken})

    async def _left(self, organization: str, answer: Spoken, after: int) -> list[DictRow]:
        """What the run behind an answer did last, where its end is seen before that."""
        left: list[DictRow] = []
        while True:
            rows = await self._runs.news(organization, answer.crew_run or "", after, _BATCH)
            left += rows
            if len(rows) < _BATCH:
                return left
            after = rows[-1]["seq"]

    async def _done(self, organization: str, answer: Spoken, seen: Seen) -> bytes:
        """What the run behind the answer did since."""
        run = answer.crew_run or ""
        try:
            rows = await self._runs.news(organization, run, seen.run, _BATCH)
        except Problem as problem:
            log.info("what an answer's run does is told later", reason=problem.detail)
            return b""
        if any(row["kind"] == "status" and row["text"] in ENDED for row in rows):
            await self._settling.settle(run)
        return b"".join(_did(answer, row, seen) for row in rows)


def _ended(rows: Sequence[DictRow], said: Mapping[str, Spoken], known: int) -> Spoken | None:
    """The answer of which it was known that it is given, and that is not given any more."""
    ended = (said.get(row["message"] or "") for row in rows if row["kind"] in _ENDINGS)
    return next((answer for answer in ended if answer is not None and answer.added <= known), None)


def _did(answer: Spoken, row: DictRow, seen: Seen) -> bytes:
    seen.run = row["seq"]
    kind = seen.told.get(row["kind"])
    if kind is None:
        return b""
    data: JsonObject = {
        "message": answer.id,
        "from": row["sender"],
        "to": row["receiver"],
        "text": row["text"],
        "at": row["at"].isoformat(),
    }
    return encoded(seen.id, kind, data)


def _words(answer: Spoken, words: Sequence[Word], seen: Seen) -> bytes:
    """Those that follow each other in one part of the answer are one event."""
    pieces: list[bytes] = []
    gathered: list[Word] = []
    for word in filter(seen.voices.admit, words):
        if gathered and (word.kind != "words" or word.answer != gathered[0].answer):
            pieces.append(_said(answer, gathered, seen))
            gathered = []
        if word.kind == "words":
            gathered.append(word)
        else:
            seen.word = word.id
            if word.kind == "restart":
                pieces.append(encoded(seen.id, "restart", {"message": answer.id, "part": word.answer}))
    if gathered:
        pieces.append(_said(answer, gathered, seen))
    return b"".join(pieces)


def _said(answer: Spoken, words: Sequence[Word], seen: Seen) -> bytes:
    seen.word = words[-1].id
    text = "".join(word.text for word in words)
    return encoded(seen.id, "words", {"message": answer.id, "part": words[0].answer, "at": words[0].at, "text": text})
