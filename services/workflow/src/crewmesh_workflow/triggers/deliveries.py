"""Giving an event to the steps that wait for it: each run gets each event once, and each wait its first event."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from crewmesh_contracts.base import JsonObject
from crewmesh_kit.logs import get_logger
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_workflow.engine.control import Control
from crewmesh_workflow.expressions import ExpressionError
from crewmesh_workflow.triggers import repository
from crewmesh_workflow.triggers.matching import belongs
from crewmesh_workflow.triggers.repository import Wait
from crewmesh_workflow.triggers.schemas import FilterFailure

log = get_logger(__name__)


class Deliveries:
    def __init__(self, control: Control) -> None:
        self._control = control

    async def give(
        self,
        conn: AsyncConnection[DictRow],
        organization: str,
        key: str,
        event: JsonObject,
        waits: Iterable[Wait],
        failures: list[FilterFailure],
    ) -> list[str]:
        """The runs that go on with the event. ``waits`` come ordered by run; ``failures`` are added to."""
        woken: list[str] = []
        wanted = (wait for wait in waits if _belongs(wait, event, failures))
        for run, of_run in groupby(wanted, key=lambda wait: wait.run):
            if not await repository.deliver(conn, organization, run, key):
                continue
            arrived = [await self._control.arrive(conn, run, wait.path, {"event": event}) for wait in of_run]
            if any(arrived):
                woken.append(run)
            else:
                await repository.not_delivered(conn, organization, run, key)
        return woken


def _belongs(wait: Wait, event: JsonObject, failures: list[FilterFailure]) -> bool:
    try:
        return belongs(wait.request, wait.key, event)
    except ExpressionError as error:
        log.warning("the filter of a waiting step has no value", run=wait.run, path=wait.path, error=str(error))
        failures.append(FilterFailure(run=wait.run, step=wait.path, detail=str(error)))
        return False
