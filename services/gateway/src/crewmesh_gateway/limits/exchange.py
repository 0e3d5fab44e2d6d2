"""The replicas tell each other what they counted, ten times a second, in one pipelined call to Valkey.

No request ever waits for it. A bucket of time is one hash in Valkey, a field of it what all replicas counted for one
caller. Whoever was counted since the last time is told of and asked about; who was not, costs nothing. While Valkey is
away every replica goes on with what it counts itself: limits hold per replica then, and nobody is refused for it.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import islice
from typing import Protocol, cast

import redis.asyncio as redis
from crewmesh_kit.logs import get_logger
from prometheus_client import Counter, Gauge
from redis.exceptions import RedisError

from crewmesh_gateway.limits.clock import SharedClock
from crewmesh_gateway.limits.meters import Meter
from crewmesh_gateway.limits.windows import Shape, Window

_CALL_SECONDS = 1.0
# More than these wait for their turn, so that one call stays short.
_MOST_PER_CALL = 2_000
# Further ones are counted by this replica alone: so many at once are strangers who come from everywhere.
_MOST_WAITING = 20_000
# Counts of the others come this late, at most, when all is well.
_LATE_SECONDS = 0.25
_OUTLIVES_ITS_WINDOW_SECONDS = 10
# Adds each count to its field and says what all fields hold then, in one text: many small answers are slow to read.
_ADD = """
local held = {}
for i = 2, #ARGV, 2 do
    local more = tonumber(ARGV[i + 1])
    if more > 0 then
        held[#held + 1] = redis.call('HINCRBY', KEYS[1], ARGV[i], more)
    else
        held[#held + 1] = redis.call('HGET', KEYS[1], ARGV[i]) or 0
    end
end
redis.call('EXPIRE', KEYS[1], ARGV[1])
return table.concat(held, ',')
"""

SHARED = Gauge("crewmesh_limits_shared", "1 while this replica's rate limits are counted together with the others'.")
FAILURES = Counter("crewmesh_limits_exchange_failures_total", "Times the replicas' counts could not be exchanged.")

_log = get_logger(__name__)


class _Pipeline(Protocol):
    def time(self) -> object: ...
    def eval(self, script: str, numkeys: int, *keys_and_args: str | int) -> object: ...
    async def execute(self) -> Sequence[object]: ...


class Redis(Protocol):
    """The few calls that are used of the Redis client, whose own annotations are partly missing."""

    def pipeline(self, transaction: bool = ...) -> AbstractAsyncContextManager[_Pipeline]: ...


# A bucket in Valkey → whom it is about: the window, its own name of the bucket, and what is new.
_Plan = defaultdict[tuple[Shape, int], list[tuple[str, Window, int, int]]]


class Exchange:
    """Meters that counted something wait here until their turn comes."""

    def __init__(self, client: Redis, clock: SharedClock, *, every_seconds: float, name: str = "limits") -> None:
        self._client = client
        self._clock = clock
        self._every_seconds = every_seconds
        self._name = name
        self._waiting: dict[Meter, None] = {}
        self._reached: bool | None = None

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, clock: SharedClock, *, every_seconds: float) -> AsyncGenerator[Exchange]:
        client = redis.Redis.from_url(  # pyright: ignore[reportUnknownMemberType]  its **kwargs are untyped
            url, socket_connect_timeout=_CALL_SECONDS, socket_timeout=_CALL_SECONDS, decode_responses=True
        )
        try:
            yield cls(cast(Redis, client), clock, every_seconds=every_seconds)
        finally:
            await client.aclose()

    def tell(self, meter: Meter) -> None:
        if len(self._waiting) < _MOST_WAITING:
            meter.untold = True
            self._waiting[meter] = None

    async def keep_exchanging(self) -> None:
        while True:
            await asyncio.sleep(self._every_seconds)
            if self._waiting:
                await self.exchange()

    async def exchange(self) -> bool:
        """One call for everybody who waits (or as many as one call takes). Whether it worked."""
        meters = list(islice(self._waiting, _MOST_PER_CALL))
        for meter in meters:
            del self._waiting[meter]
            meter.untold = False
        plan = self._plan(meters)
        try:
            async with asyncio.timeout(_CALL_SECONDS):
                answers = await self._call(plan)
        except (RedisError, OSError) as error:  # asyncio's TimeoutError is an OSError too
            FAILURES.inc()
            self._note(reached=False, error=str(error))
            return False
        for asked, answer in zip(plan.values(), answers, strict=True):
            for (_, window, bucket, _), count in zip(asked, answer.split(","), strict=True):
                window.learn(bucket, int(count))
        self._note(reached=True)
        return True

    def _plan(self, meters: Sequence[Meter]) -> _Plan:
        plan: _Plan = defaultdict(list)
        now = self._clock.now()
        for meter in meters:
            for window in meter.windows_worth_telling():
                shape = window.shape
                shift = self._clock.shift(shape)
                new = dict.fromkeys(window.to_hear(now, late=_LATE_SECONDS), 0)
                new.update(window.collect())
                for bucket, more in new.items():
                    plan[shape, bucket + shift].append((meter.who, window, bucket, more))
        return plan

    async def _call(self, plan: _Plan) -> list[str]:
        async with self._client.pipeline(transaction=False) as pipeline:
            pipeline.time()
            for (shape, bucket), asked in plan.items():
                lasts = shape.seconds + _OUTLIVES_ITS_WINDOW_SECONDS
                counts = [text for who, _, _, more in asked for text in (who, more)]
                pipeline.eval(_ADD, 1, f"crewmesh:{self._name}:{shape.seconds}:{bucket}", lasts, *counts)
            began = self._clock.now()
            told, *answers = await pipeline.execute()
        seconds, microseconds = cast("tuple[int, int]", told)
        self._clock.heard(seconds + microseconds / 1_000_000, at=(began + self._clock.now()) / 2)
        return cast("list[str]", answers)

    def _note(self, *, reached: bool, error: str | None = None) -> None:
        if reached == self._reached:
            return
        self._reached = reached
        SHARED.set(reached)
        if reached:
            _log.info("rate limits are counted together with the other replicas")
        else:
            _log.warning("Valkey is away: every replica counts its rate limits alone", error=error)
