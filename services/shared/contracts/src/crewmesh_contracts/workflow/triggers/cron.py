"""Start runs by the clock."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from crewmesh_contracts.base import JsonValue
from crewmesh_contracts.workflow.triggers.base import TriggerBase


class CronTrigger(TriggerBase):
    """``expression`` has five fields. A time that the clock skips in spring runs at once after; one that it repeats in
    autumn runs once. ``trigger.data`` holds ``scheduled_at`` and ``input``.
    """

    kind: Literal["cron"]
    expression: Annotated[str, Field(min_length=9, max_length=200)]
    timezone: Annotated[str, Field(max_length=60)] = "UTC"
    catch_up: Annotated[
        Literal["none", "one", "all"],
        Field(description="What to do about times that passed while nothing ran: none, the last one, or all of them."),
    ] = "one"
    input: JsonValue = None
