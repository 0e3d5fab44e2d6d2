"""Readiness checks over bare sockets: cheap enough to ask every process every few seconds."""

from __future__ import annotations

import asyncio

from crewmesh_tools.mesh.specs import Check

TIMEOUT = 3.0
NO_ANSWER = "no answer"


async def exchange(port: int, request: bytes, *, whole: bool = False, timeout: float = TIMEOUT) -> bytes:
    """Sends the bytes and returns the first piece that comes back, or the ``whole`` answer until its end."""
    async with asyncio.timeout(timeout):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(request)
            await writer.drain()
            return await reader.read(-1 if whole else 65_536)
        finally:
            writer.close()


def http_check(port: int, path: str) -> Check:
    request = f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n".encode()

    async def check() -> str | None:
        try:
            answer = await exchange(port, request)
        except (OSError, TimeoutError) as error:
            return _reason(error)
        status = answer[9:12].decode("ascii", "replace")
        return None if status.startswith("2") else f"{path} answers {status or 'nothing'}"

    return check


def postgres_check(port: int) -> Check:
    """A server that answers the request for TLS is accepting connections or about to."""

    async def check() -> str | None:
        try:
            answer = await exchange(port, bytes.fromhex("0000000804d2162f"))
        except (OSError, TimeoutError) as error:
            return _reason(error)
        return None if answer[:1] in (b"S", b"N") else NO_ANSWER

    return check


def valkey_check(port: int, password: str) -> Check:
    request = f"*2\r\n$4\r\nAUTH\r\n${len(password)}\r\n{password}\r\n*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nQUIT\r\n".encode()

    async def check() -> str | None:
        try:
            answer = await exchange(port, request)
        except (OSError, TimeoutError) as error:
            return _reason(error)
        text = answer.decode("ascii", "replace")
        return None if text.startswith("+OK") else text.split("\r\n", 1)[0]

    return check


def _reason(error: BaseException) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "not listening yet"
    return NO_ANSWER if isinstance(error, TimeoutError) else str(error)
