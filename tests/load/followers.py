"""Many who follow one run, in a process of its own: how long after an event was written each of them had it.

Some never read what they are sent. Their sockets take as little as the system allows, so that the server meets a full
one soon. One line of JSON in says whom to be, one line of JSON out is what the others saw.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import uvloop
from pydantic import BaseModel

_SMALLEST_BUFFER = 2_048
_LONGEST_LINE = 64 * 1024 * 1024
_AT_ONCE = 50


class Crowd(BaseModel):
    host: str
    port: int
    path: str
    headers: dict[str, str]
    readers: int
    silent: int


class Seen(BaseModel):
    """Delays in milliseconds, of every event at every reader; ``unequal``: how many readers missed one."""

    milliseconds: list[float]
    unequal: int


class Followers:
    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self._connecting = asyncio.Semaphore(_AT_ONCE)
        self._connected = 0
        self._connected_at = datetime.max.replace(tzinfo=UTC)
        self._arrived: list[tuple[datetime, float]] = []
        self.seen: defaultdict[int, int] = defaultdict(int)

    async def reader(self) -> None:
        stream, writer = await self._connect(small=False)
        count = 0
        while line := await stream.readline():
            if line.startswith(b"data:") and (at := json.loads(line[5:]).get("at")) is not None:
                written = datetime.fromisoformat(at)
                self._arrived.append((written, (datetime.now(UTC) - written).total_seconds() * 1000))
                count += 1
        self.seen[count] += 1
        writer.close()

    @property
    def delays(self) -> list[float]:
        """Of what was written when everybody was there; what came before was old when they came."""
        return [delay for written, delay in self._arrived if written > self._connected_at]

    async def silent(self, over: asyncio.Event) -> None:
        _, writer = await self._connect(small=True)
        await over.wait()
        writer.transport.abort()

    async def _connect(self, *, small: bool) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        crowd = self._crowd
        async with self._connecting:
            connection = socket.socket()
            connection.setblocking(False)
            if small:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALLEST_BUFFER)
            await asyncio.get_running_loop().sock_connect(connection, (crowd.host, crowd.port))
            # One that never reads has a small buffer here as well, beyond which the socket is left alone.
            limit = _SMALLEST_BUFFER if small else _LONGEST_LINE
            stream, writer = await asyncio.open_connection(sock=connection, limit=limit)
            lines = [f"GET {crowd.path} HTTP/1.1", f"host: {crowd.host}:{crowd.port}", "connection: close"]
            lines += [f"{name}: {value}" for name, value in crowd.headers.items()]
            writer.write("\r\n".join([*lines, "", ""]).encode())
            status = await stream.readline()
            if b" 200 " not in status:
                raise RuntimeError(f"a stream was not begun: {status.decode()}")
        self._connected += 1
        if self._connected == crowd.readers + crowd.silent:
            self._connected_at = datetime.now(UTC)
            print("connected", flush=True)
        return stream, writer


async def main() -> None:
    crowd = Crowd.model_validate_json(await asyncio.to_thread(sys.stdin.readline))
    followers, over = Followers(crowd), asyncio.Event()
    silent = [asyncio.create_task(followers.silent(over)) for _ in range(crowd.silent)]
    await asyncio.gather(*(followers.reader() for _ in range(crowd.readers)))
    over.set()
    await asyncio.gather(*silent)
    most = max(followers.seen)
    unequal = sum(number for count, number in followers.seen.items() if count != most)
    print(Seen(milliseconds=followers.delays, unequal=unequal).model_dump_json(), flush=True)


class Following:
    """The crowd while it follows; ``seen`` waits for the end of the run."""

    def __init__(self, output: asyncio.StreamReader) -> None:
        self._output = output

    async def seen(self) -> Seen:
        return Seen.model_validate_json(await self._output.readline())


@asynccontextmanager
async def following(crowd: Crowd) -> AsyncGenerator[Following]:
    """Everybody is connected when the block begins."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.load.followers"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=_LONGEST_LINE,
    )
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("the followers have no pipes")
    process.stdin.write(crowd.model_dump_json().encode() + b"\n")
    await process.stdin.drain()
    try:
        if await process.stdout.readline() != b"connected\n":
            raise RuntimeError("not all followers could connect")
        yield Following(process.stdout)
    finally:
        process.stdin.close()
        if process.returncode is None:
            process.kill()
        await process.wait()


if __name__ == "__main__":
    uvloop.run(main())
