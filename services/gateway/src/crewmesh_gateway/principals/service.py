"""Knowing who is asking without asking the database every time, and forgetting at once what has changed.

Whoever was let in is remembered for some seconds under a hash of what was shown, so that a hot caller costs one
dictionary look-up. Whatever changes what somebody may do calls ``forget_with`` in its transaction: after the commit
every replica forgets. Should the news be lost on the way, the seconds are the limit. Forgetting ends the trust, not the
acquaintance: who was good before is asked for again, and is not held up by strangers' guesses from the same address.
Many requests that arrive with the same unknown credential share one query; those that come after something was
forgotten do not share one that began before.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections import OrderedDict, defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from crewmesh_kit.db.database import after_commit
from crewmesh_kit.signals import Signals
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_gateway.api_keys.errors import CredentialInvalid, KeyMistyped
from crewmesh_gateway.api_keys.last_use import LastUse
from crewmesh_gateway.api_keys.models import BEGINNING, PresentedKey
from crewmesh_gateway.api_keys.throttle import WrongKeyThrottle
from crewmesh_gateway.principals.models import AccessClaims, Principal
from crewmesh_gateway.principals.repository import PrincipalRepository
from crewmesh_gateway.settings import KeySettings

_CHANNEL = "principals:"

# What an access token says, or nothing when it is not (any more) a good one.
ReadToken = Callable[[str], Awaitable[AccessClaims | None]]


@dataclass(slots=True)
class _Known:
    principal: Principal
    until: float


class Principals:
    def __init__(
        self,
        repository: PrincipalRepository,
        read_token: ReadToken,
        throttle: WrongKeyThrottle,
        last_use: LastUse,
        settings: KeySettings,
        signals: Signals,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._repository = repository
        self._read_token = read_token
        self._throttle = throttle
        self._last_use = last_use
        self._settings = settings
        self._signals = signals
        self._now = now
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._by_tag: defaultdict[str, set[bytes]] = defaultdict(set)
        self._asking: dict[bytes, asyncio.Task[Principal | None]] = {}
        # Counts what was forgotten, so that an answer that was on its way meanwhile is not remembered.
        self._generation = 0
        signals.watch(_CHANNEL, self._forget)

    async def whose(self, text: str, *, address: str) -> Principal:
        """Whoever shows this API key or access token, or the reason why there is nobody."""
        # Looked up by a hash: how long that takes tells nothing about a text that hashes to something else.
        mark = hashlib.sha256(text.encode()).digest()
        known = self._known.get(mark)
        if known is not None and known.until > self._now():
            principal = known.principal
        else:
            if known is None:  # who was good before is never held up by what neighbours behind one address do
                _check_form(text)
                self._throttle.admit(address)
            found = await self._ask(mark, text)
            if found is None:
                self._throttle.failed(address)
                raise CredentialInvalid
            principal = found
        if not principal.is_person:
            self._last_use.note(principal.credential)
        return principal

    def forget_with(self, conn: AsyncConnection[DictRow], *tags: str) -> None:
        """After this transaction's commit nobody remembers whoever has one of the ``tags``.

        A tag is the id of an organization, a user, a service account, a session or a key.
        """
        after_commit(conn, lambda: self._tell(tags))

    def _tell(self, tags: tuple[str, ...]) -> None:
        for tag in tags:
            self._signals.tell(f"{_CHANNEL}{tag}")  # this process is told with all the others

    def _forget(self, tag: str | None) -> None:
        """End the trust in whoever has this tag, or in everybody when nobody knows what was missed."""
        self._generation += 1
        self._asking.clear()
        for mark in self._known if tag is None else self._by_tag.get(tag, ()):
            self._known[mark].until = -math.inf

    async def _ask(self, mark: bytes, text: str) -> Principal | None:
        asking = self._asking.get(mark)
        if asking is None:
            asking = self._asking[mark] = asyncio.create_task(self._look_up(mark, text))
            asking.add_done_callback(lambda task: self._asked(mark, task))
        return await asyncio.shield(asking)  # who waits may leave; the others still get their answer

    def _asked(self, mark: bytes, task: asyncio.Task[Principal | None]) -> None:
        if self._asking.get(mark) is task:
            del self._asking[mark]
        if not task.cancelled():
            task.exception()  # every caller may have left; then nobody else looks at it

    async def _look_up(self, mark: bytes, text: str) -> Principal | None:
        generation, lasts = self._generation, self._settings.cache_seconds
        if text.startswith(BEGINNING):
            shown = PresentedKey.parse(text)
            found = await self._repository.by_key(shown) if shown else None
        else:
            claims = await self._read_token(text)
            found = await self._repository.by_session(claims) if claims else None
            lasts = min(lasts, claims.expires_at - time.time()) if claims else lasts
        if found is not None and found.expires_at is not None:
            lasts = min(lasts, found.expires_at.timestamp() - time.time())
        if found is None:
            self._drop(mark)
        elif generation == self._generation:
            self._remember(mark, found, self._now() + lasts)
        elif mark not in self._known:
            self._remember(mark, found, -math.inf)  # no stranger, and to be asked for again
        return found

    def _remember(self, mark: bytes, principal: Principal, until: float) -> None:
        self._drop(mark)
        self._known[mark] = _Known(principal, until)
        for tag in _tags(principal):
            self._by_tag[tag].add(mark)
        if len(self._known) > self._settings.remembered:
            self._drop(next(iter(self._known)))

    def _drop(self, mark: bytes) -> None:
        known = self._known.pop(mark, None)
        if known is None:
            return
        for tag in _tags(known.principal):
            self._by_tag[tag].discard(mark)
            if not self._by_tag[tag]:
                del self._by_tag[tag]


def _check_form(text: str) -> None:
    """A key that was not copied whole costs neither a query nor one of the address's tries."""
    if text.startswith(BEGINNING) and PresentedKey.parse(text) is None:
        raise KeyMistyped


def _tags(principal: Principal) -> set[str]:
    behind = principal.user or principal.identity.acting_for
    return {tag for tag in (principal.identity.organization, principal.credential, behind) if tag}
