"""Forgetting what nobody asks for any more: old inbox entries, old answers to idempotency keys, old dead letters."""

from __future__ import annotations

import asyncio
import random

from crewmesh_kit.db.database import Database, DatabaseUnavailable
from crewmesh_kit.logs import get_logger

KEEP_DAYS = 7
# Time to notice one, to mend its cause, and to send it again; and not for ever, for it is somebody's data.
KEEP_LETTERS_DAYS = 90
_EVERY_SECONDS = 3600

log = get_logger(__name__)


async def prune(database: Database) -> int:
    """Delete what is older than a week, letters that are older than theirs, and say how many rows that was."""
    async with database.system() as conn:
        inbox = await conn.execute("DELETE FROM inbox WHERE seen_at < now() - %s * interval '1 day'", [KEEP_DAYS])
        answers = await conn.execute(
            "DELETE FROM idempotency WHERE at < now() - %s * interval '1 day'"
            " AND (state <> 'running' OR lease_until < now())",
            [KEEP_DAYS],
        )
        letters = await conn.execute(
            "DELETE FROM dead_letters WHERE at < now() - %s * interval '1 day'", [KEEP_LETTERS_DAYS]
        )
        return inbox.rowcount + answers.rowcount + letters.rowcount


async def keep_pruning(database: Database) -> None:
    """Once an hour, replicas at different moments."""
    while True:
        await asyncio.sleep(_EVERY_SECONDS * random.uniform(0.5, 1.5))
        try:
            log.info("pruned inbox, idempotency keys and dead letters", rows=await prune(database))
        except DatabaseUnavailable as problem:
            log.warning("pruning waits for the next hour", reason=problem.detail)
