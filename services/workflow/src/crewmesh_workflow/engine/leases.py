"""Who advances which run, here. The lease itself is the row's ``due_at``; this keeps it in the future.

One statement extends the leases this replica holds, and tells what the runs are asked for (pause, cancel). A run whose
row no longer matches was taken over: its worker is told, and stops before the next effect; were it to write, the
journal would refuse.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from crewmesh_kit.db.database import Database, DatabaseUnavailable
from crewmesh_kit.logs import get_logger
from psycopg.rows import DictRow

from crewmesh_workflow.engine.commits import LeaseLostError, Run, Wish

_LEASES = """
FROM unnest(%(runs)s::text[], %(epochs)s::int[]) AS lease(id, epoch)
JOIN runs ON runs.id = lease.id AND runs.epoch = lease.epoch AND runs.status = 'running'
"""
# A row that somebody has locked is passed over: it may stay so for long, as when an event reaches very many runs or a
# replica stops in the midst of a decision, and all other leases would run out meanwhile.
_EXTEND = f"""
WITH free AS (SELECT runs.id {_LEASES} FOR NO KEY UPDATE OF runs SKIP LOCKED)
UPDATE runs SET due_at = now() + make_interval(secs => %(seconds)s) WHERE id = ANY(ARRAY(SELECT id FROM free))
RETURNING id, epoch, asked, arrivals
"""
_SEEN = f"SELECT runs.id, runs.epoch, asked, arrivals {_LEASES}"
# Their rows are locked in the order of their ids, as the journal's commits lock the same ones: in any other, each of
# the two may come to hold what the other waits for.
_GIVE_BACK = f"""
WITH held AS (SELECT runs.id {_LEASES} ORDER BY runs.id FOR NO KEY UPDATE OF runs)
UPDATE runs SET due_at = now() WHERE id = ANY(ARRAY(SELECT id FROM held))
"""
# The epoch rises, so that an extension which is under way does not take it back again.
_HAND_BACK = (
    "UPDATE runs SET due_at = now(), epoch = epoch + 1 WHERE id = %(run)s AND epoch = %(epoch)s AND status = 'running'"
)
# Most are locked by a commit, which is over soon.
_AGAIN_AFTER = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6)

log = get_logger(__name__)


def _nobody() -> None:
    """Nobody wants to be told yet."""


@dataclass(eq=False, slots=True)
class Lease:
    """``asked`` and ``arrivals`` are what the row said last; ``changed`` is called when they say something new.

    ``told`` counts how often a commit of the worker's own said so.
    """

    run: str
    epoch: int
    lost: bool = False
    asked: Wish | None = None
    arrivals: int = 0
    told: int = 0
    changed: Callable[[], None] = field(default=_nobody)

    def tell(self, asked: Wish | None, arrivals: int) -> None:
        """What the row said when the worker wrote to it."""
        self.asked, self.arrivals = asked, arrivals
        self.told += 1

    def check(self) -> None:
        if self.lost:
            raise LeaseLostError(self.run)


class Leases:
    """The leases this replica holds, and the task that extends them."""

    def __init__(self, database: Database, *, seconds: float, beat_seconds: float) -> None:
        self.seconds = seconds
        self._database = database
        self._beat = beat_seconds
        self._look = asyncio.Event()
        self._held: set[Lease] = set()
        # Leases of workers that were cancelled: nobody works under them, and nobody else knows.
        self._abandoned: set[Lease] = set()

    @contextmanager
    def hold(self, run: Run) -> Generator[Lease]:
        """Extend the lease that was just taken, until the block ends or ``let_go``."""
        lease = Lease(run.id, run.epoch, arrivals=run.arrivals)
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

    def keep(self, lease: Lease) -> None:
        """Extend it again: the commit did not give it away."""
        self._held.add(lease)

    async def hand_back(self, lease: Lease) -> None:
        """Nobody works under it any more: whoever looks next may take the run over at once."""
        self.let_go(lease)
        await self._database.statement(_HAND_BACK, {"run": lease.run, "epoch": lease.epoch})

    def look(self) -> None:
        """Something may be asked of a run that is held here."""
        self._look.set()

    async def run(self) -> None:
        while True:
            try:
                # Not wait_for(): before Python 3.12 it may swallow a cancellation that comes together with the event.
                async with asyncio.timeout(self._beat):
                    await self._look.wait()
            except TimeoutError:
                pass  # the beat
            self._look.clear()
            try:
                await self.extend()
            except DatabaseUnavailable as problem:
                log.warning("leases are not extended", held=len(self._held), reason=problem.detail)

    async def extend(self) -> None:
        locked = [*self._held]
        for pause in _AGAIN_AFTER:
            await asyncio.sleep(pause)
            locked = await self._extend([lease for lease in locked if lease in self._held])
            if not locked:
                return

    async def _extend(self, leases: list[Lease]) -> list[Lease]:
        """Those that are still held here and could not be extended, for somebody has locked their rows."""
        if not leases:
            return []
        held = {lease: lease.told for lease in leases}
        extended = _by_lease(await self._database.statement(_EXTEND, {"seconds": self.seconds, **_columns(leases)}))
        passed_over = [lease for lease in leases if (lease.run, lease.epoch) not in extended]
        locked = _by_lease(await self._database.statement(_SEEN, _columns(passed_over))) if passed_over else {}
        for lease, told in held.items():
            row = extended.get((lease.run, lease.epoch)) or locked.get((lease.run, lease.epoch))
            if row is None and lease in self._held:
                lease.lost = True
                self._held.discard(lease)
                log.warning("lease lost", run=lease.run, epoch=lease.epoch)
                lease.changed()
            elif row is not None and (row["asked"], row["arrivals"]) != (lease.asked, lease.arrivals):
                if lease.told != told:
                    self._look.set()  # one of the two is older, and nobody knows which
                    continue
                lease.asked, lease.arrivals = row["asked"], row["arrivals"]
                lease.changed()
        return [lease for lease in passed_over if not lease.lost]

    async def give_back(self) -> None:
        """At shutdown: whoever looks next may take over at once, instead of waiting for the leases to run out."""
        held = [*self._held, *self._abandoned]
        self._held.clear()
        self._abandoned.clear()
        if held:
            await self._database.statement(_GIVE_BACK, _columns(held))


def _by_lease(rows: list[DictRow]) -> dict[tuple[str, int], DictRow]:
    return {(row["id"], row["epoch"]): row for row in rows}


def _columns(held: list[Lease]) -> dict[str, list[str] | list[int]]:
    return {"runs": [lease.run for lease in held], "epochs": [lease.epoch for lease in held]}
