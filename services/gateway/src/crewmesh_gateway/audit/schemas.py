"""What the audit log looks like over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from crewmesh_contracts.base import JsonValue, Reply
from fastapi import Depends, Query
from pydantic import AwareDatetime, Field

from crewmesh_gateway.audit.chain import parsed
from crewmesh_gateway.audit.models import Damage, Filters, Line, Outcome


class AuditEvent(Reply):
    """A line of the log."""

    seq: int = Field(description="Its place in the organization's chain, in the order of arrival.")
    id: str
    at: datetime = Field(description="When it happened.")
    received_at: datetime = Field(description="When the log heard of it.")
    actor: str = Field(description="Who did it: a user, a key, a service account.")
    acting_for: str | None = Field(description="On whose behalf, where that is somebody else.")
    action: str = Field(description="Such as workflow.published; request.denied for what was refused.")
    resource: str = Field(description="What it was done to, by its id; of a refused request, its path.")
    outcome: Outcome
    before: JsonValue = Field(description="What it was, as far as it changed. Secrets are masked.")
    after: JsonValue = Field(description="What it is now, as far as it changed. Secrets are masked.")
    address: str | None
    agent: str | None
    trace: str | None
    previous: str = Field(description="The hash of the line before it, in hexadecimal.")
    hash: str = Field(description="SHA-256 over the canonical JSON of this line, in hexadecimal.")


class FirstBroken(Reply):
    """Where the chain is broken first; what follows is not looked at."""

    seq: int
    what: Damage
    detail: str


class Verified(Reply):
    """Whether the log is what it was."""

    ok: bool
    checked: int = Field(description="How many lines were found in order.")
    first_broken: FirstBroken | None
    seq: int = Field(description="The last line there should be.")
    hash: str = Field(description="The hash of that line. Keep it elsewhere: it proves everything up to this line.")
    begins_after: int = Field(description="Lines up to this one are gone because their time was over.")


async def _filters(
    actor: Annotated[str | None, Query(max_length=200, description="Who did it, or on whose behalf.")] = None,
    action: Annotated[
        str | None, Query(max_length=200, description="workflow.published, or all that begins so: workflow.")
    ] = None,
    resource: Annotated[str | None, Query(max_length=500, description="What it was done to.")] = None,
    outcome: Annotated[Outcome | None, Query(description="Only what was done, or only what was denied.")] = None,
    since: Annotated[AwareDatetime | None, Query(alias="from", description="Happened at this time or later.")] = None,
    until: Annotated[AwareDatetime | None, Query(alias="to", description="Happened before this time.")] = None,
    text: Annotated[
        str | None,
        Query(alias="q", min_length=2, max_length=200, description="Stands somewhere in who, what, before or after."),
    ] = None,
) -> Filters:
    return Filters(actor=actor, action=action, resource=resource, outcome=outcome, since=since, until=until, text=text)


# For a handler's signature: ``filters: FilterQuery``.
FilterQuery = Annotated[Filters, Depends(_filters)]


def shown(line: Line) -> AuditEvent:
    return AuditEvent(
        seq=line.seq,
        id=line.id,
        at=line.at,
        received_at=line.received_at,
        actor=line.actor,
        acting_for=line.acting_for,
        action=line.action,
        resource=line.resource,
        outcome=line.outcome,
        before=_readable(line.before),
        after=_readable(line.after),
        address=line.address,
        agent=line.agent,
        trace=line.trace,
        previous=line.previous.hex(),
        hash=line.hash.hex(),
    )


def _readable(text: str | None) -> JsonValue:
    """A line that somebody has tampered with is still shown."""
    try:
        return parsed(text)
    except (ValueError, RecursionError):
        return text
