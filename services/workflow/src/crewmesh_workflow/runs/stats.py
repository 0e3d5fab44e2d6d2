"""How many runs there are: what is live by workflow, and how the newest that ended did."""

from __future__ import annotations

from collections import Counter, defaultdict

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_workflow.runs.schemas import RunStats, RunStatus, WorkflowStats

_MOST_WORKFLOWS = 200
_NEWEST = 1_000
_RUNS_LIVE = """
SELECT workflow_id, status, count(*) AS number, min(created_at) AS oldest
FROM runs WHERE org_id = %s AND finished_at IS NULL GROUP BY workflow_id, status
"""
_RUNS_ENDED = """
SELECT status, count(*) AS number FROM (
    SELECT status, finished_at FROM runs WHERE org_id = %s ORDER BY id DESC LIMIT %s) newest
WHERE finished_at IS NOT NULL GROUP BY status
"""


async def stats(conn: AsyncConnection[DictRow], organization: str) -> RunStats:
    live = await (await conn.execute(_RUNS_LIVE, [organization])).fetchall()
    ended = await (await conn.execute(_RUNS_ENDED, [organization, _NEWEST])).fetchall()
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
