"""One turn of an execution: what became of what happened, and what is to be done next."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field

from crewmesh_contracts.base import JsonObject, JsonValue

from crewmesh_workflow.engine.steps import OVER, Cancelled, End, Failed, Step
from crewmesh_workflow.nodes.base import CompiledEffect, Emitted, Waiting
from crewmesh_workflow.program.model import CompiledNode


@dataclass(frozen=True, slots=True)
class Facts:
    """What a run is, as far as expressions and nodes can tell."""

    id: str
    trigger: JsonObject
    about: JsonObject = field(default_factory=dict[str, JsonValue])
    test: bool = False
    samples: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue])


@dataclass(frozen=True, slots=True)
class Ready:
    """An effect to be done now, or after ``step.retry_in``; for a waiting step, what begins its wait."""

    step: Step
    node: CompiledNode
    does: CompiledEffect | Waiting


@dataclass(slots=True)
class Turn:
    """What became of what happened: to be journalled first, then to be acted on.

    ``changed`` is in the order in which it is told. ``before_failing``: what of it came before the run began to fail.
    ``stopped``: effects under way that are not wanted any more. ``closed``: waits that are over. ``said``: what people
    said about a step of which nobody knew what became of it. ``awaited``: what a ``failing`` run waits for first.
    """

    changed: dict[str, Step] = field(default_factory=dict[str, Step])
    ready: list[Ready] = field(default_factory=list[Ready])
    stopped: list[str] = field(default_factory=list[str])
    closed: list[str] = field(default_factory=list[str])
    said: dict[str, JsonObject] = field(default_factory=dict[str, JsonObject])
    emitted: list[Emitted] = field(default_factory=list[Emitted])
    response: JsonObject | None = None
    failing: Failed | Cancelled | None = None
    before_failing: set[str] = field(default_factory=set[str])
    awaited: list[str] = field(default_factory=list[str])
    end: End | None = None

    @property
    def begins_waits(self) -> bool:
        return any(isinstance(ready.does, Waiting) for ready in self.ready)

    def leave_out(self, begun: Container[str]) -> None:
        """What waits for something that was begun before, by whoever had the run then."""
        self.ready = [each for each in self.ready if not (isinstance(each.does, Waiting) and each.step.path in begun)]

    def change(self, step: Step) -> None:
        """What ends is told where it ends: a loop behind its rounds, though it began in this turn as well."""
        if step.status in OVER:
            self.changed.pop(step.path, None)
            self.before_failing.discard(step.path)
        self.changed[step.path] = step

    def fail(self, end: Failed | Cancelled, awaited: list[str]) -> None:
        self.failing, self.awaited = end, awaited
        self.before_failing = set(self.changed)
