"""What comes next: a pure function from a program and its journal to the steps that need no effect and the next effect.

Nodes are taken in the program's order, so everything before a node is decided when its turn comes. A node runs when at
least one edge into it was taken; when none was it is skipped, and so the dead path goes on. Being pure, the function
gives the same answer after any crash, and an effect is asked for with the same request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from crewmesh_contracts.base import JsonObject
from pydantic import ValidationError

from crewmesh_workflow.engine.program import CompiledNode, Decision, Program
from crewmesh_workflow.expressions import ExpressionError, Scope
from crewmesh_workflow.nodes.base import CompiledEffect

StepStatus = Literal["running", "completed", "skipped", "failed"]


@dataclass(frozen=True, slots=True)
class StepError:
    """Why a step or a run failed: the slug of a problem, and the sentence that goes with it."""

    type: str
    detail: str


@dataclass(frozen=True, slots=True)
class Step:
    """What the journal knows of one node of a run."""

    node: str
    status: StepStatus
    attempt: int = 0
    input: JsonObject | None = None
    output: JsonObject | None = None
    port: str | None = None
    error: StepError | None = None
    # Seconds until the next attempt, by the database's clock at the moment the journal was read or written.
    retry_in: float | None = None

    def completed(self, output: JsonObject, port: str = "out") -> Step:
        return replace(self, status="completed", output=output, port=port, error=None, retry_in=None)

    def again(self, error: StepError, seconds: float) -> Step:
        return replace(self, attempt=self.attempt + 1, error=error, retry_in=seconds)

    def failed(self, error: StepError) -> Step:
        return replace(self, status="failed", error=error, retry_in=None)


@dataclass(frozen=True, slots=True)
class Effect:
    """The next thing to do beyond the engine: a new step, or one that was started before and has no result yet."""

    step: Step
    does: CompiledEffect


@dataclass(frozen=True, slots=True)
class Finished:
    output: JsonObject


@dataclass(frozen=True, slots=True)
class Failed:
    node: str | None
    error: StepError


@dataclass(frozen=True, slots=True)
class Plan:
    decided: tuple[Step, ...]
    next: Effect | Finished | Failed


def plan(program: Program, trigger: JsonObject, steps: Mapping[str, Step]) -> Plan:
    """Decide everything up to the next effect, or to the end."""
    known = dict(steps)
    outputs = {step.node: step.output for step in steps.values() if step.output is not None}
    scope = Scope(trigger, outputs)
    decided: list[Step] = []
    for node in program.nodes:
        step = known.get(node.id)
        if step is not None and step.status in ("completed", "skipped"):
            continue
        if step is None or step.status == "running":
            step, effect = _turn(node, step, known, scope)
            if effect is not None:
                return Plan(tuple(decided), Effect(step, effect))
            decided.append(step)
        if step.error is not None:
            return Plan(tuple(decided), Failed(node.id, step.error))
        known[node.id] = step
        if step.output is not None:
            outputs[node.id] = step.output
    return Plan(tuple(decided), _finish(program, scope))


def _turn(
    node: CompiledNode, step: Step | None, known: Mapping[str, Step], scope: Scope
) -> tuple[Step, CompiledEffect | None]:
    """The node's turn: skipped, decided, or an effect to be done."""
    if step is None and node.incoming and not _reached(node, known):
        return Step(node.id, "skipped"), None
    try:
        if isinstance(node.does, Decision):
            port, output = node.does.decide(scope)
            return Step(node.id, "completed", output=output, port=port), None
        return step or Step(node.id, "running", attempt=1, input=node.does.render(scope)), node.does
    except ExpressionError as error:
        return Step(node.id, "failed", error=StepError("expression-failed", str(error))), None
    except ValidationError as error:
        return Step(node.id, "failed", error=StepError("invalid-step-input", _first_mistakes(error))), None


def _reached(node: CompiledNode, known: Mapping[str, Step]) -> bool:
    return any(known[edge.from_].port == edge.port for edge in node.incoming)


def _finish(program: Program, scope: Scope) -> Finished | Failed:
    try:
        return Finished(program.render_output(scope))
    except ExpressionError as error:
        return Failed(None, StepError("expression-failed", f"output: {error}"))


def _first_mistakes(error: ValidationError) -> str:
    """What is wrong with a rendered request, without repeating the data in it."""
    mistakes = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, mistake['loc']))}: {mistake['msg']}" for mistake in mistakes[:5])
