"""What is needed for what is done with one crew. An agent is reached through a crew that it is in."""

from __future__ import annotations

from crewmesh_contracts.invocations import KICKOFF
from crewmesh_kit.sharing.models import Kind, Need

CREW = Kind("crew", path="crews", called="crew")

SEE = Need(CREW, "view", "crews:read", seeing="crews:read")
# Only runs of workflows set crews to work.
RUN = Need(CREW, "run", KICKOFF.permission, seeing=KICKOFF.permission)
