"""Which service owns which public resource: the first path segment under /v1 decides."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from crewmesh_kit.errors import MethodNotAllowed, NotFound

OWNERS: Mapping[str, str] = MappingProxyType(
    {
        "events": "workflow",
        "workflows": "workflow",
        "runs": "workflow",
        "schedules": "workflow",
        "approvals": "workflow",
        "approval-links": "workflow",
        "hooks": "workflow",
        "dead-letters": "workflow",
        "knowledge-bases": "knowledge",
        "crews": "agent-crew",
        "agents": "agent-crew",
        "agent-roles": "agent-crew",
        "prompt-templates": "agent-crew",
        "crew-runs": "agent-crew",
        "conversations": "agent-crew",
        "models": "agent-crew",
        "providers": "agent-crew",
        "budgets": "agent-crew",
        "usage": "agent-crew",
        "policies": "agent-crew",
        "insights": "agent-crew",
        "deliveries": "integration",
    }
)
# What is done to each, at it or below. The access lists of the services' sidecars admit the gateway to just this.
VERBS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "events": ("POST",),
        "workflows": ("GET", "POST", "PUT", "DELETE"),
        "runs": ("GET", "POST", "DELETE"),
        "schedules": ("POST",),
        "approvals": ("GET", "POST"),
        "approval-links": ("GET", "POST"),
        "hooks": ("GET", "POST", "PUT", "PATCH", "DELETE"),
        "dead-letters": ("GET", "POST"),
        "knowledge-bases": ("GET", "POST", "PUT", "DELETE"),
        "crews": ("GET", "POST", "PUT", "DELETE"),
        "agents": ("GET", "POST", "PUT", "DELETE"),
        "agent-roles": ("GET",),
        "prompt-templates": ("GET", "POST", "PUT", "DELETE"),
        "crew-runs": ("GET", "POST"),
        "conversations": ("GET", "POST", "PATCH", "DELETE"),
        "models": ("GET", "PUT", "DELETE"),
        "providers": ("GET", "POST", "PUT", "DELETE"),
        "budgets": ("GET", "POST", "PUT", "DELETE"),
        "usage": ("GET",),
        "policies": ("GET", "POST", "PUT", "DELETE"),
        "insights": ("GET", "POST", "DELETE"),
        "deliveries": ("GET",),
    }
)
# Of the gateway itself.
OWN_RESOURCES = (
    "api-keys",
    "audit-events",
    "auth",
    "exports",
    "invitations",
    "limits",
    "me",
    "members",
    "organization",
    "organizations",
    "permissions",
    "retention",
    "roles",
    "service-accounts",
    "teams",
)
# Whoever knows the address may use it: these need no key, and go in without an identity.
PUBLIC_RESOURCES = frozenset({"hooks", "approval-links"})
SERVICES: tuple[str, ...] = tuple(dict.fromkeys(OWNERS.values()))


class UnknownResource(NotFound):
    """There is no resource with this name under /v1; the answer lists those there are."""

    def __init__(self, name: str) -> None:
        known = sorted([*OWNERS, *OWN_RESOURCES])
        super().__init__(
            f"There is no /v1/{name[:60]}. There are: {', '.join(f'/v1/{each}' for each in known)}; "
            "GET /openapi.json describes them.",
            resources=[f"/v1/{each}" for each in known],
        )


def owner_of(segment: str) -> str:
    try:
        return OWNERS[segment]
    except KeyError:
        raise UnknownResource(segment) from None


def check_verb(resource: str, method: str) -> None:
    """A service that takes the method elsewhere in the resource says so itself."""
    verbs = VERBS[resource]
    if method not in verbs:
        allowed = ", ".join(verbs)
        raise MethodNotAllowed(
            f"Nothing at or below /v1/{resource} takes {method}; there is {allowed}.", headers={"Allow": allowed}
        )
