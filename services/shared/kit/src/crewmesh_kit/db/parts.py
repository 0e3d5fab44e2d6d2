"""The database side of a service in one piece, as the app factory opens it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from crewmesh_kit.db.database import Database
from crewmesh_kit.db.housekeeping import keep_pruning
from crewmesh_kit.db.idempotency import Hold, Idempotency
from crewmesh_kit.db.migrations import migrate
from crewmesh_kit.db.outbox import Outbox, Publisher
from crewmesh_kit.settings import DatabaseSettings

# What was held had its time to finish already; this is for a service that stops before it started.
_DRAIN_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class DatabaseParts:
    """What goes into the resources (``database``, ``outbox``, ``idempotency``), and the loops to supervise."""

    database: Database
    outbox: Outbox
    idempotency: Idempotency

    @property
    def loops(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        return {"outbox relay": self.outbox.run, "housekeeping": partial(keep_pruning, self.database)}


@asynccontextmanager
async def open_database(
    url: str,
    *,
    app_id: str,
    settings: DatabaseSettings,
    migrations: Path,
    publisher: Publisher,
    hold: Hold = nullcontext,
) -> AsyncGenerator[DatabaseParts]:
    """Migrate, then open the pool. While work for an idempotency key runs it is inside ``hold()``."""
    await migrate(url, app_id=app_id, migrations=migrations)
    async with Database.open(url, app_id=app_id, pool_min=settings.pool_min, pool_max=settings.pool_max) as database:
        parts = DatabaseParts(database, Outbox(database, publisher), Idempotency(database, hold=hold))
        try:
            yield parts
        finally:
            await parts.idempotency.drain(_DRAIN_SECONDS)
