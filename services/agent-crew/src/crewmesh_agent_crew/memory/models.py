"""Where something is remembered, and by whom."""

from __future__ import annotations

from dataclasses import dataclass

from crewmesh_contracts.base import Contract
from crewmesh_kit.identity import Identity


@dataclass(frozen=True, slots=True)
class Place:
    """One turn. ``about``: whose memory it is, ``crew:crew_…`` or ``agent:agt_…``; none: it has no memory.

    ``person``: whose conversation it is. What is said there is remembered for that person alone.
    """

    identity: Identity
    crew_run: str
    path: str
    about: str | None
    person: str | None = None

    @property
    def own(self) -> str | None:
        """What is kept apart from all that others say to the same crew or agent."""
        return None if self.about is None or self.person is None else f"{self.about}:{self.person}"


class Note(Contract):
    """Of the last hours: what an agent was asked, and what it said. ``trusted``: no stranger's words went into it.

    ``crew_run``: where that was; it is remembered no longer than that is there.
    """

    task: str
    said: str
    trusted: bool
    crew_run: str


@dataclass(frozen=True, slots=True)
class ToForget:
    """What a crew or an agent remembers: of this run, or all."""

    id: int
    organization: str
    about: str
    run: str
