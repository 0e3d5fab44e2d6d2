"""What a sender of an event is told."""

from __future__ import annotations

from crewmesh_contracts.base import Reply
from crewmesh_contracts.ids import RunId


class EventAccepted(Reply):
    """The event is taken, and these runs were started for it: now, or when it arrived before."""

    event: str
    runs: tuple[RunId, ...]
