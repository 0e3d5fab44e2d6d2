"""What a replica knows of the runs it holds: never something older than what their workers were told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

from crewmesh_kit.db.database import Database
from crewmesh_testkit.identities import ORGANIZATION
from crewmesh_workflow.engine.commits import Run
from crewmesh_workflow.engine.leases import Leases

RUN = Run("run_1", ORGANIZATION, "wf_1", 1, {}, epoch=1, seq=1)


class Rows:
    """Stands where the database would: reads its row, and answers when something else has happened meanwhile."""

    def __init__(self) -> None:
        self.row: dict[str, object] = {"id": RUN.id, "epoch": RUN.epoch, "asked": None, "arrivals": 0}
        self.meanwhile: Callable[[], None] = lambda: None

    async def statement(self, _query: str, _parameters: Mapping[str, object]) -> list[dict[str, object]]:
        read = dict(self.row)
        self.meanwhile()
        return [read]


async def test_a_look_that_was_overtaken_by_a_commit_asks_for_nothing() -> None:
    """The run was to be paused, and before it was, not any more: the look saw the first, the commit the second."""
    rows = Rows()
    leases = Leases(cast(Database, rows), seconds=15, beat_seconds=5)
    changes: list[str | None] = []

    def commit() -> None:
        rows.row["asked"] = None
        lease.tell(None, 0)

    with leases.hold(RUN) as lease:
        lease.changed = lambda: changes.append(lease.asked)
        rows.row["asked"], rows.meanwhile = "pause", commit
        await leases.extend()
        assert (lease.asked, changes) == (None, [])
        rows.row["asked"], rows.meanwhile = "cancel", lambda: None
        await leases.extend()
        assert (lease.asked, changes) == ("cancel", ["cancel"])
