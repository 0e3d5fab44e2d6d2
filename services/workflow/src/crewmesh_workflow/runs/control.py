"""What people do to a run: cancel it, pause it, let it go on, forget it. Asking twice is asking once."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Literal

from crewmesh_kit import audit
from crewmesh_kit.db.database import Database
from crewmesh_kit.errors import OperationInProgress
from crewmesh_kit.identity import Identity
from crewmesh_kit.resources import Resources
from crewmesh_kit.sharing.service import Sharing
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_workflow.access import RUN
from crewmesh_workflow.engine.assembly import Assembly
from crewmesh_workflow.engine.control import Control
from crewmesh_workflow.runs import repository
from crewmesh_workflow.runs.errors import CannotBeDone, RunHasEnded, RunIsLive, UnknownRun
from crewmesh_workflow.runs.retention import forget, is_over
from crewmesh_workflow.runs.schemas import LIVE, Glance, RunStatus

Ask = Callable[[AsyncConnection[DictRow], str], Awaitable[bool]]
Verb = Literal["cancelled", "paused", "resumed"]

# A run that moves on just when it is asked is asked again.
_ATTEMPTS = 3


class RunControl:
    def __init__(self, database: Database, sharing: Sharing, control: Control) -> None:
        self._database = database
        self._sharing = sharing
        self._control = control

    async def cancel(self, identity: Identity, run: str) -> None:
        await self._ask(identity, run, self._control.cancel, "cancelled", done={"cancelled"})

    async def pause(self, identity: Identity, run: str) -> None:
        await self._ask(identity, run, self._control.pause, "paused", done={"paused"})

    async def resume(self, identity: Identity, run: str) -> None:
        """A run that was not paused goes on as it does."""
        await self._ask(identity, run, self._control.resume, "resumed", done={"queued", "running", "waiting"})

    async def delete(self, identity: Identity, run: str) -> None:
        """Forget an ended run now instead of when its time is over."""
        async with self._database.tenant(identity.organization) as conn:
            status = (await self._found(conn, identity, run)).status
            if status in LIVE:
                raise RunIsLive(run, status)
            if not await is_over(conn, identity.organization, run):
                raise OperationInProgress(
                    "The end of this run is just being told to those that wait for it; try again in a second.",
                    headers={"Retry-After": "1"},
                )
            await forget(conn, [run])
            await audit.record(conn, identity, "run.deleted", run, before={"status": status})

    async def _ask(self, identity: Identity, run: str, ask: Ask, verb: Verb, *, done: set[RunStatus]) -> None:
        """``done``: the statuses in which there is nothing left to ask for."""
        async with self._database.tenant(identity.organization) as conn:
            now = await self._found(conn, identity, run)
            for _ in range(_ATTEMPTS):
                if await ask(conn, run):
                    if not (verb == "cancelled" and now.asked == "cancel"):  # who asks again changes nothing
                        await audit.record(conn, identity, f"run.{verb}", run, before={"status": now.status})
                    return
                before, now = now, await self._found(conn, identity, run)
                if now.status in done or (verb == "paused" and now.asked == "pause"):
                    return
                if now == before:
                    break
        if now.status not in LIVE:
            raise RunHasEnded(run, now.status, verb)
        raise CannotBeDone(run, "being cancelled" if now.asked == "cancel" else now.status, verb)

    async def _found(self, conn: AsyncConnection[DictRow], identity: Identity, run: str) -> Glance:
        found = await repository.glance(conn, identity.organization, run)
        if found is None:
            raise UnknownRun(run)
        await self._sharing.ensure(conn, identity, RUN, found.workflow, unknown=UnknownRun(run))
        return found


@asynccontextmanager
async def open_control(resources: Resources) -> AsyncGenerator[RunControl]:
    yield RunControl(resources.get(Database), resources.get(Sharing), resources.get(Assembly).control)
