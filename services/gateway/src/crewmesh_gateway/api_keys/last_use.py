"""When a key was last used, written down now and then in one statement instead of at every request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from crewmesh_gateway.api_keys.repository import ApiKeyRepository


class LastUse:
    def __init__(self, repository: ApiKeyRepository, *, every_seconds: float) -> None:
        self._repository = repository
        self._every_seconds = every_seconds
        self._uses: dict[str, datetime] = {}

    def note(self, key_id: str) -> None:
        self._uses[key_id] = datetime.now(UTC)

    async def flush(self) -> None:
        uses, self._uses = self._uses, {}
        if not uses:
            return
        try:
            await self._repository.note_uses(uses)
        except BaseException:
            self._uses = uses | self._uses  # not lost: the next flush takes them along
            raise

    async def keep_flushing(self) -> None:
        while True:
            await asyncio.sleep(self._every_seconds)
            await self.flush()

    @asynccontextmanager
    async def flushed_at_the_end(self) -> AsyncGenerator[LastUse]:
        yield self
        await self.flush()
