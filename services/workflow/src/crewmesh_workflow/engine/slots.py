"""How many runs this replica advances at a time, and whose turn it is when there are more.

Organizations take turns; among the runs of one, the higher priority goes first, then the older. A run that waits here
is started and its lease is kept, so that nothing is asked of Dapr only because there is a rush. As nobody else may take
it meanwhile, it waits for a moment only.

What is short in a rush is this process's own time. A run that has been at work for long waits for its effects, which
others do, and for hours where an agent is one of them: it goes on, and its slot is for the next.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from itertools import count

from crewmesh_workflow.engine import metrics

# So long a run that was started here waits for its turn. Most are over in less; when those at work are not, it is
# better off elsewhere.
_LONGEST_WAIT_SECONDS = 2.0
# A run that is still under way after this time needs no slot any more.
_LONGEST_IN_SLOT_SECONDS = 10.0

_Entry = tuple[int, int, asyncio.Future[None]]


class NoTurnError(Exception):
    """The run's turn did not come in time."""


class Slot:
    """One that was taken. It is given back once, by who has it or by the clock."""

    def __init__(self, pass_on: Callable[[], None]) -> None:
        self._pass_on = pass_on
        self._taken = True
        self._timer = asyncio.get_running_loop().call_later(_LONGEST_IN_SLOT_SECONDS, self.give_back)
        metrics.INLINE_IN_USE.inc()

    def give_back(self) -> None:
        if self._taken:
            self._taken = False
            self._timer.cancel()
            metrics.INLINE_IN_USE.dec()
            self._pass_on()


class Slots:
    def __init__(self, limit: int, *, queue: int) -> None:
        self._free = self._limit = limit
        self._queue_limit = queue
        self._queued = 0
        self._queues: dict[str, list[_Entry]] = {}
        self._numbers = count()

    def room(self) -> bool:
        """Whether another run may come here. With a limit of 0 there never is."""
        return self._limit > 0 and (self._free > 0 or self._queued < self._queue_limit)

    def reserve(self) -> Slot | None:
        """Take a slot, to be given back, if one is free; nobody waits for it then."""
        if self._free == 0:
            return None
        self._free -= 1
        return Slot(self._pass_on)

    @asynccontextmanager
    async def slot(self, organization: str, *, priority: int = 5) -> AsyncGenerator[None]:
        """Advance a run in the block, when its turn has come; NoTurnError when it does not come soon."""
        slot = self.reserve() or await self._queue(organization, priority)
        try:
            yield
        finally:
            slot.give_back()

    async def _queue(self, organization: str, priority: int) -> Slot:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (-priority, next(self._numbers), turn)
        heapq.heappush(self._queues.setdefault(organization, []), entry)
        self._queued += 1
        try:
            async with asyncio.timeout(_LONGEST_WAIT_SECONDS):
                await turn
        except asyncio.CancelledError:
            self._leave(organization, entry)
            raise
        except TimeoutError as late:
            self._leave(organization, entry)
            raise NoTurnError from late
        return Slot(self._pass_on)

    def _leave(self, organization: str, entry: _Entry) -> None:
        """Who waits no longer takes neither a slot nor room in the queue."""
        turn, queue = entry[2], self._queues.get(organization, [])
        if not turn.cancelled():
            self._pass_on()  # its turn came just then
        elif entry in queue:
            queue.remove(entry)
            heapq.heapify(queue)
            self._queued -= 1
            if not queue:
                del self._queues[organization]

    def _pass_on(self) -> None:
        """The slot goes to the next organization's next run, or is free."""
        while self._queues:
            organization, queue = next(iter(self._queues.items()))
            _, _, turn = heapq.heappop(queue)
            self._queued -= 1
            # To the end of the round, or out of it.
            del self._queues[organization]
            if queue:
                self._queues[organization] = queue
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
