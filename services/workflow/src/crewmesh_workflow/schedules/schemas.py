"""What is asked and told about schedules."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from crewmesh_contracts.base import Contract, Reply
from pydantic import Field


class SchedulePreview(Contract):
    """A schedule as a cron trigger has it."""

    expression: Annotated[str, Field(min_length=1, max_length=200)]
    timezone: Annotated[str, Field(max_length=60)] = "UTC"


class ScheduleView(Reply):
    """When a schedule is due, in words and in its own time zone."""

    expression: str
    timezone: str
    description: str
    next: tuple[datetime, ...]
