"""When a person has to agree to an effect first, and what a person's word does to a step."""

from __future__ import annotations

from dataclasses import replace

from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.workflow.nodes.base import EffectNode
from crewmesh_contracts.workflow.settings import ApprovalRule

from crewmesh_workflow.engine.frames import Frame
from crewmesh_workflow.engine.steps import ANSWERS, Step, StepError
from crewmesh_workflow.nodes.base import CompiledEffect, WaitFor
from crewmesh_workflow.program.model import CompiledNode, Program

_ANYBODY = ApprovalRule()


def approval_for(
    program: Program, node: CompiledNode, does: CompiledEffect, input_: JsonObject, frame: Frame
) -> WaitFor | None:
    """What is to be waited for before the effect may be done; nothing, when it may be done now."""
    rule = _rule(program, node, does, input_, frame)
    if rule is None:
        return None
    # A compensation stands at the place of the step that it undoes, and has an id of its own.
    undoes = "" if node.id == node.node.id else f", which undoes {node.id}"
    request: JsonObject = {
        "title": f"May {node.node.name or node.node.id} be done{undoes}?",
        "node": node.node.id,
        "kind": _kind(node),
        "input": input_,
        "assignees": [*rule.assignees],
        "quorum": rule.quorum,
    }
    return WaitFor("approval", request, seconds=rule.expires_seconds)


def _rule(
    program: Program, node: CompiledNode, does: CompiledEffect, input_: JsonObject, frame: Frame
) -> ApprovalRule | None:
    if not isinstance(node.node, EffectNode) or node.node.approval == "never":
        return None
    settings = program.definition.settings
    if settings.mode == "autonomous" and node.node.approval == "policy":
        return None
    if does.reaches_world or node.node.approval == "always":
        rule = _matching(program, node, input_, frame)
        if rule is not None:
            return rule
        if settings.mode == "human_in_the_loop" or node.node.approval == "always":
            return _ANYBODY
    return None


def people_for(program: Program, node: CompiledNode, step: Step, frame: Frame) -> Step:
    """A step that found out on its way that people have to agree: the workflow's rules say who, and until when."""
    wait = step.wait
    if wait is None or "question" not in wait.request:
        return step
    asked: JsonObject = {name: wait.request.get(name) for name in ("title", "agent", "tool", "arguments")}
    rule = _matching(program, node, asked, frame) or _ANYBODY
    request: JsonObject = {**wait.request, "assignees": [*rule.assignees], "quorum": rule.quorum}
    return replace(step, wait=replace(wait, request=request, seconds=rule.expires_seconds))


def told(step: Step, data: JsonObject) -> Step:
    """The step after people decided: to be done now, done, or failed."""
    if step.wait is not None and step.wait.kind == "outcome":
        return _outcome(step, data)
    if step.wait is not None and "question" in step.wait.request:
        return _answered(step, step.wait.request, data)
    if data.get("approved") is True:
        edited = data.get("data")
        input_ = edited if isinstance(edited, dict) else step.input
        return replace(step, status="running", input=input_, wait=None, wait_id=None)
    return step.failed(StepError("approval-rejected", "Somebody decided that this action must not be done."))


def _matching(program: Program, node: CompiledNode, input_: JsonObject, frame: Frame) -> ApprovalRule | None:
    about: JsonObject = {"id": node.node.id, "kind": _kind(node), "name": node.node.name}
    scope = frame.scope(node=about, input=input_)
    for compiled in program.rules:
        if compiled.when.evaluate(scope):
            return program.definition.settings.approval_rules[compiled.number]
    return None


def _answered(step: Step, request: JsonObject, data: JsonObject) -> Step:
    """The effect goes on with what people said, yes or no, beside what they said before."""
    said: JsonObject = {"question": request["question"], "approved": data.get("approved") is True}
    edited = data.get("data")
    if isinstance(edited, dict) and edited != request.get("data"):
        said["arguments"] = edited
    if (by := _last_word(data.get("decisions"))) is not None:
        said["by"] = by
    before = (step.input or {}).get(ANSWERS)
    answers = [*(before if isinstance(before, list) else []), said]
    return replace(step, status="running", input={**(step.input or {}), ANSWERS: answers}, wait=None, wait_id=None)


def _last_word(decisions: JsonValue) -> str | None:
    """Whose was the last that was needed."""
    last = decisions[-1] if isinstance(decisions, list) and decisions else None
    by = last.get("by") if isinstance(last, dict) else None
    return by if isinstance(by, str) else None


def _outcome(step: Step, data: JsonObject) -> Step:
    if data.get("fail") is True:
        return step.failed(
            StepError("outcome-unknown", "Nobody knows whether the action took effect; it was given up.")
        )
    if data.get("happened") is True:
        output = data.get("output")
        return step.completed(output if isinstance(output, dict) else {})
    return not_happened(step)


def said_of_outcome(step: Step, data: JsonObject) -> JsonObject | None:
    """Whose word it is, for the log; nothing when the step did not ask what came of it."""
    if step.wait is None or step.wait.kind != "outcome":
        return None
    verdict = "failed" if data.get("fail") is True else "happened" if data.get("happened") is True else "not_happened"
    return {"question": step.wait_id, "verdict": verdict, "by": data.get("by"), "comment": data.get("comment")}


def not_happened(step: Step) -> Step:
    """It is known now that the attempt had no effect: the next one is another request, under a key of its own."""
    return replace(step.again(step.error, 0.0), rounds=step.rounds + 1, wait=None, wait_id=None)


def _kind(node: CompiledNode) -> str:
    kind: object = getattr(node.node, "kind", "")
    return str(kind)
