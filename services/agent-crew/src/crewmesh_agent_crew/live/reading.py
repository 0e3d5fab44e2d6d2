"""Words on their way in: each stream is read once in this replica, for all who watch it.

One connection waits for all streams that are watched here. A stream of this replica's own, the bell, is among them, so
that it can be told to look at others. Each watcher takes from what was read lately at its own pace; who is too slow for
that reads for itself and holds nobody up.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager, suppress
from itertools import takewhile

from crewmesh_kit.ids import uuid7_hex
from crewmesh_kit.logs import get_logger
from redis.exceptions import RedisError

from crewmesh_agent_crew.live.streams import Entries, Redis, stream_of
from crewmesh_agent_crew.live.word import BEGINNING, Voices, Word, place_of, readable

_KEPT = 2_000
_BATCH = 1_000
_WAIT_SECONDS = 5.0
_PAUSE_SECONDS = 1.0
_BELL_SECONDS = 60
_LAST_WORDS_SECONDS = 0.5

log = get_logger(__name__)


class Feed:
    """What was read lately of one stream. ``last``: up to where; ``first``: what is kept begins behind it."""

    def __init__(self) -> None:
        self.first = self.last = BEGINNING
        self.watchers = 0
        self._words: deque[Word] = deque()
        self._changed = asyncio.Event()

    def add(self, entries: Entries) -> None:
        self._words.extend(Word.of(id_, fields) for id_, fields in entries)
        self.last = entries[-1][0]
        while len(self._words) > _KEPT:
            self.first = self._words.popleft().id
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def after(self, id_: str) -> list[Word] | None:
        """What follows ``id_``, perhaps nothing yet; none: that is not kept any more."""
        if place_of(id_) >= place_of(self.last):
            with suppress(TimeoutError):
                async with asyncio.timeout(_WAIT_SECONDS):
                    await self._changed.wait()
        seen = place_of(id_)
        if seen < place_of(self.first):
            return None
        # From the end: of a long answer most has been seen.
        behind = list(takewhile(lambda word: word.place > seen, reversed(self._words)))
        behind.reverse()
        return behind


class Reader:
    def __init__(self, client: Redis) -> None:
        self._client = client
        self._feeds: dict[str, Feed] = {}
        self._watched = asyncio.Event()
        self._bell = f"crewmesh:agent-crew:live-bell:{uuid7_hex()}"
        self._heard = BEGINNING
        self._to_ring = asyncio.Event()

    async def follow(self, organization: str, work: str, after: str | None) -> AsyncGenerator[list[Word]]:
        """What stands behind ``after``, then what is added, for ever; never an empty list."""
        stream, seen = stream_of(organization, work), readable(after)
        with self._joined(stream) as feed:
            while True:
                words = await feed.after(seen)
                if words is None:
                    first = feed.first
                    words = await self._read(stream, seen)
                    if words == []:
                        seen = first  # what was before is gone
                if words:
                    seen = words[-1].id
                    yield words

    @contextmanager
    def _joined(self, stream: str) -> Generator[Feed]:
        if stream not in self._feeds:
            # From the beginning: it is for those who have seen nothing, too.
            self._feeds[stream] = Feed()
            self._watched.set()
            self._to_ring.set()
        feed = self._feeds[stream]
        feed.watchers += 1
        try:
            yield feed
        finally:
            feed.watchers -= 1
            if feed.watchers == 0:
                del self._feeds[stream]

    async def said(self, organization: str, work: str) -> str:
        """The text of the part that began last. One that is broken off just now is waited for a moment."""
        stream, answer, text, voices = stream_of(organization, work), "", "", Voices()
        seen, deadline = BEGINNING, asyncio.get_running_loop().time() + _LAST_WORDS_SECONDS
        while True:
            words = await self._read(stream, seen) or []
            for word in filter(voices.admit, words):
                if word.answer != answer or word.kind == "restart" or (word.kind == "words" and word.at == 0):
                    answer, text = word.answer, ""
                text += word.text
            seen = words[-1].id if words else seen
            ended = bool(words) and words[-1].kind == "done" and len(words) < _BATCH
            if ended or asyncio.get_running_loop().time() > deadline:
                return text
            await asyncio.sleep(0 if len(words) == _BATCH else _LAST_WORDS_SECONDS / 5)

    async def _read(self, stream: str, after: str) -> list[Word] | None:
        """None: that is not known right now."""
        try:
            entries = await self._client.xrange(stream, min=f"({after}", count=_BATCH)
        except (RedisError, OSError) as error:
            log.info("an answer cannot be watched right now", error=str(error))
            await asyncio.sleep(_PAUSE_SECONDS)
            return None
        return [Word.of(id_, fields) for id_, fields in entries]

    async def keep_ringing(self) -> None:
        """Whenever something else is watched, let the one who waits look again."""
        while True:
            await self._to_ring.wait()
            self._to_ring.clear()
            pipeline = self._client.pipeline(transaction=False)
            pipeline.xadd(self._bell, {"look": "again"}, maxlen=1, approximate=False)
            pipeline.expire(self._bell, _BELL_SECONDS)
            try:
                await pipeline.execute()
            except (RedisError, OSError) as error:
                log.info("what is watched anew is read a moment later", error=str(error))

    async def keep_reading(self) -> None:
        while True:
            if not self._feeds:
                self._watched.clear()
                await self._watched.wait()
            try:
                await self._read_once()
            except (RedisError, OSError) as error:
                log.warning("answers cannot be watched right now", error=str(error))
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _read_once(self) -> None:
        feeds = dict(self._feeds)
        places = {self._bell: self._heard, **{stream: feed.last for stream, feed in feeds.items()}}
        found = await self._client.xread(places, count=_BATCH, block=int(_WAIT_SECONDS * 1000))
        for stream, entries in found or ():
            if stream == self._bell:
                self._heard = entries[-1][0]
            else:
                feeds[stream].add(entries)
