"""Whether everything that callers change is told to the audit log: the routes there are, and the lines they left.

A service's test drives each of its routes that change something and looks for the line; a route that is neither driven
nor named as one that changes nothing fails the test, so that none is forgotten.
"""

from __future__ import annotations

from crewmesh_contracts.events import AuditRecorded
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from crewmesh_testkit.fake_sidecar import FakeSidecar
from crewmesh_testkit.polling import until

_CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})


def changing_routes(app: FastAPI) -> set[str]:
    """``POST /v1/crews`` and so on: the public ones that may change something."""
    return {
        f"{method} {route.path}"
        for route in iter_route_contexts(app.routes)
        if (route.path or "").startswith("/v1/") and getattr(route, "include_in_schema", False)
        for method in _CHANGING.intersection(route.methods or ())
    }


def audit_lines(sidecar: FakeSidecar) -> list[AuditRecorded]:
    """What was published for the log so far, the oldest first."""
    return [AuditRecorded.model_validate(event.data) for event in sidecar.published_on(AuditRecorded.topic)]


async def audit_line(sidecar: FakeSidecar, action: str, resource: str | None = None) -> AuditRecorded:
    """The last line of this action (on this resource), once it was published."""

    def found() -> AuditRecorded | None:
        lines = [line for line in audit_lines(sidecar) if line.action == action and resource in (None, line.resource)]
        return lines[-1] if lines else None

    return await until(found, seconds=10, what=f"an audit line {action} of {resource or 'anything'}")
