"""One key signs; the next one is made in time, published an hour before it signs, and the old one stays until its last
token is over.

Each replica holds the keys in memory and looks at the table once a minute, under a lock that lets one decide at a time.
What is decided is one transaction, so a crash leaves it done or not begun. Which key signs follows from the clock
alone: nothing has to happen at the moment of the change.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable

from crewmesh_kit.db.database import Database, DatabaseUnavailable
from crewmesh_kit.logs import get_logger
from joserfc.jwk import ECKey

from crewmesh_gateway.settings import TokenSettings
from crewmesh_gateway.signing_keys.models import KeyRing, SigningKey
from crewmesh_gateway.signing_keys.repository import SigningKeyRepository

TEND_SECONDS = 60.0
# An hour for those who keep a copy of the published keys, and some minutes until every replica publishes it.
PUBLISHED_AHEAD_SECONDS = 3600 + 5 * TEND_SECONDS
# The longest life of a token, and some minutes for clocks that differ.
BELIEVED_AFTER_SECONDS = 600 + 5 * TEND_SECONDS
_RELOAD_SECONDS = 1.0
_DAY = 86_400

log = get_logger(__name__)


class SigningKeys:
    def __init__(
        self,
        database: Database,
        repository: SigningKeyRepository,
        settings: TokenSettings,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._repository = repository
        self._rotate_seconds = settings.rotate_days * _DAY
        self._now = now
        self._reloading = asyncio.Lock()
        self._reloaded_at = float("-inf")
        self.ring = KeyRing()

    def signing(self) -> tuple[str, ECKey]:
        """The key that signs now and its name; ``tend`` has seen to it that there is one."""
        key = self.ring.signing(self._now())
        if key is None or key.private is None:
            raise LookupError("no signing key was loaded; tend() comes first")
        return key.kid, key.private

    async def known(self, kid: str) -> SigningKey | None:
        """The key of this name. One that was made a moment ago elsewhere is looked for, once a second at most."""
        if kid not in self.ring.by_kid:
            await self._reload()
        return self.ring.by_kid.get(kid)

    async def tend(self) -> None:
        """Make the key that is due, forget those that are over, and remember what there is."""
        async with self._database.system() as conn:
            await self._repository.alone(conn)
            ring, now = await self._repository.ring(conn), self._now()
            signs_from = self._due(ring, now)
            over = [key.kid for key in ring.retired(now - BELIEVED_AFTER_SECONDS)]
            if signs_from is not None:
                await self._repository.add(conn, created_at=now, signs_from=signs_from)
            if over:
                await self._repository.forget(conn, over)
            if signs_from is not None or over:
                ring = await self._repository.ring(conn)
                log.info("signing keys changed", made=signs_from is not None, forgotten=over)
        self.ring = ring

    async def keep_tending(self) -> None:
        """Replicas at different moments."""
        while True:
            await asyncio.sleep(TEND_SECONDS * random.uniform(0.5, 1.0))
            try:
                await self.tend()
            except DatabaseUnavailable as problem:
                log.warning("signing keys wait for the next minute", reason=problem.detail)

    def _due(self, ring: KeyRing, now: float) -> float | None:
        """From when on a key should sign that is to be made now; nothing when none is."""
        if ring.signing(now) is None:
            return now
        newest = ring.newest
        if newest is None or newest.created_at + self._rotate_seconds <= now:
            return now + PUBLISHED_AHEAD_SECONDS
        return None

    async def _reload(self) -> None:
        async with self._reloading:
            if time.monotonic() - self._reloaded_at < _RELOAD_SECONDS:
                return
            async with self._database.system() as conn:
                self.ring = await self._repository.ring(conn)
            self._reloaded_at = time.monotonic()
