"""Once a day, lines leave whose time is over. What is left stays verifiable."""

from __future__ import annotations

import asyncio
import random

from crewmesh_kit.db.database import DatabaseUnavailable
from crewmesh_kit.logs import get_logger
from crewmesh_kit.resources import Resources

from crewmesh_gateway.audit.service import AuditLog
from crewmesh_gateway.settings import Settings

_EVERY_SECONDS = 24 * 3600.0

log = get_logger(__name__)


async def keep_removing_old_lines(resources: Resources) -> None:
    """Replicas at different moments; it does not matter which of them comes first."""
    while True:
        await asyncio.sleep(_EVERY_SECONDS * random.uniform(0.5, 1.5))
        try:
            await remove_old_lines(resources.get(AuditLog), days=resources.get(Settings).audit.keep_days)
        except DatabaseUnavailable as problem:
            log.warning("old audit lines stay until the next time", reason=problem.detail)


async def remove_old_lines(audit_log: AuditLog, *, days: int) -> int:
    removed = 0
    for organization in await audit_log.organizations():
        removed += await audit_log.remove_older(organization, days=days)
    log.info("old audit lines left", lines=removed)
    return removed
