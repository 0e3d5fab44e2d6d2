"""How kickoffs fail, beyond the ways in which models do."""

from __future__ import annotations

from crewmesh_kit.errors import BadGateway, GatewayTimeout, Unavailable


class CrewsBusy(Unavailable):
    """As many kickoffs wait as may wait. Try again after Retry-After seconds."""

    slug, title = "crews-busy", "Crews are busy"


class KickoffTimeout(GatewayTimeout):
    """The crew did not finish within its time. Try again, give it less to do, or raise kickoff.timeout_seconds."""

    slug, title = "kickoff-timeout", "Crew timed out"


class KickoffStopped(Unavailable):
    """The service is stopping and gave the kickoff up. Try again; another replica, or the next start, does it."""

    slug, title = "kickoff-stopped", "Kickoff stopped"


class CrewFailed(BadGateway):
    """The crew ended without a result for a reason of its own. The log tells it under the trace id."""

    slug, title, retryable = "crew-failed", "Crew failed", True
