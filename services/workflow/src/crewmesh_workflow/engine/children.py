"""Starting a run of another workflow for a step of this one: once, whatever happens in between."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias, cast

from crewmesh_contracts.base import JsonObject
from crewmesh_kit.db.database import Database
from crewmesh_kit.errors import Conflict, NotFound
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_workflow.definitions.errors import WorkflowNotActive
from crewmesh_workflow.engine.commits import EventKey, Run
from crewmesh_workflow.engine.starter import NewRun, Starter
from crewmesh_workflow.inputs import check_input, schema_in

_PUBLISHED = """
SELECT w.id, w.version, w.status, v.definition
FROM workflows w JOIN workflow_versions v ON v.workflow_id = w.id AND v.version = w.version
WHERE (w.id = %s OR w.slug = %s) AND w.version > 0
ORDER BY w.status = 'archived', w.id LIMIT 1
"""
# So many runs may lead to one, each started by the run before or by its end.
MOST_DEPTH = 10
# By its key alone: of whatever workflow it is, it is this step's.
_BEGUN = "SELECT run_id FROM event_starts WHERE org_id = %(org)s AND event_key = %(key)s ORDER BY run_id LIMIT 1"

# Whether a run may start runs of the workflow with this id, which may be restricted.
MayStart: TypeAlias = Callable[[AsyncConnection[DictRow], Run, str], Awaitable[bool]]


class NoSuchWorkflow(NotFound):
    """A step wants to run a workflow that the organization has not published, or that is not open to this workflow."""

    slug, title = "no-such-workflow", "No such workflow"


class NestedTooDeep(Conflict):
    """Workflows that run workflows, or start at their ends, more than ten deep: most likely one starts itself."""

    slug, title = "nested-too-deep", "Nested too deep"


class Children:
    def __init__(self, database: Database, starter: Starter, may_start: MayStart) -> None:
        self._database = database
        self._starter = starter
        self._may_start = may_start

    async def start(self, run: Run, path: str, workflow: str, inputs: JsonObject) -> str:
        key = EventKey("child", f"{run.id}/{path}")
        # A step may begin its wait again, as after an answer that was lost, and what is asked below may have changed.
        if (begun := await self._begun(run.organization, key)) is not None:
            return begun
        depth = depth_of(run.trigger) + 1
        if depth > MOST_DEPTH:
            raise NestedTooDeep(
                f"This run is {MOST_DEPTH} workflows deep already; let a workflow not run itself for ever."
            )
        with self._starter.starting() as starting:
            async with self._database.tenant(run.organization) as conn:
                row = await (await conn.execute(_PUBLISHED, [workflow, workflow])).fetchone()
                known = row is not None and row["status"] != "archived"
                if row is None or not known or not await self._may_start(conn, run, row["id"]):
                    raise NoSuchWorkflow(
                        f"There is no published workflow {workflow!r} that this one may run. Publish it, correct the "
                        f"step, or let it be granted to workflow:{run.workflow}."
                    )
                if row["status"] != "active":
                    raise WorkflowNotActive(row["id"], row["status"])
                check_input(schema_in(row["definition"]), inputs, whose=f"the workflow {workflow!r}", place="inputs")
                trigger: JsonObject = {"kind": "workflow", "data": inputs, "parent": run.id, "depth": depth}
                new = NewRun(
                    workflow=row["id"],
                    version=row["version"],
                    trigger=trigger,
                    origin="child",
                    key=key,
                    started_by=run.id,
                    parent_run=run.id,
                    parent_path=path,
                    payer=run.payer,
                )
                started = await starting.start(conn, run.organization, new)
            starting.launch()
        return started.run

    async def _begun(self, organization: str, key: EventKey) -> str | None:
        rows = await self._database.statement(_BEGUN, {"org": organization, "key": key.digest()})
        return cast(str, rows[0]["run_id"]) if rows else None


def depth_of(trigger: JsonObject | None) -> int:
    """How many runs led to the one with this trigger: as a step of theirs, or by their ends."""
    depth = (trigger or {}).get("depth")
    return depth if isinstance(depth, int) and (trigger or {}).get("kind") in ("workflow", "run_ended") else 0
