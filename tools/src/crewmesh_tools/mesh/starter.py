"""Waits until the starter content of a first run is there: services make it a moment after they start."""

from __future__ import annotations

import asyncio
import json

from crewmesh_tools.mesh.probes import exchange

COLLECTIONS = ("/v1/knowledge-bases", "/v1/crews", "/v1/workflows")


async def wait_for_starter_content(port: int, api_key: str) -> None:
    for path in COLLECTIONS:
        while (reason := await missing(port, path, api_key)) is not None:
            print(f"waiting for {path}: {reason}", flush=True)
            await asyncio.sleep(0.5)


async def missing(port: int, path: str, api_key: str) -> str | None:
    """Why this collection does not have anything yet, or nothing when it has."""
    request = (
        f"GET {path} HTTP/1.1\r\nhost: localhost:{port}\r\nauthorization: Bearer {api_key}\r\n"
        "accept: application/json\r\nconnection: close\r\n\r\n"
    )
    try:
        answer = await exchange(port, request.encode(), whole=True, timeout=10)
    except (OSError, TimeoutError) as error:
        return str(error) or "no answer"
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head[9:12].decode("ascii", "replace")
    if status != "200":
        return f"status {status or 'unknown'}"
    return None if _has_items(head, body) else "empty"


def _has_items(head: bytes, body: bytes) -> bool:
    whole = _dechunked(body) if b"transfer-encoding: chunked" in head.lower() else body
    try:
        return bool(json.loads(whole)["items"])
    except (ValueError, KeyError, TypeError):
        return False


def _dechunked(body: bytes) -> bytes:
    whole = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size.split(b";")[0] or b"0", 16)
        whole, body = whole + rest[:length], rest[length + 2 :]
        if length == 0:
            break
    return whole
