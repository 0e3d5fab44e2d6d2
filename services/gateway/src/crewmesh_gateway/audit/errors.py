"""What can be wrong with asking the audit log."""

from __future__ import annotations

from crewmesh_kit.errors import InvalidRequest, NotFound


class UnknownAuditEvent(NotFound):
    """There is no line with this id in the organization's audit log, or its time was over."""

    slug, title = "unknown-audit-event", "Unknown audit event"

    def __init__(self, id_: str) -> None:
        super().__init__(f"There is no audit event {id_[:80]}. GET /v1/audit-events lists those there are.")


class NotAnAuditLine(InvalidRequest):
    """A message on the topic audit is something else, or speaks for another organization than its envelope."""

    slug, title = "not-an-audit-line", "Not an audit line"
