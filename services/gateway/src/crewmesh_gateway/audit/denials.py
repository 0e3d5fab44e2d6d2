"""What was refused becomes lines of the log, and a flood of it only a few.

The first refusal of a kind (to whom, of what, why) is a line at once. What follows within some seconds is counted, and
told by one more line when they are over. So a caller that knocks a thousand times a second costs a line every ten.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from crewmesh_contracts.base import JsonObject
from crewmesh_kit import audit
from crewmesh_kit.background import Background
from crewmesh_kit.db.database import Database, persistently
from crewmesh_kit.identity import Identity
from crewmesh_kit.origin import Origin
from crewmesh_kit.resources import Resources

from crewmesh_gateway.settings import Settings

ACTION = "request.denied"
_LOOK_SECONDS = 1.0
_MOST_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What was asked and what was answered. ``permission``: the one that is missing, where the answer tells."""

    method: str
    route: str
    path: str
    status: int
    problem: str
    permission: str | None
    origin: Origin
    trace: str | None


@dataclass(slots=True)
class _Window:
    """Since when refusals of one kind are counted instead of told."""

    opened: float
    actor: Identity
    last: Refusal
    untold: int = 0


_Kind = tuple[str, str, str, str, str, str | None]


class Denials:
    def __init__(
        self,
        database: Database,
        background: Background,
        *,
        window_seconds: float,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._background = background
        self._seconds = window_seconds
        self._now = now
        self._windows: dict[_Kind, _Window] = {}

    def note(self, actor: Identity, refusal: Refusal) -> None:
        """Tell it, or count it. Never waits: the answer is not held up."""
        kind = _kind(actor, refusal)
        window = self._windows.get(kind)
        if window is not None:
            window.untold += 1
            window.actor, window.last = actor, refusal
            return
        if len(self._windows) >= _MOST_REMEMBERED:
            self._close(next(iter(self._windows)))
        self._windows[kind] = _Window(self._now(), actor, refusal)
        self._tell(actor, refusal, 1)

    def look(self) -> None:
        """Tell what was counted where the time is over."""
        now = self._now()
        over = [kind for kind, window in self._windows.items() if now - window.opened >= self._seconds]
        for kind in over:
            window = self._windows[kind]
            if self._close(kind):
                self._windows[kind] = _Window(now, window.actor, window.last)

    async def keep_looking(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            self.look()

    def close(self) -> None:
        """Tell everything that was only counted."""
        for kind in list(self._windows):
            self._close(kind)

    def _close(self, kind: _Kind) -> bool:
        """Whether there was something to tell."""
        window = self._windows.pop(kind)
        if window.untold:
            self._tell(window.actor, window.last, window.untold)
        return window.untold > 0

    def _tell(self, actor: Identity, refusal: Refusal, count: int) -> None:
        async def write() -> None:
            async with self._database.tenant(actor.organization) as conn:
                await audit.record(
                    conn,
                    actor,
                    ACTION,
                    refusal.path,
                    after=_told(refusal, count),
                    outcome="denied",
                    origin=refusal.origin,
                    trace=refusal.trace,
                )

        self._background.start("audit of a refusal", persistently(write))


def _kind(actor: Identity, refusal: Refusal) -> _Kind:
    return (
        actor.organization,
        actor.subject,
        refusal.method,
        refusal.route,
        refusal.problem,
        refusal.permission,
    )


def _told(refusal: Refusal, count: int) -> JsonObject:
    told: JsonObject = {
        "method": refusal.method,
        "route": refusal.route,
        "status": refusal.status,
        "problem": refusal.problem,
        "count": count,
    }
    return told if refusal.permission is None else {**told, "permission": refusal.permission}


@asynccontextmanager
async def open_denials(resources: Resources) -> AsyncGenerator[Denials]:
    background = resources.get(Background)
    denials = Denials(
        resources.get(Database), background, window_seconds=resources.get(Settings).audit.denied_window_seconds
    )
    yield denials
    denials.close()
    await background.drain(5.0)
