"""The few calls that are made of the Redis client here, whose own annotations are partly missing."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import asynccontextmanager
from typing import Protocol, cast

import redis.asyncio as redis
from crewmesh_kit.app import Resources
from crewmesh_kit.dapr.sidecar import Sidecar

_CONNECT_SECONDS = 2.0
# What is asked here saves time or money; it is not worth waiting for.
_ANSWER_SECONDS = 1.0


class Script(Protocol):
    def __call__(self, *, keys: Sequence[str], args: Sequence[float]) -> Awaitable[str]: ...


class Valkey(Protocol):
    def register_script(self, script: str) -> Script: ...
    async def get(self, name: str) -> str | None: ...
    async def set(self, name: str, value: str, *, ex: int) -> object: ...
    async def aclose(self) -> None: ...


@asynccontextmanager
async def connected(resources: Resources) -> AsyncGenerator[Valkey]:
    client = redis.Redis.from_url(  # pyright: ignore[reportUnknownMemberType]  its **kwargs are untyped
        await resources.get(Sidecar).secret("redis-url"),
        socket_connect_timeout=_CONNECT_SECONDS,
        socket_timeout=_ANSWER_SECONDS,
        health_check_interval=10,
        decode_responses=True,
    )
    try:
        yield cast(Valkey, client)
    finally:
        await client.aclose()
