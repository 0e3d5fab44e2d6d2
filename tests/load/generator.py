"""The load generator: a process of its own, so that it never shares an event loop with what it measures.

Open loop: requests leave by the clock, whether or not earlier ones were answered, and none waits for a connection; so a
slow answer is measured as slow and does not quietly lower the load. One line of JSON in is one phase, one line of JSON
out are its latencies.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections import Counter

import aiohttp
import uvloop
from pydantic import BaseModel


class Phase(BaseModel):
    url: str
    headers: dict[str, str]
    per_second: float
    seconds: float


class Latencies(BaseModel):
    milliseconds: list[float]
    other_statuses: dict[int, int]  # how often each that is not 200; 0: no answer at all


async def run_phase(session: aiohttp.ClientSession, phase: Phase) -> Latencies:
    count = int(phase.per_second * phase.seconds)
    began = asyncio.get_running_loop().time() + 0.05
    requests = [asyncio.create_task(_request(session, phase, began + n / phase.per_second)) for n in range(count)]
    outcomes = await asyncio.gather(*requests)
    return Latencies(
        milliseconds=[latency * 1000 for latency, _ in outcomes],
        other_statuses=Counter(status for _, status in outcomes if status != 200),
    )


async def _request(session: aiohttp.ClientSession, phase: Phase, at: float) -> tuple[float, int]:
    await asyncio.sleep(max(0.0, at - asyncio.get_running_loop().time()))
    began = time.perf_counter()
    try:
        async with session.get(phase.url, headers=phase.headers) as answer:
            await answer.read()
            status = answer.status
    except (aiohttp.ClientError, TimeoutError):
        status = 0
    return time.perf_counter() - began, status


async def main() -> None:
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=30)) as session:
        while line := await asyncio.to_thread(sys.stdin.readline):
            gc.collect()
            gc.disable()
            outcome = await run_phase(session, Phase.model_validate_json(line))
            gc.enable()
            print(outcome.model_dump_json(), flush=True)


if __name__ == "__main__":
    uvloop.run(main())
