"""Wake-ups inside one service, across its replicas: "something changed, look again".

Best effort on purpose: whoever listens also looks by itself now and then, so a lost signal costs a moment of latency
and nothing else. Listeners in this process are woken at once; the others through one Redis channel per service, with
signals that come in quick succession sent together.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol, Self, cast

import redis.asyncio as redis
from redis.exceptions import RedisError

from crewmesh_kit.dapr.sidecar import Sidecar
from crewmesh_kit.db.database import Database
from crewmesh_kit.ids import uuid7_hex
from crewmesh_kit.logs import get_logger
from crewmesh_kit.resources import Resources

_RECONNECT_SECONDS = 1.0
_CONNECT_SECONDS = 2.0
# Other replicas hear of what comes in quick succession at once.
_GATHER_SECONDS = 0.02

log = get_logger(__name__)


class _Subscription(Protocol):
    async def subscribe(self, *channels: str) -> None: ...
    def listen(self) -> AsyncGenerator[dict[str, object]]: ...


class _Redis(Protocol):
    """The few calls that are used of the Redis client, whose own annotations are partly missing."""

    async def publish(self, channel: str, message: str) -> int: ...
    def pubsub(self) -> AbstractAsyncContextManager[_Subscription]: ...
    async def aclose(self) -> None: ...


class Listener:
    """Waits for signals on one channel; those that came while nobody waited are not lost."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def wake(self) -> None:
        self._event.set()

    async def changed(self, timeout: float) -> bool:
        """Whether there was a signal since the last call; waits for one up to ``timeout`` seconds."""
        try:
            # Not wait_for(): before Python 3.12 it may swallow a cancellation that comes together with the event.
            async with asyncio.timeout(timeout):
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        return True


class Signals:
    """One per service. Open it with ``async with Signals.open(url, app_id=…)``."""

    def __init__(self, client: _Redis, app_id: str) -> None:
        self._client = client
        self._topic = f"crewmesh:{app_id}:signals"
        self._replica = uuid7_hex()
        self._listeners: defaultdict[str, set[Listener]] = defaultdict(set)
        self._watchers: list[tuple[str, Callable[[str | None], None]]] = []
        # Whether other replicas have been heard yet; what was cached before that is forgotten.
        self.begun = asyncio.Event()
        self._outgoing: set[str] = set()
        self._outgoing_filled = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, *, app_id: str) -> AsyncGenerator[Self]:
        client = redis.Redis.from_url(  # pyright: ignore[reportUnknownMemberType]  its **kwargs are untyped
            url, socket_connect_timeout=_CONNECT_SECONDS, health_check_interval=10, decode_responses=True
        )
        signals = cls(cast(_Redis, client), app_id)
        tasks = [asyncio.create_task(signals._receive()), asyncio.create_task(signals._send())]
        try:
            yield signals
        finally:
            await cancelled(tasks)
            await client.aclose()

    async def notify(self, channel: str) -> None:
        """Wake whoever listens to ``channel``. Never fails and never waits."""
        self.tell(channel)

    def tell(self, channel: str) -> None:
        """The same, for where nothing can be awaited."""
        self._wake(channel)
        self._outgoing.add(channel)
        self._outgoing_filled.set()

    @asynccontextmanager
    async def listen(self, channel: str) -> AsyncGenerator[Listener]:
        listener = Listener()
        self._listeners[channel].add(listener)
        try:
            yield listener
        finally:
            self._listeners[channel].discard(listener)
            if not self._listeners[channel]:
                del self._listeners[channel]

    def watch(self, prefix: str, told: Callable[[str | None], None]) -> None:
        """Tell of every signal on a channel that begins so, by what follows; by nothing when some may have been missed.

        For caches: what is named is forgotten, and everything when nobody knows.
        """
        self._watchers.append((prefix, told))

    def _wake(self, channel: str) -> None:
        for prefix, told in self._watchers:
            if channel.startswith(prefix):
                told(channel.removeprefix(prefix))
        for listener in self._listeners.get(channel, ()):
            listener.wake()

    async def _send(self) -> None:
        while True:
            await self._outgoing_filled.wait()
            await asyncio.sleep(_GATHER_SECONDS)
            self._outgoing_filled.clear()
            channels, self._outgoing = self._outgoing, set()
            try:
                await self._client.publish(self._topic, "\n".join((self._replica, *channels)))
            except (RedisError, OSError) as error:
                log.debug("signals were lost", error=str(error))
                await asyncio.sleep(_RECONNECT_SECONDS)

    async def _receive(self) -> None:
        while True:
            try:
                await self._follow()
            except (RedisError, OSError) as error:  # asyncio's TimeoutError is an OSError too
                log.warning("signals of other replicas are not heard right now", error=str(error))
            await asyncio.sleep(_RECONNECT_SECONDS)

    async def _follow(self) -> None:
        async with self._client.pubsub() as subscription:
            await subscription.subscribe(self._topic)
            async for message in subscription.listen():
                if message.get("type") == "subscribe":
                    self._wake_everybody()
                elif message.get("type") == "message":
                    self._woken_from_outside(str(message["data"]))

    def _wake_everybody(self) -> None:
        """From here on nothing is missed; what was before is not known. The client reconnects by itself, too."""
        for _, told in self._watchers:
            told(None)
        for channel in list(self._listeners):
            self._wake(channel)
        self.begun.set()

    def _woken_from_outside(self, text: str) -> None:
        replica, *channels = text.split("\n")
        if replica != self._replica:
            for channel in channels:
                self._wake(channel)


@asynccontextmanager
async def open_signals(resources: Resources) -> AsyncGenerator[Signals]:
    """The signals of a running service, for what is opened after them."""
    url = await resources.get(Sidecar).secret("redis-url")
    async with Signals.open(url, app_id=resources.get(Database).app_id) as signals:
        yield signals


async def cancelled(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Before Python 3.12 clients of Redis and PostgreSQL may swallow a cancellation; so it is told again."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=0.2)
