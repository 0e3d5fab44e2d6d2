"""The fake model server in a process of its own, as model servers are; it ends when whoever started it closes its pipe.

It answers at once, unless it is told to take its time: what is measured is what is added to it.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import uvloop
from crewmesh_testkit.scripted_model import ScriptedModel


@asynccontextmanager
async def running_model_server(*, words: int = 0, words_per_second: float = 0) -> AsyncGenerator[str]:
    """Its URL. ``words``: so many are an answer, that fast where it is streamed; otherwise it is a short sentence."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.load.model_server", str(words), str(words_per_second)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("the model server has no pipes")
    try:
        yield (await process.stdout.readline()).decode().strip()
    finally:
        process.stdin.close()
        await process.wait()


async def _serve(words: int, words_per_second: float) -> None:
    answer = " ".join(f"word{number}" for number in range(words))
    async with ScriptedModel(otherwise=answer or "The sea is calm today, and the wind comes from the west.") as server:
        server.words_per_second = words_per_second or None
        print(server.url, flush=True)
        await asyncio.to_thread(sys.stdin.buffer.read)


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), float(sys.argv[2])))
