"""The steps of a run, in the order in which they began; a run may have ten thousand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import LiteralString, cast

from crewmesh_contracts.base import JsonObject
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_workflow.runs.places import node_name
from crewmesh_workflow.runs.repository import WAITED_FOR
from crewmesh_workflow.runs.schemas import OpenWait, StepDetail, StepStatus, StepSummary

_COLUMNS: LiteralString = (
    "path, position, status, attempt, rounds, input, output, port, error, retry_at, started_at, finished_at"
)
# Large payloads are references, which are shown to nobody.
_GET: LiteralString = (
    "SELECT "
    + _COLUMNS
    + """, (SELECT to_jsonb(wait) FROM (
    SELECT id, path, kind, request->>'title' AS title, until, created_at AS since FROM waits
    WHERE waits.run_id = steps.run_id AND waits.path = steps.path AND """
    + WAITED_FOR
    + """) wait) AS wait
FROM steps WHERE org_id = %s AND run_id = %s AND path = %s"""
)
_LARGE = "$blob"


@dataclass(frozen=True, slots=True)
class StepFilters:
    statuses: tuple[StepStatus, ...] = ()
    prefix: str | None = None
    nested: bool = True


async def page(
    conn: AsyncConnection[DictRow],
    organization: str,
    run: str,
    filters: StepFilters,
    *,
    after: tuple[int, str] | None,
    limit: int,
) -> list[tuple[int, StepSummary]]:
    """Steps with their positions."""
    conditions: list[LiteralString] = ["org_id = %(org)s", "run_id = %(run)s"]
    if filters.statuses:
        conditions.append("status = ANY(%(statuses)s)")
    if filters.prefix is not None:
        conditions.append("starts_with(path, %(prefix)s)")
    if not filters.nested:
        conditions.append(r"path !~ '[\[!]'")
    if after is not None:
        conditions.append("(position, path) > (%(position)s, %(path)s)")
    position, path = after or (None, None)
    parameters = {"org": organization, "run": run, "statuses": [*filters.statuses], "prefix": filters.prefix}
    parameters |= {"position": position, "path": path, "limit": limit}
    query = "SELECT " + _COLUMNS + " FROM steps WHERE " + " AND ".join(conditions)
    cursor = await conn.execute(query + " ORDER BY position, path LIMIT %(limit)s", parameters)
    return [(row["position"], _summary(row)) for row in await cursor.fetchall()]


async def get(conn: AsyncConnection[DictRow], organization: str, run: str, path: str) -> StepDetail | None:
    """The step as it is stored: what is large is a reference yet."""
    row = await (await conn.execute(_GET, [organization, run, path])).fetchone()
    if row is None:
        return None
    wait = None if row["wait"] is None else OpenWait.model_validate(row["wait"])
    return StepDetail.model_validate({**_shown(row), "waiting_for": wait})


def _summary(row: DictRow) -> StepSummary:
    large = [name for name in ("input", "output") if _LARGE in (cast("JsonObject | None", row[name]) or {})]
    return StepSummary.model_validate({**_shown(row), **dict.fromkeys(large), "left_out": large})


def _shown(row: DictRow) -> DictRow:
    port: str | None = row["port"]
    return {**row, "node": node_name(row["path"]), "ports": port.split(",") if port else []}
