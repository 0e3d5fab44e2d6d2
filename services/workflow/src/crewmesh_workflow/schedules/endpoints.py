"""HTTP of schedules: what one means before it is saved."""

from __future__ import annotations

from typing import Annotated

from crewmesh_kit.identity import Identity, requires
from fastapi import APIRouter

from crewmesh_workflow.schedules.errors import BadSchedule
from crewmesh_workflow.schedules.schemas import SchedulePreview, ScheduleView
from crewmesh_workflow.schedules.times import ScheduleError
from crewmesh_workflow.schedules.views import view_of

router = APIRouter(prefix="/v1/schedules", tags=["schedules"])


@router.post("/preview")
async def preview_schedule(asked: SchedulePreview, _: Annotated[Identity, requires("workflows:read")]) -> ScheduleView:
    """Say in words when a schedule is due, and give its next five times with the offset of its time zone."""
    try:
        return view_of(asked.expression, asked.timezone)
    except ScheduleError as error:
        raise BadSchedule(str(error)) from error
