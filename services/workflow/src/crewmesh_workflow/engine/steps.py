"""What the journal knows of a run: its steps, and how it ends."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.workflow.nodes.base import OUT
from crewmesh_kit.db.storable import clean_text
from crewmesh_kit.errors import Problem

from crewmesh_workflow.nodes.base import WaitFor

StepStatus = Literal["running", "waiting", "completed", "skipped", "failed", "cancelled"]
_MOST_PLACES = 5
# Where an effect's input holds what people said to its questions.
ANSWERS = "verdicts"
OVER: frozenset[StepStatus] = frozenset({"completed", "skipped", "failed", "cancelled"})


@dataclass(frozen=True, slots=True)
class StepError:
    """Why a step or a run failed: the slug of a problem, and the sentence that goes with it."""

    type: str
    detail: str

    def __post_init__(self) -> None:
        """Details come from far away, and the journal must be able to hold them."""
        object.__setattr__(self, "detail", clean_text(self.detail))

    @classmethod
    def of(cls, problem: Problem) -> StepError:
        """With the places that it names: of the problem, a step keeps nothing else."""
        errors = problem.extensions.get("errors")
        places = [error for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []
        named = "; ".join(f"{place.get('path')}: {place.get('message')}" for place in places[:_MOST_PLACES])
        return cls(problem.slug, f"{problem.detail} ({named})" if named else problem.detail)

    def as_json(self) -> JsonObject:
        return {"type": self.type, "detail": self.detail}


@dataclass(frozen=True, slots=True)
class Step:
    """One node at one place of a run.

    ``finished`` orders the ends of steps. ``rounds``: how many rounds of a loop were begun; of an effect, how many of
    its attempts are known not to have happened, so that the next one had a key of its own. ``retry_in``, and the
    seconds of ``wait``, are seconds from the moment the journal was read or written.
    """

    path: str
    status: StepStatus
    attempt: int = 0
    # In the order in which steps were first heard of.
    number: int = 0
    input: JsonObject | None = None
    output: JsonObject | None = None
    ports: tuple[str, ...] = ()
    error: StepError | None = None
    retry_in: float | None = None
    rounds: int = 0
    finished: int | None = None
    wait: WaitFor | None = None
    wait_id: str | None = None

    @property
    def asked_on_its_way(self) -> bool:
        """Whether it waits for people as an effect that has begun: elsewhere it is still at work."""
        return self.wait is not None and "question" in self.wait.request

    @property
    def untried(self) -> bool:
        """Whether nothing has come back of it yet: if it is not under way, it never was."""
        asked_before = ANSWERS in (self.input or {})
        return self.status == "running" and self.attempt == 1 and not (self.error or self.rounds or asked_before)

    @property
    def awaits_run(self) -> bool:
        """Whether it waits for the end of a run that it started."""
        return self.status == "waiting" and self.wait is not None and self.wait.kind == "child"

    @property
    def in_doubt(self) -> bool:
        """Whether it waits for people to say what came of it. It may have taken effect, so it is not given up."""
        return self.status == "waiting" and self.wait is not None and self.wait.kind == "outcome"

    def completed(self, output: JsonObject, ports: tuple[str, ...] = (OUT,)) -> Step:
        return replace(
            self, status="completed", output=output, ports=ports, error=None, retry_in=None, wait=None, wait_id=None
        )

    def handled(self, error: StepError, ports: tuple[str, ...], **more: JsonValue) -> Step:
        """It failed, and the definition says how to go on; the error stays to be seen. ``more`` is output as well."""
        return replace(self.completed({**more, "error": error.as_json()}, ports), error=error)

    def again(self, error: StepError | None, seconds: float) -> Step:
        return replace(self, status="running", attempt=self.attempt + 1, error=error, retry_in=seconds)

    def later(self, error: StepError, seconds: float) -> Step:
        """The same attempt goes on after a pause."""
        return replace(self, status="running", error=error, retry_in=seconds, wait=None, wait_id=None)

    def failed(self, error: StepError) -> Step:
        return replace(self, status="failed", error=error, retry_in=None, wait=None, wait_id=None)

    def cancelled(self) -> Step:
        return replace(self, status="cancelled", retry_in=None, wait=None, wait_id=None)


@dataclass(frozen=True, slots=True)
class Finished:
    output: JsonObject


@dataclass(frozen=True, slots=True)
class Failed:
    """``path``: the step that failed; none when it was none."""

    path: str | None
    error: StepError


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Somebody asked for it."""


End: TypeAlias = Finished | Failed | Cancelled
