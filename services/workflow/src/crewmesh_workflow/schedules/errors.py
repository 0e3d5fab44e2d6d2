"""What is told about a schedule that is none."""

from __future__ import annotations

from crewmesh_kit.errors import ValidationFailed


class BadSchedule(ValidationFailed):
    """The cron expression or the time zone cannot be read, or is never due. The detail says what to do."""

    slug, title = "bad-schedule", "Bad schedule"
