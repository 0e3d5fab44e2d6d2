"""Read an answer's body up to a limit, also when it is compressed: a bomb is cut while it unfolds, never held.

aiohttp's own decompression is off. We ask for gzip or deflate, undo exactly these, and hand zlib the room that is left.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

_WINDOW = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
ACCEPT_ENCODING = "gzip, deflate"


@dataclass(frozen=True, slots=True)
class Body:
    """``note`` says what is missing, when something is: the answer was given, so a bad body does not undo it."""

    content: bytes
    note: str | None = None


async def read_body(chunks: AsyncIterator[bytes], *, encoding: str, limit: int) -> Body:
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return await _plain(chunks, limit)
    if encoding not in _WINDOW:
        return Body(b"", note=f"omitted: content-encoding {encoding[:40]!r} was not asked for")
    return await _inflated(chunks, encoding, limit)


async def _plain(chunks: AsyncIterator[bytes], limit: int) -> Body:
    content = bytearray()
    async for chunk in chunks:
        content += chunk
        if len(content) > limit:
            return Body(bytes(content[:limit]), note=f"cut after {limit} bytes")
    return Body(bytes(content))


async def _inflated(chunks: AsyncIterator[bytes], encoding: str, limit: int) -> Body:
    inflate = zlib.decompressobj(_WINDOW[encoding])
    content = bytearray()
    received = 0
    async for chunk in chunks:
        if received == 0 and encoding == "deflate" and chunk and chunk[0] & 0x0F != 0x08:
            inflate = zlib.decompressobj(-zlib.MAX_WBITS)  # some servers send deflate without the zlib header
        received += len(chunk)
        try:
            # One byte more than there is room for, to tell "exactly full" from "too much".
            content += inflate.decompress(chunk, limit + 1 - len(content))
        except zlib.error:
            return Body(bytes(content), note=f"cut: the rest is not valid {encoding}")
        if len(content) > limit or received > limit:  # the latter: input that never unfolds to anything
            return Body(bytes(content[:limit]), note=f"cut after {min(limit, len(content))} bytes")
    if received and not inflate.eof:
        return Body(bytes(content), note=f"cut: the {encoding} data ends too early")
    return Body(bytes(content))
