"""Starting a run of another workflow for a step of this one: once, whatever happens in between."""

from __future__ import annotations

from crewmesh_contracts.base import JsonObject
from crewmesh_kit.db.database import Database
from crewmesh_kit.errors import Conflict, NotFound

from crewmesh_workflow.engine.commits import EventKey, Run
from crewmesh_workflow.engine.starter import NewRun, Starter

_PUBLISHED = (
    "SELECT id, version, status FROM workflows WHERE (id = %s OR slug = %s) AND version > 0"
    " ORDER BY status = 'archived', id LIMIT 1"
)
_DEEPEST = 10


class NoSuchWorkflow(NotFound):
    """A step wants to run a workflow that the organization has not published."""

    slug, title = "no-such-workflow", "No such workflow"


class NestedTooDeep(Conflict):
    """Workflows that run workflows, more than ten deep: most likely one runs itself."""

    slug, title = "nested-too-deep", "Nested too deep"


class Children:
    def __init__(self, database: Database, starter: Starter) -> None:
        self._database = database
        self._starter = starter

    async def start(self, run: Run, path: str, workflow: str, inputs: JsonObject) -> str:
        depth = _depth(run.trigger) + 1
        if depth > _DEEPEST:
            raise NestedTooDeep(
                f"This run is {_DEEPEST} workflows deep already; let a workflow not run itself for ever."
            )
        with self._starter.starting() as starting:
            async with self._database.tenant(run.organization) as conn:
                row = await (await conn.execute(_PUBLISHED, [workflow, workflow])).fetchone()
                if row is None or row["status"] == "archived":
                    raise NoSuchWorkflow(
                        f"There is no published workflow {workflow!r}; publish it, or correct the step."
                    )
                trigger: JsonObject = {"kind": "workflow", "data": inputs, "parent": run.id, "depth": depth}
                new = NewRun(
                    workflow=row["id"],
                    version=row["version"],
                    trigger=trigger,
                    origin="child",
                    key=EventKey("child", f"{run.id}/{path}"),
                    started_by=run.id,
                    parent_run=run.id,
                    parent_path=path,
                )
                started = await starting.start(conn, run.organization, new)
            starting.launch()
        return started.run


def _depth(trigger: JsonObject) -> int:
    depth = trigger.get("depth")
    return depth if isinstance(depth, int) else 0
