"""What people are shown of a schedule."""

from __future__ import annotations

from datetime import UTC, datetime

from crewmesh_workflow.schedules.schemas import ScheduleView
from crewmesh_workflow.schedules.times import describe, next_times

PREVIEWED = 5


def view_of(expression: str, timezone: str) -> ScheduleView:
    """Raises ScheduleError for one that cannot be read."""
    return ScheduleView(
        expression=expression,
        timezone=timezone,
        description=describe(expression),
        next=tuple(next_times(expression, timezone, datetime.now(UTC), PREVIEWED)),
    )
