"""The load generator: a process of its own, so that it never shares an event loop with what it measures.

A *phase* is an open loop: requests leave by the clock, whether or not earlier ones were answered, and none waits for a
connection; so a slow answer is measured as slow and does not quietly lower the load. A *crowd* is a closed loop: each
client asks again when it was answered; so it measures how much can be carried. One line of JSON in is one of them, one
line of JSON out are its latencies.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Literal

import aiohttp
import uvloop
from pydantic import BaseModel, Field, TypeAdapter

_LONGEST_ANSWER_LINE = 4 * 1024 * 1024


class Phase(BaseModel):
    kind: Literal["phase"] = "phase"
    url: str
    headers: dict[str, str]
    per_second: float
    seconds: float


class Crowd(BaseModel):
    kind: Literal["crowd"] = "crowd"
    url: str
    body: str
    clients: int
    seconds: float


class Latencies(BaseModel):
    milliseconds: list[float]
    other_statuses: dict[int, int]  # how often each that is not 200; 0: no answer at all
    seconds: float  # from the first request to the last answer


_ASKED: TypeAdapter[Phase | Crowd] = TypeAdapter(Annotated[Phase | Crowd, Field(discriminator="kind")])


async def run_phase(session: aiohttp.ClientSession, phase: Phase) -> list[tuple[float, int]]:
    count = int(phase.per_second * phase.seconds)
    began = asyncio.get_running_loop().time() + 0.05

    async def request(at: float) -> tuple[float, int]:
        await asyncio.sleep(max(0.0, at - asyncio.get_running_loop().time()))
        return await _timed(session.get(phase.url, headers=phase.headers))

    return await asyncio.gather(*(request(began + n / phase.per_second) for n in range(count)))


async def run_crowd(session: aiohttp.ClientSession, crowd: Crowd) -> list[tuple[float, int]]:
    until = time.perf_counter() + crowd.seconds
    headers = {"content-type": "application/json"}

    async def client() -> list[tuple[float, int]]:
        outcomes: list[tuple[float, int]] = []
        while time.perf_counter() < until:
            outcomes.append(await _timed(session.post(crowd.url, data=crowd.body, headers=headers)))
        return outcomes

    return [each for outcomes in await asyncio.gather(*(client() for _ in range(crowd.clients))) for each in outcomes]


async def _timed(request: aiohttp.client._RequestContextManager) -> tuple[float, int]:  # pyright: ignore[reportPrivateUsage]
    began = time.perf_counter()
    try:
        async with request as answer:
            await answer.read()
            status = answer.status
    except (aiohttp.ClientError, TimeoutError):
        status = 0
    return time.perf_counter() - began, status


async def main() -> None:
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=30)) as session:
        while line := await asyncio.to_thread(sys.stdin.readline):
            asked = _ASKED.validate_json(line)
            gc.collect()
            gc.disable()
            began = time.perf_counter()
            work = run_phase(session, asked) if isinstance(asked, Phase) else run_crowd(session, asked)
            outcomes = await work
            took = time.perf_counter() - began
            gc.enable()
            print(_latencies(outcomes, took).model_dump_json(), flush=True)


def _latencies(outcomes: list[tuple[float, int]], took: float) -> Latencies:
    return Latencies(
        milliseconds=[latency * 1000 for latency, _ in outcomes],
        other_statuses=Counter(status for _, status in outcomes if status != 200),
        seconds=took,
    )


Generate = Callable[[Phase | Crowd], Awaitable[Latencies]]


@asynccontextmanager
async def running_generator() -> AsyncGenerator[Generate]:
    """Give it a phase or a crowd; an answer that is not 200 is an error."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.load.generator"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=_LONGEST_ANSWER_LINE,
    )
    writer, reader = process.stdin, process.stdout
    if writer is None or reader is None:
        raise RuntimeError("the load generator has no pipes")

    async def generate(asked: Phase | Crowd) -> Latencies:
        writer.write(asked.model_dump_json().encode() + b"\n")
        await writer.drain()
        measured = Latencies.model_validate_json(await reader.readline())
        if measured.other_statuses:
            of = len(measured.milliseconds)
            raise RuntimeError(f"of {of} calls to {asked.url} some failed (times by status): {measured.other_statuses}")
        return measured

    try:
        yield generate
    finally:
        writer.close()
        await process.wait()


if __name__ == "__main__":
    uvloop.run(main())
