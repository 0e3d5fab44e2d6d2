"""What somebody changed becomes a line of the audit log, if and only if the change was committed.

``record`` is called in the transaction that makes the change. The line travels with the outbox to the gateway, which
keeps the log. Secrets are masked here, so that they never travel: what stands under a name that tells of one, and what
looks like one wherever it stands.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal, cast

from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.events import AuditRecorded
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_kit.db import outbox
from crewmesh_kit.identity import Identity
from crewmesh_kit.ids import new_id
from crewmesh_kit.origin import Origin, current_origin
from crewmesh_kit.speakable import MASK
from crewmesh_kit.telemetry import current_trace_id

_SECRET_NAME = re.compile(
    r"passw|secret|token|credential|authorization|api_?-?key|private|signature|cookie", re.IGNORECASE
)
# Keys of ours, whatever follows Bearer or Basic, JSON web tokens, private keys, the password inside a URL. No text
# makes looking for them slow: what may be long does not begin anew within itself.
_SECRET_TEXT = re.compile(
    r"\bcm_(?:live_)?[A-Za-z0-9]{6,32}_[A-Za-z0-9_-]{16,}"
    r"|\b(?i:bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}"
    r"|(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*(?:-----END [A-Z ]*PRIVATE KEY-----)?"
    r"|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"
)
# {"name": "Authorization", "value": …}: headers and fields are often told so.
_NAMED_BY = ("name", "key", "header", "field")
_NAMED_VALUE = "value"
# Longer values are told by their beginning: the log says what changed, and is no second place to keep it.
_LONGEST_TEXT = 2000
_MOST_ITEMS = 200
_DEEPEST = 12
_LARGEST = 32 * 1024


async def record(
    conn: AsyncConnection[DictRow],
    actor: Identity,
    action: str,
    resource: str,
    *,
    before: JsonValue = None,
    after: JsonValue = None,
    outcome: Literal["done", "denied"] = "done",
    origin: Origin | None = None,
    trace: str | None = None,
) -> None:
    """``actor`` did ``action`` (``workflow.published``) to ``resource`` (an id); commits with the change itself.

    ``origin`` and ``trace`` are those of the request at hand, unless the line is written later than what it tells of.
    """
    origin = origin or current_origin()
    line = AuditRecorded(
        organization=actor.organization,
        id=new_id("aud"),
        at=datetime.now(UTC),
        actor=actor.subject,
        acting_for=actor.acting_for,
        action=action,
        resource=resource,
        outcome=outcome,
        before=told(before),
        after=told(after),
        address=origin.address,
        agent=origin.agent,
        trace=trace or current_trace_id(),
    )
    await outbox.add(conn, line)


def told(value: JsonValue) -> JsonValue:
    """``value`` as the log may keep it: without secrets, and not larger than somebody reads."""
    kept = masked(value)
    size = len(json.dumps(kept))
    if size <= _LARGEST:
        return kept
    return {"left_out": f"{size} characters; the log keeps up to {_LARGEST}"}


def masked(value: JsonValue, *, depth: int = 0) -> JsonValue:
    """``value`` without secrets and without more than can be read."""
    if isinstance(value, str):
        text = without_secrets(value)
        return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…"
    if not isinstance(value, (Mapping, Sequence)):
        return value
    if depth >= _DEEPEST:
        return "…"
    if isinstance(value, Mapping):
        members = cast(JsonObject, value)
        names_a_secret = any(tells_of_a_secret(members.get(name)) for name in _NAMED_BY)
        kept: JsonObject = {}
        for name in list(members)[:_MOST_ITEMS]:
            secret = tells_of_a_secret(name) or (names_a_secret and name == _NAMED_VALUE)
            hidden = secret and members[name] not in (None, "", [], {})
            kept[name] = MASK if hidden else masked(members[name], depth=depth + 1)
        return kept
    return [masked(each, depth=depth + 1) for each in list(value)[:_MOST_ITEMS]]


def without_secrets(text: str) -> str:
    """``text`` without what looks like a secret wherever it stands."""
    return _SECRET_TEXT.sub(MASK, text)


def tells_of_a_secret(name: JsonValue) -> bool:
    """Whether what is kept under this name is told to nobody."""
    return isinstance(name, str) and _SECRET_NAME.search(name) is not None
