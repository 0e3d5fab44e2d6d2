"""SQL of schedules. The database's clock is the one that counts, for it is the same for all replicas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from crewmesh_contracts.workflow.triggers.cron import CronTrigger
from crewmesh_kit.db.database import Database
from psycopg import AsyncConnection
from psycopg.rows import DictRow

_DUE = """
SELECT id, org_id AS organization FROM triggers
WHERE next_at <= now() AND enabled AND NOT id = ANY(%(but)s) ORDER BY next_at LIMIT %(limit)s
"""
# Locked until the runs are committed together with the next time; a replica that is late finds nothing due any more.
_TAKE = """
SELECT id, key, workflow_id, workflow_version, config, next_at, now() AS now FROM triggers
WHERE id = %s AND kind = 'cron' AND enabled AND next_at <= now() FOR UPDATE SKIP LOCKED
"""
_MOVE = "UPDATE triggers SET next_at = %s WHERE id = %s"
_AHEAD = """
SELECT id, config, next_at, now() AS now FROM triggers
WHERE next_at > now() + interval '1 minute' AND enabled AND id > %(after)s ORDER BY id LIMIT %(limit)s
"""
_BRING_BACK = """
UPDATE triggers SET next_at = %(time)s WHERE id = %(id)s AND next_at = %(was)s AND config = %(config)s::jsonb
"""


@dataclass(frozen=True, slots=True)
class Due:
    id: str
    organization: str


@dataclass(frozen=True, slots=True)
class Schedule:
    """A cron trigger that is due, locked."""

    id: str
    key: str
    workflow: str
    version: int
    config: CronTrigger
    next_at: datetime
    now: datetime


async def due(database: Database, *, but: Sequence[str], limit: int) -> list[Due]:
    rows = await database.statement(_DUE, {"but": [*but], "limit": limit})
    return [Due(row["id"], row["organization"]) for row in rows]


async def take(conn: AsyncConnection[DictRow], trigger: str) -> Schedule | None:
    """Nothing when another replica has it or had it."""
    row = await (await conn.execute(_TAKE, [trigger])).fetchone()
    if row is None:
        return None
    return Schedule(
        id=row["id"],
        key=row["key"],
        workflow=row["workflow_id"],
        version=row["workflow_version"],
        config=CronTrigger.model_validate(row["config"]),
        next_at=row["next_at"],
        now=row["now"],
    )


async def move(conn: AsyncConnection[DictRow], trigger: str, next_at: datetime | None) -> None:
    await conn.execute(_MOVE, [next_at, trigger])


async def ahead(database: Database, *, after: str, limit: int) -> list[DictRow]:
    """Schedules that are not due yet, in pages."""
    return await database.statement(_AHEAD, {"after": after, "limit": limit})


async def bring_back(database: Database, row: DictRow, time: datetime) -> None:
    parameters = {"time": time, "id": row["id"], "was": row["next_at"]}
    config = CronTrigger.model_validate(row["config"]).model_dump_json()
    await database.statement(_BRING_BACK, {**parameters, "config": config})
