"""The clock as a trigger: when a schedule is due, what people are told about it, and the loop that starts its runs."""

from __future__ import annotations

from crewmesh_workflow.schedules.times import ScheduleError, check_schedule, describe, next_time, next_times

__all__ = ["ScheduleError", "check_schedule", "describe", "next_time", "next_times"]
