"""The seal of a line: SHA-256 over its canonical JSON, in which the hash of the line before it stands.

Canonical: the members by name, no spaces, no escapes but those that JSON needs, UTF-8; times in UTC with microseconds.
So whoever has an export can check it without us. The organization is part of it, so that a line proves nothing
elsewhere.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import cast

from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.events import AuditRecorded

from crewmesh_gateway.audit.models import Broken, Head, Line

GENESIS = bytes(32)
_UNSEALED = bytes(32)


def canonical(value: JsonValue) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def seal(organization: str, line: Line) -> bytes:
    """What ``hash`` of the line must be."""
    sealed: JsonObject = {
        "organization": organization,
        "seq": line.seq,
        "id": line.id,
        "at": _instant(line.at),
        "received_at": _instant(line.received_at),
        "actor": line.actor,
        "acting_for": line.acting_for,
        "action": line.action,
        "resource": line.resource,
        "outcome": line.outcome,
        "before": parsed(line.before),
        "after": parsed(line.after),
        "address": line.address,
        "agent": line.agent,
        "trace": line.trace,
        "previous": line.previous.hex(),
    }
    return hashlib.sha256(canonical(sealed).encode()).digest()


def continued(
    organization: str, seq: int, previous: bytes, events: Iterable[AuditRecorded], *, received_at: datetime
) -> list[Line]:
    """The lines of ``events`` behind the line ``seq`` whose hash is ``previous``."""
    lines: list[Line] = []
    for number, event in enumerate(events, start=seq + 1):
        open_line = Line(
            seq=number,
            id=event.id,
            at=event.at,
            received_at=received_at,
            actor=event.actor,
            acting_for=event.acting_for,
            action=event.action,
            resource=event.resource,
            outcome=event.outcome,
            before=_text(event.before),
            after=_text(event.after),
            address=event.address,
            agent=event.agent,
            trace=event.trace,
            previous=previous,
            hash=_UNSEALED,
        )
        previous = seal(organization, open_line)
        lines.append(replace(open_line, hash=previous))
    return lines


class Verification:
    """Walks along a chain, line by line, from behind its anchor; stops at the first place that is wrong."""

    def __init__(self, organization: str, head: Head) -> None:
        self._organization = organization
        self._head = head
        self._seq = head.anchor_seq
        self._hash = head.anchor_hash
        self.checked = 0
        self.broken: Broken | None = None

    def walk(self, lines: Iterable[Line]) -> Broken | None:
        for line in lines:
            self.broken = self._wrong_with(line)
            if self.broken is not None:
                return self.broken
            self._seq, self._hash = line.seq, line.hash
            self.checked += 1
        return None

    def finish(self) -> Broken | None:
        """After the last line: whether it is the one that the head names."""
        if self.broken is None and self._seq < self._head.seq:
            self.broken = Broken(self._seq + 1, "cut_off")
        if self.broken is None and self._hash != self._head.hash:
            self.broken = Broken(self._seq, "replaced")
        return self.broken

    def _wrong_with(self, line: Line) -> Broken | None:
        if line.seq > self._head.seq:
            return Broken(line.seq, "added") if self._seq == self._head.seq else Broken(self._seq + 1, "removed")
        if line.seq <= self._seq:
            return Broken(line.seq, "added")
        if line.seq != self._seq + 1:
            return Broken(self._seq + 1, "removed")
        # First whether it is itself: a line that was changed is to be named, not the one that follows it.
        if not self._is_itself(line):
            return Broken(line.seq, "changed")
        if line.previous != self._hash:
            return Broken(max(self._seq, self._head.anchor_seq + 1), "replaced")
        return None

    def _is_itself(self, line: Line) -> bool:
        try:
            return seal(self._organization, line) == line.hash
        except (ValueError, RecursionError):  # what stands in before or after is not even JSON any more
            return False


def parsed(text: str | None) -> JsonValue:
    return None if text is None else cast(JsonValue, json.loads(text))


def _text(value: JsonValue) -> str | None:
    return None if value is None else canonical(value)


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")
