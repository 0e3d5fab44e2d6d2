"""What ends a turn for the sake of its guardrails."""

from __future__ import annotations

from crewmesh_kit.errors import Conflict, PermissionDenied


class GuardrailTripped(Conflict):
    """The agent was about to be shown, or to say, what its guardrails forbid: ``guardrail`` names which. Change the
    guardrails of the agent, or the policies of its tags, or leave that out of what it is asked."""

    slug, title = "guardrail-tripped", "Guardrail tripped"

    def __init__(self, guardrail: str, agent: str, why: str) -> None:
        super().__init__(
            f"The agent {agent!r} was stopped by its guardrails: {why}. Change the guardrails of the agent, the "
            "policies of its tags (GET /v1/policies), or what it is asked.",
            guardrail=guardrail,
            agent=agent,
        )


class ForbiddenByPolicy(PermissionDenied):
    """A policy of the organization forbids this to agents with this tag. ``policy`` names it; GET /v1/policies/{policy}
    shows it, and who has policies:write may change it."""

    slug, title = "forbidden-by-policy", "Forbidden by policy"

    def __init__(self, policy: str, what: str) -> None:
        super().__init__(
            f"The policy {policy!r} forbids {what}. GET /v1/policies/{policy} shows it; who has the permission "
            "policies:write may change it.",
            policy=policy,
        )
