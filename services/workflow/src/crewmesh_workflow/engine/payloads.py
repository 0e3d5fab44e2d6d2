"""How JSON gets into the journal and back: by reference when it is large."""

from __future__ import annotations

import asyncio
from typing import Protocol, cast

from crewmesh_contracts.base import JsonObject
from pydantic_core import from_json, to_json

from crewmesh_workflow.program.compile import BLOB_KEY

LARGE_BYTES = 64 * 1024
# A sidecar takes messages of 5 MiB; less than 256 bytes of one are around the payload.
LARGEST_BYTES = 5 * 1024 * 1024 - 256


class Blobs(Protocol):
    """Where large payloads lie, by the hash of what they hold."""

    async def put(self, payload: bytes) -> str: ...

    async def get(self, reference: str) -> bytes: ...


class LargePayloadError(Exception):
    """It would have to be stowed, where there is no time for that."""


class Nowhere:
    """In place of a blob store inside a transaction, which must not stay open over a call to another service."""

    async def put(self, payload: bytes) -> str:
        raise LargePayloadError

    async def get(self, reference: str) -> bytes:
        raise LargePayloadError


class Payloads:
    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    async def stow(self, value: JsonObject) -> JsonObject:
        """What to journal in place of ``value``: itself, or a reference when it is large.

        What only looks like a reference goes by reference as well: so each that is in the journal is the engine's own.
        """
        data = to_json(value)
        if len(data) <= LARGE_BYTES and BLOB_KEY not in value:
            return value
        return {BLOB_KEY: await self._blobs.put(data), "bytes": len(data)}

    async def fetch(self, journalled: JsonObject | None) -> JsonObject | None:
        """The value itself, whatever the journal holds of it."""
        ref = None if journalled is None else journalled.get(BLOB_KEY)
        if not isinstance(ref, str):
            return journalled
        return cast(JsonObject, from_json(await self._blobs.get(ref)))

    async def fetch_all(self, journalled: list[JsonObject | None]) -> list[JsonObject | None]:
        return list(await asyncio.gather(*(self.fetch(value) for value in journalled)))
