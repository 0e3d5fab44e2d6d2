"""The fake model server in a process of its own, as model servers are; it ends when whoever started it closes its pipe.

It answers at once: what is measured is what is added to it.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import uvloop
from crewmesh_testkit.scripted_model import ScriptedModel


@asynccontextmanager
async def running_model_server() -> AsyncGenerator[str]:
    """Its URL."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.load.model_server"),
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


async def _serve() -> None:
    async with ScriptedModel(otherwise="The sea is calm today, and the wind comes from the west.") as server:
        print(server.url, flush=True)
        await asyncio.to_thread(sys.stdin.buffer.read)


if __name__ == "__main__":
    uvloop.run(_serve())
