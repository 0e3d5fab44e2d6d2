"""What one commit says about a run: what became true since the last one, and whose the run is from now on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from crewmesh_contracts.base import JsonObject
from pydantic_core import to_json

from crewmesh_workflow.engine.payers import NOBODY, PaidBy
from crewmesh_workflow.engine.steps import Cancelled, End, Failed, Step
from crewmesh_workflow.nodes.base import Emitted

EventType = Literal[
    "run.started",
    "run.queued",
    "run.waiting",
    "run.paused",
    "run.resumed",
    "run.failing",
    "run.cancelling",
    "run.completed",
    "run.failed",
    "run.cancelled",
    "step.started",
    "step.waiting",
    "step.retrying",
    "step.completed",
    "step.skipped",
    "step.failed",
    "step.cancelled",
]

# What somebody may ask of a run at work.
Wish = Literal["pause", "cancel"]


class LeaseLostError(Exception):
    """Somebody else drives the run, or it has ended; what this worker wanted to write is not written."""


@dataclass(frozen=True, slots=True)
class Run:
    """What a worker must know of a run to advance it. ``seq`` moves with every commit.

    ``arrivals``: how much had arrived from outside when it was last looked at. ``left``: seconds until its deadline.
    ``payer``: in whose name it works. ``was_paused``: nothing of it was begun since it was paused.
    """

    id: str
    organization: str
    workflow: str
    version: int
    trigger: JsonObject
    epoch: int
    seq: int
    traceparent: str | None = None
    started_at: str = ""
    test: bool = False
    samples: JsonObject | None = None
    arrivals: int = 0
    left: float | None = None
    failing: Failed | Cancelled | None = None
    parent: str | None = None
    payer: PaidBy = NOBODY
    was_paused: bool = False


@dataclass(frozen=True, slots=True)
class JournalEvent:
    type: EventType
    data: JsonObject


@dataclass(frozen=True, slots=True)
class Rest:
    """The run is given away. ``due_in``: when somebody must look at it again; none: only when something arrives.

    ``to_new_driver``: a driver that is yet to be asked for will watch over it.
    """

    due_in: float | None = None
    to_new_driver: bool = False
    paused: bool = False


@dataclass(frozen=True, slots=True)
class Commit:
    """``obeyed``: what the run was asked for and its worker has done by now. More than that keeps it from resting."""

    steps: Sequence[Step] = ()
    events: Sequence[JournalEvent] = ()
    emitted: Sequence[Emitted] = ()
    closed: Sequence[str] = ()
    response: JsonObject | None = None
    failing: Failed | Cancelled | None = None
    end: End | None = None
    rest: Rest | None = None
    obeyed: Wish | None = None

    @property
    def empty(self) -> bool:
        return not (self.steps or self.events or self.end or self.rest)


@dataclass(frozen=True, slots=True)
class Ack:
    """How the run stands after the commit. ``rests``: it was given away, as the commit wanted."""

    run: Run
    asked: Wish | None
    arrivals: int
    rests: bool
    driver: int


@dataclass(frozen=True, slots=True)
class EventKey:
    """What makes an occurrence the same occurrence."""

    source: str
    id: str

    def digest(self) -> str:
        return hashlib.sha256(to_json([self.source, self.id])).hexdigest()
