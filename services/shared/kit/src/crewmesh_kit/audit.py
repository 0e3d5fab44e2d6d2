"""What somebody changed becomes a line of the audit log, if and only if the change was committed.

``record`` is called in the transaction that makes the change. The line travels with the outbox to the gateway, which
keeps the log. Secrets are masked here, so that they never travel.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import cast

from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.events import AuditRecorded
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_kit.db import outbox
from crewmesh_kit.identity import Identity
from crewmesh_kit.ids import new_id
from crewmesh_kit.origin import current_origin
from crewmesh_kit.telemetry import current_trace_id

MASK = "•••"
_SECRET_NAME = re.compile(
    r"passw|secret|token|credential|authorization|api_?key|private|signature|cookie", re.IGNORECASE
)
# Longer values are told by their beginning: the log says what changed, and is no second place to keep it.
_LONGEST_TEXT = 2000
_MOST_ITEMS = 200
_DEEPEST = 12


async def record(
    conn: AsyncConnection[DictRow],
    actor: Identity,
    action: str,
    resource: str,
    *,
    before: JsonValue = None,
    after: JsonValue = None,
) -> None:
    """``actor`` did ``action`` (``workflow.published``) to ``resource`` (an id); commits with the change itself."""
    origin = current_origin()
    line = AuditRecorded(
        organization=actor.organization,
        id=new_id("aud"),
        at=datetime.now(UTC),
        actor=actor.subject,
        acting_for=actor.acting_for,
        action=action,
        resource=resource,
        outcome="done",
        before=masked(before),
        after=masked(after),
        address=origin.address,
        agent=origin.agent,
        trace=current_trace_id(),
    )
    await outbox.add(conn, line)


def masked(value: JsonValue, *, depth: int = 0) -> JsonValue:
    """``value`` without secrets (by the names they are kept under) and without more than can be read."""
    if isinstance(value, str):
        return value if len(value) <= _LONGEST_TEXT else f"{value[:_LONGEST_TEXT]}…"
    if not isinstance(value, (Mapping, Sequence)):
        return value
    if depth >= _DEEPEST:
        return "…"
    if isinstance(value, Mapping):
        members = cast(JsonObject, value)
        kept: JsonObject = {}
        for name in list(members)[:_MOST_ITEMS]:
            secret = _SECRET_NAME.search(name) and members[name] not in (None, "", [], {})
            kept[name] = MASK if secret else masked(members[name], depth=depth + 1)
        return kept
    return [masked(each, depth=depth + 1) for each in list(value)[:_MOST_ITEMS]]
