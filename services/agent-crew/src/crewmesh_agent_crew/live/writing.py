"""Words on their way out: gathered for a moment, then written together. Nobody waits for it, and nothing fails by it.

While Redis is away words are dropped, beyond a little that is kept for a short absence: whoever watches sees a gap.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field

from crewmesh_kit.ids import uuid7_hex
from crewmesh_kit.logs import get_logger
from redis.exceptions import RedisError

from crewmesh_agent_crew.live.streams import Fields, Redis, stream_of
from crewmesh_agent_crew.live.word import Kind

# Each piece is carried through every hop by itself: where many answers are given at once, each comes in fewer.
_GATHER_SECONDS, _AND_FOR_EACH_SECONDS, _LONGEST_GATHER_SECONDS = 0.03, 0.0015, 0.075
_PAUSE_SECONDS = 1.0
_KEPT_SECONDS = 15 * 60
_LONGEST_STREAM = 10_000
# Characters that wait to be written, of all answers together.
_MOST_WAITING = 1_000_000

log = get_logger(__name__)


@dataclass(slots=True)
class _Piece:
    answer: str
    voice: str
    kind: Kind
    at: int
    texts: list[str] = field(default_factory=list[str])

    def fields(self) -> Fields:
        fields = {"answer": self.answer, "voice": self.voice, "kind": self.kind, "at": str(self.at)}
        return {**fields, "text": "".join(self.texts)} if self.texts else fields


class Sink:
    """One answer's way out, a ``TextSink``."""

    def __init__(self, writer: Writer, stream: str, answer: str) -> None:
        self._writer = writer
        self._stream = stream
        self._answer = answer
        self._voice = uuid7_hex()
        self._said = 0

    def add(self, text: str) -> None:
        if text:
            self._writer.add(self._stream, self._answer, self._voice, self._said, text)
            self._said += len(text)

    def restart(self) -> None:
        self._said = 0
        self._writer.mark(self._stream, self._answer, self._voice, "restart", 0)

    def done(self) -> None:
        """All is said, or no more will be."""
        self._writer.mark(self._stream, self._answer, self._voice, "done", self._said)


class Writer:
    def __init__(self, client: Redis) -> None:
        self._client = client
        self._waiting: dict[str, list[_Piece]] = {}
        self._characters = 0
        self._filled = asyncio.Event()
        self._ended = asyncio.Event()

    def sink(self, organization: str, work: str, answer: str) -> Sink:
        return Sink(self, stream_of(organization, work), answer)

    def add(self, stream: str, answer: str, voice: str, at: int, text: str) -> None:
        if self._characters > _MOST_WAITING:
            return
        self._characters += len(text)
        pieces = self._waiting.setdefault(stream, [])
        last = pieces[-1] if pieces else None
        if last is None or (last.answer, last.voice, last.kind) != (answer, voice, "words"):
            last = _Piece(answer, voice, "words", at)
            pieces.append(last)
        last.texts.append(text)
        self._filled.set()

    def mark(self, stream: str, answer: str, voice: str, kind: Kind, at: int) -> None:
        self._characters += 1
        self._waiting.setdefault(stream, []).append(_Piece(answer, voice, kind, at))
        self._filled.set()
        if kind == "done":
            self._ended.set()

    async def keep_writing(self) -> None:
        """The first word leaves at once, those behind it together, the last at once again: the answer is on its way."""
        while True:
            await self._filled.wait()
            self._filled.clear()
            self._ended.clear()
            waiting, self._waiting, self._characters = self._waiting, {}, 0
            try:
                await self._write(waiting)
            except (RedisError, OSError) as error:
                log.warning("answers cannot be watched right now", error=str(error))
                await asyncio.sleep(_PAUSE_SECONDS)
            gather = min(_GATHER_SECONDS + len(waiting) * _AND_FOR_EACH_SECONDS, _LONGEST_GATHER_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout(gather):
                    await self._ended.wait()

    async def _write(self, waiting: dict[str, list[_Piece]]) -> None:
        pipeline = self._client.pipeline(transaction=False)
        for stream, pieces in waiting.items():
            for piece in pieces:
                pipeline.xadd(stream, piece.fields(), maxlen=_LONGEST_STREAM, approximate=True)
            pipeline.expire(stream, _KEPT_SECONDS)
        await pipeline.execute()
