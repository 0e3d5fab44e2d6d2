"""Short-lived state and large payloads, as Dapr components."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

from dapr.aio.clients.grpc.client import DaprGrpcClientAsync

from crewmesh_kit.dapr.client import translated
from crewmesh_kit.errors import BadGateway, InvalidRequest

STATE_STORE = "statestore"
BLOBS = "blobs"
# The binding decodes what happens to look like base64 or a quoted string. Nothing that begins so does.
_AS_IT_IS = b"="
_REFERENCE = re.compile(r"^sha256:([0-9a-f]{64})$")


class StateStore:
    """Caches and session memory: may be lost without harm."""

    def __init__(self, client: Callable[[], DaprGrpcClientAsync]) -> None:
        self._client = client

    async def get(self, key: str) -> bytes | None:
        with translated("read state"):
            found = await self._client().get_state(STATE_STORE, key)
        return found.data or None

    async def set(self, key: str, value: bytes, *, ttl_seconds: int) -> None:
        with translated("write state"):
            await self._client().save_state(STATE_STORE, key, value, state_metadata={"ttlInSeconds": str(ttl_seconds)})

    async def delete(self, key: str) -> None:
        with translated("delete state"):
            await self._client().delete_state(STATE_STORE, key)


class BlobStore:
    """Payloads by their hash: written twice they are the same blob, and a damaged one is noticed."""

    def __init__(self, client: Callable[[], DaprGrpcClientAsync]) -> None:
        self._client = client

    async def put(self, payload: bytes) -> str:
        """Store ``payload`` and return its reference, ``sha256:…``."""
        reference = reference_of(payload)
        with translated("store a blob"):
            await self._client().invoke_binding(BLOBS, "create", _AS_IT_IS + payload, _place(reference))
        return reference

    async def get(self, reference: str) -> bytes:
        place = _place(reference)
        with translated(f"read the blob {reference}"):  # a missing one is a NotFound
            found = await self._client().invoke_binding(BLOBS, "get", b"", place)
        payload = bytes(found.data).removeprefix(_AS_IT_IS)
        if reference_of(payload) != reference:
            raise BadGateway(f"The blob {reference} is damaged: its content has another hash.")
        return payload

    async def delete(self, reference: str) -> None:
        """Forget the blob; a missing one may be a NotFound. Only for who knows that nobody else refers to it."""
        place = _place(reference)
        with translated(f"delete the blob {reference}"):
            await self._client().invoke_binding(BLOBS, "delete", b"", place)


def reference_of(payload: bytes) -> str:
    return f"sha256:{hashlib.sha256(payload).hexdigest()}"


def _place(reference: str) -> dict[str, str]:
    """Where it is, as each kind of store wants to be told: a folder by ``fileName``, an object store by ``key``."""
    match = _REFERENCE.match(reference)
    if match is None:
        raise InvalidRequest(f"{reference!r} is no blob reference; those read sha256:<64 hex digits>.")
    return {"fileName": match[1], "key": match[1]}
