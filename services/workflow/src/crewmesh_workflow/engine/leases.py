"""Who advances which run, here. The lease itself is the row's ``due_at``; this keeps it in the future.

One statement extends every lease this replica holds. A run whose row no longer matches was taken over: its worker is
told, and stops before the next effect; were it to write, the journal would refuse.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from crewmesh_kit.db.database import Database, DatabaseUnavailable
from crewmesh_kit.logs import get_logger

from crewmesh_workflow.engine.journal import LeaseLostError, Run

_EXTEND = (
    "UPDATE runs SET due_at = now() + make_interval(secs => %s)"
    " FROM unnest(%s::text[], %s::int[]) AS held(id, epoch)"
    " WHERE runs.id = held.id AND runs.epoch = held.epoch AND runs.status = 'running' RETURNING runs.id, runs.epoch"
)
_GIVE_BACK = (
    "UPDATE runs SET due_at = now() FROM unnest(%s::text[], %s::int[]) AS held(id, epoch)"
    " WHERE runs.id = held.id AND runs.epoch = held.epoch AND runs.status = 'running'"
)

log = get_logger(__name__)


@dataclass(eq=False, slots=True)
class Lease:
    run: str
    epoch: int
    lost: bool = False

    def check(self) -> None:
        if self.lost:
            raise LeaseLostError(self.run)


class Leases:
    """The leases this replica holds, and the task that extends them."""

    def __init__(self, database: Database, *, seconds: float, beat_seconds: float) -> None:
        self.seconds = seconds
        self._database = database
        self._beat = beat_seconds
        self._held: set[Lease] = set()
        # Leases of workers that were cancelled: nobody works under them, and nobody else knows.
        self._abandoned: set[Lease] = set()

    @contextmanager
    def hold(self, run: Run) -> Generator[Lease]:
        """Extend the lease that was just taken, until the block ends or ``let_go``."""
        lease = Lease(run.id, run.epoch)
        self._held.add(lease)
        try:
            yield lease
        except asyncio.CancelledError:
            self._abandoned.add(lease)
            raise
        finally:
            self.let_go(lease)

    def let_go(self, lease: Lease) -> None:
        """Extend it no more. Done before a commit that sets another due_at, which must not be overwritten."""
        self._held.discard(lease)

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._beat)
            try:
                await self.extend()
            except DatabaseUnavailable as problem:
                log.warning("leases are not extended", held=len(self._held), reason=problem.detail)

    async def extend(self) -> None:
        held = list(self._held)
        if not held:
            return
        async with self._database.system() as conn:
            cursor = await conn.execute(_EXTEND, [self.seconds, *_columns(held)])
            kept = {(row["id"], row["epoch"]) for row in await cursor.fetchall()}
        for lease in held:
            if (lease.run, lease.epoch) not in kept and lease in self._held:
                lease.lost = True
                self._held.discard(lease)
                log.warning("lease lost", run=lease.run, epoch=lease.epoch)

    async def give_back(self) -> None:
        """At shutdown: whoever looks next may take over at once, instead of waiting for the leases to run out."""
        held = [*self._held, *self._abandoned]
        self._held.clear()
        self._abandoned.clear()
        if held:
            async with self._database.system() as conn:
                await conn.execute(_GIVE_BACK, _columns(held))


def _columns(held: list[Lease]) -> list[list[str] | list[int]]:
    return [[lease.run for lease in held], [lease.epoch for lease in held]]
