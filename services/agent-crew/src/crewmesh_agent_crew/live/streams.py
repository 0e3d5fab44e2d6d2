"""The few calls that are made of the Redis client, whose own annotations are partly missing; and where streams are."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Protocol, TypeAlias, cast

import redis.asyncio as redis

_CONNECT_SECONDS = 2.0
# Longer than the longest wait for something new.
_ANSWER_SECONDS = 15.0

Fields: TypeAlias = dict[str, str]
Entries: TypeAlias = Sequence[tuple[str, Fields]]


class Pipeline(Protocol):
    def xadd(self, name: str, fields: Fields, *, maxlen: int, approximate: bool) -> object: ...
    def expire(self, name: str, time: int) -> object: ...
    async def execute(self) -> object: ...


class Redis(Protocol):
    def pipeline(self, transaction: bool) -> Pipeline: ...
    async def xread(self, streams: Mapping[str, str], count: int, block: int) -> Sequence[tuple[str, Entries]] | None:
        """What follows these ids; waits ``block`` milliseconds for something."""
        ...

    async def xrange(self, name: str, min: str, *, count: int) -> Entries: ...  # noqa: A002  the client's name for it
    async def aclose(self) -> None: ...


@asynccontextmanager
async def connected(url: str) -> AsyncGenerator[Redis]:
    client = redis.Redis.from_url(  # pyright: ignore[reportUnknownMemberType]  its **kwargs are untyped
        url,
        socket_connect_timeout=_CONNECT_SECONDS,
        socket_timeout=_ANSWER_SECONDS,
        health_check_interval=10,
        decode_responses=True,
        protocol=2,  # an answer of XREAD is a list
    )
    try:
        yield cast(Redis, client)
    finally:
        await client.aclose()


def stream_of(organization: str, work: str) -> str:
    return f"crewmesh:agent-crew:live:{organization}:{work}"
