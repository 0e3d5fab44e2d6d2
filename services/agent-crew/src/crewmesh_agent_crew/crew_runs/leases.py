"""Which runs are driven here. The lease itself is the row's ``due_at``; this keeps it in the future.

One statement extends all of them, and tells which are asked to stop. A run that is not ours any more is told so too:
its play is broken off, and were it to write, the journal would refuse.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from crewmesh_kit.db.database import DatabaseUnavailable
from crewmesh_kit.logs import get_logger
from crewmesh_kit.signals import Signals

from crewmesh_agent_crew.crew_runs.journal import Journal
from crewmesh_agent_crew.crew_runs.models import Held

STOPS = "crew-run-stops"

log = get_logger(__name__)


def _nobody() -> None:
    """Nobody wants to be told yet."""


@dataclass(eq=False, slots=True)
class Lease:
    """``broken_off`` is called when there is nothing more to be done under it."""

    held: Held
    lost: bool = False
    stop_asked: bool = False
    broken_off: Callable[[], object] = field(default=_nobody)


class Leases:
    def __init__(self, journal: Journal, signals: Signals, *, beat_seconds: float) -> None:
        self._journal = journal
        self._signals = signals
        self._beat = beat_seconds
        self._held: set[Lease] = set()
        # Of plays that were broken off from outside: nobody works under them, and nobody else knows.
        self._abandoned: set[Lease] = set()

    @contextmanager
    def hold(self, held: Held) -> Generator[Lease]:
        lease = Lease(held)
        self._held.add(lease)
        try:
            yield lease
        except asyncio.CancelledError:
            self._abandoned.add(lease)
            raise
        finally:
            self._held.discard(lease)

    def let_go(self, lease: Lease) -> None:
        """Extend it no more. Done before a commit that gives the run away."""
        self._held.discard(lease)

    async def give_back(self) -> None:
        """At shutdown: whoever looks next may take over at once, instead of waiting for the leases to run out."""
        leases = [*self._held, *self._abandoned]
        self._held.clear()
        self._abandoned.clear()
        if leases:
            await self._journal.give_back(*_columns(leases))

    async def run(self) -> None:
        async with self._signals.listen(STOPS) as listener:
            while True:
                await listener.changed(self._beat)
                try:
                    await self.extend()
                except DatabaseUnavailable as problem:
                    log.warning("leases of crew runs are not extended", held=len(self._held), reason=problem.detail)

    async def extend(self) -> None:
        leases = list(self._held)
        if not leases:
            return
        kept = await self._journal.extend(*_columns(leases))
        for lease in leases:
            stop_asked = kept.get((lease.held.id, lease.held.epoch))
            if lease not in self._held or stop_asked is False:
                continue
            lease.lost, lease.stop_asked = stop_asked is None, bool(stop_asked)
            if lease.lost:
                log.warning("lease of a crew run lost", crew_run=lease.held.id, epoch=lease.held.epoch)
                self._held.discard(lease)
            lease.broken_off()


def _columns(leases: list[Lease]) -> tuple[list[str], list[int]]:
    return [lease.held.id for lease in leases], [lease.held.epoch for lease in leases]
