"""The topic beside each topic for messages that nobody could handle, and the notice that says why."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Self

from crewmesh_contracts.base import Contract
from crewmesh_contracts.events import CloudEvent

from crewmesh_kit.ids import new_id

NOTICE_TYPE = "crewmesh.dead_letter.v1"
_LONGEST_REASON = 2_000


def dead_topic(topic: str) -> str:
    return f"{topic}.dead"


class DeadLetterNotice(Contract):
    """A message that failed for good, byte for byte, with the reason."""

    topic: str
    reason: str
    payload_base64: str

    @classmethod
    def of(cls, topic: str, payload: bytes, reason: str) -> Self:
        return cls(topic=topic, reason=reason[:_LONGEST_REASON], payload_base64=base64.b64encode(payload).decode())

    @property
    def payload(self) -> bytes:
        return base64.b64decode(self.payload_base64)

    def envelope(self, app_id: str) -> CloudEvent:
        return CloudEvent(
            id=new_id("evt"),
            source=f"crewmesh/{app_id}",
            type=NOTICE_TYPE,
            time=datetime.now(UTC),
            data=self.model_dump(mode="json"),
        )
