"""How JSON gets into the journal and back: by reference when it is large."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol, TypeVar, cast

from crewmesh_contracts.base import JsonObject
from crewmesh_kit.dapr.stores import reference_of
from pydantic_core import from_json, to_json

from crewmesh_workflow.program.compile import BLOB_KEY

T = TypeVar("T")

LARGE_BYTES = 64 * 1024
# A sidecar takes messages of 5 MiB; less than 256 bytes of one are around the payload.
LARGEST_BYTES = 5 * 1024 * 1024 - 256


class Blobs(Protocol):
    """Where large payloads lie, by the hash of what they hold."""

    async def put(self, payload: bytes) -> str: ...

    async def get(self, reference: str) -> bytes: ...


class LargePayloadError(Exception):
    """The blob store would have to be asked, where there is no time for that: for references, or with payloads."""

    def __init__(self, wanted: Sequence[str | bytes]) -> None:
        super().__init__(f"{len(wanted)} large payloads are not at hand")
        self.wanted = wanted


class Beforehand:
    """In place of the blob store inside a transaction, which must not stay open over a call to another service.

    It knows what it was told to bring before; for all else it raises LargePayloadError.
    """

    def __init__(self) -> None:
        self._brought: dict[str, bytes] = {}

    async def put(self, payload: bytes) -> str:
        reference = reference_of(payload)
        if reference not in self._brought:
            raise LargePayloadError([payload])
        return reference

    async def get(self, reference: str) -> bytes:
        if reference not in self._brought:
            raise LargePayloadError([reference])
        return self._brought[reference]

    def need(self, journalled: Iterable[JsonObject | None]) -> None:
        """Raises for all of them together, so that they are fetched together."""
        references = {reference for value in journalled if (reference := _reference(value)) is not None}
        if missing := sorted(references - self._brought.keys()):
            raise LargePayloadError(missing)

    async def bring(self, wanted: Sequence[str | bytes], blobs: Blobs) -> None:
        await asyncio.gather(*(self._bring(each, blobs) for each in wanted))

    async def _bring(self, wanted: str | bytes, blobs: Blobs) -> None:
        if isinstance(wanted, bytes):
            self._brought[await blobs.put(wanted)] = wanted
        else:
            self._brought[wanted] = await blobs.get(wanted)


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
        reference = _reference(journalled)
        if reference is None:
            return journalled
        return cast(JsonObject, from_json(await self._blobs.get(reference)))

    async def fetch_all(self, journalled: list[JsonObject | None]) -> list[JsonObject | None]:
        return list(await asyncio.gather(*(self.fetch(value) for value in journalled)))

    async def at_hand(self, beforehand: Beforehand, work: Callable[[], Awaitable[T]]) -> T:
        """Do ``work``, a transaction that finds out by itself which large payloads it needs.

        When one is missing it is given up, what it misses is fetched or stowed, and it is begun again.
        """
        while True:
            try:
                return await work()
            except LargePayloadError as missing:
                await beforehand.bring(missing.wanted, self._blobs)


def _reference(journalled: JsonObject | None) -> str | None:
    reference = None if journalled is None else journalled.get(BLOB_KEY)
    return reference if isinstance(reference, str) else None
