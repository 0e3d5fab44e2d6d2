"""Forgetting logins that are over."""

from __future__ import annotations

import asyncio
import random

from crewmesh_kit.db.database import Database, DatabaseUnavailable
from crewmesh_kit.logs import get_logger

from crewmesh_gateway.sessions.repository import SessionRepository

_EVERY_SECONDS = 3600

log = get_logger(__name__)


async def keep_forgetting(database: Database, repository: SessionRepository) -> None:
    """Once an hour, replicas at different moments."""
    while True:
        await asyncio.sleep(_EVERY_SECONDS * random.uniform(0.5, 1.5))
        try:
            async with database.system() as conn:
                log.info("forgot logins that are over", rows=await repository.forget_old(conn))
        except DatabaseUnavailable as problem:
            log.warning("forgetting old logins waits for the next hour", reason=problem.detail)
