"""Drives runs: takes what is due, plays it, and writes down how it ended.

Every replica looks for what is due: new runs, runs whose driver died, runs that waited and were told something. Each
has a bounded number of places, and no organization more than its share of them. A play that ends without an end of its
run (the service stops, the database is away, somebody else took it) leaves a journal from which the next one goes on.
"""

from __future__ import annotations

import time
from collections import Counter

from crewmesh_kit.background import Background
from crewmesh_kit.db.database import DatabaseUnavailable
from crewmesh_kit.logs import bound, get_logger
from crewmesh_kit.signals import Signals
from crewmesh_kit.telemetry import continued, mark, span

from crewmesh_agent_crew.crew_runs import metrics
from crewmesh_agent_crew.crew_runs.drive import Drive
from crewmesh_agent_crew.crew_runs.journal import Journal
from crewmesh_agent_crew.crew_runs.leases import Leases
from crewmesh_agent_crew.crew_runs.models import Held
from crewmesh_agent_crew.crew_runs.parts import Parts
from crewmesh_agent_crew.settings import CrewRunSettings

DUE = "crew-runs-due"

log = get_logger(__name__)


class Driver:
    def __init__(
        self,
        journal: Journal,
        leases: Leases,
        parts: Parts,
        signals: Signals,
        background: Background,
        settings: CrewRunSettings,
    ) -> None:
        self._journal = journal
        self._leases = leases
        self._parts = parts
        self._signals = signals
        self._background = background
        self._settings = settings
        self._working: Counter[str] = Counter()

    async def begin(self, crew_run: str, organization: str) -> None:
        """Drive a run that is due right now, if there is a place for it; otherwise whoever has one does."""
        if self._places and self._working[organization] < self._settings.share:
            held = await self._journal.take(crew_run)
            if held is not None:
                self._drive_beside(held)
                return
        self._signals.tell(DUE)

    def begin_soon(self, crew_run: str, organization: str) -> None:
        self._background.start(f"begin {crew_run}", self.begin(crew_run, organization))

    async def run(self) -> None:
        """For ever: drive what is due."""
        async with self._signals.listen(DUE) as listener:
            while True:
                try:
                    await self._sweep()
                except DatabaseUnavailable as problem:
                    log.warning("due crew runs are not looked for", reason=problem.detail)
                await listener.changed(self._settings.poll_seconds)

    async def give_back(self) -> None:
        """At shutdown, for what is still driven: another replica goes on at once."""
        await self._leases.give_back()

    @property
    def _places(self) -> int:
        stopping = self._parts.lifecycle.stopping.is_set()
        return 0 if stopping else self._settings.most_working - self._working.total()

    async def _sweep(self) -> None:
        if self._places <= 0:
            return
        taken = await self._journal.take_due(places=self._places, share=self._settings.share, working=self._working)
        for held in taken:
            self._drive_beside(held)

    def _drive_beside(self, held: Held) -> None:
        self._working[held.organization] += 1
        metrics.WORKING.inc()
        self._background.start(f"crew run {held.id}", self._drive(held))

    async def _drive(self, held: Held) -> None:
        started = time.monotonic()
        try:
            with (
                self._leases.hold(held) as lease,
                continued({"traceparent": held.traceparent} if held.traceparent else {}),
                bound(crew_run=held.id, organization=held.organization),
                span(f"crew {held.name}", crew_run=held.id, epoch=held.epoch),
            ):
                mark("crew run taken", crew_run=held.id)
                await Drive(held, lease, self._leases, self._journal, self._parts, self._signals).go()
        finally:
            was_full = self._places <= 0 or self._working[held.organization] >= self._settings.share
            metrics.WORKING.dec()
            metrics.SECONDS.observe(time.monotonic() - started)
            self._working[held.organization] -= 1
            if not self._working[held.organization]:
                del self._working[held.organization]
            if was_full:
                self._signals.tell(DUE)
