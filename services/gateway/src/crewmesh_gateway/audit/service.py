"""The log itself: adding to it exactly once, reading it, checking it, letting old lines go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta

from crewmesh_contracts.events import AuditRecorded
from crewmesh_kit.db.database import Database
from crewmesh_kit.http.pagination import Page, PageRequest
from crewmesh_kit.logs import get_logger

from crewmesh_gateway.audit import repository
from crewmesh_gateway.audit.chain import Verification, continued
from crewmesh_gateway.audit.errors import UnknownAuditEvent
from crewmesh_gateway.audit.models import Broken, Damage, Filters, Head, Line
from crewmesh_gateway.audit.schemas import AuditEvent, FirstBroken, Verified, shown

# Lines at a time: few enough that neither memory nor the event loop feels them.
_AT_A_TIME = 500
_LEAVING_AT_A_TIME = 5000
_BEFORE_ALL = -(2**63)
_MEANING: dict[Damage, str] = {
    "changed": "This line is not what it was when it was written.",
    "removed": "This line is missing, with others behind it.",
    "replaced": "This line is not the one that the next was written after.",
    "cut_off": "This line and all behind it are missing.",
    "added": "This line was added past the log: its place is before the beginning or behind the end.",
}
_SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"

log = get_logger(__name__)


class AuditLog:
    def __init__(self, database: Database) -> None:
        self._database = database
        # Checking is work for the processor; one at a time leaves the others theirs.
        self._verifying = asyncio.Semaphore(1)

    async def append(self, organization: str, events: Sequence[AuditRecorded]) -> int:
        """Add what is not there yet, in this order; says how many that were."""
        async with self._database.tenant(organization) as conn:
            head = await repository.lock_head(conn, organization)
            if head is None:
                log.warning("audit lines of an organization that is gone are dropped", lines=len(events))
                return 0
            by_id = {event.id: event for event in events}
            there = await repository.known(conn, organization, list(by_id))
            new = [event for id_, event in by_id.items() if id_ not in there]
            lines = continued(organization, head.seq, head.hash, new, received_at=datetime.now(UTC))
            if lines:
                await repository.add(conn, organization, lines)
            return len(lines)

    async def page(self, organization: str, page: PageRequest, filters: Filters) -> Page[AuditEvent]:
        """The newest first."""
        after = page.after(int)
        beyond = int(after[0]) if after else None
        async with self._database.tenant(organization) as conn:
            found = await repository.found(
                conn, organization, filters, order="newest", beyond=beyond, limit=page.limit + 1
            )
        return page.page([shown(line) for line in found], lambda event: (event.seq,))

    async def get(self, organization: str, id_: str) -> AuditEvent:
        async with self._database.tenant(organization) as conn:
            line = await repository.line(conn, organization, id_)
        if line is None:
            raise UnknownAuditEvent(id_)
        return shown(line)

    async def exported(self, organization: str, filters: Filters) -> AsyncIterator[list[AuditEvent]]:
        """All that there is now, the oldest first. Every page is a transaction: a slow reader holds none open."""
        async with self._database.tenant(organization) as conn:
            last = (await repository.head(conn, organization)).seq
        beyond = 0
        while beyond < last:
            async with self._database.tenant(organization) as conn:
                found = await repository.found(
                    conn, organization, filters, order="oldest", beyond=beyond, limit=_AT_A_TIME
                )
            yield [shown(line) for line in found if line.seq <= last]
            if len(found) < _AT_A_TIME:
                return
            beyond = found[-1].seq

    async def verify(self, organization: str) -> Verified:
        """Walk the whole chain as it is at one moment."""
        async with self._verifying, self._database.tenant(organization) as conn:
            await conn.execute(_SNAPSHOT)
            head = await repository.head(conn, organization)
            walk = Verification(organization, head)
            # From before the anchor on: what should be gone and is there, was put there.
            lines: list[Line] = await repository.after(conn, organization, _BEFORE_ALL, _AT_A_TIME)
            while lines and walk.walk(lines) is None:
                lines = await repository.after(conn, organization, lines[-1].seq, _AT_A_TIME)
            return _verified(head, walk.checked, walk.finish())

    async def remove_older(self, organization: str, *, days: int) -> int:
        """Let lines go whose time is over; the rest stays verifiable."""
        before = datetime.now(UTC) - timedelta(days=days)
        removed = 0
        while True:
            async with self._database.tenant(organization) as conn:
                await repository.lock_head(conn, organization)
                batch = await repository.remove_older(conn, organization, before, most=_LEAVING_AT_A_TIME)
            removed += batch
            if batch < _LEAVING_AT_A_TIME:
                return removed

    async def organizations(self) -> list[str]:
        async with self._database.system() as conn:
            return await repository.organizations(conn)


def _verified(head: Head, checked: int, broken: Broken | None) -> Verified:
    first = None if broken is None else FirstBroken(seq=broken.seq, what=broken.what, detail=_MEANING[broken.what])
    return Verified(
        ok=broken is None,
        checked=checked,
        first_broken=first,
        seq=head.seq,
        hash=head.hash.hex(),
        begins_after=head.anchor_seq,
    )
