"""What the public API shows of kickoffs."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from crewmesh_contracts.base import Reply
from crewmesh_contracts.invocations import CrewMessage, TokenUsage


class Kickoff(Reply):
    """What a crew was asked, and what came of it. A failed one tells the error, and what it used nevertheless."""

    id: str
    crew: str
    requested_by: str
    status: Literal["completed", "failed"]
    inputs: dict[str, str]
    text: str | None
    messages: tuple[CrewMessage, ...]
    error: str | None
    usage: TokenUsage
    started_at: datetime
    ended_at: datetime
