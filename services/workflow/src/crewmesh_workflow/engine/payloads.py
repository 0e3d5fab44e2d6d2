"""How JSON gets into the journal and back: cleaned of what PostgreSQL cannot hold, by reference when it is large."""

from __future__ import annotations

import asyncio
from typing import Protocol, cast

from crewmesh_contracts.base import JsonObject, JsonValue
from pydantic_core import PydanticSerializationError, from_json, to_json

from crewmesh_workflow.program.compile import BLOB_KEY

LARGE_BYTES = 64 * 1024


class Blobs(Protocol):
    """Where large payloads lie, by the hash of what they hold."""

    async def put(self, payload: bytes) -> str: ...

    async def get(self, reference: str) -> bytes: ...


class Payloads:
    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    async def stow(self, value: JsonObject) -> JsonObject:
        """What to journal in place of ``value``: itself, or a reference when it is large."""
        data = to_json(value)
        if len(data) <= LARGE_BYTES:
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


def clean(value: JsonObject) -> JsonObject:
    """The same JSON without what jsonb refuses: U+0000 and lone surrogates in texts, NaN and infinities."""
    return value if storable(value) else cast(JsonObject, _cleaned(value))


def clean_text(text: str) -> str:
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def storable(value: JsonValue) -> bool:
    """Whether jsonb takes the value as it is."""
    try:
        data = to_json(value, inf_nan_mode="constants")
    except PydanticSerializationError:
        return False
    return not any(refused in data for refused in (b"\\u0000", b"NaN", b"Infinity")) or _storable(value)


def _storable(value: JsonValue) -> bool:
    """The slow and exact answer, for the rare value in which something suspicious was found."""
    return _cleaned(value) == value


def _cleaned(value: JsonValue) -> JsonValue:
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    if isinstance(value, list):
        return [_cleaned(item) for item in value]
    if isinstance(value, dict):
        return {cast(str, _cleaned(name)): _cleaned(member) for name, member in value.items()}
    return value
