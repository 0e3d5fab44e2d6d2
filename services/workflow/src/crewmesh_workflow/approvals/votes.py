"""From what somebody sends to what is counted: each kind of question wants its own members."""

from __future__ import annotations

from crewmesh_contracts.base import JsonObject
from crewmesh_kit.db.storable import refused_places

from crewmesh_workflow import json_schemas
from crewmesh_workflow.approvals.errors import WrongDecision
from crewmesh_workflow.approvals.repository import Question
from crewmesh_workflow.approvals.rules import Said
from crewmesh_workflow.approvals.schemas import ApprovalDecision
from crewmesh_workflow.nodes.base import CompiledEffect, InvalidStepInput
from crewmesh_workflow.program.model import CompiledNode
from crewmesh_workflow.runs.samples import output_mistakes

_MOST_TOLD = 50
# Which members an answer to each kind may have, and what to send in place of others.
_MEMBERS = {
    "approval": frozenset({"approved", "comment", "data", "proposal"}),
    "input": frozenset({"data", "comment"}),
    "outcome": frozenset({"happened", "output", "fail", "comment"}),
}
_WANTED = {
    "approval": "this asks for a yes or no: send {approved, comment, data}",
    "input": "this asks for a form to be filled in: send {data, comment}",
    "outcome": "this asks what came of a step: send {happened: true, output}, {happened: false} or {fail: true}",
}


def replaces(question: Question, decision: ApprovalDecision) -> bool:
    """Whether something in the decision takes the place of an action's input or output."""
    return (question.asks_before_effect and decision.data is not None) or decision.output is not None


def read_decision(question: Question, decision: ApprovalDecision, action: CompiledNode | None = None) -> Said:
    """WrongDecision with every mistake. ``action``: whose input or output it replaces."""
    strange = sorted(decision.model_fields_set - _MEMBERS[question.kind])
    if strange:
        raise WrongDecision((name, _WANTED[question.kind]) for name in strange)
    unfit = [each for name, value in decision for each in refused_places(value, name)]
    if unfit:
        raise WrongDecision(unfit[:_MOST_TOLD])
    if question.kind == "approval":
        return _yes_or_no(question, decision, action)
    return _answer(question, decision) if question.kind == "input" else _outcome(decision, action)


def _yes_or_no(question: Question, decision: ApprovalDecision, action: CompiledNode | None) -> Said:
    if decision.approved is None:
        raise WrongDecision([("approved", _WANTED["approval"])])
    if decision.data is not None and not decision.approved:
        raise WrongDecision([("data", "goes with a yes only: what is refused is not changed")])
    if decision.data is not None and question.asks_before_effect:
        if not isinstance(decision.data, dict):
            raise WrongDecision([("data", "replaces the input of a step, so that it must be an object")])
        _check_input(action, decision.data)
    return Said(decision.approved, decision.comment, decision.data, decision.proposal)


def _check_input(action: CompiledNode | None, data: JsonObject) -> None:
    if action is not None and isinstance(action.does, CompiledEffect):
        try:
            action.does.judge(data, "data")
        except InvalidStepInput as wrong:
            raise WrongDecision(wrong.mistakes) from wrong


def _answer(question: Question, decision: ApprovalDecision) -> Said:
    if "data" not in decision.model_fields_set:
        raise WrongDecision([("data", _WANTED["input"])])
    form = question.form or {}
    filled = json_schemas.with_defaults(form, decision.data)
    mistakes = json_schemas.mistakes(form, filled)
    if not mistakes:
        return Said(True, decision.comment, filled)
    # A default that the form itself refuses stands in nobody's way.
    if json_schemas.mistakes(form, decision.data):
        raise WrongDecision(mistakes)
    return Said(True, decision.comment, decision.data)


def _outcome(decision: ApprovalDecision, action: CompiledNode | None) -> Said:
    if bool(decision.fail) == (decision.happened is not None):
        raise WrongDecision([("happened", _WANTED["outcome"])])
    if decision.fail:
        return Said(False, decision.comment, {"fail": True})
    if not decision.happened:
        if decision.output is not None:
            raise WrongDecision([("output", "goes with happened: true only")])
        return Said(False, decision.comment, {"happened": False, "output": None})
    output = decision.output or {}
    if action is not None and (mistakes := [*output_mistakes(action.node, output, "output")]):
        raise WrongDecision(mistakes)
    return Said(True, decision.comment, {"happened": True, "output": output})
