"""What people do with their own accounts: a line in the log of the organization they are in at the time.

Who belongs to none has no log that it could be in; then the service's own log has to do.
"""

from __future__ import annotations

from crewmesh_contracts.base import JsonValue
from crewmesh_kit import audit
from crewmesh_kit.identity import Identity
from crewmesh_kit.logs import get_logger
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_gateway.principals.models import NOWHERE

log = get_logger(__name__)


def person(user: str, organization: str | None) -> Identity:
    """Whom a line is about, whether they are signed in yet or not."""
    return Identity(organization or NOWHERE, user, frozenset())


async def record(
    conn: AsyncConnection[DictRow],
    actor: Identity,
    action: str,
    resource: str,
    *,
    before: JsonValue = None,
    after: JsonValue = None,
) -> None:
    if actor.organization:
        await audit.record(conn, actor, action, resource, before=before, after=after)
    else:
        log.info("a person without an organization", action=action, user=actor.subject, resource=resource)
