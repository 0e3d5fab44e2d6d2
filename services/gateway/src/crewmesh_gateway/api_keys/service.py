"""Verifying keys without asking the database every time.

A verified key is trusted for some seconds under a hash of its text, so that a hot caller costs one dictionary look-up
and a revoked key stops within those seconds. Many requests that arrive with the same cold key share one query.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime

from crewmesh_gateway.api_keys.errors import ApiKeyInvalid
from crewmesh_gateway.api_keys.last_use import LastUse
from crewmesh_gateway.api_keys.models import ApiKey, PresentedKey
from crewmesh_gateway.api_keys.repository import ApiKeyRepository
from crewmesh_gateway.api_keys.throttle import WrongKeyThrottle
from crewmesh_gateway.settings import KeySettings


class ApiKeys:
    def __init__(
        self,
        repository: ApiKeyRepository,
        throttle: WrongKeyThrottle,
        last_use: LastUse,
        settings: KeySettings,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._repository = repository
        self._throttle = throttle
        self._last_use = last_use
        self._settings = settings
        self._now = now
        self._verified: OrderedDict[bytes, tuple[float, ApiKey]] = OrderedDict()
        self._asking: dict[bytes, asyncio.Task[ApiKey | None]] = {}

    async def verify(self, text: str, *, address: str) -> ApiKey:
        """The key with this text, or the reason why there is none."""
        # Looked up by a hash: how long that takes tells nothing about a text that hashes to something else.
        mark = hashlib.sha256(text.encode()).digest()
        known = self._verified.get(mark)
        if known is None or known[0] <= self._now():
            if (
                known is None
            ):  # a key that was good before is never held up by what its neighbours behind one address do
                self._throttle.admit(address)
            key = await self._ask(mark, text)
            if key is None:
                self._throttle.failed(address)
                raise ApiKeyInvalid
        else:
            key = known[1]
        self._last_use.note(key.id)
        return key

    async def _ask(self, mark: bytes, text: str) -> ApiKey | None:
        shown = PresentedKey.parse(text)
        if shown is None:
            return None
        asking = self._asking.get(mark)
        if asking is None:
            asking = self._asking[mark] = asyncio.create_task(self._look_up(mark, shown))
            asking.add_done_callback(lambda _: self._asking.pop(mark, None))
        return await asyncio.shield(asking)  # who waits may leave; the others still get their answer

    async def _look_up(self, mark: bytes, shown: PresentedKey) -> ApiKey | None:
        key = await self._repository.by_prefix(shown.prefix)
        if key is None or not key.admits(shown, now=datetime.now(UTC)):
            self._verified.pop(mark, None)
            return None
        self._verified[mark] = (self._now() + self._settings.cache_seconds, key)
        self._verified.move_to_end(mark)
        if len(self._verified) > self._settings.remembered:
            self._verified.popitem(last=False)
        return key
