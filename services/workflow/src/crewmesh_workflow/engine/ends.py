"""Who wants to know that a run moved: followers on any replica, and callers here that wait for its end.

The end of a run that was advanced here is told at once and with its result, so that a caller who waits need not read it
from the database; for others there are the signals, and a look now and then.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from crewmesh_contracts.base import JsonObject
from crewmesh_kit.db.database import Database
from crewmesh_kit.errors import Conflict
from crewmesh_kit.logs import get_logger

from crewmesh_workflow.engine import metrics
from crewmesh_workflow.engine.commits import Commit, Run
from crewmesh_workflow.engine.payloads import Payloads
from crewmesh_workflow.engine.steps import Cancelled, End, Failed, Finished

_LOOK_SECONDS = 1.0
_STORED = (
    "SELECT status, output, error, response, finished_at IS NOT NULL OR response IS NOT NULL AS told"
    " FROM runs WHERE id = %(run)s"
)

log = get_logger(__name__)

Told = Callable[[str], Awaitable[None]]


class RunDeleted(Conflict):
    """The request was sent before and has started a run, which has been deleted since. Nothing is started twice."""

    slug, title = "run-deleted", "Run deleted"

    def __init__(self, run: str) -> None:
        super().__init__(
            f"This request started the run {run} before, which has been deleted since; nothing is started a second "
            "time. For a new run send it under another Idempotency-Key, or with another id of the delivery.",
            run=run,
        )


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended, or what it answered before its end (then ``status`` is running)."""

    status: str
    output: JsonObject | None = None
    error: JsonObject | None = None
    response: JsonObject | None = None


class Ends:
    def __init__(
        self,
        database: Database,
        payloads: Payloads,
        told: Told,
        over: Callable[[Run], None],
        leaves: Callable[[Run], None],
    ) -> None:
        """``told`` is given the id of every run after every commit, ``over`` every run that has ended, and ``leaves``
        every one whose place at work is free: it has ended, or it waits."""
        self._over = over
        self._leaves = leaves
        self._database = database
        self._payloads = payloads
        self._told = told
        self._waiting: defaultdict[str, set[asyncio.Future[Ended]]] = defaultdict(set)

    async def moved(self, run: Run, commit: Commit) -> None:
        """A commit of the run went through."""
        await self._told(run.id)
        if commit.end is not None:
            count(commit.end)
            self._over(run)
        if commit.end is not None or commit.rest is not None:
            self._leaves(run)
        ended = ended_by(commit)
        if ended is None or run.id not in self._waiting:
            return
        for future in self._waiting[run.id]:
            if not future.done():
                future.set_result(ended)

    async def wait(self, run: str, seconds: float) -> Ended | None:
        """The end of the run, or its answer, when there is one within this time. Begin before the run is launched."""
        future: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        self._waiting[run].add(future)
        deadline = asyncio.get_running_loop().time() + seconds
        try:
            while (left := deadline - asyncio.get_running_loop().time()) > 0:
                done, _ = await asyncio.wait({future}, timeout=min(left, _LOOK_SECONDS))
                if done:
                    return future.result()
                if (stored := await self.stored(run)) is not None:
                    return stored
            return None
        finally:
            self._waiting[run].discard(future)
            if not self._waiting[run]:
                del self._waiting[run]

    async def stored(self, run: str) -> Ended | None:
        """The same, from the database. RunDeleted when there is no such run any more."""
        rows = await self._database.statement(_STORED, {"run": run})
        if not rows:
            raise RunDeleted(run)
        row = rows[0]
        if not row["told"]:
            return None
        return Ended(row["status"], await self._payloads.fetch(row["output"]), row["error"], row["response"])


def ended_by(commit: Commit) -> Ended | None:
    """What the commit tells somebody who waits for the end of the run, or for its answer."""
    match commit.end:
        case None:
            return None if commit.response is None else Ended("running", response=commit.response)
        case Finished(output):
            return Ended("completed", output=output, response=commit.response)
        case Failed(path, error):
            return Ended("failed", error={"node": path, **error.as_json()}, response=commit.response)
        case Cancelled():
            return Ended("cancelled", response=commit.response)


def count(end: End) -> None:
    """Count and log the end of a run."""
    status = _STATUS[type(end)]
    metrics.RUNS_FINISHED.labels(status).inc()
    if isinstance(end, Failed):
        log.info("run failed", path=end.path, error=end.error.detail)
    else:
        log.debug(f"run {status}")


_STATUS: dict[type[Finished | Failed | Cancelled], str] = {
    Finished: "completed",
    Failed: "failed",
    Cancelled: "cancelled",
}
