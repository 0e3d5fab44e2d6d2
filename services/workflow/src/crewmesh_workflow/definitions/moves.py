"""Moving runs to another version: first told, then done for those that wait, with every reason for those that stay."""

from __future__ import annotations

from collections.abc import Sequence

from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.workflow import Definition
from crewmesh_kit import audit
from crewmesh_kit.http.pagination import decode_cursor, encode_cursor
from crewmesh_kit.identity import Identity
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_workflow.access import CHANGE
from crewmesh_workflow.definitions import versions_repository
from crewmesh_workflow.definitions.changes import Changes
from crewmesh_workflow.definitions.moving import FAILING, Layout, why_not
from crewmesh_workflow.definitions.schemas import Moved, MoveRequest, RunLeft
from crewmesh_workflow.definitions.versions import content
from crewmesh_workflow.definitions.versions_repository import LiveRun

RUNS_AT_A_TIME = 200
AT_WORK = "the run is at work; ask again when it waits"
THERE_ALREADY = "the run is on this version already"


class Moves:
    def __init__(self, changes: Changes) -> None:
        self._changes = changes

    async def move(
        self, identity: Identity, workflow: str, version: int, request: MoveRequest, *, key: str | None
    ) -> Moved:
        after = None if request.cursor is None else str(decode_cursor(request.cursor, str)[0])

        async def move(conn: AsyncConnection[DictRow]) -> Moved:
            stored = await self._changes.lookup.found(conn, identity, workflow, CHANGE)
            to = request.to or stored.version
            old = Layout(Definition.model_validate(await content(conn, stored, version)))
            new = Layout(Definition.model_validate(await content(conn, stored, to)))
            found = await versions_repository.runs_on(
                conn, stored.id, version, only=request.runs, after=after, limit=RUNS_AT_A_TIME + 1
            )
            runs = found[:RUNS_AT_A_TIME]
            if version == to:
                left = {run.id: (THERE_ALREADY,) for run in runs}
            else:
                left = await _staying(conn, runs, version, old, new, only_look=request.dry_run)
            moved = tuple(run.id for run in runs if run.id not in left)
            if moved and not request.dry_run:
                data = {"from": version, "to": to, "by": identity.subject}
                await versions_repository.move(conn, moved, to=to, data={**data})
                runs_moved: JsonObject = {"from": version, "to": to, "runs": [*moved]}
                await audit.record(conn, identity, "workflow.runs-moved", stored.id, after=runs_moved)
            return Moved(
                from_version=version,
                to_version=to,
                dry_run=request.dry_run,
                moved=moved,
                left=tuple(RunLeft(run=run, reasons=reasons) for run, reasons in left.items()),
                next_cursor=encode_cursor(runs[-1].id) if len(found) > len(runs) else None,
            )

        return await self._changes.once(identity, f"versions/{version}/migrate", key, request, Moved, move, of=workflow)


async def _staying(
    conn: AsyncConnection[DictRow],
    runs: Sequence[LiveRun],
    version: int,
    old: Layout,
    new: Layout,
    *,
    only_look: bool,
) -> dict[str, tuple[str, ...]]:
    """The runs that cannot be moved, and why. Whatever else is held by this transaction then, unless it only looks."""
    idle = frozenset(run.id for run in runs if run.status != "running")
    if not only_look:
        idle = await versions_repository.hold(conn, sorted(idle), version)
    journals = await versions_repository.journals(conn, sorted(idle))
    left: dict[str, tuple[str, ...]] = {}
    for run in runs:
        if run.id not in idle:
            left[run.id] = (AT_WORK,)
        elif why := (FAILING,) if run.failing else why_not(old, new, journals[run.id]):
            left[run.id] = why
    return left
