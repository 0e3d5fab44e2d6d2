"""Telling the world of budgets that run out: once per balance and period, with the commit that made it true."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import cast

from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.events import BudgetExhausted, BudgetWarningReached
from crewmesh_kit.db import outbox
from crewmesh_kit.logs import get_logger
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_agent_crew.spending.dollars import told

log = get_logger(__name__)

_EVENTS: dict[str, type[BudgetWarningReached | BudgetExhausted]] = {
    "nearly_used": BudgetWarningReached,
    "used_up": BudgetExhausted,
}


async def announce(conn: AsyncConnection[DictRow], organization: str, happened: Sequence[JsonObject]) -> None:
    """``happened``: as the database's ``budget_as_told`` tells it."""
    for each in happened:
        event = _EVENTS[str(each["what"])](
            organization=organization,
            budget=str(each["budget"]),
            name=str(each["name"]),
            scope_kind=str(each["scope_kind"]),
            scope_id=str(each["scope_id"]),
            period=str(each["period"]),
            period_start=datetime.fromisoformat(str(each["period_start"])),
            limit=told(cast(int, each["limit"])),
            spent=told(cast(int, each["spent"])),
        )
        await outbox.add(conn, event)
        log.warning("a budget runs out", budget=event.budget, what=each["what"], spent=event.spent, limit=event.limit)
