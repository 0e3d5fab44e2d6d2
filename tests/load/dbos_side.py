"""Another engine that journals to PostgreSQL: DBOS, five steps in a workflow, in a database of its own beside ours.

Its synchronous form in threads, which is the faster one of the two that it offers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from crewmesh_contracts.base import JsonObject
from dbos import DBOS

from tests.load.chain import EFFECTS, ONE_RESULT

_THREADS = 32


@DBOS.step()
def one_step(_given: JsonObject) -> JsonObject:
    return dict(ONE_RESULT)


@DBOS.workflow()
def five_steps(given: JsonObject) -> JsonObject:
    result: JsonObject = {}
    for number in range(EFFECTS):
        result = one_step({**given, "number": number, "before": result.get("status")})
    return {"last": result["status"]}


class DbosSide:
    def __init__(self, threads: ThreadPoolExecutor) -> None:
        self._threads = threads

    async def five(self) -> None:
        """From the call to the commit that ends the workflow."""
        given: JsonObject = {"subject": "bench"}
        await asyncio.get_running_loop().run_in_executor(self._threads, five_steps, given)


@asynccontextmanager
async def open_dbos(url: str) -> AsyncGenerator[DbosSide]:
    DBOS(config={"name": "bench", "system_database_url": url, "log_level": "WARNING"})
    await asyncio.to_thread(DBOS.launch)
    with ThreadPoolExecutor(_THREADS) as threads:
        try:
            yield DbosSide(threads)
        finally:
            await asyncio.to_thread(DBOS.destroy)
