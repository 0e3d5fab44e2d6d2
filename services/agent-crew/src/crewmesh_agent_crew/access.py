"""What is needed for what is done with one agent or one crew."""

from __future__ import annotations

from crewmesh_contracts.invocations import ASK_AGENT, KICKOFF
from crewmesh_kit.sharing.models import Kind, Need

AGENT = Kind("agent", path="agents", called="agent")
CREW = Kind("crew", path="crews", called="crew")

SEE = Need(CREW, "view", "crews:read", seeing="crews:read")
RUN = Need(CREW, "run", KICKOFF.permission, seeing=KICKOFF.permission)
CHANGE = Need(CREW, "edit", "crews:write", seeing="crews:read")

SEE_AGENT = Need(AGENT, "view", "crews:read", seeing="crews:read")
# Also as one of a crew: an agent that is restricted works for nobody else in whatever crew it is.
RUN_AGENT = Need(AGENT, "run", ASK_AGENT.permission, seeing=ASK_AGENT.permission)
CHANGE_AGENT = Need(AGENT, "edit", "crews:write", seeing="crews:read")
