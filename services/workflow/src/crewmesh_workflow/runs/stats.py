"""How many runs there are: what is live by workflow, and how the newest that ended did."""

from __future__ import annotations

from collections import Counter, defaultdict

from crewmesh_kit.sharing.rules import Reach
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_workflow.runs.repository import REACHED
from crewmesh_workflow.runs.schemas import RunStats, RunStatus, WorkflowStats

_MOST_WORKFLOWS = 200
_NEWEST = 1_000
_RUNS_LIVE = f"""
SELECT workflow_id, status, count(*) AS number, min(created_at) AS oldest
FROM runs WHERE org_id = %(org)s AND finished_at IS NULL AND {REACHED} GROUP BY workflow_id, status
"""
_RUNS_ENDED = f"""
SELECT status, count(*) AS number FROM (
    SELECT status, finished_at FROM runs WHERE org_id = %(org)s AND {REACHED}
    ORDER BY id DESC LIMIT %(newest)s) newest
WHERE finished_at IS NOT NULL GROUP BY status
"""


async def stats(conn: AsyncConnection[DictRow], organization: str, reach: Reach) -> RunStats:
    parameters = {"org": organization, "newest": _NEWEST, **reach.parameters}
    live = await (await conn.execute(_RUNS_LIVE, parameters)).fetchall()
    ended = await (await conn.execute(_RUNS_ENDED, parameters)).fetchall()
    total: Counter[RunStatus] = Counter()
    workflows: defaultdict[str, dict[RunStatus, int]] = defaultdict(dict)
    for row in live:
        total[row["status"]] += row["number"]
        workflows[row["workflow_id"]][row["status"]] = row["number"]
    busiest = sorted(workflows.items(), key=lambda item: (-sum(item[1].values()), item[0]))[:_MOST_WORKFLOWS]
    return RunStats(
        live=dict(total),
        ended={row["status"]: row["number"] for row in ended},
        ended_counted=sum(row["number"] for row in ended),
        oldest_queued_at=min((row["oldest"] for row in live if row["status"] == "queued"), default=None),
        workflows=tuple(WorkflowStats(workflow=workflow, live=counts) for workflow, counts in busiest),
    )
