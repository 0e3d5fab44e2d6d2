"""What arrives in the same moment is added in one transaction.

The sidecar hands events over one by one, many at a time. Each waits for its organization's next transaction, so that a
burst costs a few locks and commits instead of one for each line.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import psycopg
from crewmesh_contracts.events import AuditRecorded

Append = Callable[[str, Sequence[AuditRecorded]], Awaitable[int]]
_MOST_AT_A_TIME = 500


@dataclass(slots=True)
class _Waiting:
    event: AuditRecorded
    done: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Gathering:
    def __init__(self, append: Append) -> None:
        self._append = append
        self._waiting: defaultdict[str, list[_Waiting]] = defaultdict(list)
        self._at_work: dict[str, asyncio.Task[None]] = {}

    async def add(self, event: AuditRecorded) -> None:
        """Returns when the line is committed; raises what kept it from being so."""
        waiting = _Waiting(event)
        self._waiting[event.organization].append(waiting)
        if event.organization not in self._at_work:
            task = asyncio.create_task(self._write(event.organization), name="audit log")
            self._at_work[event.organization] = task
        await waiting.done

    async def _write(self, organization: str) -> None:
        try:
            while batch := self._waiting[organization][:_MOST_AT_A_TIME]:
                del self._waiting[organization][: len(batch)]
                await self._write_batch(organization, batch)
        finally:
            del self._waiting[organization], self._at_work[organization]

    async def _write_batch(self, organization: str, batch: list[_Waiting]) -> None:
        try:
            await self._append(organization, [waiting.event for waiting in batch])
        except psycopg.Error as error:
            if len(batch) == 1:
                _tell(batch, error)
                return
            for waiting in batch:  # one of them cannot be kept: the others are to get in
                await self._write_batch(organization, [waiting])
        except Exception as error:  # the database is away, say: everybody who waits is told
            _tell(batch, error)
        else:
            _tell(batch, None)


def _tell(batch: Sequence[_Waiting], failure: Exception | None) -> None:
    for waiting in batch:
        if waiting.done.done():  # who waited has left
            continue
        if failure is None:
            waiting.done.set_result(None)
        else:
            waiting.done.set_exception(failure)
