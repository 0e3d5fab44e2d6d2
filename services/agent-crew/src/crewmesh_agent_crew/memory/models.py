"""Where something is remembered, and by whom."""

from __future__ import annotations

from dataclasses import dataclass

from crewmesh_contracts.base import Contract
from crewmesh_kit.identity import Identity


@dataclass(frozen=True, slots=True)
class Place:
    """One turn. ``about``: whose memory it is, ``crew:crew_…`` or ``agent:agt_…``; none: it has no memory."""

    identity: Identity
    crew_run: str
    path: str
    about: str | None


class Note(Contract):
    """Of the last hours: what an agent was asked, and what it said. ``trusted``: no stranger's words went into it."""

    task: str
    said: str
    trusted: bool
