"""An event of a run as it stands in a stream: written once, however many follow the run."""

from __future__ import annotations

from dataclasses import dataclass

from crewmesh_contracts.base import JsonObject
from crewmesh_kit.http.sse import encoded

from crewmesh_workflow.runs.schemas import StoredEvent

_LAST = frozenset({"run.completed", "run.failed", "run.cancelled"})


@dataclass(frozen=True, slots=True)
class Line:
    """``ends``: nothing follows it."""

    seq: int
    text: bytes
    ends: bool

    @classmethod
    def of(cls, run: str, event: StoredEvent) -> Line:
        data: JsonObject = {"run": run, "at": event.at.isoformat(), **event.data}
        return cls(event.seq, encoded(str(event.seq), event.type, data), event.type in _LAST)
